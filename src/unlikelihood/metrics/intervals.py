"""How sure a figure is: DeLong's intervals and tests for the AUROC, and the bootstrap for any metric.

Labels and anomaly scores are those of `ranking`. `level`, in (0, 1), is the confidence that an interval covers the true
figure. A ValueError says what `ranking.validate` refuses, which parameter is out of its bounds, or that a class has
fewer than the two samples that DeLong's variance needs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import norm, rankdata
from scipy.stats import t as student_t

from unlikelihood.metrics.ranking import Metric, validate


@dataclass(frozen=True)
class Interval:
    """A figure and the ends of the confidence interval around it, in the unit of the figure."""

    value: float
    low: float
    high: float
    level: float = 0.95

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Difference:
    """How much better one score is than another on the same samples.

    Parameters
    ----------
    interval : Interval
        AUROC of the first minus AUROC of the second.
    p_value : float
        Two-sided, for the hypothesis that the two are equal.
    correlation : float
        Of the two estimates on these samples, in [−1, 1]: what `power.cases_needed` asks of a pilot.
    """

    interval: Interval
    p_value: float
    correlation: float = 0.0


def delong(label: ArrayLike, score: ArrayLike, level: float = 0.95) -> Interval:
    """Return the AUROC with DeLong's confidence interval, in O(n log n).

    θ̂ = mean of V₁₀, σ² = S₁₀/m + S₀₁/n, and on the logit scale, so that the interval stays inside [0, 1],
    logit θ ∈ logit θ̂ ± z σ / (θ̂ (1 − θ̂)).
    Where σ = 0 (perfect separation, or one score for all) DeLong's interval would be a point, a false
    certainty; there it is the score interval of Newcombe (2006, method 5) instead.

    References
    ----------
    DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44:837. Sun & Xu (2014), IEEE Signal Processing Letters
    21:1389. Newcombe (2006), Statistics in Medicine 25:559.
    """
    z = _quantile(level)
    labels, scores = validate(label, score)
    theta, covariance = _areas(labels, scores[None])
    area, sigma = float(theta[0]), float(np.sqrt(covariance[0, 0]))
    if sigma == 0:
        return Interval(area, *_newcombe(area, int(labels.sum()), int((1 - labels).sum()), z), level)
    half = z * sigma / (area * (1 - area))
    return Interval(area, float(expit(logit(area) - half)), float(expit(logit(area) + half)), level)


def paired_delong(label: ArrayLike, score_a: ArrayLike, score_b: ArrayLike, level: float = 0.95) -> Difference:
    """Return by how much the AUROC of score a exceeds that of score b on the same samples (`delong`'s references).

    δ = θ̂_a − θ̂_b, σ² = Σ_aa + Σ_bb − 2 Σ_ab, interval δ ± z σ, p = 2 Φ(−|δ| / σ); the units of the scores may differ.
    """
    z = _quantile(level)
    labels, first = validate(label, score_a)
    _, second = validate(label, score_b)
    theta, covariance = _areas(labels, np.stack([first, second]))
    delta = float(theta[0] - theta[1])
    # Two orders of the same samples may leave a negative zero by rounding.
    sigma = float(np.sqrt(max(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1], 0.0)))
    # Scores that rank alike differ by nothing, in every sample: 0/0 is then no evidence at all.
    p_value = 1.0 if delta == 0 else float(2 * norm.sf(abs(delta) / sigma)) if sigma else 0.0
    interval = Interval(delta, max(delta - z * sigma, -1.0), min(delta + z * sigma, 1.0), level)
    spread = float(np.sqrt(covariance[0, 0] * covariance[1, 1]))
    return Difference(interval, p_value, float(covariance[0, 1]) / spread if spread else 0.0)


def seeds_interval(areas: Sequence[Interval], *, same_test: bool) -> Interval:
    r"""Return the mean AUROC of fits with several seeds, and an interval that holds the sampling of the test, too.

    With dᵢ the distance from the i-th of k AUROCs to the end of its own interval, on either side, and s their standard
    deviation, the interval of the mean reaches

    .. math:: \sqrt{\overline{d^2} + h^2} \quad \text{on one test set}, \qquad
              \max\Bigl(h, \sqrt{\overline{d^2} / k}\Bigr) \quad \text{on independent ones}, \qquad
              h = t_{k-1} \, s / \sqrt{k}

    to that side. On one test set all fits meet the same samples, so the mean varies with those as much as each AUROC
    does, at most: seeds do not average them out, and h adds what the seeds do. On independent test sets s holds both.
    Where test sets overlap, those of several splits of the same data for example, the first is the safe one.

    Parameters
    ----------
    areas : sequence of Interval
        AUROCs of at least one fit each, with intervals of one level for the sampling of the test: `delong`'s, or the
        `bootstrap`'s by patient.
    same_test : bool
        Whether the test sets share samples.

    Returns
    -------
    Interval
        Inside [0, 1]; of a single fit its own.

    Raises
    ------
    ValueError
        If there are none, or their levels differ.

    References
    ----------
    Zou & Donner (2008), Statistics in Medicine 27:1693, for the sum of squared distances of asymmetric intervals.
    """
    levels = {area.level for area in areas}
    if len(levels) != 1:
        raise ValueError(f"areas must hold at least 1 interval, all of one level, got levels {sorted(levels)}")
    level, k = levels.pop(), len(areas)
    values, lows, highs = np.array([(area.value, area.low, area.high) for area in areas]).T
    mean = float(values.mean())
    by_seed = student_t.ppf((1 + level) / 2, k - 1) * values.std(ddof=1) / np.sqrt(k) if k > 1 else 0.0
    by_test = np.sqrt([np.mean((values - lows) ** 2), np.mean((highs - values) ** 2)])
    below, above = np.hypot(by_test, by_seed) if same_test else np.maximum(by_test / np.sqrt(k), by_seed)
    return Interval(mean, float(max(mean - below, 0.0)), float(min(mean + above, 1.0)), level)


def bootstrap(
    metric: Metric,
    label: ArrayLike,
    score: ArrayLike,
    group: ArrayLike | None = None,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return a metric with its stratified percentile bootstrap interval (Efron & Tibshirani, 1993, ch. 13).

    Each draw takes as many samples of each class as there are, with replacement. With `group` it takes whole
    groups instead (as many of those with normals, with anomalies, and with both as there are), because
    samples of one patient are not independent. Where no draw differs (perfect separation) that would be a point, a
    false certainty; there it is Wilson's interval of a share of the smaller class's samples, or groups.

    Parameters
    ----------
    metric : callable
        ``(label, score) -> float``.
    label, score : array_like, shape (n,)
        What `metric` reads.
    group : array_like, shape (n,), optional
        Patient of each sample.
    draws : int
        Number of bootstrap samples, at least 1.
    seed : int
        Of the draws; the same seed gives the same interval.
    """
    z = _quantile(level)
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    labels, scores = validate(label, score)
    members, strata = _strata(labels, group)
    random = np.random.default_rng(seed)
    values = np.empty(draws)
    for draw in range(draws):
        units = np.concatenate([stratum[random.integers(len(stratum), size=len(stratum))] for stratum in strata])
        drawn = units if members is None else np.concatenate([members[unit] for unit in units])
        values[draw] = metric(labels[drawn], scores[drawn])
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    if np.ptp(values) == 0 and 0 <= low <= 1:
        units = np.arange(len(labels)) if group is None else np.asarray(group)
        n = min(len(np.unique(units[labels == k])) for k in (0, 1))
        middle, half = low + z**2 / (2 * n), z * np.sqrt(low * (1 - low) / n + z**2 / (4 * n**2))
        low, high = (np.clip((middle + side * half) / (1 + z**2 / n), 0, 1) for side in (-1, 1))
    return Interval(float(metric(labels, scores)), float(low), float(high), level)


def _strata(
    labels: NDArray[np.int64], group: ArrayLike | None
) -> tuple[list[NDArray[np.intp]] | None, list[NDArray[np.intp]]]:
    """Return the members of each unit (None where a unit is a sample), and the units of each stratum."""
    if group is None:
        return None, [np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)]
    groups = np.asarray(group)
    if groups.shape != labels.shape:
        raise ValueError(f"group must have the shape of label, {labels.shape}, got {groups.shape}")
    unit = np.unique(groups, return_inverse=True)[1]
    members = np.split(np.argsort(unit, kind="stable"), np.cumsum(np.bincount(unit))[:-1])
    share = np.bincount(unit, weights=labels) / np.bincount(unit)
    kind = np.ceil(share) + np.floor(share)  # 0 normals only, 1 both, 2 anomalies only
    return members, [np.flatnonzero(kind == k) for k in range(3)]


