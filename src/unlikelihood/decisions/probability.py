"""From a score to the probability of being anomalous: three ways to learn it from labels, cross-fitted.

Scores (n,) are a detector's, higher = more normal, in any unit; labels (n,) are 0 for normal and 1 for anomalous, and
both must occur. A ValueError says what `ranking.validate` refuses.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from scipy.stats import rankdata
from sklearn.base import BaseEstimator, clone
from sklearn.isotonic import IsotonicRegression, isotonic_regression
from sklearn.linear_model import LogisticRegression
from sklearn.utils.validation import check_is_fitted
from typing_extensions import override

from unlikelihood.decisions.pvalues import checked_scores
from unlikelihood.metrics.ranking import validate


class Probability(BaseEstimator, ABC):
    """What turns a detector's score into the probability of being anomalous, once it has seen labels.

    A subclass writes `_fit` and `_anomalous`. The probability holds at the prevalence it was fitted at;
    `prevalence.at_prevalence` moves it to another.

    Attributes
    ----------
    prevalence_ : float
        Share of anomalies among the samples of `fit`.
    """

    def fit(self, score: ArrayLike, label: ArrayLike) -> Self:
        """Learn how probable an anomaly is at each score."""
        labels, scores = validate(label, score)
        self.prevalence_ = float(labels.mean())
        self._fit(scores, labels)
        return self

    @property
    def predict_proba(self) -> Callable[[ArrayLike], NDArray[np.float64]]:
        """The function from scores (n,) to probabilities (n, 2), normal and anomalous; only `fit` makes it exist."""
        check_is_fitted(self)
        return self._predict_proba

    def _predict_proba(self, score: ArrayLike) -> NDArray[np.float64]:
        anomalous = self._anomalous(checked_scores(score))
        return np.stack([1 - anomalous, anomalous], axis=1)

    @abstractmethod
    def _fit(self, scores: NDArray[np.float64], labels: NDArray[np.int64]) -> None:
        """Learn from scores (n,) and labels (n,), which have been checked."""

    @abstractmethod
    def _anomalous(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probability (n,) of being anomalous."""


