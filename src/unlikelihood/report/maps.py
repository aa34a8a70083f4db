"""Where in a sample the anomaly is, and which training normals it is nearest to."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

BLOCK = 2**24  # values held at once, besides what the caller holds


@runtime_checkable
class Reconstructs(Protocol):
    """A detector that can say what it would have expected of a sample."""

    def reconstruct(self, X: NDArray[Any]) -> NDArray[Any]: ...  # noqa: D102


@runtime_checkable
class Differentiable(Protocol):
    """A detector whose score can be differentiated: one with a network."""

    def score_batch(self, x: Any) -> Any: ...  # noqa: D102 - see Trained
    def batches(self, X: NDArray[Any], title: str) -> Any: ...  # noqa: D102


@dataclass(frozen=True)
class Map(ABC):
    """What makes a picture of the anomaly in each sample."""

    def __call__(self, detector: Any, X: NDArray[Any]) -> NDArray[np.float32]:
        r"""Return the anomaly of each pixel or voxel.

        Parameters
        ----------
        detector : detector
            Fitted.
        X : ndarray, shape (n, C, \*space) or (n, F)
            Samples.

        Returns
        -------
        ndarray of float32, shape (n, \*space) or (n, F)
            Higher = more anomalous, averaged over the channels, in the unit that the class names.

        Raises
        ------
        TypeError
            If the detector lacks what the map is made of.
        """
        values = self._map(detector, X)
        return np.asarray(values.mean(axis=1) if values.ndim > 2 else values, np.float32)

    @abstractmethod
    def _map(self, detector: Any, X: NDArray[Any]) -> NDArray[Any]:
        r"""Return (n, C, \*space) or (n, F), higher = more anomalous."""


@dataclass(frozen=True)
class Residual(Map):
    r"""How far each pixel is from the detector's reconstruction, in the unit of intensity.

    .. math:: \lvert x_i - \hat x_i \rvert
    """

    def _map(self, detector: Any, X: NDArray[Any]) -> NDArray[Any]:
        return np.abs(_residual(detector, X))


@dataclass(frozen=True, eq=False)
class _AgainstNormals(Map):
    """A map that knows the residual that normals have at each pixel; `of` makes it.

    Parameters
    ----------
    mean, deviation : ndarray, shape (C, *space) or (F,)
        Of the residuals of normals, in the unit of intensity.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def of(cls, detector: Any, normals: NDArray[Any], ridge: float = 0.1) -> Self:
        r"""Return the map that compares with the residuals of `normals`.

        Parameters
        ----------
        detector : detector
            Fitted; it must `reconstruct`.
        normals : ndarray, shape (n, C, \*space) or (n, F)
            Normal samples, best those that training never saw: its own are reconstructed too well.
        ridge : float
            Added to the variance of each pixel, as a share of the mean variance, so that a pixel that is always
            reconstructed perfectly does not decide everything.

        Returns
        -------
        Map
        """
        residual = _residual(detector, normals)
        variance = residual.var(axis=0, dtype=np.float64)
        # Where all is reconstructed to the bit, any residual at all is infinitely unusual; it is drawn as large.
        floor = max(ridge * float(variance.mean()), np.finfo(np.float32).tiny)
        return cls(residual.mean(axis=0, dtype=np.float64), np.sqrt(variance + floor))

    def _unusual(self, detector: Any, X: NDArray[Any]) -> NDArray[np.float64]:
        return (_residual(detector, X) - self.mean) / self.deviation


@dataclass(frozen=True, eq=False)
class WhitenedResidual(_AgainstNormals):
    r"""How unusual each pixel's residual is, in standard deviations of the residuals of normals there.

    .. math:: \frac{\lvert x_i - \hat x_i - \mu_i \rvert}{\sigma_i}

    Edges that are always reconstructed badly fade; what normals never show stands out.
    """

    def _map(self, detector: Any, X: NDArray[Any]) -> NDArray[Any]:
        return np.abs(self._unusual(detector, X))


