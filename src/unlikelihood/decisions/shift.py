r"""P-values when normals come from elsewhere than the calibration normals did: other ages, another scanner's share.

What a p-value promises then fails, unless every sample counts by how much more often its like is met now. With
covariates x of the calibration normals and of the batch, such as age or the embedding of an encoder, the weight is

.. math:: w(x) = \frac{\mathrm{d} P_\text{now}}{\mathrm{d} P_\text{calibration}}(x),

known or estimated by `density_ratio`. Normals with the same x must be alike in both: what changed is how often each x
occurs, and no x occurs now that never did. Scores are a detector's: higher = more normal.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from unlikelihood.decisions.pvalues import checked_calibration, checked_scores

Floats = NDArray[np.float64]


def density_ratio(calibration: ArrayLike, batch: ArrayLike) -> Callable[[ArrayLike], Floats]:
    """Return the function that maps covariates to weights, as a logistic regression tells a batch from the calibration.

    Parameters
    ----------
    calibration : array_like, shape (n, d)
        Covariates of the calibration normals.
    batch : array_like, shape (m, d)
        Covariates of samples of now. Anomalies among them count too, so choose covariates that these do not change.

    Returns
    -------
    callable
        From covariates (k, d) to weights (k,), above 0.

    Raises
    ------
    ValueError
        If the covariates do not fit together or are not finite.

    References
    ----------
    Tibshirani, Barber, Candès & Ramdas (2019), "Conformal prediction under covariate shift", section 2.3.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> weight = density_ratio(rng.normal(0, 1, (5000, 1)), rng.normal(1, 1, (5000, 1)))
    >>> weight([[0.5]]).round(1)  # exp(x - 1/2) is right
    array([1.])
    """
    known, new = (np.asarray(each, np.float64) for each in (calibration, batch))
    if known.ndim != 2 or new.ndim != 2 or known.shape[1] != new.shape[1] or not len(known) or not len(new):
        raise ValueError(f"covariates have shapes {known.shape} and {new.shape}, expected (n, d) and (m, d)")
    is_new = np.repeat([0, 1], [len(known), len(new)])
    classifier = make_pipeline(StandardScaler(), LogisticRegression()).fit(np.concatenate([known, new]), is_new)
    return lambda covariates: np.exp(classifier.decision_function(np.asarray(covariates))) * len(known) / len(new)


def weighted_p_values(calibration: ArrayLike, score: ArrayLike, known: ArrayLike, new: ArrayLike) -> Floats:
    r"""Return how probable so low a score would be, were the sample a normal of now.

    .. math:: p = \frac{w(x) + \sum_i w(x_i) \, 1[s_i \le s]}{w(x) + \sum_i w(x_i)}

    Equal weights give `p_values`. A sample whose like was hardly met in the calibration has a large weight and a large
    p-value: about it nothing can be said.

    Parameters
    ----------
    calibration : array_like, shape (n,)
        Scores of normals that training never saw.
    score : array_like, shape (m,)
        Scores to judge.
    known, new : array_like, shapes (n,) and (m,)
        The weights of both; a common factor does not matter.

    Returns
    -------
    ndarray of float64, shape (m,)
        In (0, 1]; lower = more anomalous. Ties count against an alarm.

    Raises
    ------
    ValueError
        If there is no calibration score, or a score or weight is not finite, or a weight not above 0.

    References
    ----------
    Tibshirani, Barber, Candès & Ramdas (2019), "Conformal prediction under covariate shift", corollary 1.

    Examples
    --------
    >>> weighted_p_values([1, 2, 3, 4], [0, 2.5, 9], [1, 1, 1, 1], [1, 1, 1])
    array([0.2, 0.6, 1. ])
    >>> weighted_p_values([1, 2, 3, 4], [0], [1, 1, 1, 1], [4])
    array([0.5])
    """
    below, total, weight = _weighed(calibration, score, known, new)
    return (weight + below) / (weight + total)


def weighted_discoveries(
    calibration: ArrayLike, score: ArrayLike, known: ArrayLike, new: ArrayLike, rate: float = 0.1, seed: int = 0
) -> NDArray[np.bool_]:
    r"""Return which samples of a batch to call anomalous, so that few of those calls are wrong, under a shift.

    Weighted p-values depend on one another in ways that the Benjamini–Hochberg procedure does not allow. So the number
    R_j of calls that sample j is compared with is counted as if j were a calibration normal:

    .. math:: \mathcal{R} = \bigl\{ j : p_j \le \tfrac{R_j}{m} \text{rate} \bigr\}, \qquad
              R_j = \mathrm{BH}\bigl(0, p^{(j)}_l, l \ne j\bigr), \qquad
              p^{(j)}_l = \frac{w_j \, 1[s_j \le s_l] + \sum_i w_i \, 1[s_i \le s_l]}{w_j + \sum_i w_i},

    of which remain those where U_j R_j is at most the largest r that as many of them reach, for uniform U_j. The
    expected share of normals among the calls is then at most `rate`. With equal weights it is `discoveries`.

    Parameters
    ----------
    calibration, score, known, new : array_like
        As in `weighted_p_values`.
    rate : float
        False discovery rate, strictly between 0 and 1.
    seed : int
        Of the U_j.

    References
    ----------
    Jin & Candès (2023), "Model-free selective inference under covariate shift via weighted conformal p-values",
    algorithm 1, with heterogeneous pruning.

    Examples
    --------
    >>> weighted_discoveries(np.arange(1, 100), [0, 50], np.ones(99), np.ones(2))
    array([ True, False])
    """
    if not 0 < rate < 1:
        raise ValueError(f"rate must lie strictly between 0 and 1, got {rate}")
    below, total, weight = _weighed(calibration, score, known, new)
    scores, m = np.asarray(score, np.float64), len(below)
    bound = rate * (1 + 1e-12) * np.arange(1, m + 1) / m  # rounding must not decide about p-values that equal it
    compared = np.empty(m, np.intp)
    for j in range(m):
        p = (weight[j] * (scores[j] <= scores) + below) / (weight[j] + total)
        p[j] = 0
        compared[j] = 1 + np.flatnonzero(np.sort(p) <= bound)[-1]
    called = (weight + below) / (weight + total) <= bound[compared - 1]
    reached = np.where(called, np.random.default_rng(seed).random(m) * compared, np.inf)
    within = np.searchsorted(np.sort(reached), np.arange(1, m + 1), side="right") >= np.arange(1, m + 1)
    return reached <= 1 + np.flatnonzero(within)[-1] if within.any() else np.zeros(m, bool)


def _weighed(
    calibration: ArrayLike, score: ArrayLike, known: ArrayLike, new: ArrayLike
) -> tuple[Floats, float, Floats]:
    """Return the weight of the calibration normals not above each score, of all of them, and of each sample."""
    scores, weights = checked_calibration(calibration), np.asarray(known, np.float64)
    judged, weight = checked_scores(score), np.asarray(new, np.float64)
    for name, of, expected in (("known", weights, scores.shape), ("new", weight, judged.shape)):
        if of.shape != expected:
            raise ValueError(f"{name} has shape {of.shape}, expected {expected}: a weight for each score")
        if not np.all((of > 0) & np.isfinite(of)):
            raise ValueError(f"{name} holds a weight that is not above 0 and finite")
    order = np.argsort(scores, kind="stable")
    cumulative = np.concatenate([[0.0], np.cumsum(weights[order])])
    return cumulative[np.searchsorted(scores[order], judged, side="right")], float(cumulative[-1]), weight
