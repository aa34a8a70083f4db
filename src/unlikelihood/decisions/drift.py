"""Is tomorrow's batch still what the calibration saw? If not, no p-value and no false-alarm rate holds."""

from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import ks_2samp
from typing_extensions import override

from unlikelihood.parameters import Component, OpenFraction

JUMPS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


@dataclass(frozen=True, eq=False)
class Verdict:
    """Whether a batch is like the calibration normals; its text says it in plain words.

    Parameters
    ----------
    drifted : bool
        Whether the evidence is strong enough to stop trusting the calibration.
    p_value : float
        Bound on the probability of such evidence without drift, in [0, 1].
    rate : float
        Probability of a false alarm that was allowed.
    n : int
        Samples in the batch.
    exceeding : float
        Chance that a sample of the batch is more anomalous than a calibration normal; ½ without drift.
    alarm_at : int, optional
        How many samples of the batch it took; None without an alarm, or where the batch was tested as a whole.
    evidence : ndarray of float64, shape (n,)
        log₁₀ of the evidence after each sample; empty where the batch was tested as a whole.
    """

    drifted: bool
    p_value: float
    rate: float
    n: int
    exceeding: float
    alarm_at: int | None = None
    evidence: NDArray[np.float64] = field(default_factory=lambda: np.empty(0), repr=False)

    def __str__(self) -> str:
        strength = f"p {'=' if self.p_value >= 1e-4 else '<'} {max(self.p_value, 1e-4):.2g}"
        if not self.drifted:
            return f"No drift found: the {self.n:,} samples score like the calibration normals ({strength})."
        if 0.45 < self.exceeding < 0.55:
            how = "spread their scores unlike the calibration normals"
        else:
            way = "more" if self.exceeding > 0.5 else "less"
            how = f"score {way} anomalous than the calibration normals, {100 * self.exceeding:.0f} % of pairs above"
        when = f" after {self.alarm_at:,}" if self.alarm_at else ""
        return (
            f"Drift{when}: the {self.n:,} samples {how} ({strength}). They may hold many anomalies, or come from "
            "elsewhere: look at them, and calibrate anew on normals of their kind before trusting a p-value."
        )


@dataclass(frozen=True)
class DriftTest(Component, ABC):
    """Compares the scores of a batch with those of the calibration normals.

    Parameters
    ----------
    rate : float
        Probability of a false alarm that is allowed, strictly between 0 and 1.
    """

    rate: OpenFraction = 0.01

    def test(self, calibration: ArrayLike, score: ArrayLike) -> Verdict:
        """Return whether a batch is like the calibration normals.

        Parameters
        ----------
        calibration : array_like, shape (n,)
            Scores of the calibration normals, higher = more normal.
        score : array_like, shape (m,)
            Scores of the batch in the order in which it came.

        Raises
        ------
        ValueError
            If one of them is empty or not finite.
        """
        known, new = (np.asarray(values, dtype=np.float64) for values in (calibration, score))
        for name, values in (("calibration", known), ("score", new)):
            if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
                raise ValueError(f"{name} must hold at least 1 finite score in one dimension, got shape {values.shape}")
        return self._test(known, new)

    @abstractmethod
    def _test(self, known: NDArray[np.float64], new: NDArray[np.float64]) -> Verdict:
        """Return the verdict on scores that have been checked."""


class TwoSample(DriftTest):
    """Tests a whole batch once for drift: the Kolmogorov–Smirnov test of its scores against the calibration's.

    It asks whether the conformal p-values of the batch are uniform. Looked at again and again as a batch grows, its
    false alarms add up; `Martingale` is for that.
    """

    @override
    def _test(self, known: NDArray[np.float64], new: NDArray[np.float64]) -> Verdict:
        p_value = float(ks_2samp(new, known).pvalue)
        return Verdict(p_value <= self.rate, p_value, self.rate, len(new), exceeding(known, new))


