"""Local outlier factor in pixel space."""

import numpy as np
from sklearn.neighbors import LocalOutlierFactor

from unlikelihood.contract.detector import Detector
from unlikelihood.parameters import Count


class LOF(Detector):
    """Scores a sample by how much sparser its neighbourhood is than those of its neighbours.

    Parameters
    ----------
    n_neighbors : int
        k, the size of a neighbourhood; fewer if there are fewer training samples.

    References
    ----------
    Breunig, Kriegel, Ng and Sander, "LOF: identifying density-based local outliers", 2000, definition 7.
    """

    n_neighbors: Count = 20

    def _fit(self, X: np.ndarray) -> None:
        if len(X) < 2:
            raise ValueError("LOF compares a sample with its neighbours: X has n_samples=1, expected at least 2")
        self.train_ = np.ascontiguousarray(X.reshape(len(X), -1), np.float32)

    def _restore(self) -> None:
        n_neighbors = min(self.n_neighbors, len(self.train_) - 1)
        self._lof = LocalOutlierFactor(n_neighbors=n_neighbors, novelty=True).fit(self.train_)

    def _score(self, X: np.ndarray) -> np.ndarray:
        return self._lof.score_samples(np.asarray(X.reshape(len(X), -1), np.float32))
