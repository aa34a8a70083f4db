"""Where in a sample the anomaly is, and which normals it is nearest to.

A map has a value for each pixel or voxel, (n, *space) or (n, F), averaged over the channels; higher = more anomalous.
"""

from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

BLOCK = 2**24  # values held at once, besides what the caller holds
SHOWN = 0.995  # share of the pixels of normals that lie below the strongest colour


@runtime_checkable
class Differentiable(Protocol):
    """A detector whose score can be differentiated: one with a network."""

    def score_batch(self, x: Any) -> Any: ...  # noqa: D102
    def batches(self, X: NDArray[Any], title: str) -> Any: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class Maps:
    """Maps of samples, to be drawn on one scale.

    Parameters
    ----------
    values : ndarray of float32, shape (n, *space) or (n, F)
    scale : float
        The strongest colour, above 0: 0.5 % of the pixels of normals exceed it.
    meaning : str
        What a bright pixel is.
    unit : str
        Of the values.
    """

    values: NDArray[np.float32]
    scale: float
    meaning: str
    unit: str


@dataclass(frozen=True, eq=False)
class Whitening:
    r"""How unusual each residual is, in standard deviations of the residuals that normals have at that pixel.

    .. math:: \frac{\lvert x_i - \hat x_i - \mu_i \rvert}{\sigma_i}

    Edges that are always reconstructed badly fade; what normals never show stands out.

    Parameters
    ----------
    mean, deviation : ndarray, shape (C, *space) or (F,)
        Of the residuals of normals, in the unit of intensity.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def of(cls, residual: NDArray[np.float64], ridge: float = 0.1) -> Self:
        """Return the whitening by residuals (n, C, *space) or (n, F) of normals, best such as training never saw.

        `ridge` is added to the variance of each pixel, as a share of the mean variance, so that a pixel that is always
        reconstructed perfectly does not decide everything.
        """
        variance = residual.var(axis=0)
        # Where all is reconstructed to the bit, any residual at all is infinitely unusual; it is drawn as large.
        floor = max(ridge * float(variance.mean()), float(np.finfo(np.float32).tiny))
        return cls(residual.mean(axis=0), np.sqrt(variance + floor))

    def __call__(self, residual: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the maps of samples from their residuals x - x̂."""
        return _over_channels(np.abs(residual - self.mean) / self.deviation)


def gradient(detector: Differentiable, X: NDArray[Any]) -> NDArray[np.float32]:
    r"""Return how strongly the score reacts to each pixel, in units of the score per unit of intensity.

    .. math:: \left\lvert \frac{\partial s(x)}{\partial x_i} \right\rvert

    It shows what the score attends to, which need not be the lesion (Simonyan, Vedaldi & Zisserman, 2014, "Deep inside
    convolutional networks", section 3).
    """
    import torch  # only here: judging scores needs no torch

    gradients = []
    for x in detector.batches(X, ""):
        x = x.detach().clone().requires_grad_(True)
        # The score of a sample depends on it alone, so the gradient of the sum holds that of each.
        (slope,) = torch.autograd.grad(detector.score_batch(x).sum(), x)
        gradients.append(slope.abs().cpu().numpy())
    return _over_channels(np.concatenate(gradients))


def maps_of(detector: object, X: NDArray[Any], x_hat: NDArray[Any] | None, normals: NDArray[Any]) -> Maps | None:
    r"""Return the most telling maps that a detector can make of samples (n, \*shape), or None.

    Whitened residuals where it reconstructs (`x_hat`), against `normals` (m, \*shape) that training best never saw, for
    its own are reconstructed too well; the gradient where it only has a network.
    """
    if x_hat is not None and hasattr(detector, "reconstruct"):
        left_over = np.asarray(normals, np.float64) - detector.reconstruct(normals)
        whitened = Whitening.of(left_over)
        unit = "standard deviations of what normals leave over there"
        values = whitened(np.asarray(X, np.float64) - x_hat)
        return Maps(values, common_scale(whitened(left_over)), "unusual", unit)
    if isinstance(detector, Differentiable):
        scale = common_scale(gradient(detector, normals))
        return Maps(gradient(detector, X), scale, "the score reacts", "of score a unit of intensity")
    return None


def common_scale(maps: NDArray[Any]) -> float:
    """Return the value to draw as the strongest colour, above 0, from maps of normals."""
    return float(np.quantile(maps, SHOWN)) or 1.0


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


def _over_channels(values: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(values.mean(axis=1) if values.ndim > 2 else values, np.float32)
