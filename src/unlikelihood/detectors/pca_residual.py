"""The residual of a principal component analysis."""

import warnings
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.blocks import HELD, IN_MEMORY, by_blocks, flat_blocks
from unlikelihood.contract.reconstructor import Reconstructor
from unlikelihood.parameters import Count
from unlikelihood.training.alarms import NothingLearnt

ROUNDING = 1e-24  # share of a squared length that is no more than rounding in float64
WIDEST_COVARIANCE = 1000  # features up to which scikit-learn takes the axes of many samples from their covariance

# Passes of an iteration over the samples, and axes beside those that are kept: as scikit-learn has it.
PASSES, BESIDE = 8, 10


class PCAResidual(Reconstructor):
    r"""Scores a sample by its squared distance to the principal subspace of the training samples.

    .. math:: -\lVert (x - \mu) - W W^\top (x - \mu) \rVert_2^2

    Parameters
    ----------
    n_components : int
        Dimensions of the subspace; at most one fewer than features, which leaves a residual, and than samples.

    References
    ----------
    Jackson and Mudholkar, "Control procedures for residuals associated with principal component analysis", 1979.
    """

    n_components: Count = 50

    def _fit(self, X: np.ndarray) -> None:
        n, d = len(X), X[0].size
        if n < 2:
            raise ValueError("PCAResidual learns how samples vary: X has n_samples=1, expected at least 2")
        kept = min(self.n_components, n - 1, d - 1)
        self.mean_, self.axes_ = principal_axes(X, kept, self.seed)
        left = -self._score(X).min()
        if kept < n - 1 and left <= ROUNDING * by_blocks(self._length, X, np.float64).max():
            warnings.warn(
                f"PCAResidual: {kept} components leave nothing of the normals but rounding, so the scores of normals "
                "are noise; lower n_components",
                NothingLearnt,
                stacklevel=3,
            )

    @override
    def reconstruct(self, X: np.ndarray) -> np.ndarray:
        """Return the samples' projections onto the subspace, in the samples' shape."""
        X = self._checked(X, reset=False)
        return by_blocks(self._projected, X, np.float64).reshape(X.shape)

    def _score(self, X: np.ndarray) -> np.ndarray:
        return by_blocks(self._score_flat, X, np.float64)

    @override
    def _score_tensor(self, x: Tensor) -> Tensor:
        return residual(x.flatten(1).double(), torch.from_numpy(self.mean_), torch.from_numpy(self.axes_))

    def _score_flat(self, x: np.ndarray) -> np.ndarray:
        return residual(x, self.mean_, self.axes_)

    def _projected(self, x: np.ndarray) -> np.ndarray:
        return ((x - self.mean_) @ self.axes_.T @ self.axes_ + self.mean_).astype(np.float32)

    def _length(self, x: np.ndarray) -> np.ndarray:
        return np.square(x - self.mean_).sum(axis=1)


def residual(x: Any, mean: Any, axes: Any) -> Any:
    """Return minus the squared distances (n,) of vectors (n, D), all arrays or all tensors, to the subspace."""
    centred = x - mean
    return -((centred - centred @ axes.T @ axes) ** 2).sum(1)


def principal_axes(X: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean (D,) of samples and the first `count` eigenvectors of their covariance, (count, D).

    Where there are so many samples that scikit-learn takes them from the covariance, that is summed up in blocks. What
    has no such covariance and takes more than 256 MiB is passed over in blocks too, by `iterated`.
    """
    n, d = len(X), X[0].size
    wide = d > WIDEST_COVARIANCE or n < 10 * d
    if n * d <= HELD or (wide and n * d * 8 <= IN_MEMORY):
        pca = PCA(count, random_state=seed).fit(np.asarray(X, np.float64).reshape(n, d))
        return pca.mean_, pca.components_
    if wide:
        return iterated(X, count, seed)
    origin = next(flat_blocks(X, np.float64)).mean(axis=0)
    total, products = np.zeros(d), np.zeros((d, d))
    for block in flat_blocks(X, np.float64):
        centred = block - origin
        total += centred.sum(axis=0)
        products += centred.T @ centred
    shift = total / n
    axes = np.linalg.eigh(products / n - np.outer(shift, shift))[1]
    return origin + shift, np.ascontiguousarray(axes.T[::-1][:count])


def iterated(X: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the principal axes by subspace iteration, which holds a few axes and a block of samples.

    References
    ----------
    Halko, Martinsson and Tropp, "Finding structure with randomness", 2011, algorithms 4.4 and 5.3.
    """
    n, d = len(X), X[0].size
    mean = sum(x.sum(axis=0) for x in flat_blocks(X, np.float64)) / n
    subspace = np.random.default_rng(seed).normal(size=(d, min(count + BESIDE, d)))
    for _ in range(PASSES):
        axes = np.linalg.qr(subspace)[0]
        subspace = np.zeros_like(axes)
        for x in flat_blocks(X, np.float64):
            x -= mean
            subspace += x.T @ (x @ axes)
    rotation = np.linalg.eigh(axes.T @ subspace)[1]
    return mean, np.ascontiguousarray((axes @ rotation).T[::-1][:count])
