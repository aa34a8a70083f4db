r"""Where in a sample the anomaly is: maps of one value a place, higher = more anomalous.

A map is (n, \*space) of images and volumes and (n, F) of vectors. A detector that looks at places has a map of its own;
the score of any other is attributed to places, by its gradient or by what it becomes where they are covered.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import islice, product
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

PLACES = {1: 64, 2: 10, 3: 5}  # along each of so many axes, that are covered in turn
HELD = 2**21  # values of covered samples that are scored at once
POOLED = 20  # normals that what all places have in common counts for

Floats = NDArray[np.float32]
Score = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True)
class MapKind:
    """What the values of a detector's maps are.

    Parameters
    ----------
    words : str
        In a few words, such as "residual of the reconstruction".
    unit : str
        Of the values.
    own : bool
        Whether the detector itself looks at places; otherwise its score was attributed to them.
    """

    words: str
    unit: str
    own: bool = True

    def __str__(self) -> str:
        return self.words


RESIDUAL = MapKind("residual of the reconstruction", "of intensity")
GRADIENT = MapKind("gradient of the score", "of score a unit of intensity", own=False)
OCCLUSION = MapKind("rise of the score where a place is covered", "of score", own=False)


def over_channels(values: NDArray[Any]) -> Floats:
    r"""Return the mean over the channels of (n, C, \*space), (n, \*space); vectors (n, F) as they are."""
    return np.asarray(values.mean(axis=1) if values.ndim > 2 else values, np.float32)


def residual(X: NDArray[Any], x_hat: NDArray[Any]) -> Floats:
    r"""Return abs(x - x̂), the mean over the channels, in the unit of the samples (n, \*shape)."""
    return over_channels(np.abs(np.asarray(X, np.float64) - x_hat))


def gradient(score_batch: Callable[[Any], Any], batches: Iterable[Any]) -> Floats:
    r"""Return how strongly the score reacts to each place, in units of the score per unit of intensity.

    .. math:: \left\lvert \frac{\partial s(x)}{\partial x_i} \right\rvert

    Of a density it is large where the sample is far from what is likely. Of other scores it shows what they attend to,
    which need not be the anomaly (Simonyan, Vedaldi & Zisserman, 2014, "Deep inside convolutional networks",
    section 3).
    """
    import torch  # only here: judging scores needs no torch

    gradients = []
    for batch in batches:
        x = batch.detach().clone().requires_grad_(True)
        # The score of a sample depends on it alone, so the gradient of the sum holds that of each.
        (slope,) = torch.autograd.grad(score_batch(x).sum(), x)
        gradients.append(slope.abs().cpu().numpy())
    return over_channels(np.concatenate(gradients))


def occlusion(score: Score, X: NDArray[Any], typical: NDArray[Any] | None = None) -> Floats:
    r"""Return how much the score rises where a place is covered by what surrounds it, in units of the score.

    .. math:: \sum_w h_w(i) \, \bigl(s(x^{(w)}) - s(x)\bigr), \qquad \sum_w h_w(i) = 1

    In x⁽ʷ⁾ a window w with a soft edge has the mean of the frame around it; of a vector each feature, or a few
    neighbours, has its `typical` value. Between the middles of the windows the map is linear. It works for any score,
    and takes one for each of up to 64 windows of a vector, 100 of an image and 125 of a volume (Zeiler & Fergus, 2014,
    "Visualizing and understanding convolutional networks", section 4.2).

    Parameters
    ----------
    score : callable
        Maps samples (m, \*shape) to scores (m,), higher = more normal.
    X : ndarray, shape (n, \*shape)
    typical : ndarray, shape (F,), optional
        Of vectors.
    """
    space = X.shape[2:] or X.shape[1:]
    hats = [hat_functions(length, _places(length, len(space))) for length in space]
    windows = math.prod(map(len, hats))
    covered = (changed for x in X for changed in _covered(np.asarray(x, np.float32), hats, typical))
    at_once = max(1, HELD // max(1, X[:1].size))
    scores = [score(np.stack(some)) for some in _chunks(covered, at_once)]
    rise = np.concatenate(scores).reshape(len(X), windows) - np.asarray(score(X))[:, None]
    return np.asarray(
        reduce(lambda left, hat: np.tensordot(left, hat, (1, 0)), hats, rise.reshape(len(X), *map(len, hats))),
        np.float32,
    )


def hat_functions(length: int, count: int) -> Floats:
    """Return `count` evenly spaced hat functions on the pixels of an axis, (count, length), which sum to 1.

    Beyond the middles of the first and the last, these are 1.
    """
    middles = (np.arange(count) + 0.5) * length / count
    at = np.clip(np.arange(length) + 0.5, middles[0], middles[-1])
    return np.asarray(np.maximum(0, 1 - np.abs(at - middles[:, None]) * count / length), np.float32)


def _places(length: int, axes: int) -> int:
    return min(PLACES[axes], length if axes == 1 else max(1, length // 2))


def _chunks(arrays: Iterator[Floats], size: int) -> Iterator[list[Floats]]:
    while some := list(islice(arrays, size)):
        yield some


def _covered(x: Floats, hats: list[Floats], typical: NDArray[Any] | None) -> Iterator[Floats]:
    """Yield copies of a sample, (C, *space) or (F,), in each of which another window is covered."""
    for place in product(*(range(len(hat)) for hat in hats)):
        changed = x.copy()
        near = tuple(_around(hat, number) for hat, number in zip(hats, place, strict=True))
        chosen = [hat[number][part] for hat, number, part in zip(hats, place, near, strict=True)]
        # Full in the middle and soft at the edge, so that no line is drawn that no normal has.
        window = reduce(np.multiply.outer, [np.minimum(1, 2 * hat) for hat in chosen])
        under: Any = (..., *near)
        inside = changed[under]
        if typical is not None:
            filling: Any = np.asarray(typical, np.float32)[under]
        else:
            frame = 1 - window
            axes = tuple(range(1, x.ndim))
            # A window that leaves no frame has its own mean.
            frame = frame if frame.sum() > 0 else np.ones_like(frame)
            filling = (inside * frame).sum(axes, keepdims=True) / frame.sum()
        changed[under] = inside + window * (filling - inside)
        yield changed


def _around(hat: Floats, number: int) -> slice:
    """Return the pixels under one of the hat functions and half as many again on either side."""
    under = np.flatnonzero(hat[number])
    more = len(under) // 4 + 1
    return slice(max(0, int(under[0]) - more), int(under[-1]) + 1 + more)


@dataclass(frozen=True, eq=False)
class Whitening:
    r"""How unusual each value of a map is, in standard deviations of the values that normals have there.

    .. math:: \frac{m_i - \mu_i}{\sigma_i}

    Edges that are always reconstructed badly fade; what normals never show stands out, and maps of different kinds can
    be added up.

    Parameters
    ----------
    mean, deviation : ndarray, shape (*space) or (F,)
        Of the maps of normals, in their unit.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def of(cls, maps: NDArray[Any]) -> Self:
        r"""Return the whitening by maps (n, \*space) or (n, F) of normals, best such as training never saw.

        The mean and the variance of a place are mixed with those of all places, which count for 20 normals: of few
        normals little is known about a single place, and one that is always reconstructed perfectly does not decide
        everything.
        """
        maps = np.asarray(maps, np.float64)
        own = len(maps) / (len(maps) + POOLED)
        mean = own * maps.mean(axis=0) + (1 - own) * maps.mean()
        variance = own * maps.var(axis=0) + (1 - own) * maps.var()
        # Where all is reconstructed to the bit, any residual at all is infinitely unusual; it is drawn as large.
        return cls(mean, np.sqrt(variance + np.finfo(np.float32).tiny))

    def __call__(self, maps: NDArray[Any]) -> Floats:
        """Return the whitened maps."""
        return np.asarray((maps - self.mean) / self.deviation, np.float32)
