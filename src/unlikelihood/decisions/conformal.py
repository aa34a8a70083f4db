"""A detector ranks; here is what decides: conformal p-values from held-out normals."""

import os
import time
from collections.abc import Callable
from dataclasses import field
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.blocks import rows
from unlikelihood.contract.deciding import held_out
from unlikelihood.contract.detector import Detector
from unlikelihood.contract.refusals import NotExportable
from unlikelihood.contract.wrapper import MapOfPart
from unlikelihood.data.as_array import as_array
from unlikelihood.decisions import pvalues
from unlikelihood.decisions.guarantees import Guarantee, Marginal
from unlikelihood.decisions.shift import density_ratio, weighted_discoveries, weighted_p_values
from unlikelihood.parameters import OpenFraction, check_parameters
from unlikelihood.storage.identity import identities, refuse_seen

Ratio = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""From covariates (n, d) to how much more often such are met now than in the calibration (n,), above 0."""

LOWEST = -1e300  # stands for a score of −∞, as another library may give it: as anomalous as can be


@runtime_checkable
class Ranker(Protocol):
    """What `Conformal` asks of a detector, of this package or of scikit-learn; higher scores are more normal."""

    def fit(self, X: NDArray[Any]) -> Any: ...  # noqa: D102
    def score_samples(self, X: NDArray[Any]) -> NDArray[Any]: ...  # noqa: D102


class Conformal(MapOfPart):
    r"""Decides which samples a detector should call anomalous, with a bound on the false alarms.

    A sample's p-value says how many of n calibration normals look at least as anomalous,

    .. math:: p = \frac{1 + \#\{i : s_i \le s\}}{n + 1},

    and it is called anomalous where p ≤ α. If new normals are like the calibration ones, at most a share α of them
    is, whatever the detector. `guarantee` says whether that holds on average over calibration sets or for the one
    at hand. With normals of known kinds p is the largest over the kinds, and the bound holds within each kind. Where
    new normals are others than those, older ones for example, and their covariates say in what, p-values can be
    weighted.

    Parameters
    ----------
    detector : detector
        Of this package or any outlier detector of scikit-learn's contract. One that is fitted is not fitted again:
        all data of `fit` calibrates. Otherwise a copy of it is fitted on one part and calibrated on the other.
    alpha : float
        Share of normals that may raise a false alarm, strictly between 0 and 1.
    guarantee : Guarantee
        `Marginal`, `Simes` or `MonteCarlo`.
    held_out : float
        Share of the data, or of its groups, that is kept for calibration where the detector must be fitted.
    seed : int
        Seeds that choice.

    Attributes
    ----------
    detector_ : detector
        The fitted detector.
    calibration_ : ndarray of float64, shape (n,)
        Scores of the calibration normals in increasing order, higher = more normal.
    kind_ : ndarray of int, shape (n,)
        The kind of each, where kinds are known: its place in ``kinds_``.
    covariate_ : ndarray of float64, shape (n, d)
        The covariates of each, where they are known.
    offset_ : float
        The score below which a sample is called anomalous, of `alpha` and `guarantee` as they are now: they may be
        set after `fit`.

    Notes
    -----
    A detector of another library does not remember what it was fitted to: that it did not see the calibration normals
    is then for the caller to see to. With several samples a patient the bound is for a new sample of a patient drawn
    like those of the calibration, and that of `Simes` and `MonteCarlo`, which count on independent samples, is lost.

    References
    ----------
    Vovk, Gammerman & Shafer (2005), "Algorithmic learning in a random world", chapters 2 and 4. Laxhammar &
    Falkman (2010). Bates, Candès, Lei, Romano & Sesia (2023), Annals of Statistics 51:149.

    Examples
    --------
    >>> from sklearn.ensemble import IsolationForest
    >>> rng = np.random.default_rng(0)
    >>> conformal = Conformal(IsolationForest(random_state=0)).fit(rng.normal(size=(400, 2)))
    >>> conformal.predict([[0, 0], [9, 9]])
    array([ 1, -1])

    Where what is met now is larger in the first feature, that can be made up for:

    >>> known, now = rng.normal(size=(400, 2)), rng.normal([1, 0], 1, size=(400, 2))
    >>> conformal = Conformal(conformal.detector_).fit(known, covariate=known[:, 0])
    >>> plain, weighted = conformal.p_value(now), conformal.p_value(now, covariate=now[:, 0])
    >>> bool(np.mean(weighted <= 0.05) < np.mean(plain <= 0.05))
    True
    """

    detector: Ranker
    alpha: OpenFraction = field(default=0.05, kw_only=True)
    guarantee: Guarantee = Marginal()
    held_out: OpenFraction = 0.3

    def fit(
        self,
        X: NDArray[Any] | None = None,
        y: object = None,
        *,
        group: ArrayLike | None = None,
        kind: ArrayLike | None = None,
        covariate: ArrayLike | None = None,
    ) -> Self:
        r"""Calibrate on normals, after fitting the detector to some of them if it is not fitted.

        Parameters
        ----------
        X : ndarray, shape (n, \*shape), optional
            Normal samples. Without them, the scores that the detector remembers from `Detector.calibrate`.
        y : object
            Ignored: all samples are taken to be normal.
        group : array_like, shape (n,), optional
            Patient of each sample; none is split between fitting and calibration.
        kind : array_like, shape (n,), optional
            Kind of each normal, where the bound on false alarms shall hold within each.
        covariate : array_like, shape (n,) or (n, d), optional
            Of each normal what may be met more often later, or less: age, or an embedding.

        Returns
        -------
        Conformal
            Itself.

        Raises
        ------
        ValueError
            If the detector was fitted to one of the samples, or there are too few calibration normals for α.
        """
        if X is None:
            return self._recall()
        check_parameters(self)
        X = self._checked(X, reset=True)
        started = time.perf_counter()
        self.__dict__.pop("calibration_", None)  # of an earlier fit
        self._fit(X, *(None if given is None else np.asarray(given) for given in (group, kind, covariate)))
        self.fit_seconds_ = time.perf_counter() - started
        return self

    def calibrate(self, X: NDArray[Any]) -> Self:
        r"""Calibrate anew on other normals (n, \*shape), of no known kinds or covariates, without another fit."""
        X = as_array(X)
        scores = self.score_samples(X)
        refuse_seen(self, self._checked(X, reset=False))
        self._calls(len(scores))
        self._settle(scores, None)
        return self

    @property
    @override
    def offset_(self) -> float:
        return min(map(self._threshold, self._kinds().values()))

    def p_value(
        self,
        X: NDArray[Any],
        kind: ArrayLike | None = None,
        *,
        covariate: ArrayLike | None = None,
        weight: Ratio | None = None,
    ) -> NDArray[np.float64]:
        r"""Return how probable so anomalous a sample would be, were it normal.

        Parameters
        ----------
        X : ndarray, shape (m, \*shape)
            Samples.
        kind : array_like, shape (m,), optional
            Of which kind each would be, if it were normal. Where it is not known, it could be of any, and the
            p-value is the largest over the kinds.
        covariate : array_like, shape (m,) or (m, d), optional
            What `fit` was given of the normals, of each sample. Calibration normals then count by how much more often
            their like is met now: see `weighted_p_values`. The drift test `Martingale` says when that is needed.
        weight : callable, optional
            From covariates (n, d) to that ratio (n,), known or from an earlier batch. Unless given, it is estimated
            from the covariates of these samples as a whole, by `density_ratio`.

        Returns
        -------
        ndarray of float64, shape (m,)
            In (0, 1], lower = more anomalous.

        Raises
        ------
        ValueError
            If `kind` holds one that `fit` was not given, `fit` was given no covariates, or a score is nan or +∞: about
            such a sample nothing is decided, here and in all that follows.
        """
        score = self.score_samples(X)
        if covariate is None and weight is None:
            return self.p_value_of(score, kind)
        if kind is not None:
            raise ValueError("kind is given with a covariate, expected one of them")
        return weighted_p_values(self.calibration_, score, *self._weights(len(score), covariate, weight))

    def p_value_of(self, score: ArrayLike, kind: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return the p-values (m,) of scores (m,) that `score_samples` gave, as `p_value` does."""
        of_kind = {known: pvalues.p_values(scores, score, self.guarantee) for known, scores in self._kinds().items()}
        if kind is None:
            return np.max(list(of_kind.values()), axis=0)
        if np.shape(kind) != np.shape(score):
            raise ValueError(f"kind has shape {np.shape(kind)}, expected {np.shape(score)}, one for each sample of X")
        kinds = np.asarray(kind).tolist()
        if unknown := sorted({str(each) for each in kinds if each not in of_kind}):
            raise ValueError(f"kind holds {', '.join(unknown)}, expected kinds that fit was given: {list(of_kind)}")
        return np.array([of_kind[each][row] for row, each in enumerate(kinds)])

    @override
    def p_value_steps(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        scores = np.unique(self.calibration_)
        return scores, self.p_value_of([-np.inf, *scores])

    def discoveries(
        self,
        X: NDArray[Any],
        rate: float = 0.1,
        *,
        covariate: ArrayLike | None = None,
        weight: Ratio | None = None,
    ) -> NDArray[np.bool_]:
        r"""Return which samples of a batch (m, \*shape) to call anomalous so that few of the calls are wrong.

        At most a share `rate` of them is, the false discovery rate: see `unlikelihood.decisions.pvalues.discoveries`,
        and `weighted_discoveries` where covariates are given, as to `p_value`.
        """
        if covariate is None and weight is None:
            return pvalues.discoveries(self.p_value(X), rate)
        score = self.score_samples(X)
        weights = self._weights(len(score), covariate, weight)
        return weighted_discoveries(self.calibration_, score, *weights, rate, self.seed)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the detector and its calibration to a folder; a detector of another library is refused."""
        check_is_fitted(self, "shape_")
        if not isinstance(self.detector_, Detector):
            raise ValueError(f"detector is {type(self.detector_).__name__}, expected one of this package to save")
        return super().save(path)

    def _fit(
        self,
        X: NDArray[Any],
        group: NDArray[Any] | None = None,
        kind: NDArray[Any] | None = None,
        covariate: NDArray[Any] | None = None,
    ) -> None:
        for name, column in (("group", group), ("kind", kind)):
            if column is not None and column.shape != (len(X),):
                raise ValueError(f"{name} has shape {column.shape}, expected ({len(X)},), one for each sample of X")
        if covariate is not None:
            if kind is not None:
                raise ValueError("kind is given with a covariate, expected one of them")
            covariate = _columns(covariate, len(X))
        if _is_fitted(self.detector):
            self.detector_ = self.detector
            refuse_seen(self.detector_, X)
            calibrating = np.ones(len(X), dtype=bool)
        else:
            calibrating = held_out(len(X), self.held_out, self.seed, group)
        kind, covariate = (None if column is None else column[calibrating] for column in (kind, covariate))
        # A fit may take hours, so what it could not be calibrated for is said before it.
        self._calls(int(calibrating.sum()) if kind is None else int(np.unique(kind, return_counts=True)[1].min()))
        self.seen_ = np.sort(
            identities(rows(X, np.flatnonzero(~calibrating)))
        )  # to calibrate again on the others is no harm
        self._count(int((~calibrating).sum()))
        if not calibrating.all():
            self.detector_ = clone(self.detector).fit(rows(X, np.flatnonzero(~calibrating)))
        self._settle(self._score(rows(X, np.flatnonzero(calibrating))), kind, covariate)

    def _recall(self) -> Self:
        check_parameters(self)
        if not isinstance(self.detector, Detector) or not hasattr(self.detector, "calibration_"):
            raise ValueError(
                f"X is None, expected normals, for this {type(self.detector).__name__} remembers no calibration scores"
            )
        known = self.detector.calibration_
        self.detector_ = self.detector
        self.shape_, self.range_ = self.detector.shape_, self.detector.range_
        self.seen_ = np.empty(0, np.uint64)
        self._count(0)
        if hasattr(self.detector, "n_features_in_"):
            self.n_features_in_ = self.detector.n_features_in_
        self._calls(len(known))
        self._settle(known, None)
        return self

    def _count(self, fitted_here: int) -> None:
        """Keep how many samples the detector was fitted to, where that is known."""
        self.__dict__.pop("n_samples_", None)
        if count := fitted_here or getattr(self.detector_, "n_samples_", None):
            self.n_samples_ = count

    def _settle(
        self, scores: NDArray[np.float64], kind: NDArray[Any] | None, covariate: NDArray[np.float64] | None = None
    ) -> None:
        if len(where := np.flatnonzero(scores <= LOWEST)):
            raise ValueError(f"X has {len(where)} normals whose score is not finite, the first in row {where[0]}")
        order = np.argsort(scores, kind="stable")
        self.calibration_ = scores[order]
        for name in ("kind_", "covariate_"):  # of an earlier fit
            self.__dict__.pop(name, None)
        if kind is not None:
            kinds, self.kind_ = np.unique(kind[order], return_inverse=True)
            self.kinds_ = tuple(kinds.tolist())
        if covariate is not None:
            self.covariate_ = covariate[order]

    def _weights(
        self, m: int, covariate: ArrayLike | None, weight: Ratio | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the weights of the calibration normals (n,) and of samples (m,) with such covariates."""
        check_is_fitted(self, "calibration_")
        check_parameters(self)  # they may have been set after `fit`
        if covariate is None:
            raise ValueError("covariate is None, expected one for each sample of X to weigh them by")
        if not hasattr(self, "covariate_"):
            raise ValueError("covariate is given, but fit was given none of the calibration normals: expected both")
        if self.guarantee != Marginal():
            raise ValueError(f"guarantee is {self.guarantee!r}, expected Marginal() for p-values that are weighted")
        known, new = self.covariate_, _columns(np.asarray(covariate), m)
        if known.shape[1] != new.shape[1]:
            raise ValueError(f"covariate has {new.shape[1]} columns, expected {known.shape[1]} as fit was given")
        weight = density_ratio(known, new) if weight is None else weight
        return weight(known), weight(new)

    def _kinds(self) -> dict[Any, NDArray[np.float64]]:
        check_is_fitted(self, "calibration_")
        check_parameters(self)  # they may have been set after `fit`
        if not hasattr(self, "kind_"):
            return {None: self.calibration_}
        return {kind: self.calibration_[self.kind_ == place] for place, kind in enumerate(self.kinds_)}

    @override
    def _ladder(self, n: int) -> NDArray[np.float64]:
        return self.guarantee(n) if n else super()._ladder(n)

    def _score(self, X: NDArray[Any]) -> NDArray[np.float64]:
        scores = pvalues.checked_scores(self.detector_.score_samples(X))
        if scores.shape != (len(X),):
            raise ValueError(
                f"{type(self.detector_).__name__} gives {len(X)} samples scores of shape {scores.shape}, "
                f"expected ({len(X)},)"
            )
        return np.maximum(scores, LOWEST)

    @override
    def _score_tensor(self, x: Tensor) -> Tensor:
        if not isinstance(self.detector_, Detector):
            name = type(self.detector_).__name__
            raise NotExportable(f"Conformal cannot be exported: detector is {name}, expected one of this package")
        return self.detector_.score_tensor(x)

    @override
    def state(self) -> dict[str, Any]:
        return super().state() | {"detector_": self.detector_}


def _columns(covariate: NDArray[Any], n: int) -> NDArray[np.float64]:
    """Return covariates (n,) or (n, d) as (n, d)."""
    columns = covariate[:, None] if covariate.ndim == 1 else covariate
    if columns.ndim != 2 or len(columns) != n:
        raise ValueError(
            f"covariate has shape {covariate.shape}, expected ({n},) or ({n}, d), a row for each sample of X"
        )
    columns = columns.astype(np.float64)
    if not np.isfinite(columns).all():
        raise ValueError("covariate holds values that are not finite, expected numbers")
    return columns


def _is_fitted(detector: Any) -> bool:
    if isinstance(detector, Detector):
        return hasattr(detector, "shape_")
    try:
        check_is_fitted(detector)
    except NotFittedError:
        return False
    return True
