"""The cases that a person can look through: what is unusual about each, and what it should have looked like."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlikelihood.data.splits import Split
from unlikelihood.report.maps import Reconstructs, common_scale, nearest, suitable

MOST_ANOMALOUS, MISSED, SPREAD, NEIGHBOURS = 12, 4, 8, 3
NORMALS = 200  # enough to know the residual of a pixel by


@dataclass(frozen=True, eq=False)
class Cases:
    """Test samples in the order of their scores, the most anomalous first.

    Parameters
    ----------
    index : ndarray of int, shape (k,)
        Which test samples they are.
    pixels : ndarray, shape (k, *shape)
        The samples.
    nearest : ndarray, shape (k, m, *shape)
        The training normals that look most like each, the nearest first.
    distance : ndarray of float64, shape (k, m)
        How far they are: Euclidean, in the unit of intensity.
    reconstructed : ndarray, shape (k, *shape), optional
        What the detector makes of them, if it can.
    maps : ndarray, shape (k, *space), optional
        Where they are anomalous, if it can say.
    scale : float
        Value of the maps that is drawn as the strongest colour; it is exceeded by 0.5 % of the pixels of normals.
    kind : str
        What the maps show: the name of their class.
    """

    index: NDArray[np.intp]
    pixels: NDArray[Any]
    nearest: NDArray[Any]
    distance: NDArray[np.float64]
    reconstructed: NDArray[Any] | None = None
    maps: NDArray[np.float32] | None = None
    scale: float = 1.0
    kind: str = ""


def choose_cases(detector: Any, split: Split, score: NDArray[np.float64]) -> Cases:
    """Return the most anomalous test samples, after them some at evenly spaced ranks, and the anomalies found last.

    Parameters
    ----------
    detector : detector
        Asked to `reconstruct` and for the map that it can make.
    split : Split
        Where the samples come from.
    score : ndarray, shape (n,)
        Of the test samples, higher = more normal.

    Returns
    -------
    Cases
    """
    pixels, train = split.test.pixels, split.train.pixels
    # A page of large volumes would not open, and they would not fit beside the detector.
    shrink = 1 if pixels[0].nbytes <= 2**20 else 3
    order = np.argsort(score, kind="stable")
    first, rest = np.split(order, [MOST_ANOMALOUS // shrink])
    anomalies = rest[np.asarray(split.test.label)[rest] == 1]
    missed = anomalies[max(0, len(anomalies) - MISSED // shrink) :]
    others = _spread(rest[~np.isin(rest, missed)], (MISSED + SPREAD) // shrink - len(missed))
    index = np.concatenate([first, rest[np.isin(rest, [*missed, *others])]])
    chosen = np.array(pixels[index])
    normals = split.calibration.pixels if len(split.calibration) else train
    normals = np.array(normals[_spread(np.arange(len(normals)), NORMALS // shrink)])
    map_ = suitable(detector, normals)
    neighbours, distance = nearest(train, chosen, NEIGHBOURS)
    return Cases(
        index=index,
        pixels=chosen,
        nearest=np.array([train[row] for row in neighbours]),
        distance=distance,
        reconstructed=np.asarray(detector.reconstruct(chosen)) if isinstance(detector, Reconstructs) else None,
        maps=None if map_ is None else map_(detector, chosen),
        scale=1.0 if map_ is None else common_scale(map_(detector, normals)),
        kind="" if map_ is None else type(map_).__name__,
    )


def _spread(index: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    return index[np.linspace(0, len(index) - 1, min(count, len(index))).astype(int)]
