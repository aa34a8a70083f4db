"""What decides, as scikit-learn's outlier detectors do: a threshold, from normals that training never saw."""

import math
import warnings
from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import OutlierMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from unlikelihood.data.as_array import as_array
from unlikelihood.parameters import check_parameters
from unlikelihood.storage.identity import refuse_seen

ALPHA = 0.05  # where `calibrate` alone is what decides
HELD_OUT = 0.3  # share of the samples of `fit` that are kept from training, where `alpha` says that it shall decide


def _decides(detector: "Deciding") -> bool:
    if detector.alpha is None and not hasattr(detector, "calibration_"):
        raise AttributeError(detector.undecided)
    return True


class Deciding(OutlierMixin, ABC):
    """What of a detector decides: samples that score below `offset_` are anomalous.

    The threshold comes from scores of normals that training never saw: of those that `calibrate` is given, or, where
    `alpha` is set, of a share that `fit` keeps for that. Without either there is no `predict` and no `fit_predict`, as
    in scikit-learn's `LocalOutlierFactor`: training scores would set a threshold that raises more false alarms than it
    promises.
    """

    alpha: float | None
    seed: int
    calibration_: NDArray[np.float64]

    @property
    def offset_(self) -> float:
        """The score below which a sample is called anomalous, as at most a share `alpha` of new normals is."""
        check_is_fitted(self, "shape_")
        if not hasattr(self, "calibration_"):
            raise NotFittedError(self.undecided)
        return self._threshold(self.calibration_)

    @property
    def level(self) -> float:
        """The share of normals that may be called anomalous: α, or 0.05 where it is None."""
        return ALPHA if self.alpha is None else self.alpha

    @property
    def undecided(self) -> str:
        """How a detector that has no threshold comes to one."""
        return (
            f"this {type(self).__name__} has no threshold: calibrate it with normals that fit did not see, or set "
            f"alpha, the share of normals that may be called anomalous: fit then keeps {HELD_OUT:.0%} of its samples"
        )

    def decision_function(self, X: NDArray[Any]) -> NDArray[np.float64]:
        r"""Return the scores (n,) of samples (n, \*shape) less `offset_`: negative for anomalies.

        Without a threshold they are the scores, which rank, as an AUROC needs; a warning says that their sign says
        nothing.
        """
        scores = self.score_samples(X)
        try:
            return scores - self.offset_
        except NotFittedError as error:
            warnings.warn(f"{error}; the sign of its decision_function says nothing", stacklevel=2)
            return scores

    @available_if(_decides)
    def predict(self, X: NDArray[Any]) -> NDArray[np.int64]:
        r"""Return −1 for samples (n, \*shape) that score below `offset_`, the anomalies, and +1 for all others."""
        return np.where(self.score_samples(X) < self.offset_, -1, 1)

    @available_if(_decides)
    def fit_predict(self, X: NDArray[Any], y: object = None, **of_fit: Any) -> NDArray[np.int64]:
        r"""Return what `predict` says of samples (n, \*shape) after a fit to them."""
        return self.fit(X, y, **of_fit).predict(X)

    def p_value_steps(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the scores (k,), rising, at which p-values change, and the p-values (k + 1,) below, between and above.

        One that is a score in the list has the p-value above it.
        """
        scores, counts = np.unique(self.calibration_, return_counts=True)
        return scores, self._ladder(len(self.calibration_))[[0, *np.cumsum(counts)]]

    def calibrate(self, X: NDArray[Any]) -> Self:
        """Remember how normals that training never saw score, to decide by; a model file keeps it.

        Parameters
        ----------
        X
            Normal samples of the shape that `fit` saw.

        Returns
        -------
        Detector
            Itself.

        Raises
        ------
        ValueError
            As `score_samples`, and if a sample was trained on.
        """
        X = as_array(X)
        scores = self.score_samples(X)
        refuse_seen(self, self._checked(X, reset=False))
        self.calibration_ = np.sort(scores)
        return self

    @abstractmethod
    def fit(self, X: NDArray[Any], y: object = None) -> Self: ...  # noqa: D102

    @abstractmethod
    def score_samples(self, X: NDArray[Any]) -> NDArray[np.float64]: ...  # noqa: D102

    @abstractmethod
    def _checked(self, X: NDArray[Any], *, reset: bool) -> NDArray[Any]: ...

    def _divided(self, X: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the samples to train with, and those to calibrate on: none unless `alpha` is set."""
        if self.alpha is None:
            return X, X[:0]
        from unlikelihood.contract.blocks import rows  # only here: judging scores needs no torch

        kept = held_out(len(X), HELD_OUT, self.seed)
        self._calls(int(kept.sum()))  # a fit may take hours, so what it could not be calibrated for is said before it
        return rows(X, np.flatnonzero(~kept)), rows(X, np.flatnonzero(kept))

    def _threshold(self, scores: NDArray[np.float64]) -> float:
        """Return the score below which a sample's p-value among calibration scores, in their order, is at most α."""
        return float(scores[self._calls(len(scores)) - 1])

    def _calls(self, n: int) -> int:
        """Return at most how many of n calibration normals a sample may score above to be called anomalous."""
        check_parameters(self)  # α may have been set after `fit`
        alpha, ladder = self.level, self._ladder(n)
        if ladder[0] > alpha:
            raise ValueError(
                f"alpha is {alpha:g}, expected at least {ladder[0]:.4g}: with n_samples={n} normals to calibrate on "
                "no sample can be that unusual; hold out more or raise alpha"
            )
        return int(np.sum(ladder <= alpha))

    def _ladder(self, n: int) -> NDArray[np.float64]:
        """Return the p-values of samples that score at least as high as 0, 1, … all of n calibration normals."""
        return np.arange(1, n + 2) / (n + 1)


def held_out(n: int, share: float, seed: int, group: ArrayLike | None = None) -> NDArray[np.bool_]:
    """Return which of n samples are held out: a share of them, or of their groups (n,), at random."""
    unit = np.arange(n) if group is None else np.unique(np.asarray(group), return_inverse=True)[1]
    units = int(unit.max()) + 1
    if units < 2:
        raise ValueError(f"X has n_samples={n} in {units} group, expected at least 2: one to fit and one to calibrate")
    kept = min(max(1, math.ceil(share * units)), units - 1)
    return np.isin(unit, np.random.default_rng(seed).permutation(units)[:kept])
