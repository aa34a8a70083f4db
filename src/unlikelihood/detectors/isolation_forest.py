"""Isolation forest on pixels."""

import numpy as np
import sklearn.ensemble

from unlikelihood.contract.blocks import IN_MEMORY, by_blocks, drawn
from unlikelihood.contract.detector import Detector
from unlikelihood.parameters import Count


class IsolationForest(Detector):
    """Scores a sample by how many random cuts it takes to isolate it from training samples.

    Parameters
    ----------
    n_estimators : int
        Number of trees.
    subsample : int
        Training samples that each tree sees; fewer if there are fewer.

    References
    ----------
    Liu, Ting and Zhou, "Isolation forest", 2008.
    """

    n_estimators: Count = 100
    subsample: Count = 256

    unexportable = "its score is that of scikit-learn's trees"

    def _fit(self, X: np.ndarray) -> None:
        # The forest follows from its training samples and the seed, so those are what a model file holds; of many, as
        # many as all trees see, or as few as 256 MiB hold.
        seen = min(self.n_estimators * self.subsample, max(self.subsample, IN_MEMORY // (4 * X[0].size)))
        some = np.asarray(drawn(X, seen, self.seed))
        self.train_ = np.ascontiguousarray(some.reshape(len(some), -1), np.float32)

    def _restore(self) -> None:
        self._forest = sklearn.ensemble.IsolationForest(
            n_estimators=self.n_estimators, max_samples=min(self.subsample, len(self.train_)), random_state=self.seed
        ).fit(self.train_)

    def _score(self, X: np.ndarray) -> np.ndarray:
        return by_blocks(self._forest.score_samples, X)
