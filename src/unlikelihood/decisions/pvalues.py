"""How unusual a score is among those of held-out normals.

Scores are a detector's: higher = more normal.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import false_discovery_control

from unlikelihood.decisions.guarantees import Guarantee, Marginal

ON_AVERAGE = Marginal()


def p_values(calibration: ArrayLike, score: ArrayLike, guarantee: Guarantee = ON_AVERAGE) -> NDArray[np.float64]:
    """Return how probable so low a score would be, were the sample normal.

    Parameters
    ----------
    calibration : array_like, shape (n,)
        Scores of normals that training never saw.
    score : array_like, shape (m,)
        Scores to judge.
    guarantee : Guarantee

    Returns
    -------
    ndarray of float64, shape (m,)
        In (0, 1]; lower = more anomalous. Ties count against an alarm.

    Raises
    ------
    ValueError
        If there is no calibration score, one is not finite, or `checked_scores` refuses a score to judge.

    Examples
    --------
    >>> p_values([1, 2, 3, 4], [0, 2.5, 9])
    array([0.2, 0.6, 1. ])
    """
    known = np.sort(checked_calibration(calibration))
    return guarantee(len(known))[np.searchsorted(known, checked_scores(score), side="right")]


def checked_calibration(calibration: ArrayLike) -> NDArray[np.float64]:
    """Return calibration scores (n,) as float64, or raise a ValueError if there is none or one is not finite."""
    known = np.asarray(calibration, dtype=np.float64)
    if known.ndim != 1 or not len(known) or not np.isfinite(known).all():
        raise ValueError(f"calibration must hold at least 1 finite score in one dimension, got shape {known.shape}")
    return known


def checked_scores(score: ArrayLike) -> NDArray[np.float64]:
    """Return scores (m,) as float64, or raise a ValueError that names the rows where one is nan or +∞.

    Such a score says nothing of its sample, and must not pass as normal. −∞ may stand: it is as anomalous as can be.
    """
    scores = np.asarray(score, dtype=np.float64)
    if len(where := np.flatnonzero(np.isnan(scores) | (scores == np.inf))):
        few = ", ".join(map(str, where[:5])) + (", …" if len(where) > 5 else "")
        raise ValueError(
            f"score holds {scores.flat[where[0]]} in {len(where)} of {scores.size} rows ({few}), "
            "expected numbers below infinity: nothing can be decided about such a sample"
        )
    return scores


def discoveries(p_value: ArrayLike, rate: float = 0.1) -> NDArray[np.bool_]:
    r"""Return which samples of a batch to call anomalous, so that few of those calls are wrong (Benjamini–Hochberg).

    .. math:: p_{(k)} \le \frac{k}{m} \cdot \text{rate}, \text{ the largest such } k; \text{ the } k \text{ smallest}

    Conformal p-values that share a calibration set depend on one another in the way that this procedure allows
    (Bates et al., 2023, theorem 2), so the expected share of normals among the calls is at most `rate`.

    Parameters
    ----------
    p_value : array_like, shape (m,)
        Of the samples of the batch, in [0, 1].
    rate : float
        False discovery rate, strictly between 0 and 1.

    References
    ----------
    Benjamini & Hochberg (1995), Journal of the Royal Statistical Society B 57:289.

    Examples
    --------
    >>> discoveries([0.01, 0.04, 0.5, 0.9])
    array([ True,  True, False, False])
    """
    p = np.asarray(p_value, dtype=np.float64)
    if not 0 < rate < 1:
        raise ValueError(f"rate must lie strictly between 0 and 1, got {rate}")
    if p.ndim != 1 or not np.all((p >= 0) & (p <= 1)):
        raise ValueError(f"p_value must have shape (m,) and lie in [0, 1], got shape {p.shape}")
    # Conformal p-values are ratios that may equal the bound, and rounding must not decide then.
    return np.asarray(false_discovery_control(p) <= rate * (1 + 1e-12))
