"""How unusual a score is among those of held-out normals, what is promised about it, and how to combine it.

Scores are a detector's: higher = more normal.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, betaincinv, gammaln, logsumexp, xlogy
from scipy.stats import false_discovery_control
from typing_extensions import override

from unlikelihood.parameters import Component, Count, OpenFraction


@dataclass(frozen=True)
class Guarantee(Component, ABC):
    """What a p-value promises; it gives each rank among the calibration normals its p-value."""

    @abstractmethod
    def __call__(self, n: int) -> NDArray[np.float64]:
        """Return the p-values (n + 1,) of samples that score at least as high as 0, 1, … all of n calibration normals.

        They do not decrease, and the last is 1.
        """


@dataclass(frozen=True)
class Marginal(Guarantee):
    r"""At most a share α of new normals raise a false alarm, on average over calibration sets.

    .. math:: p = \frac{1 + \#\{i : s_i \le s\}}{n + 1}

    For one set of n it may be more or less: the false alarms then follow a Beta(k, n + 1 − k), k = ⌊α (n + 1)⌋.

    References
    ----------
    Vovk, Gammerman & Shafer (2005), "Algorithmic learning in a random world", prop. 2.8.
    """

    @override
    def __call__(self, n: int) -> NDArray[np.float64]:
        return np.arange(1, n + 2) / (n + 1)


@dataclass(frozen=True)
class Simes(Guarantee):
    r"""At most a share α of new normals raise a false alarm, for every α, with this very calibration set.

    .. math:: b_{n+1-i} = 1 - \delta^{1/k}
              \left( \frac{i (i-1) \cdots (i-k+1)}{n (n-1) \cdots (n-k+1)} \right)^{1/k}, \qquad k = \lfloor n/2 \rfloor

    The promise fails for a share δ of all calibration sets.

    Parameters
    ----------
    delta : float
        δ, strictly between 0 and 1.

    References
    ----------
    Bates, Candès, Lei, Romano & Sesia (2023), "Testing for outliers with conformal p-values", Annals of
    Statistics 51:149, section 3.2.
    """

    delta: OpenFraction = 0.1

    @override
    def __call__(self, n: int) -> NDArray[np.float64]:
        k = max(1, n // 2)
        i = np.arange(n, k - 1, -1)
        falling = gammaln(i + 1) - gammaln(i - k + 1) - gammaln(n + 1) + gammaln(n - k + 1)
        steps = np.ones(n + 1)
        steps[: len(i)] = -np.expm1((math.log(self.delta) + falling) / k)
        return steps


@dataclass(frozen=True)
class MonteCarlo(Guarantee):
    r"""The promise of `Simes`, by a bound whose level is simulated; at α above about 0.1 it calls more.

    .. math:: b_i = F^{-1}_{\mathrm{Beta}(i, n+1-i)}(\gamma), \quad i \le n/2, \qquad
              P\bigl(U_{(i)} \le b_i \text{ for all } i\bigr) \ge 1 - \delta

    with the order statistics of n uniform variables U: the calibration normals' own false-alarm rates. It is the
    calibration-conditional adjustment of Bates et al. with the boundary of equal local levels.

    Parameters
    ----------
    delta : float
        δ, strictly between 0 and 1.
    draws : int
        Simulated calibration sets. γ is their order statistic that keeps the promise with their noise counted in.
    seed : int
        Of the draws.

    References
    ----------
    Bates, Candès, Lei, Romano & Sesia (2023), Annals of Statistics 51:149, theorem 3. Aldor-Noiman, Brown, Buja,
    Rolke & Stine (2013), "The power to see", American Statistician 67:249.
    """

    delta: OpenFraction = 0.1
    draws: Count = 2000
    seed: int = 0

    @override
    def __call__(self, n: int) -> NDArray[np.float64]:
        bounded = np.arange(1, max(1, n // 2) + 1)
        steps = np.ones(n + 1)
        level = _simulated_level(n, len(bounded), self.delta, self.draws, self.seed)
        steps[: len(bounded)] = betaincinv(bounded, n + 1 - bounded, level)
        return steps


@cache
def _simulated_level(n: int, bounded: int, delta: float, draws: int, seed: int) -> float:
    """Return γ: the ⌈(1 − δ)(draws + 1)⌉-th smallest of max_i F_Beta(i, n+1−i)(U₍ᵢ₎) over simulated calibrations."""
    rank = math.ceil((1 - delta) * (draws + 1))
    if rank > draws:
        raise ValueError(f"draws is {draws}, expected at least {math.ceil(1 / delta) - 1} for delta {delta:g}")
    random = np.random.default_rng(seed)
    i = np.arange(1, bounded + 1)
    # One at a time, because all draws of a large calibration set would not fit into memory.
    worst = [betainc(i, n + 1 - i, np.sort(random.random(n))[:bounded]).max() for _ in range(draws)]
    return float(np.sort(worst)[rank - 1])


@dataclass(frozen=True)
class Combination(Component, ABC):
    """What makes one p-value of those that several detectors give the same sample."""

    @abstractmethod
    def __call__(self, log_p: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the logarithms (n,) of the p-values that combine m each, from their natural logarithms (n, m) below 0.

        Those may lie far below what their exponentials can hold.
        """


class Fisher(Combination):
    r"""Fisher's sum of logarithms: many detectors that find a sample a little odd make it odd.

    .. math:: \log p = \log P(\chi^2_{2m} \ge 2t) = -t + \log \sum_{j < m} \frac{t^j}{j!}, \qquad
              t = -\sum_k \log p_k

    It is a p-value where the detectors are independent, which those that saw the same data are not: it then ranks,
    but calls too much unusual.

    References
    ----------
    Fisher, "Statistical methods for research workers", 1932, section 21.1.
    """

    @override
    def __call__(self, log_p: NDArray[np.float64]) -> NDArray[np.float64]:
        t = -np.sort(log_p, axis=1).sum(axis=1)
        j = np.arange(log_p.shape[1])
        return logsumexp(xlogy(j, t[:, None]) - gammaln(j + 1), axis=1) - t


class HarmonicMean(Combination):
    r"""The harmonic mean of p-values: what one detector finds very odd is odd; holds for dependent detectors, nearly.

    .. math:: p = \Bigl( \frac{1}{m} \sum_k \frac{1}{p_k} \Bigr)^{-1}

    Times e log m it is a p-value however the detectors depend on one another; without, nearly one where p is small.

    References
    ----------
    Wilson, "The harmonic mean p-value for combining dependent tests", 2019, equation 1; Vovk and Wang, "Combining
    p-values via averaging", 2020.
    """

    @override
    def __call__(self, log_p: NDArray[np.float64]) -> NDArray[np.float64]:
        return math.log(log_p.shape[1]) - logsumexp(-np.sort(log_p, axis=1), axis=1)


class Cauchy(Combination):
    r"""The Cauchy combination: like the harmonic mean, and a p-value for detectors that agree entirely, too.

    .. math:: p = \frac{1}{2} - \frac{1}{\pi} \arctan T, \qquad T = \frac{1}{m} \sum_k \tan(\pi (1/2 - p_k))

    References
    ----------
    Liu and Xie, "Cauchy combination test", 2020, equation 2.
    """

    @override
    def __call__(self, log_p: NDArray[np.float64]) -> NDArray[np.float64]:
        log_p = np.sort(log_p, axis=1)
        least = log_p[:, 0]
        # No exponential below is so small that it is 0; what it is then divides out.
        p = np.exp(np.maximum(log_p, -600))
        # tan(π (1/2 - p)) = cot πp = (πp / tan πp) / πp, and all of T times exp(least).
        T = (p / np.tan(np.pi * p) * np.exp(least[:, None] - log_p)).mean(axis=1)
        # 1/2 - arctan(T) / π is the angle of the point (T, 1) over π.
        return least + np.log(np.arctan2(p[:, 0], T) / (np.pi * p[:, 0]))


def p_values(calibration: ArrayLike, score: ArrayLike, guarantee: Guarantee = Marginal()) -> NDArray[np.float64]:
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
        If there is no calibration score, one is not finite, or `judgeable` refuses a score to judge.

    Examples
    --------
    >>> p_values([1, 2, 3, 4], [0, 2.5, 9])
    array([0.2, 0.6, 1. ])
    """
    known = np.sort(np.asarray(calibration, dtype=np.float64))
    if known.ndim != 1 or not len(known) or not np.isfinite(known).all():
        raise ValueError(f"calibration must hold at least 1 finite score in one dimension, got shape {known.shape}")
    return guarantee(len(known))[np.searchsorted(known, judgeable(score), side="right")]


def judgeable(score: ArrayLike) -> NDArray[np.float64]:
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


class Tail:
    r"""The p-value of any score among those of calibration normals, without steps and without a floor.

    At the i-th lowest calibration score it is i / (n + 1), the mean over calibration sets; between them its logarithm
    is linear, so that it stays within 1 / (n + 1) of the conformal one. Below the lowest it falls as an exponential
    tail does,

    .. math:: \log p(s) = -\log(n + 1) - \frac{s_{\min} - s}{\sigma},

    σ the mean distance of the ⌈√n⌉ lowest scores from the next, so that a sample far below all normals is less likely
    than one just below. Above the highest, 1 - p goes from 1 / (n + 1) to half of it.

    Parameters
    ----------
    calibration : ndarray, shape (n,)
        Scores of normals that training never saw.

    References
    ----------
    Pickands, "Statistical inference using extreme order statistics", 1975, for the excesses; the tail is the
    generalised Pareto distribution of shape 0.
    """

    def __init__(self, calibration: NDArray[np.float64]) -> None:
        known = np.sort(calibration)
        n = len(known)
        self.score, count = np.unique(known, return_counts=True)
        self.log_p = np.log(np.cumsum(count) / (n + 1))
        lowest = math.ceil(math.sqrt(n))
        excess = float(np.mean(known[min(n - 1, lowest)] - known[:lowest]))
        self.scale = excess or float(known.std()) or 1.0
        self.spread = float(known.std()) or 1.0

    def __call__(self, score: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return log p of scores (m,), in nats; of −∞ it is finite too, for `Combination`."""
        score = judgeable(score)
        below = np.minimum(np.maximum(self.score[0] - score, 0) / self.scale, 1e300)
        above = np.maximum(score - self.score[-1], 0) / self.spread
        inner = np.interp(score, self.score, self.log_p)
        outer = np.log1p(np.expm1(self.log_p[-1]) * (1 + 1 / (1 + above)) / 2)
        return np.where(above > 0, outer, inner) - below


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
