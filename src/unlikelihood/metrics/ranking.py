"""How well a score separates anomalous from normal samples.

A metric is a plain function ``(label, score) -> float`` of labels (n,), 0 for normal and 1 for anomalous, and of
anomaly scores (n,), higher = *more anomalous*, in any unit. It lies in [0, 1], and raises a ValueError where `validate`
does or a parameter is out of its bounds.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

Metric = Callable[[NDArray[np.int64], NDArray[np.float64]], float]


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
    """Return the area under the ROC curve: P(s⁺ > s⁻) + ½ P(s⁺ = s⁻), the chance that an anomaly outranks a normal.

    With m anomalies and n normals it is (R⁺/m − (m + 1)/2) / n, of the sum R⁺ of the anomalies' midranks among all.
    """
    labels, scores = validate(label, score)
    m = int(labels.sum())
    return float((rankdata(scores)[labels == 1].sum() / m - (m + 1) / 2) / (len(labels) - m))


def auprc(label: ArrayLike, score: ArrayLike) -> float:
    """Return the average precision Σ_k (R_k − R_{k−1}) P_k, a step-wise area under the precision-recall curve.

    A step is a threshold at each score that occurs. Chance is the prevalence of anomalies, so read it beside that.
    """
    labels, scores = validate(label, score)
    order = np.argsort(-scores)
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # of those with equal scores
    found = np.cumsum(labels[order])[last]
    return float(np.sum(np.diff(found, prepend=0) * found / (last + 1)) / found[-1])


def allowed_false_alarms(specificity: float, normals: int) -> int:
    """Return how many of so many normals may be called anomalous at a specificity: ⌊(1 − specificity) n⌋.

    Where it is 0, there are too few to tell the specificity from 1.
    """
    # 1 - 0.9 is a little less than 0.1 in binary, and a false alarm must not be lost to that.
    return math.floor((1 - specificity) * normals + 1e-9)


def sensitivity_at_specificity(label: ArrayLike, score: ArrayLike, specificity: float = 0.95) -> float:
    """Return the largest share of anomalies that is found by a threshold with a specificity of at least so much.

    It is the share of s⁺ > s⁻₍ₖ₎, where s⁻₍ₖ₎ is the largest normal score but k, and k the `allowed_false_alarms`.
    """
    _check_share("specificity", specificity)
    labels, scores = validate(label, score)
    normal = np.sort(scores[labels == 0])[::-1]
    k = allowed_false_alarms(specificity, len(normal))
    return float(np.mean(scores[labels == 1] > normal[k])) if k < len(normal) else 1.0


def fpr_at_tpr(label: ArrayLike, score: ArrayLike, tpr: float = 0.95) -> float:
    """Return the smallest share of false alarms of a threshold that finds a share `tpr` of the anomalies.

    It is the share of s⁻ ≥ s⁺₍ₖ₎, where s⁺₍ₖ₎ is the k-th largest anomalous score, and k = ⌈tpr · n⌉ of n are found.
    Lower is better.
    """
    _check_share("tpr", tpr)
    labels, scores = validate(label, score)
    anomalous = np.sort(scores[labels == 1])[::-1]
    k = math.ceil(tpr * len(anomalous) - 1e-9)
    return float(np.mean(scores[labels == 0] >= anomalous[k - 1])) if k > 0 else 0.0


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in [0, 1], got {value}")
