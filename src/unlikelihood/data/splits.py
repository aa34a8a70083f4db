"""The parts of an experiment, between which nothing leaks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlikelihood.data.images import Images, in_lines


class Unlabelled(ValueError):
    """Raised where nothing says which samples are normal and which anomalous."""


@dataclass(frozen=True, eq=False)
class Split:
    """The three parts of an experiment, checked to have nothing in common.

    Parameters
    ----------
    train : Images
        Normals that a detector is fitted to. Labels may be left out; where they are given, all are 0.
    calibration : Images
        Normals that no detector was fitted to, for its decision threshold. As `train`; may be empty.
    test : Images
        Labelled normals and anomalies that nothing was fitted to.
    left_out : dict of str to int
        What is in no part: how many for each reason. What the source did not read is added to it.

    Raises
    ------
    ValueError
        If all parts are empty, `train` or `calibration` holds an anomaly, `test` has no labels, two parts share
        a group or a name, or their images differ in shape, spacing or orientation.
    """

    train: Images
    calibration: Images
    test: Images
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (len(self.train) or len(self.calibration) or len(self.test)):
            raise ValueError("train is empty, and so are calibration and test: expected at least one image")
        unread = {
            reason: n for part in (self.train, self.calibration, self.test) for reason, n in part.left_out.items()
        }
        object.__setattr__(self, "left_out", {reason: n for reason, n in (unread | dict(self.left_out)).items() if n})
        if self.test.label is None:
            raise ValueError("test.label=None: expected 0 (normal) or 1 (anomalous) for every image")
        for part, images in (("train", self.train), ("calibration", self.calibration)):
            _refuse_anomalies(part, images)
        parts = {"train": self.train, "calibration": self.calibration, "test": self.test}
        for (a, one), (b, other) in combinations(parts.items(), 2):
            if one.shape != other.shape:
                raise ValueError(f"{a} has images of shape {one.shape}, {b} of {other.shape}: expected one shape")
            if None not in (one.spacing, other.spacing) and one.spacing != other.spacing:
                raise ValueError(f"{a} has spacing {one.spacing} mm, {b} {other.spacing} mm: expected one spacing")
            if None not in (one.orientation, other.orientation) and one.orientation != other.orientation:
                raise ValueError(
                    f"{a} has orientation {one.orientation}, {b} {other.orientation}: expected one orientation"
                )
            _refuse_shared("group", a, one.group, b, other.group)
            _refuse_shared("name", a, one.name, b, other.name)

    @property
    def counts(self) -> dict[str, int]:
        """How many images went where; the keys of what went nowhere begin with "left out: "."""
        normal, anomalous = (int(np.sum(self.test.label == label)) for label in (0, 1))
        return {
            "train": len(self.train),
            "calibration": len(self.calibration),
            "test, normal": normal,
            "test, anomalous": anomalous,
        } | {f"left out: {reason}": n for reason, n in self.left_out.items()}

    @property
    def layout(self) -> str:
        """How the data are arranged, a line for each way."""
        layouts = [part.layout for part in (self.train, self.calibration, self.test)]
        return "\n".join(dict.fromkeys(filter(None, layouts)))

    def summary(self) -> str:
        """Return how the data are arranged, and what went where, in lines."""
        return in_lines([self.layout], self.counts)


def partition(
    images: Images,
    *,
    fractions: tuple[float, float, float] | None = None,
    seed: int = 0,
    balanced: bool = False,
) -> Split:
    """Divide images at random: the normals among all three parts, the anomalies into the test.

    Published parts are kept where images have them: only where none is for calibration, some of the training normals
    are taken for it, and anomalies in the first two are left out. Images without labels count as normal.

    A group stays whole. A group that holds an anomaly belongs to the test with its normals too, so with groups the
    parts follow the fractions as far as whole groups allow.

    Parameters
    ----------
    images : Images
        Images, normal and anomalous.
    fractions : tuple of float, optional
        Shares of the normals for train, calibration and test, which sum to 1; (0.6, 0.2, 0.2) unless given, and
        (0.8, 0.2, 0) where there is no anomaly to test.
    seed : int
        Equal seeds give equal parts.
    balanced : bool
        Leave images out of the test, at random, until it holds as many normals as anomalies.

    Returns
    -------
    Split
        The parts, each in the order of `images`.

    Raises
    ------
    ValueError
        If there are no normals, no group of normals alone is left to train on, or the fractions are not
        three that sum to 1.
    """
    if images.label is None:
        if images.part is not None and np.any(images.part == "test"):
            raise Unlabelled("label=None: expected labelled images in the published test")
        layout = f"{images.layout or 'no labels'}: all are taken as normal"
        images = replace(images, label=np.zeros(len(images), np.int64), layout=layout)
    label = np.asarray(images.label)
    if not (label == 0).any():
        raise ValueError(f"{images!r}: expected at least one normal image")
    fractions = fractions or ((0.6, 0.2, 0.2) if label.any() else (0.8, 0.2, 0.0))
    if len(fractions) != 3 or min(fractions) < 0 or not np.isclose(sum(fractions), 1):
        raise ValueError(f"fractions={fractions!r}: expected train, calibration and test parts that sum to 1")
    part_rng, balance_rng = np.random.default_rng(seed).spawn(2)
    if images.part is not None:
        return _published(images, fractions, part_rng, balance_rng if balanced else None)
    unit = np.arange(len(images)) if images.group is None else np.unique(images.group, return_inverse=True)[1]
    part = _parts(unit, label, fractions, part_rng)[unit]
    if images.group is not None and fractions[0] and not (part == 2).any():
        groups, mixed = (len(set(group.tolist())) for group in (images.group, images.group[label == 1]))
        raise ValueError(
            f"train is empty: a group (patient) is never divided, and tested if it holds an anomaly, as {mixed} of "
            f"{groups} do; expected more groups of normals alone, or other fractions than {fractions}"
        )
    return _split(images, part, balance_rng if balanced else None)


def balance(images: Images, rng: np.random.Generator) -> Images:
    """Return all images of the rarer label and as many of the other, drawn at random, in the order of `images`."""
    if images.label is None:
        raise ValueError("label=None: expected 0 (normal) or 1 (anomalous) for every image")
    anomalous = int(images.label.sum())
    return images[draw(images.label, 2 * min(anomalous, len(images) - anomalous), rng)]


def draw(kind: NDArray[Any], n: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw n at random, equally many of each kind as far as there are enough of it.

    Parameters
    ----------
    kind : ndarray of shape (N,)
        What is to be equally frequent among the drawn.
    n : int
        How many, at most N.
    rng : Generator

    Returns
    -------
    ndarray of int of shape (n,)
        Indices in increasing order.
    """
    if n > len(kind):
        raise ValueError(f"n={n}: expected at most {len(kind)}, for there are no more to choose from")
    shuffled = rng.permutation(len(kind))
    place = np.empty(len(kind), dtype=np.intp)  # within its kind: first come all firsts, then all seconds
    for one in np.unique(kind):
        members = shuffled[kind[shuffled] == one]
        place[members] = np.arange(len(members))
    return np.sort(shuffled[np.argsort(place[shuffled], kind="stable")][:n])


