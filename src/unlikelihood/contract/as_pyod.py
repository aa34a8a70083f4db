"""A detector of this package as one of PyOD."""

from typing import Any, Self

import numpy as np
from sklearn.base import clone

from unlikelihood.contract.detector import Detector
from unlikelihood.storage.extras import needing

with needing("pyod", "AsPyOD"):
    from pyod.models.base import BaseDetector


class AsPyOD(BaseDetector):
    r"""Has PyOD's methods and polarity: scores that are higher for more anomalous samples, labels 0 and 1.

    Parameters
    ----------
    detector : Detector
        A clone of it is fitted.
    contamination : float
        PyOD's threshold is the quantile of the training scores that so many lie above, in (0, 0.5].

    Attributes
    ----------
    detector_ : Detector
        The fitted one.
    decision_scores_ : ndarray, shape (n,)
        Anomaly scores of the training samples, higher = more anomalous.
    labels_ : ndarray of int, shape (n,)
        1 for those above ``threshold_``.

    Notes
    -----
    A network scores what it was trained on better than anything new, so such a threshold calls more new normals
    anomalous than it says; `Conformal` keeps its promise.

    References
    ----------
    Zhao, Nasrullah and Li, "PyOD: a Python toolbox for scalable outlier detection", 2019.

    Examples
    --------
    >>> from unlikelihood import KNN
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> AsPyOD(KNN(), contamination=0.05).fit(X).predict([[0, 0, 0], [9, 9, 9]])
    array([0, 1])
    """

    def __init__(self, detector: Detector, contamination: float = 0.1) -> None:
        super().__init__(contamination=contamination)
        self.detector = detector

    def fit(self, X: np.ndarray, y: object = None) -> Self:
        """Fit the detector to samples, which PyOD takes to be mostly normal; `y` is ignored."""
        self._set_n_classes(None)
        self.detector_ = clone(self.detector).fit(X)
        self.decision_scores_ = self.decision_function(X)
        self._process_decision_scores()
        return self

    def decision_function(self, X: np.ndarray) -> Any:
        """Return the anomaly score of each sample, (n,), higher = more anomalous."""
        return -self.detector_.score_samples(X)