class Logistic(Probability):
    """A logistic regression from one score to the probability of being anomalous: the thesis' way.

    p = σ(a + b (s − μ) / τ), with μ and τ the mean and standard deviation of the scores it was fitted to, so
    that their scale does not matter. The slope b has scikit-learn's default L2 penalty, which keeps it finite
    when the classes separate perfectly.

    Attributes
    ----------
    mean_, scale_ : float
        μ and τ, in the unit of the score.
    intercept_, slope_ : float
        a and b. A positive slope says that the score ranks anomalies as more normal than normals.
    """

    @override
    def _fit(self, scores: NDArray[np.float64], labels: NDArray[np.int64]) -> None:
        # In a unit that is a power of two, which rounds nothing, no square is too large or too small for a float64.
        exponent = int(np.frexp(np.abs(scores).max())[1]) - 1
        scaled = np.ldexp(scores, -exponent)
        self.mean_ = float(np.ldexp(scaled.mean(), exponent))
        self.scale_ = float(np.ldexp(scaled.std(), exponent)) or 1.0
        regression = LogisticRegression().fit(((scores - self.mean_) / self.scale_)[:, None], labels)
        self.intercept_ = float(regression.intercept_[0])
        self.slope_ = float(regression.coef_[0, 0])

    @override
    def _anomalous(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        return expit(self.intercept_ + self.slope_ * (scores - self.mean_) / self.scale_)


class Isotonic(Probability):
    """The best probability in squared error that never rises as the score rises (Zadrozny & Elkan, 2002).

    Linear between the scores it was fitted to, constant beyond them. It assumes no shape, needs some hundred
    samples, and may say exactly 0 or 1.

    Attributes
    ----------
    score_, probability_ : ndarray, shape (k,)
        The corners of the curve.
    """

    @override
    def _fit(self, scores: NDArray[np.float64], labels: NDArray[np.int64]) -> None:
        curve = IsotonicRegression(y_min=0, y_max=1, increasing=False).fit(scores, labels)
        self.score_, self.probability_ = curve.X_thresholds_, curve.y_thresholds_

    @override
    def _anomalous(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.interp(scores, self.score_, self.probability_)


class VennAbers(Probability):
    r"""A pair of probabilities, one of which is calibrated whatever the scores, merged into one.

    Isotonic regression is fitted twice for each sample, with the sample itself as a normal and as an anomaly,

    .. math:: p_0 = g_{(s, 0)}(s), \qquad p_1 = g_{(s, 1)}(s), \qquad p = \frac{p_1}{1 - p_0 + p_1}

    The wider the gap from p₀ to p₁, the less is known. p minimises the largest log loss that either could mean.

    Attributes
    ----------
    score_, weight_, share_ : ndarray, shape (k,)
        The different scores in increasing order, how many samples have each, and the share of anomalies of those.

    References
    ----------
    Vovk & Petej (2014), "Venn–Abers predictors"; Vovk, Petej & Fedorova (2015), "Large-scale probabilistic
    predictors with and without guarantees of validity", equation 9.
    """

    @override
    def _fit(self, scores: NDArray[np.float64], labels: NDArray[np.int64]) -> None:
        self.score_, index = np.unique(scores, return_inverse=True)
        self.weight_ = np.bincount(index).astype(np.float64)
        self.share_ = np.bincount(index, weights=labels) / self.weight_

    def interval(self, score: ArrayLike) -> NDArray[np.float64]:
        """Return the pairs p₀ ≤ p₁ (n, 2) of scores (n,)."""
        check_is_fitted(self)
        scores = checked_scores(score)
        # All scores between the same two neighbours have the same pair, and so have all that equal one.
        place = np.searchsorted(self.score_, scores, "left") + np.searchsorted(self.score_, scores, "right")
        known, index = np.unique(place, return_inverse=True)
        return np.array([[self._at(p, label) for label in (0.0, 1.0)] for p in known.tolist()])[index]

    def _at(self, place: int, label: float) -> float:
        # At place 2j + 1 a sample joins those of the j-th score, at 2j it stands before them.
        j, joins = divmod(place, 2)
        share, weight = (
            np.concatenate([values[:j], [own], values[j + joins :]])
            for values, own in (
                (self.share_, (self.share_[j] * self.weight_[j] + label) / (self.weight_[j] + 1) if joins else label),
                (self.weight_, self.weight_[j] + 1 if joins else 1.0),
            )
        )
        return float(isotonic_regression(share, sample_weight=weight, increasing=False)[j])

    @override
    def _anomalous(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        p0, p1 = self.interval(scores).T
        return p1 / (1 - p0 + p1)


def cross_fitted(
    score: ArrayLike,
    label: ArrayLike,
    group: ArrayLike | None = None,
    folds: int = 5,
    seed: int = 0,
    model: Probability | None = None,
) -> NDArray[np.float64]:
    """Return each sample's probability from a calibration that saw neither it nor its group.

    Samples are dealt to folds by their score's rank, or by their group: neither the order of the samples
    (ties apart) nor a label moves a sample to another fold. Only where a deal would leave a calibration
    without one of the classes, as a handful of anomalies can, is it dealt again.

    Parameters
    ----------
    score, label : array_like, shape (n,)
        Of the samples.
    group : array_like, shape (n,), optional
        Patient of each sample; a group is never split over folds.
    folds : int
        Number of folds, at least 2; no more than there are samples or groups are used.
    seed : int
        Of the deal.
    model : Probability, optional
        How a probability is learnt, unfitted: `Logistic` unless given, `Isotonic` or `VennAbers`.

    Returns
    -------
    ndarray of float64, shape (n,)

    Raises
    ------
    ValueError
        If a class occurs in fewer than two samples or groups, or a parameter is out of its bounds.
    """
    if folds < 2:
        raise ValueError(f"folds must be at least 2, got {folds}")
    labels, scores = validate(label, score)
    fold = _deal(labels, _units(scores, group), folds, np.random.default_rng(seed))
    probability = np.empty(len(scores))
    for k in np.unique(fold):
        held_out = fold == k
        fitted = clone(model or Logistic()).fit(scores[~held_out], labels[~held_out])
        probability[held_out] = fitted.predict_proba(scores[held_out])[:, 1]
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