def _areas(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the AUROC of k scores (k, N) of the same samples and their covariance (k, k).

    With m anomalies X, n normals Y, both together Z, and T the midranks within each,

    V₁₀(Xᵢ) = (T_Z(Xᵢ) − T_X(Xᵢ)) / n
    V₀₁(Yⱼ) = 1 − (T_Z(Yⱼ) − T_Y(Yⱼ)) / m
    θ̂ = mean of V₁₀
    Σ = cov(V₁₀) / m + cov(V₀₁) / n

    the midrank form that Sun & Xu (2014) give to DeLong et al. (1988).
    """
    anomalous = labels == 1
    m, n = int(anomalous.sum()), int((~anomalous).sum())
    if min(m, n) < 2:
        raise ValueError(f"label must hold at least 2 samples of each class, got {n} normal and {m} anomalous")
    rank = rankdata(scores, axis=1)
    v10 = (rank[:, anomalous] - rankdata(scores[:, anomalous], axis=1)) / n
    v01 = 1 - (rank[:, ~anomalous] - rankdata(scores[:, ~anomalous], axis=1)) / m
    theta = v10.mean(axis=1)
    covariance = np.cov(v10).reshape(len(scores), -1) / m + np.cov(v01).reshape(len(scores), -1) / n
    return theta, covariance


def _newcombe(area: float, m: int, n: int, z: float) -> tuple[float, float]:
    """Return where (θ̂ − θ)² = z² V(θ), with Hanley & McNeil's variance in Newcombe's (2006) symmetric form.

    V(θ) = θ(1 − θ)/(mn) · [1 + N((1 − θ)/(2 − θ) + θ/(1 + θ))], N = (m + n)/2 − 1
    """

    def excess(theta: float) -> float:
        spread = 1 + ((m + n) / 2 - 1) * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return (area - theta) ** 2 - z**2 * theta * (1 - theta) / (m * n) * spread

    # θ = θ̂ itself solves the equation at 0 and 1, and is not the end that is sought.
    low = brentq(excess, 0.0, area - 1e-12) if area > 0 else 0.0
    high = brentq(excess, area + 1e-12, 1.0) if area < 1 else 1.0
    return float(low), float(high)


def _quantile(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level must lie strictly between 0 and 1, got {level}")
    return float(norm.ppf((1 + level) / 2))