@dataclass(frozen=True, eq=False)
class PixelLikelihood(_AgainstNormals):
    r"""How unlikely each pixel is given the reconstruction, in nats.

    .. math:: -\log N(x_i; \hat x_i + \mu_i, \sigma_i^2)
              = \frac{(x_i - \hat x_i - \mu_i)^2}{2 \sigma_i^2} + \log \sigma_i + \tfrac12 \log 2 \pi

    with the mean and variance that the residuals of normals have at that pixel. The sum over the pixels is −log p(x)
    under independent pixels.
    """

    def _map(self, detector: Any, X: NDArray[Any]) -> NDArray[Any]:
        return self._unusual(detector, X) ** 2 / 2 + np.log(self.deviation) + np.log(2 * np.pi) / 2


@dataclass(frozen=True)
class Gradient(Map):
    r"""How strongly the score reacts to each pixel, in units of the score per unit of intensity.

    .. math:: \left\lvert \frac{\partial s(x)}{\partial x_i} \right\rvert

    It needs a network but no reconstruction. It shows what the score attends to, which need not be the lesion.

    References
    ----------
    Simonyan, Vedaldi & Zisserman (2014), "Deep inside convolutional networks", section 3.
    """

    def _map(self, detector: Any, X: NDArray[Any]) -> NDArray[Any]:
        if not isinstance(detector, Differentiable):
            raise TypeError(f"detector is {type(detector).__name__}, expected one with a network to differentiate")
        import torch  # only here: judging scores needs no torch

        gradients = []
        for x in detector.batches(X, ""):
            x = x.detach().clone().requires_grad_(True)
            # The score of a sample depends on it alone, so the gradient of the sum holds that of each.
            (gradient,) = torch.autograd.grad(detector.score_batch(x).sum(), x)
            gradients.append(gradient.abs().cpu().numpy())
        return np.concatenate(gradients)


def suitable(detector: Any, normals: NDArray[Any]) -> Map | None:
    r"""Return the most telling map that a detector can make.

    Parameters
    ----------
    detector : detector
        Fitted.
    normals : ndarray, shape (n, C, \*space) or (n, F)
        Normal samples to compare with, best those that training never saw.

    Returns
    -------
    Map or None
        `WhitenedResidual` where it reconstructs, `Gradient` where it only has a network, otherwise None.
    """
    if isinstance(detector, Reconstructs):
        return WhitenedResidual.of(detector, normals)
    return Gradient() if isinstance(detector, Differentiable) else None


def common_scale(maps: NDArray[Any], share: float = 0.995) -> float:
    """Return the value to draw as the strongest colour, for all maps alike.

    Parameters
    ----------
    maps : ndarray, shape (n, *space)
        Maps of normals: what exceeds the scale is then rare among them.
    share : float
        Share of their pixels that lies below it, in [0, 1].

    Returns
    -------
    float
        Above 0, in the unit of the maps.
    """
    return float(np.quantile(maps, share)) or 1.0


def nearest(train: NDArray[Any], X: NDArray[Any], count: int = 3) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    r"""Return the training normals that look most like each sample.

    Parameters
    ----------
    train : ndarray, shape (m, \*shape)
        Training normals; a memory map is read in blocks.
    X : ndarray, shape (n, \*shape)
        Samples.
    count : int
        How many, at least 1; fewer if there are fewer.

    Returns
    -------
    index : ndarray of int, shape (n, count)
        Rows of `train`, the nearest first.
    distance : ndarray of float64, shape (n, count)
        Euclidean, in the unit of intensity.

    Raises
    ------
    ValueError
        If `count` is below 1 or the shapes differ.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    if train.shape[1:] != X.shape[1:]:
        raise ValueError(f"X has samples of shape {X.shape[1:]}, expected {train.shape[1:]} as in train")
    flat = np.asarray(X, np.float64).reshape(len(X), -1)
    squared = np.empty((len(X), len(train)))
    step = max(1, BLOCK // max(1, flat.shape[1]))
    for start in range(0, len(train), step):
        block = np.asarray(train[start : start + step], np.float64).reshape(-1, flat.shape[1])
        squared[:, start : start + step] = (flat**2).sum(1)[:, None] - 2 * flat @ block.T + (block**2).sum(1)
    index = np.argsort(squared, axis=1, kind="stable")[:, :count]
    return index, np.sqrt(np.maximum(np.take_along_axis(squared, index, axis=1), 0))


def _residual(detector: Any, X: NDArray[Any]) -> NDArray[np.float64]:
    if not isinstance(detector, Reconstructs):
        raise TypeError(f"detector is {type(detector).__name__}, expected one that can reconstruct")
    return np.asarray(X, np.float64) - detector.reconstruct(X)
