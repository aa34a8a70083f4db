"""The few samples of thousands that a report shows, and what the detector makes of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from unlikelihood.data.splits import Split
from unlikelihood.report.architecture import Network, networks
from unlikelihood.report.maps import Maps, maps_of, nearest_normals
from unlikelihood.storage.identity import seen

LARGE = 2**20  # bytes of a sample; of larger ones a page shows fewer, which would not fit beside the detector
MOST_ANOMALOUS, MISSED, SPREAD, NEIGHBOURS = 12, 4, 8, 3
NORMALS = 200  # enough to know the residual of a pixel by


@runtime_checkable
class HasSnapshots(Protocol):
    """An adversarial generator, which was watched in training."""

    quality_: Mapping[str, float | None]
    alarms_: tuple[str, ...]

    def snapshots(self) -> NDArray[Any]: ...  # noqa: D102


class Path(Protocol):
    """What a latent search for a sample went through: its losses, and generations at some of its steps."""

    sample: NDArray[Any]
    loss: NDArray[np.float64]
    step: NDArray[np.intp]
    generation: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Cases:
    """Test samples to look through, the most anomalous first.

    Parameters
    ----------
    index : ndarray of int, shape (k,)
        Which test samples they are.
    pixels : ndarray, shape (k, *shape)
    nearest : ndarray, shape (k, m, *shape)
        The training normals of the data set that look most like each, the nearest first.
    distance : ndarray of float64, shape (k, m)
        How far they are: Euclidean, in the unit of intensity.
    reconstructed : ndarray, shape (k, *shape), optional
        What the detector makes of them, if it can.
    maps : Maps, optional
        Where they are anomalous, if it can say.
    mask : ndarray of bool, shape (k, *space), optional
        Where they are in truth, if that is known.
    """

    index: NDArray[np.intp]
    pixels: NDArray[Any]
    nearest: NDArray[Any]
    distance: NDArray[np.float64]
    reconstructed: NDArray[Any] | None = None
    maps: Maps | None = None
    mask: NDArray[np.bool_] | None = None


@dataclass(frozen=True, eq=False)
class Exhibits:
    """What a report shows of samples.

    Parameters
    ----------
    normals : ndarray, shape (k, *shape)
        From the training part of the data set.
    trained_on : bool
        Whether the detector was fitted to that part, as far as it remembers: it may come from another data set.
    cases : Cases, optional
        What a reader can look through.
    likely, unlikely : dict of int to (ndarray (k, *shape), ndarray (k,))
        By true label, the test samples that the detector finds most and least likely, with their scores.
    reconstructed : dict of int to (ndarray (k, *shape), ndarray (k, *shape))
        By true label, test samples at evenly spaced ranks and their reconstructions; empty if it cannot.
    generated : ndarray, shape (k, *shape), optional
        What the detector generates, if it can.
    generator : HasSnapshots, optional
        Its adversarial generator, if it has one.
    walk : ndarray, shape (k, *shape), optional
        Samples between two test normals, if it can go from one to the other.
    paths : dict of int to Path
        By true label, the way of the search for a test sample of the middle rank; empty if it does not search.
    networks : sequence of Network
        Its networks.
    """

    normals: NDArray[Any]
    trained_on: bool
    cases: Cases | None
    likely: Mapping[int, tuple[NDArray[Any], NDArray[np.float64]]]
    unlikely: Mapping[int, tuple[NDArray[Any], NDArray[np.float64]]]
    reconstructed: Mapping[int, tuple[NDArray[Any], NDArray[Any]]]
    generated: NDArray[Any] | None = None
    generator: HasSnapshots | None = None
    walk: NDArray[Any] | None = None
    paths: Mapping[int, Path] = field(default_factory=dict)
    networks: Sequence[Network] = ()


def choose(detector: object, split: Split, score: NDArray[np.float64], *, cases: bool = True) -> Exhibits:
    """Return what shows best what a fitted detector does, whatever the order of the test samples.

    `score` (n,) is of the test samples, higher = more normal. Each sample that is shown is reconstructed once. Without
    `cases`, whose maps take most of the time, there are none to look through.
    """
    pixels, label = split.test.pixels, np.asarray(split.test.label)
    train = split.train.pixels if len(split.train) else pixels[label == 0]
    few = 12 if pixels[0].nbytes <= LARGE else 6
    order = np.argsort(score, kind="stable")  # the most anomalous first
    ranked = {k: order[label[order] == k] for k in (0, 1)}
    spread = {k: _spread(own[::-1], 6) for k, own in ranked.items()}
    index = _cases(order, label, 1 if few == 12 else 3) if cases else order[:0]

    x_hat: dict[int, NDArray[Any]] = {}
    if hasattr(detector, "reconstruct"):
        shown = np.unique(np.concatenate([index, *spread.values()]))
        x_hat = dict(zip(shown.tolist(), np.asarray(detector.reconstruct(pixels[shown])), strict=True))

    def remade(chosen: NDArray[np.intp]) -> NDArray[Any]:
        return np.stack([x_hat[row] for row in chosen.tolist()])

    def looked_through() -> Cases:
        held_out = split.calibration.pixels if len(split.calibration) else train
        held_out = np.array(held_out[_spread(np.arange(len(held_out)), NORMALS if few == 12 else NORMALS // 3)])
        chosen = np.array(pixels[index])
        of_cases = remade(index) if x_hat else None
        rows, distance = nearest_normals(train, chosen, NEIGHBOURS)
        nearest = np.array([train[row] for row in rows])
        mask = None if split.test.mask is None else split.test.mask[index]
        return Cases(index, chosen, nearest, distance, of_cases, maps_of(detector, chosen, of_cases, held_out), mask)

    # Neighbours in rank may be alike; these two are some ranks apart.
    two = [np.array(pixels[row]) for row in (spread[0][0], spread[0][len(spread[0]) // 2])]
    middle = {k: rows[len(rows) // 2] for k, rows in ranked.items()}
    maker = getattr(detector, "generator_", detector)
    return Exhibits(
        normals=np.array(train[_spread(np.arange(len(train)), few)]),
        trained_on=bool(seen(detector, train).all()),
        cases=looked_through() if cases else None,
        likely={k: (pixels[own[::-1][:few]], score[own[::-1][:few]]) for k, own in ranked.items()},
        unlikely={k: (pixels[own[:few]], score[own[:few]]) for k, own in ranked.items()},
        reconstructed={k: (pixels[rows], remade(rows)) for k, rows in spread.items()} if x_hat else {},
        generated=np.asarray(detector.generate(few)) if hasattr(detector, "generate") else None,
        generator=maker if isinstance(maker, HasSnapshots) else None,
        walk=np.asarray(detector.interpolate(*two)) if hasattr(detector, "interpolate") else None,
        paths={k: detector.path(np.array(pixels[middle[k]])) for k in middle} if hasattr(detector, "path") else {},
        networks=networks(detector),
    )


def generation(detector: Any, split: Split) -> Exhibits:
    """Return what shows what a fitted generator makes, beside training normals, without a look at the test."""
    normals, few = split.train.pixels, 12 if split.train.pixels[0].nbytes <= LARGE else 6
    maker = getattr(detector, "generator_", detector)
    return Exhibits(
        normals=np.array(normals[_spread(np.arange(len(normals)), few)]),
        trained_on=bool(seen(detector, normals).all()),
        cases=None,
        likely={},
        unlikely={},
        reconstructed={},
        generated=np.asarray(detector.generate(few)),
        generator=maker if isinstance(maker, HasSnapshots) else None,
        networks=networks(detector),
    )


def _cases(order: NDArray[np.intp], label: NDArray[np.int64], shrink: int) -> NDArray[np.intp]:
    """Return the most anomalous of `order`, some at evenly spaced ranks of the rest, and the anomalies found last."""
    first, rest = np.split(order, [MOST_ANOMALOUS // shrink])
    anomalies = rest[label[rest] == 1]
    missed = anomalies[max(0, len(anomalies) - MISSED // shrink) :]
    others = _spread(rest[~np.isin(rest, missed)], (MISSED + SPREAD) // shrink - len(missed))
    return np.concatenate([first, rest[np.isin(rest, [*missed, *others])]])


def _spread(index: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """Return `count` of the entries, the first and the last among them."""
    return index[spread(len(index), count)]


def spread(count: int, most: int) -> NDArray[np.intp]:
    """Return `most` rows of so many, evenly over them, or all."""
    return np.linspace(0, count - 1, min(count, most)).astype(int)
