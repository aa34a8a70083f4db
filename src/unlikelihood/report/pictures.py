"""The few samples that a person wants to see, chosen from thousands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from unlikelihood.data.splits import Split


@runtime_checkable
class _Generates(Protocol):
    def generate(self, n: int) -> NDArray[Any]: ...


@runtime_checkable
class _Reconstructs(Protocol):
    def reconstruct(self, X: NDArray[Any]) -> NDArray[Any]: ...


@runtime_checkable
class _KeepsAnAlbum(Protocol):
    quality_: Mapping[str, float | None]
    alarms_: tuple[str, ...]

    def album(self) -> NDArray[Any]: ...


@dataclass(frozen=True, eq=False)
class Pictures:
    """The few samples that a report shows.

    Parameters
    ----------
    train : ndarray, shape (k, *shape)
        Normals that the detector was fitted to.
    likely, unlikely : dict of int to (ndarray (k, *shape), ndarray (k,))
        By true label, the test samples that the detector finds most and least likely, with their scores.
    generated : ndarray, shape (k, *shape), optional
        What the detector generates, if it can.
    reconstructed : dict of int to (ndarray (k, *shape), ndarray (k, *shape))
        By true label, test samples at evenly spaced ranks and their reconstructions; empty if it cannot.
    album : ndarray, shape (pages, k, *shape), optional
        What its adversarial generator made of the same latents at several moments of training.
    quality : dict of str to float
        The figures of that generator: see `generation.Quality`.
    alarms : tuple of str
        What is wrong with it.
    """

    train: NDArray[Any]
    likely: Mapping[int, tuple[NDArray[Any], NDArray[np.float64]]]
    unlikely: Mapping[int, tuple[NDArray[Any], NDArray[np.float64]]]
    generated: NDArray[Any] | None = None
    reconstructed: Mapping[int, tuple[NDArray[Any], NDArray[Any]]] = field(default_factory=dict)
    album: NDArray[Any] | None = None
    quality: Mapping[str, float | None] = field(default_factory=dict)
    alarms: tuple[str, ...] = ()


def choose(detector: object, split: Split, label: NDArray[np.int64], score: NDArray[np.float64]) -> Pictures:
    """Return the samples that show best what a detector does, whatever the order of the test samples.

    Parameters
    ----------
    detector : detector
        Asked to `generate` and to `reconstruct` if it can.
    split : Split
        Where the samples come from.
    label : ndarray, shape (n,)
        0 for normal, 1 for anomalous, of the test samples.
    score : ndarray, shape (n,)
        Their scores, higher = more normal.

    Returns
    -------
    Pictures
    """
    pixels, train = split.test.pixels, split.train.pixels
    few = 12 if pixels[0].nbytes <= 2**20 else 6  # a hundred large volumes would not fit beside the detector
    ranked = {k: (own := np.flatnonzero(label == k))[np.argsort(score[own], kind="stable")[::-1]] for k in (0, 1)}
    reconstructed = {}
    if isinstance(detector, _Reconstructs):
        for k, order in ranked.items():
            chosen = pixels[_spread(order, 6)]
            reconstructed[k] = (chosen, np.asarray(detector.reconstruct(chosen)))
    maker = getattr(detector, "generator_", detector)
    kept = maker if isinstance(maker, _KeepsAnAlbum) else None
    return Pictures(
        train=np.array(train[_spread(np.arange(len(train)), few)]),
        likely={k: (pixels[order[:few]], score[order[:few]]) for k, order in ranked.items()},
        unlikely={k: (pixels[order[::-1][:few]], score[order[::-1][:few]]) for k, order in ranked.items()},
        generated=np.asarray(detector.generate(few)) if isinstance(detector, _Generates) else None,
        reconstructed=reconstructed,
        album=None if kept is None else kept.album(),
        quality=kept.quality_ if kept else {},
        alarms=kept.alarms_ if kept else (),
    )


def _spread(index: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    return index[np.linspace(0, len(index) - 1, min(count, len(index))).astype(int)]
