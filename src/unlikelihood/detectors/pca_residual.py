"""The residual of a principal component analysis."""

import numpy as np
from sklearn.decomposition import PCA

from unlikelihood.contract.detector import Detector
from unlikelihood.parameters import Count


class PCAResidual(Detector):
    r"""Scores a sample by its squared distance to the principal subspace of the training samples.

    .. math:: -\lVert (x - \mu) - W W^\top (x - \mu) \rVert_2^2

    Parameters
    ----------
    n_components : int
        Dimensions of the subspace; fewer if samples or features are fewer.

    References
    ----------
    Jackson and Mudholkar, "Control procedures for residuals associated with principal component analysis", 1979.
    """

    n_components: Count = 50

    def _fit(self, X: np.ndarray) -> None:
        flat = np.asarray(X.reshape(len(X), -1), np.float64)
        pca = PCA(min(self.n_components, *flat.shape), random_state=self.seed).fit(flat)
        self.mean_ = pca.mean_
        self.axes_ = pca.components_

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
