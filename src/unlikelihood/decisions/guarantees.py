"""What a p-value guarantees about false alarms."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincinv, gammaln
from typing_extensions import override

from unlikelihood.parameters import Component, Count, OpenFraction


@dataclass(frozen=True)
class Guarantee(Component, ABC):
    """What a p-value guarantees; it gives each rank among the calibration normals its p-value."""

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
    r"""At most a share α of new normals raise a false alarm, for every α, with the calibration set at hand.

    .. math:: b_{n+1-i} = 1 - \delta^{1/k}
              \left( \frac{i (i-1) \cdots (i-k+1)}{n (n-1) \cdots (n-k+1)} \right)^{1/k}, \qquad k = \lfloor n/2 \rfloor

    The guarantee fails for a share δ of all calibration sets.

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
    r"""The guarantee of `Simes`, by a simulated bound; at α above about 0.1 it calls more samples anomalous.

    .. math:: b_i = F^{-1}_{\mathrm{Beta}(i, n+1-i)}(\gamma), \quad i \le n/2, \qquad
              P\bigl(U_{(i)} \le b_i \text{ for all } i\bigr) \ge 1 - \delta

    with the order statistics of n uniform variables U: the calibration normals' own false-alarm rates. It is the
    calibration-conditional adjustment of Bates et al. with the boundary of equal local levels.

    Parameters
    ----------
    delta : float
        δ, strictly between 0 and 1.
    draws : int
        Simulated calibration sets. γ is their order statistic that keeps the guarantee, simulation error included.
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
