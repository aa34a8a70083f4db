"""One p-value out of those that several detectors give the same sample."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp, xlogy
from typing_extensions import override

from unlikelihood.contract.refusals import NotExportable
from unlikelihood.decisions.pvalues import checked_scores
from unlikelihood.parameters import Component

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Combination(Component, ABC):
    """What makes one p-value of those that several detectors give the same sample."""

    @abstractmethod
    def __call__(self, log_p: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the logarithms (n,) of the p-values that combine m each, from their natural logarithms (n, m) below 0.

        Those may lie far below what their exponentials can hold.
        """

    def of_tensor(self, log_p: "Tensor") -> "Tensor":
        """Return the same of a tensor, by operations of torch that a file can hold."""
        raise NotExportable(f"{type(self).__name__} cannot be exported: it takes tangents in float64")


class Fisher(Combination):
    r"""Fisher's sum of logarithms: many slightly small p-values make a small one.

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

    @override
    def of_tensor(self, log_p: "Tensor") -> "Tensor":
        import torch  # only here: judging scores needs no torch

        t = -log_p.sum(1)
        terms = [j * t.log() - math.lgamma(j + 1) for j in range(1, log_p.shape[1])]
        return torch.stack([torch.zeros_like(t), *terms], 1).logsumexp(1) - t


class HarmonicMean(Combination):
    r"""The harmonic mean of p-values: one very small p-value makes it small; nearly valid for dependent detectors.

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

    @override
    def of_tensor(self, log_p: "Tensor") -> "Tensor":
        return math.log(log_p.shape[1]) - (-log_p).logsumexp(1)


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
        if not n or not np.isfinite(known).all():
            raise ValueError(f"calibration must hold at least 1 score, all of them finite, got {n}: {known[-5:]}")
        self.score, count = np.unique(known, return_counts=True)
        self.log_p = np.log(np.cumsum(count) / (n + 1))
        lowest = math.ceil(math.sqrt(n))
        excess = float(np.mean(known[min(n - 1, lowest)] - known[:lowest]))
        self.scale = excess or float(known.std()) or 1.0
        self.spread = float(known.std()) or 1.0

    def __call__(self, s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return log p of scores (m,), in nats; of −∞ it is finite too, for `Combination`."""
        s = checked_scores(s)
        below = np.minimum(np.maximum(self.score[0] - s, 0) / self.scale, 1e300)
        above = np.maximum(s - self.score[-1], 0) / self.spread
        inner = np.interp(s, self.score, self.log_p)
        outer = np.log1p(np.expm1(self.log_p[-1]) * (1 + 1 / (1 + above)) / 2)
        return np.where(above > 0, outer, inner) - below

    def of_tensor(self, s: "Tensor") -> "Tensor":
        """Return the same of a tensor (m,), by operations of torch that a file can hold."""
        import torch  # only here: judging scores needs no torch

        score, log_p = torch.from_numpy(self.score), torch.from_numpy(self.log_p)
        below = (score[0] - s).clamp_min(0) / self.scale
        above = (s - score[-1]).clamp_min(0) / self.spread
        at = (score <= s[:, None]).sum(1)
        left, right = (at - 1).clamp_min(0), at.clamp_max(len(score) - 1)
        share = (s - score[left]) / (score[right] - score[left]).where(left < right, 1)
        inner = log_p[left] + share.clamp(0, 1) * (log_p[right] - log_p[left])
        outer = (1 + math.expm1(self.log_p[-1]) * (1 + 1 / (1 + above)) / 2).log()
        return outer.where(above > 0, inner) - below
