"""The residual of a principal component analysis."""

import warnings

import numpy as np
from sklearn.decomposition import PCA

from unlikelihood.contract.detector import Detector
from unlikelihood.parameters import Count
from unlikelihood.training.alarms import NothingLearnt

ROUNDING = 1e-24  # share of a squared length that is no more than rounding in float64


class PCAResidual(Detector):
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
        flat = np.asarray(X.reshape(len(X), -1), np.float64)
        if len(flat) < 2:
            raise ValueError("PCAResidual learns how samples vary: X has n_samples=1, expected at least 2")
        kept = min(self.n_components, len(flat) - 1, flat.shape[1] - 1)
        pca = PCA(kept, random_state=self.seed).fit(flat)
        self.mean_ = pca.mean_
        self.axes_ = pca.components_
        left = -self._score(X).min()
        if kept < len(flat) - 1 and left <= ROUNDING * np.square(self._centred(X)).sum(axis=1).max():
            warnings.warn(
                f"PCAResidual: {kept} components leave nothing of the normals but rounding, so the scores of normals "
                "are noise; lower n_components",
                NothingLearnt,
                stacklevel=3,
            )

    def reconstruct(self, X: np.ndarray) -> np.ndarray:
        """Return the samples' projections onto the subspace, in the samples' shape."""
        X = self._checked(X, reset=False)
        return (self._centred(X) @ self.axes_.T @ self.axes_ + self.mean_).reshape(X.shape).astype(np.float32)

    def _score(self, X: np.ndarray) -> np.ndarray:
        centred = self._centred(X)
        residual = centred - centred @ self.axes_.T @ self.axes_
        return -np.square(residual).sum(axis=1)

    def _centred(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(X.reshape(len(X), -1), np.float64) - self.mean_
