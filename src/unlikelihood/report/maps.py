"""Where in a sample the anomaly is, and which normals it is nearest to.

Maps are drawn in standard deviations of those that normals have at a place, so that of any kind of map the bright spots
are what is unusual.
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from unlikelihood.contract.maps import RESIDUAL, MapKind, Whitening, residual

BLOCK = 2**24  # values held at once, besides what the caller holds
FEW = 8  # normals whose maps are enough where each is slow
SHOWN = 0.995  # share of the pixels that lie below the strongest colour
UNIT = "standard deviations above what normals have there"


@runtime_checkable
class Locates(Protocol):
    """A detector of this package, which says where a sample is anomalous."""

    @property
    def map_kind(self) -> MapKind: ...  # noqa: D102
    def anomaly_map(self, X: NDArray[Any]) -> NDArray[Any]: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class Maps:
    """Maps of samples, to be drawn on one scale.

    Parameters
    ----------
    values : ndarray of float32, shape (n, *space) or (n, F)
    scale : float
        The strongest colour, above 0: at most 0.5 % of the pixels exceed it, of these samples and of normals.
    kind : str
        What they are maps of.
    unit : str
        Of the values.
    """

    values: NDArray[np.float32]
    scale: float
    kind: str
    unit: str


def maps_of(detector: object, X: NDArray[Any], x_hat: NDArray[Any] | None, normals: NDArray[Any]) -> Maps | None:
    r"""Return the maps of samples (n, \*shape), in standard deviations of those of normals, or None.

    They are a detector's own, the score attributed to places, or what a detector of another library leaves over that
    reconstructs (`x_hat`). The `normals` (m, \*shape) are best such as training never saw, for its own are
    reconstructed too well; of a score that is attributed, which is slow, a few of them do.
    """
    kind = detector.map_kind if isinstance(detector, Locates) else RESIDUAL
    normals = enough(normals, kind)
    if x_hat is not None and kind == RESIDUAL and hasattr(detector, "reconstruct"):
        of_normals, found = residual(normals, detector.reconstruct(normals)), residual(X, x_hat)
    elif isinstance(detector, Locates):
        of_normals, found = detector.anomaly_map(normals), detector.anomaly_map(X)
    else:
        return None
    whiten = Whitening.of(of_normals)
    values = whiten(found)
    return Maps(values, max(common_scale(whiten(of_normals)), common_scale(values)), str(kind), UNIT)


def enough(normals: NDArray[Any], kind: MapKind) -> NDArray[Any]:
    """Return as many of some normals as are mapped, to know what is unusual: few of them where each map is slow."""
    return normals if kind.own else normals[:: max(1, len(normals) // FEW)]


def common_scale(maps: NDArray[Any]) -> float:
    """Return the value to draw as the strongest colour, above 0, from maps."""
    return max(0.0, float(np.quantile(maps, SHOWN))) or 1.0


def nearest_normals(
    normals: NDArray[Any], X: NDArray[Any], count: int = 3
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    r"""Return the normals that look most like each sample.

    Parameters
    ----------
    normals : ndarray, shape (m, \*shape)
        A memory map is read in blocks.
    X : ndarray, shape (n, \*shape)
        Samples.
    count : int
        How many, at least 1; fewer if there are fewer.

    Returns
    -------
    index : ndarray of int, shape (n, count)
        Rows of `normals`, the nearest first.
    distance : ndarray of float64, shape (n, count)
        Euclidean, in the unit of intensity.

    Raises
    ------
    ValueError
        If `count` is below 1 or the shapes differ.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    if normals.shape[1:] != X.shape[1:]:
        raise ValueError(f"X has samples of shape {X.shape[1:]}, expected {normals.shape[1:]} as in normals")
    flat = np.asarray(X, np.float64).reshape(len(X), -1)
    squared, index = np.empty((len(X), 0)), np.empty((len(X), 0), np.intp)
    step = max(1, BLOCK // max(1, flat.shape[1]))
    for start in range(0, len(normals), step):
        block = np.asarray(normals[start : start + step], np.float64).reshape(-1, flat.shape[1])
        found = (flat**2).sum(1)[:, None] - 2 * flat @ block.T + (block**2).sum(1)
        rows = np.broadcast_to(np.arange(start, start + len(block)), found.shape)
        squared, index = np.hstack([squared, found]), np.hstack([index, rows])
        best = np.argsort(squared, axis=1, kind="stable")[:, :count]
        squared, index = np.take_along_axis(squared, best, axis=1), np.take_along_axis(index, best, axis=1)
    return index, np.sqrt(np.maximum(squared, 0))
