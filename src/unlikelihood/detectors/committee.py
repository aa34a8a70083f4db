"""Several detectors as one, by the p-values that held-out normals give their scores."""

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY
from functools import partial

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.blocks import HELD, rows
from unlikelihood.contract.deciding import held_out
from unlikelihood.contract.detector import Detector, fitted
from unlikelihood.contract.maps import MapKind, Whitening
from unlikelihood.decisions.combinations import Combination, Fisher, Tail
from unlikelihood.nn.shares import size
from unlikelihood.parameters import Count, OpenFraction
from unlikelihood.progress import stage
from unlikelihood.storage.identity import refuse_seen
from unlikelihood.storage.workers import each
from unlikelihood.training.allocation import reusing_memory

SHOWN = 16  # held-out normals whose maps are looked at


class Committee(Detector):
    r"""Scores by how unusual all of its members together find a sample, whatever the units of their scores.

    The members' scores of normals that none of them was trained on turn the score s_k of each into a p-value, and
    `combination` makes one of those:

    .. math:: \log p = \mathrm{combination}\bigl(\log p_1(s_1), \ldots, \log p_m(s_m)\bigr)

    A conformal p-value cannot fall below 1 / (n + 1); here it goes on as an exponential tail, so that what lies far
    beyond all normals stays apart from what lies just beyond (`Tail`). No anomaly is needed. The score ranks;
    for decisions with a bound on false alarms, put `Conformal` around it.

    The map is the mean of the members' maps in standard deviations of those of held-out normals. Where some members
    have maps of their own, it is the mean of theirs; where one has, it is that one's.

    Parameters
    ----------
    detectors : sequence of Detector
        The members. One that is fitted is used as it is, and must not have seen the normals that are held out: where
        all are fitted, those are all the data of `fit`.
    combination : Combination
        `Fisher`, `HarmonicMean` or `Cauchy`.
    held_out : float
        Share of the normals that gives the p-values where a member has to be fitted; the others fit it.
    seed : int
        Seeds the choice of those.
    workers : int or None
        Processes that fit the members, each one at a time; None takes one for each thread that torch may use. Within
        `workers` of a Ray cluster they are its tasks. The members are the same, to the bit where each has as many
        threads. Where ranks share a fit, they share that of one member after the other instead.

    Attributes
    ----------
    detectors_ : tuple of Detector
        The fitted members.
    shown_ : ndarray, shape (k, \*shape)
        A few held-out normals, whose maps give those of the members one unit.
    held_out_scores_ : ndarray of float64, shape (m, n)
        Their scores of the held-out normals in increasing order, higher = more normal.

    References
    ----------
    Bates, Candès, Lei, Romano and Sesia, "Testing for outliers with conformal p-values", 2023, section 2; Heard and
    Rubin-Delanchy, "Choosing between methods of combining p-values", 2018.

    Examples
    --------
    >>> from unlikelihood import KNN, PCAResidual
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> Committee([KNN(), PCAResidual(1)]).fit(X).score_samples([[0, 0, 0], [9, 9, 9]]) > -5
    array([ True, False])
    """

    detectors: Sequence[Detector]
    combination: Combination = Fisher()
    held_out: OpenFraction = 0.2
    _: KW_ONLY
    workers: Count | None = 1

    runtime = ("workers",)

    def _fit(self, X: np.ndarray) -> None:
        index = self._held_out(len(X))
        unseen = X if len(index) == len(X) else rows(X, index)
        for detector in self.detectors:
            if hasattr(detector, "shape_"):
                refuse_seen(detector, unseen)
        fitting = rows(X, np.setdiff1d(np.arange(len(X)), index))
        # A fitted member of another shape is refused, also where there is nothing left to fit.
        jobs = [partial(self._member, number, fitting) for number in range(len(self.detectors))]
        workers = 1 if size() > 1 else self.workers or torch.get_num_threads()
        self.detectors_ = tuple(each(jobs, workers, "Fitting members"))
        self.shown_ = np.array(unseen[: max(1, min(SHOWN, HELD // unseen[:1].size))])
        scores = [detector.score_samples(unseen) for detector in self.detectors_]
        self.held_out_scores_ = np.sort(scores, axis=1)

    def _member(self, number: int, fitting: np.ndarray) -> Detector:
        with stage(number + 1, len(self.detectors)):
            return fitted(self.detectors[number], fitting)

    def _held_out(self, n: int) -> np.ndarray:
        """Return the indices of the normals that give the p-values."""
        if all(hasattr(detector, "shape_") for detector in self.detectors):
            return np.arange(n)
        if n < 2:
            raise ValueError(f"X has n_samples={n}, expected at least 2: one to fit and one to give p-values")
        return np.flatnonzero(held_out(n, self.held_out, self.seed))

    def _restore(self) -> None:
        self._tails = [Tail(scores) for scores in self.held_out_scores_]
        self._whitenings: list[Whitening] | None = None

    def _score(self, X: np.ndarray) -> np.ndarray:
        return self.combination(self._log_p(X))

    @override
    def _score_tensor(self, x: Tensor) -> Tensor:
        scores = torch.stack([member.score_tensor(x) for member in self.detectors_], 1)
        log_p = torch.stack([tail.of_tensor(s) for tail, s in zip(self._tails, scores.unbind(1), strict=True)], 1)
        return self.combination.of_tensor(log_p).where(scores.isfinite().all(1), math.nan)

    @property
    @override
    def map_kind(self) -> MapKind:
        kinds = [member.map_kind for member in self._mapping()]
        if len(kinds) == 1:
            return kinds[0]
        words = ", ".join(dict.fromkeys(map(str, kinds)))
        return MapKind(f"mean over members: {words}", "standard deviations of normals", kinds[0].own)

    def _mapping(self) -> Sequence[Detector]:
        """Return the members that have maps of their own, or all where none has."""
        return [member for member in self.detectors_ if member.map_kind.own] or self.detectors_

    def _map(self, X: np.ndarray) -> np.ndarray:
        if len(self._mapping()) == 1:
            return self._mapping()[0].anomaly_map(X)
        if self._whitenings is None:  # only now: maps of normals may take longer than all of `fit`
            self._whitenings = [Whitening.of(member.anomaly_map(self.shown_)) for member in self._mapping()]
        each = zip(self._mapping(), self._whitenings, strict=True)
        return np.mean([whitening(member.anomaly_map(X)) for member, whitening in each], axis=0)

    def log_p_values(self, X: np.ndarray) -> np.ndarray:
        """Return the logarithm of the p-value, below 0, that each of m members gives each sample, (n, m)."""
        return self._log_p(self._checked(X, reset=False))

    def _log_p(self, X: np.ndarray) -> np.ndarray:
        with reusing_memory():  # of one member for the next
            return np.stack(
                [tail(member.score_samples(X)) for member, tail in zip(self.detectors_, self._tails, strict=True)],
                axis=1,
            )

    @override
    def alarms(self) -> tuple[str, ...]:
        return sum((member.alarms() for member in self.detectors_), super().alarms())
