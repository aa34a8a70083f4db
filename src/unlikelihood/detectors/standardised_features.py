"""Any detector on features whose units do not matter."""

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.blocks import blocks
from unlikelihood.contract.wrapper import Preprocessed

ROUNDING = 8  # units in the last place, within which the values of a feature are one value


class StandardisedFeatures(Preprocessed):
    r"""Brings every feature to mean 0 and standard deviation 1 among the normals, and scores by a detector of those.

    .. math:: x'_j = \frac{x_j - \mu_j}{\sigma_j}

    A distance between rows of a table is otherwise that of the feature with the largest numbers, whatever its unit.
    Of images and volumes each channel is a feature. A feature that is constant keeps its unit.

    Parameters
    ----------
    detector : Detector
        What is fitted to the standardised samples.

    Attributes
    ----------
    location_, scale_ : ndarray of float64, shape (features,)
        Mean and standard deviation of each feature, in its unit.

    Examples
    --------
    >>> from unlikelihood import KNN
    >>> X = np.random.default_rng(0).normal(size=(50, 2))
    >>> detector, other = StandardisedFeatures(KNN()).fit(X), StandardisedFeatures(KNN()).fit(X * [1, 1000])
    >>> np.allclose(detector.score_samples([[3, 0]]), other.score_samples([[3, 0]]), rtol=1e-4)
    True
    """

    def _fit(self, X: np.ndarray) -> None:
        axes, n = (0, *range(2, X.ndim)), X.size // X.shape[1]
        self.location_ = sum(np.sum(block, axes, dtype=np.float64) for block in blocks(X)) / n
        away = self.location_.reshape(-1, *[1] * (X.ndim - 2))
        deviation = np.sqrt(sum(np.square(block - away).sum(axes) for block in blocks(X)) / n)
        precision = np.finfo(X.dtype if X.dtype.kind == "f" else np.float32).eps
        self.scale_ = np.where(deviation > ROUNDING * precision * np.abs(self.location_), deviation, 1.0)
        super()._fit(X)

    @override
    def preprocess(self, x: Tensor) -> Tensor:
        each = (-1, *[1] * (x.ndim - 2))
        location, scale = (
            torch.from_numpy(known).to(x.device).reshape(each) for known in (self.location_, self.scale_)
        )
        return ((x.double() - location) / scale).float()
