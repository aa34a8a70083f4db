"""The parts of an experiment, between which nothing leaks."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlikelihood.data.images import Images


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

    Raises
    ------
    ValueError
        If `train` is empty, `train` or `calibration` holds an anomaly, `test` has no labels, two parts share
        a group or a name, or their images differ in shape, spacing or orientation.
    """

    train: Images
    calibration: Images
    test: Images

    def __post_init__(self) -> None:
        if not len(self.train):
            raise ValueError("train is empty: expected at least one normal image")
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


def partition(
    images: Images,
    *,
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
    seed: int = 0,
    balanced: bool = False,
) -> Split:
    """Divide labelled images at random: the normals among all three parts, the anomalies into the test.

    A group stays whole. A group that holds an anomaly belongs to the test with its normals too, so with groups the
    parts follow the fractions as far as whole groups allow.

    Parameters
    ----------
    images : Images
        Labelled images, normal and anomalous.
    fractions : tuple of float
        Shares of the normals for train, calibration and test; they sum to 1.
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
        If there are no labels or no normals, no group of normals alone is left to train on, or the fractions are not
        three that sum to 1.
    """
    if len(fractions) != 3 or min(fractions) < 0 or not np.isclose(sum(fractions), 1):
        raise ValueError(f"fractions={fractions!r}: expected train, calibration and test parts that sum to 1")
    if images.label is None:
        raise ValueError("label=None: expected labelled images, for only normals may be trained on")
    if not (images.label == 0).any():
        raise ValueError(f"{images!r}: expected at least one normal image")
    part_rng, balance_rng = np.random.default_rng(seed).spawn(2)
    unit = np.arange(len(images)) if images.group is None else np.unique(images.group, return_inverse=True)[1]
    part = _parts(unit, images.label, fractions, part_rng)[unit]
    if images.group is not None and not (part == 2).any():
        groups, mixed = (len(set(group.tolist())) for group in (images.group, images.group[images.label == 1]))
        raise ValueError(
            f"train is empty: a group (patient) is never divided, and tested if it holds an anomaly, as {mixed} of "
            f"{groups} do; expected more groups of normals alone, or other fractions than {fractions}"
        )
    test = images[part == 0]
    return Split(
        train=images[part == 2],
        calibration=images[part == 1],
        test=balance(test, balance_rng) if balanced else test,
    )


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
    turn = np.empty(len(kind), dtype=np.intp)  # each kind in turn gives one: first all firsts, then all seconds
    for one in np.unique(kind):
        members = shuffled[kind[shuffled] == one]
        turn[members] = np.arange(len(members))
    return np.sort(shuffled[np.argsort(turn[shuffled], kind="stable")][:n])


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