@dataclass(frozen=True)
class Martingale(DriftTest):
    r"""Tests for drift after every sample, and still raises a false alarm with probability `rate` at most, ever.

    Each score gets a p-value among the calibration normals and all samples before it, ties broken at random: without
    drift these are independent and uniform. Against that, capital is bet on their location and on their spread,

    .. math:: f_\epsilon(p) = 1 + \epsilon (p - \tfrac12), \qquad
              g_\epsilon(p) = 1 + \tfrac{\epsilon}{2} \bigl(12 (p - \tfrac12)^2 - 1\bigr),
              \qquad \epsilon \in \{-1, 0, 1\},

    by strategies that change their ε with probability J, J ∈ {10⁻⁴, …, 1}. The mean capital M is a martingale, so by
    Ville's inequality it exceeds 1/rate with probability `rate` at most. log M is the evidence.

    Parameters
    ----------
    rate : float
        Probability of a false alarm, ever.
    seed : int
        Breaks ties at random.

    References
    ----------
    Vovk, Petej, Nouretdinov, Ahlberg, Carlsson & Gammerman (2021), "Retrain or not retrain: conformal test
    martingales for change-point detection", algorithm 1, whose bets on the location these are.
    """

    seed: int = 0

    def follow(self, calibration: ArrayLike) -> Callable[[float], float]:
        """Return a function that takes the scores of a stream one by one, and returns the evidence after each.

        It is that of `test`, log₁₀ of the capital: drift is found where it is −log₁₀ of the `rate` or more.

        Parameters
        ----------
        calibration : array_like, shape (n,)
            Scores of the calibration normals, higher = more normal.
        """
        before = np.sort(np.asarray(calibration, dtype=np.float64)).tolist()
        random = np.random.default_rng(self.seed)
        place = _Capital(lambda p: p - 0.5)
        spread = _Capital(lambda p: 6 * (p - 0.5) ** 2 - 0.5)

        def evidence(score: float) -> float:
            p = _online_p_value(before, score, random.random())
            return float((np.logaddexp(place.after(p), spread.after(p)) - np.log(2)) / np.log(10))

        return evidence

    @override
    def _test(self, known: NDArray[np.float64], new: NDArray[np.float64]) -> Verdict:
        follow = self.follow(known)
        evidence = np.array([follow(score) for score in new.tolist()])
        alarms = np.flatnonzero(evidence >= -np.log10(self.rate))
        return Verdict(
            drifted=len(alarms) > 0,
            p_value=float(min(1.0, 10.0 ** -evidence.max())),
            rate=self.rate,
            n=len(new),
            exceeding=exceeding(known, new),
            alarm_at=int(alarms[0]) + 1 if len(alarms) else None,
            evidence=evidence,
        )


def exceeding(known: NDArray[np.float64], new: NDArray[np.float64]) -> float:
    """Return the chance that a new score is lower than a known one, ties counting half."""
    ordered = np.sort(known)
    below = np.searchsorted(ordered, new, "left") + np.searchsorted(ordered, new, "right")
    return float(1 - below.mean() / (2 * len(known)))


def _online_p_value(before: list[float], score: float, u: float) -> float:
    """Return (#{s_i < s} + u #{s_i = s}) / n over all scores up to and with a new one, which is kept with them."""
    left, right = bisect_left(before, score), bisect_right(before, score)
    before.insert(right, score)
    return (left + u * (right - left + 1)) / len(before)


class _Capital:
    """The capital of the strategies that bet on p-values.

    Parameters
    ----------
    bet : callable
        What a unit staked on ε = 1 gains, given a p-value.
    """

    def __init__(self, bet: Callable[[float], float]) -> None:
        self.bet = bet
        self.jump = np.array(JUMPS)[:, None]
        self.stakes = np.full((len(JUMPS), 3), 1 / 3)  # on ε = −1, 0, 1
        self.won = np.zeros(len(JUMPS))

    def after(self, p: float) -> float:
        """Return the log of the mean capital after one more p-value."""
        gain = 1 + self.bet(p) * np.array([-1.0, 0.0, 1.0])
        mixed = (1 - self.jump) * self.stakes + self.jump * self.stakes.sum(1, keepdims=True) / 3
        stakes = mixed * gain
        total = stakes.sum(1, keepdims=True)
        # So that thousands of gains do not overflow.
        self.won, self.stakes = self.won + np.log(total[:, 0]), stakes / total
        return float(np.logaddexp.reduce(self.won) - np.log(len(JUMPS)))
