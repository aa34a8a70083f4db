"""Nearest neighbours in pixel space."""

import numpy as np
from sklearn.neighbors import NearestNeighbors

from unlikelihood.contract.blocks import by_blocks
from unlikelihood.contract.detector import Detector
from unlikelihood.parameters import Count


class KNN(Detector):
    r"""Scores a sample by its mean Euclidean distance to the nearest training samples.

    .. math:: -\frac{1}{k} \sum_{j=1}^{k} \lVert x - x_{(j)} \rVert_2

    Parameters
    ----------
    n_neighbors : int
        k; fewer if there are fewer training samples.

    References
    ----------
    Ramaswamy, Rastogi and Shim, "Efficient algorithms for mining outliers from large data sets", 2000.
    """

    n_neighbors: Count = 5

    def _fit(self, X: np.ndarray) -> None:
        self.train_ = np.ascontiguousarray(X.reshape(len(X), -1), np.float32)

    def _restore(self) -> None:
        self._index = NearestNeighbors(n_neighbors=min(self.n_neighbors, len(self.train_))).fit(self.train_)

    def _score(self, X: np.ndarray) -> np.ndarray:
        return by_blocks(lambda x: -self._index.kneighbors(x)[0].mean(axis=1), X)
