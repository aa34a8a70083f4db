"""From a score to the probability of being anomalous: the thesis' logistic regression, cross-fitted."""

from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from scipy.stats import rankdata
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.utils.validation import check_is_fitted

from unlikelihood.metrics import validate


class Calibration(BaseEstimator):
    """A logistic regression from one anomaly score to the probability of being anomalous.

    p = σ(a + b (s − μ) / τ), with μ and τ the mean and standard deviation of the scores it was fitted to, so
    that their scale does not matter. The slope b has scikit-learn's default L2 penalty, which keeps it finite
    when the classes separate perfectly. The probability holds at the prevalence it was fitted at.

    Attributes
    ----------
    mean_, scale_ : float
        μ and τ, in the unit of the score.
    intercept_, slope_ : float
        a and b. A negative slope says that the score ranks normals above anomalies.
    """

    def fit(self, score: ArrayLike, label: ArrayLike) -> Self:
        """Fit a, b, μ and τ.

        Parameters
        ----------
        score : array_like, shape (n,)
            Higher is more anomalous, any unit.
        label : array_like, shape (n,)
            0 for normal, 1 for anomalous; both must occur.

        Returns
        -------
        Calibration
            Itself, fitted.

        Raises
        ------
        ValueError
            If `metrics.validate` refuses the input.
        """
        labels, scores = validate(label, score)
        self.mean_ = float(scores.mean())
        self.scale_ = float(scores.std()) or 1.0
        regression = LogisticRegression().fit(((scores - self.mean_) / self.scale_)[:, None], labels)
        self.intercept_ = float(regression.intercept_[0])
        self.slope_ = float(regression.coef_[0, 0])
        return self

    def predict_proba(self, score: ArrayLike) -> NDArray[np.float64]:
        """Return the probabilities of being normal and of being anomalous.

        Parameters
        ----------
        score : array_like, shape (n,)
            Higher is more anomalous, in the unit of the fitted scores.

        Returns
        -------
        ndarray of float64, shape (n, 2)
            Columns normal and anomalous, which sum to 1.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If `fit` has not been called.
        """
        check_is_fitted(self)
        scores = np.asarray(score, dtype=np.float64)
        anomalous = expit(self.intercept_ + self.slope_ * (scores - self.mean_) / self.scale_)
        return np.stack([1 - anomalous, anomalous], axis=1)


def cross_fitted(
    score: ArrayLike, label: ArrayLike, group: ArrayLike | None = None, folds: int = 5, seed: int = 0
) -> NDArray[np.float64]:
    """Return each sample's probability from a calibration that saw neither it nor its group.

    Samples are dealt to folds by their score's rank, or by their group: neither the order of the samples
    (ties apart) nor a label moves a sample to another fold. Only where a deal would leave a calibration
    without one of the classes, as a handful of anomalies can, is it dealt again.

    Parameters
    ----------
    score : array_like, shape (n,)
        Higher is more anomalous, any unit.
    label : array_like, shape (n,)
        0 for normal, 1 for anomalous.
    group : array_like, shape (n,), optional
        Patient of each sample; a group is never split over folds.
    folds : int
        Number of folds, at least 2; no more than there are samples or groups are used.
    seed : int
        Of the deal.

    Returns
    -------
    ndarray of float64, shape (n,)
        Probability of being anomalous.

    Raises
    ------
    ValueError
        If `folds` is below 2, a class occurs in fewer than two samples or groups, `group` has another shape
        than `label`, or `metrics.validate` refuses the input.
    """
    if folds < 2:
        raise ValueError(f"folds must be at least 2, got {folds}")
    labels, scores = validate(label, score)
    fold = _deal(labels, _units(scores, group), folds, np.random.default_rng(seed))
    probability = np.empty(len(scores))
    for k in np.unique(fold):
        held_out = fold == k
        calibration = Calibration().fit(scores[~held_out], labels[~held_out])
        probability[held_out] = calibration.predict_proba(scores[held_out])[:, 1]
    return probability


def _units(scores: NDArray[np.float64], group: ArrayLike | None) -> NDArray[np.intp]:
    """Return the number of the unit, a sample by rank or a group by name, that stays together in one fold."""
    if group is None:
        return rankdata(scores, method="ordinal").astype(np.intp) - 1
    groups = np.asarray(group)
    if groups.shape != scores.shape:
        raise ValueError(f"group must have the shape of score, {scores.shape}, got {groups.shape}")
    return np.unique(groups, return_inverse=True)[1]


def _deal(
    labels: NDArray[np.int64], unit: NDArray[np.intp], folds: int, random: np.random.Generator
) -> NDArray[np.intp]:
    """Return a fold for each sample, such that outside every fold both classes occur."""
    for kind, value in (("normal", 0), ("anomalous", 1)):
        units = len(np.unique(unit[labels == value]))
        if units < 2:
            raise ValueError(
                f"label must hold at least 2 independent {kind} samples or groups to cross-fit, got {units}"
            )
    while True:
        fold = (random.permutation(unit.max() + 1) % folds)[unit]
        if all(len(np.unique(fold[labels == value])) > 1 for value in (0, 1)):
            return fold
