"""How well a score separates anomalous from normal samples, and how honest a probability is.

A metric is a plain function ``(label, score) -> float``, where ``label`` is 0 for normal and 1 for anomalous
and a higher ``score`` means *more anomalous*.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

Metric = Callable[[NDArray[np.int64], NDArray[np.float64]], float]
"""A function of labels (n,) and anomaly scores (n,) that returns one number."""


def anomaly_score(score: ArrayLike) -> NDArray[np.float64]:
    """Return the anomaly scores of samples, higher = more anomalous: the one place where a detector's score is negated.

    Parameters
    ----------
    score : array_like, shape (n,)
        A detector's scores, higher = more normal.

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    return -np.asarray(score, dtype=np.float64)


def validate(label: ArrayLike, score: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return labels and scores as arrays that a metric can trust.

    Parameters
    ----------
    label : array_like, shape (n,)
        0 for normal, 1 for anomalous; both must occur.
    score : array_like, shape (n,)
        Finite numbers, one a sample.

    Returns
    -------
    label : ndarray of int64, shape (n,)
    score : ndarray of float64, shape (n,)

    Raises
    ------
    ValueError
        If the shapes differ, a label is neither 0 nor 1, a class is missing or a score is not finite.
    """
    labels, scores = np.asarray(label), np.asarray(score, dtype=np.float64)
    if scores.ndim != 1:
        raise ValueError(f"score must have shape (n,), got {scores.shape}")
    if labels.shape != scores.shape:
        raise ValueError(f"label must have the shape of score, {scores.shape}, got {labels.shape}")
    anomalous = labels == 1
    if not np.all(anomalous | (labels == 0)):
        raise ValueError(f"label must be 0 (normal) or 1 (anomalous), got {np.unique(labels)[:5].tolist()}")
    if anomalous.all() or not anomalous.any():
        raise ValueError(
            f"label must hold both classes, got {np.sum(~anomalous)} normal and {anomalous.sum()} anomalous"
        )
    infinite = np.flatnonzero(~np.isfinite(scores))
    if infinite.size:
        raise ValueError(
            f"score must be finite, got {scores[infinite[0]]} at sample {infinite[0]}, {infinite.size} in all"
        )
    return anomalous.astype(np.int64), scores


def auroc(label: ArrayLike, score: ArrayLike) -> float:
    """Return the area under the ROC curve: the chance that a random anomaly outranks a random normal.

    P(s⁺ > s⁻) + ½ P(s⁺ = s⁻)

    Parameters
    ----------
    label : array_like, shape (n,)
        0 for normal, 1 for anomalous.
    score : array_like, shape (n,)
        Higher is more anomalous, any unit.

    Returns
    -------
    float
        In [0, 1]; 0.5 is chance, higher is better.

    Raises
    ------
    ValueError
        If `validate` refuses the input.
    """
    return float(roc_auc_score(*validate(label, score)))


def auprc(label: ArrayLike, score: ArrayLike) -> float:
    """Return the average precision, a step-wise area under the precision-recall curve.

    Σ_k (R_k − R_{k−1}) P_k

    Parameters
    ----------
    label : array_like, shape (n,)
        0 for normal, 1 for anomalous.
    score : array_like, shape (n,)
        Higher is more anomalous, any unit.

    Returns
    -------
    float
        In [0, 1], higher is better. Chance is the prevalence of anomalies, so read it beside that.

    Raises
    ------
    ValueError
        If `validate` refuses the input.
    """
    return float(average_precision_score(*validate(label, score)))


def sensitivity_at_specificity(label: ArrayLike, score: ArrayLike, specificity: float = 0.95) -> float:
    """Return the largest share of anomalies found by a threshold that clears a share of the normals.

    Share of s⁺ > s⁻₍ₖ₎, where s⁻₍ₖ₎ is the largest normal score but k, and k = ⌊(1 − specificity) n⌋ false alarms
    are allowed.

    Parameters
    ----------
    label : array_like, shape (n,)
        0 for normal, 1 for anomalous.
    score : array_like, shape (n,)
        Higher is more anomalous, any unit.
    specificity : float
        Share of the normals that must be called normal, in [0, 1].

    Returns
    -------
    float
        In [0, 1], higher is better.

    Raises
    ------
    ValueError
        If `specificity` is outside [0, 1] or `validate` refuses the input.
    """
    _check_share("specificity", specificity)
    labels, scores = validate(label, score)
    normal = np.sort(scores[labels == 0])[::-1]
    # 1 - 0.9 is a little less than 0.1 in binary, and a false alarm must not be lost to that.
    k = math.floor((1 - specificity) * len(normal) + 1e-9)
    return float(np.mean(scores[labels == 1] > normal[k])) if k < len(normal) else 1.0


def fpr_at_tpr(label: ArrayLike, score: ArrayLike, tpr: float = 0.95) -> float:
    """Return the smallest share of false alarms of a threshold that finds a share of the anomalies.

    Share of s⁻ ≥ s⁺₍ₖ₎, where s⁺₍ₖ₎ is the k-th largest anomalous score, and k = ⌈tpr · n⌉ of n must be found.

    Parameters
    ----------
    label : array_like, shape (n,)
        0 for normal, 1 for anomalous.
    score : array_like, shape (n,)
        Higher is more anomalous, any unit.
    tpr : float
        True positive rate: the share of the anomalies that must be found, in [0, 1].

    Returns
    -------
    float
        In [0, 1], lower is better.

    Raises
    ------
    ValueError
        If `tpr` is outside [0, 1] or `validate` refuses the input.
    """
    _check_share("tpr", tpr)
    labels, scores = validate(label, score)
    anomalous = np.sort(scores[labels == 1])[::-1]
    k = math.ceil(tpr * len(anomalous) - 1e-9)
    return float(np.mean(scores[labels == 0] >= anomalous[k - 1])) if k > 0 else 0.0


def precision_at_k(label: ArrayLike, score: ArrayLike, k: int = 10) -> float:
    """Return the share of anomalies among the `k` highest scores.

    Samples tied at the k-th score share its remaining places in proportion, so the order of the samples never
    matters.

    Parameters
    ----------
    label : array_like, shape (n,)
        0 for normal, 1 for anomalous.
    score : array_like, shape (n,)
        Higher is more anomalous, any unit.
    k : int
        How many samples a reader would look at, from 1 to n.

    Returns
    -------
    float
        In [0, 1], higher is better.

    Raises
    ------
    ValueError
        If `k` is outside [1, n] or `validate` refuses the input.
    """
    labels, scores = validate(label, score)
    if not 1 <= k <= len(scores):
        raise ValueError(f"k must be from 1 to the number of samples, {len(scores)}, got {k}")
    last = np.sort(scores)[-k]
    above, tied = scores > last, scores == last
    return float((labels[above].sum() + (k - above.sum()) * labels[tied].mean()) / k)


def brier(label: ArrayLike, probability: ArrayLike) -> float:
    """Return the mean squared error of a probability (Brier, 1950).

    (1/n) Σ (p − y)²

    Parameters
    ----------
    label : array_like, shape (n,)
        0 for normal, 1 for anomalous.
    probability : array_like, shape (n,)
        Probability of being anomalous, in [0, 1].

    Returns
    -------
    float
        In [0, 1], lower is better; always saying the prevalence π gives π(1 − π).

    Raises
    ------
    ValueError
        If a probability is outside [0, 1] or `validate` refuses the input.
    """
    labels, probabilities = _validate_probability(label, probability)
    return float(np.mean((probabilities - labels) ** 2))


def expected_calibration_error(label: ArrayLike, probability: ArrayLike, bins: int = 10) -> float:
    """Return how far a probability is from the frequency it promises, on average.

    Σ_b (|B_b| / n) · |mean of y in B_b − mean of p in B_b|, bins of equal width (Guo et al., 2017, eq. 3).

    Parameters
    ----------
    label : array_like, shape (n,)
        0 for normal, 1 for anomalous.
    probability : array_like, shape (n,)
        Probability of being anomalous, in [0, 1].
    bins : int
        Number of bins over [0, 1], at least 1.

    Returns
    -------
    float
        In [0, 1], lower is better; biased upwards for few samples a bin.

    Raises
    ------
    ValueError
        If `bins` is below 1, a probability is outside [0, 1] or `validate` refuses the input.
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    labels, probabilities = _validate_probability(label, probability)
    bin_of = np.minimum((probabilities * bins).astype(int), bins - 1)
    # |B| · |mean y − mean p| = |Σ (y − p)|, which an empty bin leaves at 0.
    return float(np.abs(np.bincount(bin_of, weights=labels - probabilities)).sum() / len(labels))


def bits_per_dimension(nats: ArrayLike, shape: Sequence[int]) -> NDArray[np.float64]:
    """Return what it takes to code a sample, from its log-likelihood: -log P(x) / (D log 2).

    Parameters
    ----------
    nats : array_like, shape (n,)
        Log-likelihoods of samples, or bounds of them.
    shape : sequence of int
        Of one sample of D values.

    Returns
    -------
    ndarray of shape (n,)
        Lower = more likely. Of densities of continuous values it depends on their unit and may be negative.

    Examples
    --------
    >>> bits_per_dimension([-784 * math.log(256)], (1, 28, 28))
    array([8.])
    """
    return -np.asarray(nats, np.float64) / (math.prod(shape) * math.log(2))


def _validate_probability(label: ArrayLike, probability: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    labels, probabilities = validate(label, probability)
    if probabilities.min() < 0 or probabilities.max() > 1:
        raise ValueError(
            f"probability must lie in [0, 1], got values from {probabilities.min()} to {probabilities.max()}"
        )
    return labels, probabilities


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in [0, 1], got {value}")