def _published(
    images: Images,
    fractions: tuple[float, float, float],
    rng: np.random.Generator,
    balance_rng: np.random.Generator | None,
) -> Split:
    part = np.array([("test", "calibration", "train").index(name) for name in np.asarray(images.part)])
    part[(part > 0) & (images.label == 1)] = -1
    if not (part == 1).any() and (wanted := fractions[0] + fractions[1]):
        train = np.flatnonzero(part == 2)
        unit = np.arange(len(train))
        if images.group is not None:
            unit = np.unique(images.group[train], return_inverse=True)[1]
        shares = (fractions[0] / wanted, fractions[1] / wanted, 0.0)
        part[train] = np.maximum(_parts(unit, np.zeros(len(train), np.int64), shares, rng)[unit], 1)
    return _split(images, part, balance_rng, {"anomalies that are not in the published test": int((part < 0).sum())})


def _split(
    images: Images,
    part: NDArray[np.intp],
    balance_rng: np.random.Generator | None,
    left_out: Mapping[str, int] | None = None,
) -> Split:
    test = images[part == 0]
    balanced = test if balance_rng is None else balance(test, balance_rng)
    rest = dict(left_out or {}) | {"images of the more frequent kind, for a balanced test": len(test) - len(balanced)}
    return Split(
        train=images[part == 2],
        calibration=images[part == 1],
        test=balanced,
        left_out=rest,
    )


def _parts(
    unit: NDArray[np.intp], label: NDArray[np.int64], fractions: Sequence[float], rng: np.random.Generator
) -> NDArray[np.intp]:
    # The part of each unit, 0 test, 1 calibration, 2 train. The units stand in a row, those that must be
    # tested first, and each goes to the part in which the middle of its normals falls.
    n_normal = np.bincount(unit, weights=label == 0)
    tested = np.bincount(unit, weights=label) > 0
    row = rng.permutation(len(tested))
    row = row[np.argsort(~tested[row], kind="stable")]
    middle = np.cumsum(n_normal[row]) - n_normal[row] / 2
    _, calibration, test = fractions
    bounds = n_normal.sum() * np.array([test, test + calibration])
    part = np.empty(len(tested), dtype=np.intp)
    part[row] = np.searchsorted(bounds, middle)
    part[tested] = 0
    return part


def _refuse_anomalies(part: str, images: Images) -> None:
    if images.label is not None and images.label.any():
        index = np.flatnonzero(images.label)
        which = index if images.name is None else images.name[index]
        raise ValueError(f"{part} holds {len(index)} anomalies, {_few(which)}: expected normals only")


def _refuse_shared(parameter: str, a: str, one: NDArray[Any] | None, b: str, other: NDArray[Any] | None) -> None:
    if one is None or other is None:
        return
    shared = np.intersect1d(one, other)
    if len(shared):
        raise ValueError(f"{a} and {b} share {parameter} {_few(shared)}: expected no {parameter} in two parts")


def _few(values: NDArray[Any]) -> str:
    return ", ".join(map(repr, values[:5].tolist())) + (", …" if len(values) > 5 else "")
