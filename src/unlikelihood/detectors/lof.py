"""Local outlier factor in pixel space."""

import numpy as np
from sklearn.neighbors import LocalOutlierFactor

from unlikelihood.contract.blocks import by_blocks, comparing
from unlikelihood.contract.detector import Detector
from unlikelihood.parameters import Count
from unlikelihood.storage.identity import identities


class LOF(Detector):
    """Scores a sample by how much sparser its neighbourhood is than those of its neighbours.

    Samples that repeat count once, for the density among equal ones would be infinite.

    Parameters
    ----------
    n_neighbors : int
        k, the size of a neighbourhood; fewer if there are fewer training samples.

    References
    ----------
    Breunig, Kriegel, Ng and Sander, "LOF: identifying density-based local outliers", 2000, definition 7, with
    neighbours that differ, as the remark on its definition 6 has it.
    """

    n_neighbors: Count = 20

    def _fit(self, X: np.ndarray) -> None:
        _, first = np.unique(identities(X), return_index=True)
        if len(first) < 2:
            raise ValueError(
                f"LOF compares a sample with its neighbours: X has n_samples={len(X)}, expected at least 2 that differ"
            )
        some = X if len(first) == len(X) else X[np.sort(first)]
        self.train_ = np.ascontiguousarray(some.reshape(len(some), -1), np.float32)

    def _restore(self) -> None:
        n_neighbors = min(self.n_neighbors, len(self.train_) - 1)
        with comparing(self.train_.shape[1]):
            self._lof = LocalOutlierFactor(n_neighbors=n_neighbors, novelty=True).fit(self.train_)

    def _score(self, X: np.ndarray) -> np.ndarray:
        return by_blocks(self._lof.score_samples, X)
