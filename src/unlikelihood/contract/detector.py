"""The contract: what a detector is."""

import os
import time
import warnings
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, dataclass_transform

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted, validate_data

import unlikelihood.contract.forks  # noqa: F401 - which sees to processes that are forked from this one
from unlikelihood.contract import maps
from unlikelihood.contract.card import card
from unlikelihood.contract.deciding import Deciding
from unlikelihood.contract.refusals import (
    NotExportable,
    check_state,
    finite_maps,
    finite_scores,
    most_beside,
    refuse_extreme,
    refuse_unfit,
)
from unlikelihood.data.as_array import as_array
from unlikelihood.data.mapped import lazily
from unlikelihood.parameters import OpenFraction, check_parameters
from unlikelihood.storage import models
from unlikelihood.storage.identity import identities, unseen
from unlikelihood.training.alarms import NothingLearnt, NotTrustworthy, told

if TYPE_CHECKING:  # judging scores needs no torch
    from torch import Tensor

    from unlikelihood.contract.export import Parity

AnyDetector = TypeVar("AnyDetector", bound="Detector")


@dataclass_transform(eq_default=False, kw_only_default=False, field_specifiers=(field,))
@dataclass(eq=False, repr=False)
class Detector(Deciding, BaseEstimator):
    """The base class of all detectors, which rank samples by how normal they are, and once calibrated decide.

    A subclass annotates its parameters, as a dataclass does, and writes `_fit` and `_score`. The constructor only
    stores; parameters and data are checked by `fit`. What `_fit` learns goes into attributes whose names end in
    ``_``: arrays and plain values, from which `_restore` makes whatever else scoring needs.

    A wrapper uses a fitted part as it is, and so does a clone of the wrapper; of an unfitted part, `fit` trains a
    clone.

    Parameters
    ----------
    seed : int
        Seeds everything random in `fit` and in `score_samples`.
    alpha : float or None
        Share of normals that may be called anomalous, for which `fit` keeps 30 % of its samples from training to
        calibrate on. None trains with all of them; after `calibrate` the share is then 0.05.
    """

    _: KW_ONLY
    seed: int = 0
    alpha: OpenFraction | None = None

    # Of one sample: vectors (F,), images (C, H, W), volumes (C, D, H, W).
    ranks: ClassVar[tuple[int, ...]] = (1, 3, 4)
    # Parameters of where a fit runs, not of what is fitted: model files and checkpoints leave them out.
    runtime: ClassVar[tuple[str, ...]] = ()
    # Why `export` refuses a detector without a `_score_tensor`.
    unexportable: ClassVar[str] = "its score is not written in operations of torch"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclass(eq=False, repr=False)(cls)

    def fit(self, X: np.ndarray, y: object = None) -> Self:
        """Learn what normal samples look like.

        Parameters
        ----------
        X : ndarray
            Normal samples: vectors (n, F), images (n, C, H, W) or volumes (n, C, D, H, W).
        y : object
            Ignored: all samples are taken to be normal.

        Returns
        -------
        Detector
            Itself.

        Raises
        ------
        ValueError
            If a parameter is out of its bounds, or `X` is empty, not finite in float32, or of no such shape.
        """
        check_parameters(self)
        X = self._checked(X, reset=True)
        started = time.perf_counter()
        self.__dict__.pop("calibration_", None)  # of an earlier fit
        X, calibrating = self._divided(X)
        self.n_samples_ = len(X)
        self.seen_ = np.sort(identities(X))
        self._fit(X)
        self._restore()
        if len(calibrating):
            calibrating = unseen(self, calibrating)  # a part may have been fitted to some before
            self._calls(len(calibrating))
            self.calibrate(calibrating)
        self.fit_seconds_ = time.perf_counter() - started
        return self

    def score_samples(self, X: np.ndarray) -> np.ndarray:
        """Return a score for each sample, from that sample alone.

        Parameters
        ----------
        X : ndarray
            Samples of the shape that `fit` saw.

        Returns
        -------
        ndarray of shape (n,), float64
            Higher = more normal. In nats where the score is a log-likelihood or a bound of one.

        Raises
        ------
        ValueError
            If `X` is empty or of another shape. `NoVerdict`, which names the samples, if values or a score are not
            finite, or if values are so large that float32 loses those of the normals beside them.
        sklearn.exceptions.NotFittedError
            Before `fit`.
        """
        check_is_fitted(self, "shape_")
        X = self._checked(X, reset=False)
        with told() as already:
            for alarm in () if already else self.alarms():
                warnings.warn(f"{type(self).__name__}: {alarm}", NotTrustworthy, stacklevel=2)
            scores = finite_scores(type(self).__name__, np.asarray(self._score(X), np.float64))
        if len(scores) > 1 and np.ptp(scores) == 0 and any((x != X[0]).any() for x in X):
            warnings.warn(
                f"all {len(scores)} scores are {scores[0]:g} although the samples differ: "
                f"this {type(self).__name__} cannot rank them",
                NothingLearnt,
                stacklevel=2,
            )
        return scores

    def anomaly_map(self, X: np.ndarray) -> np.ndarray:
        r"""Return where each sample is anomalous, from that sample alone; `map_kind` says what the values are.

        Parameters
        ----------
        X : ndarray
            Samples of the shape that `fit` saw.

        Returns
        -------
        ndarray of shape (n, \*space), or (n, F) of vectors, float32
            Higher = more anomalous, in a unit of the detector's own. Whether zero has a meaning depends on the kind.

        Raises
        ------
        ValueError
            As `score_samples`, of a map that is not finite.
        """
        from unlikelihood.contract.blocks import blocks, like  # only here: judging scores needs no torch

        check_is_fitted(self, "shape_")
        X = self._checked(X, reset=False)
        found = like(X, (len(X), *(X.shape[2:] or X.shape[1:])), np.dtype(np.float32))
        start = 0
        for block in blocks(X):
            found[start : start + len(block)] = self._map(block)
            start += len(block)
        return finite_maps(type(self).__name__, found)

    @property
    def map_kind(self) -> maps.MapKind:
        """What `anomaly_map` shows; a detector with a map of its own overrides `_map` and says so here."""
        return maps.OCCLUSION

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the fitted detector to a folder, for `load`.

        Parameters
        ----------
        path : path
            The folder: it gets ``detector.json`` and ``weights.safetensors``, and a model card, ``README.md``. One
            that is there is replaced.

        Returns
        -------
        Path
            The folder.
        """
        check_is_fitted(self, "shape_")
        return models.write(self, path, card(self))

    def export(self, path: str | os.PathLike[str], dtype: str = "float32", alpha: float | None = None) -> "Parity":
        """Write all from the raw sample to the decision as one file, for machines without this package.

        The file is run on random samples and compared with this detector before it takes its place.

        Parameters
        ----------
        path : path
            The file: ``.onnx`` for ONNX Runtime, ``.pt2`` for ``torch.export.load``. One that is there is replaced.
        dtype : str
            NumPy's name of the type of the samples that it will be given, such as ``uint8``.
        alpha : float or None
            Share of normals that may be called anomalous; None is the detector's own, or 0.05.

        Returns
        -------
        Parity
            How far the file's answers are from the detector's.

        Raises
        ------
        NotExportable
            If the score of the detector, or of a part, is more than such a file can hold; the message says why.
        """
        from unlikelihood.contract.export import export  # only here: judging scores needs no torch

        check_is_fitted(self, "shape_")
        return export(self, path, dtype, alpha)

    def score_tensor(self, x: "Tensor") -> "Tensor":
        r"""Return the scores (B,), float64, of raw samples (B, \*shape), by operations of torch that a file can hold.

        Where `score_samples` raises `NoVerdict`, the score is nan.
        """
        scores = self._score_tensor(x).double()
        return scores.where(self._known(x) & scores.isfinite(), float("nan"))

    def _score_tensor(self, x: "Tensor") -> "Tensor":
        raise NotExportable(f"{type(self).__name__} cannot be exported: {self.unexportable}")

    def _known(self, x: "Tensor") -> "Tensor":
        """Return of which raw samples something can be said, (B,), bool."""
        most = most_beside(getattr(self, "range_", (0.0, 0.0)))
        return (x.flatten(1).double().abs() <= most).all(1)

    def alarms(self) -> tuple[str, ...]:
        """Return what was found wrong, after its training, with this detector or with what it is made of."""
        parts = [part for name, part in vars(self).items() if name.endswith("_") and isinstance(part, Detector)]
        return sum((part.alarms() for part in parts), tuple(getattr(self, "alarms_", ())))

    def settings(self) -> dict[str, Any]:
        """Return the parameters that decide what is fitted."""
        without = self.runtime if self.alpha is not None else (*self.runtime, "alpha")
        return {name: value for name, value in self.get_params(deep=False).items() if name not in without}

    def state(self) -> dict[str, Any]:
        """Return the fitted arrays and plain values: all that a model file has to hold."""
        return {
            # The names of a data frame's columns are objects, which a file holds as a list.
            name: value.tolist() if isinstance(value, np.ndarray) and value.dtype.hasobject else value
            for name, value in vars(self).items()
            if name.endswith("_") and isinstance(value, (np.ndarray, float, int, str, tuple, list, dict, Detector))
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Take what `state` gave, from a file."""
        check_state(type(self).__name__, state)
        self._take_state(state)
        self._restore()

    def _take_state(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if names := state.get("feature_names_in_"):
            self.feature_names_in_ = np.array(names, object)

    def __sklearn_clone__(self) -> Self:
        # scikit-learn's own clone forgets what parts have learnt; here a fitted part is configuration.
        return type(self)(**{name: cloned(value) for name, value in self.get_params(deep=False).items()})

    @abstractmethod
    def _fit(self, X: np.ndarray) -> None:
        r"""Learn from normal samples (n, \*shape)."""

    @abstractmethod
    def _score(self, X: np.ndarray) -> np.ndarray:
        """Return (n,) scores, higher = more normal."""

    def _map(self, X: np.ndarray) -> np.ndarray:
        r"""Return maps (n, \*space) or (n, F), higher = more anomalous, of checked samples."""
        with warnings.catch_warnings():
            # A score that no covered place changes says something about the sample, not about the detector.
            warnings.simplefilter("ignore", NothingLearnt)
            return maps.occlusion(self._score, X, getattr(self, "typical_", None))

    def _restore(self) -> None:
        """Make from the fitted arrays and values what only memory can hold; called by `fit` and by `load`."""

    def _checked(self, X: np.ndarray, *, reset: bool) -> np.ndarray:
        X = as_array(X)
        X = X if hasattr(X, "shape") else np.asarray(X)
        shape = tuple(X.shape[1:])
        if len(shape) > 1 and len(shape) not in self.ranks:
            raise ValueError(
                f"X has shape {X.shape}, expected vectors (n, F), images (n, C, H, W) or volumes "
                "(n, C, D, H, W); X[:, None] adds the axis of a single channel"
            )
        fitted = getattr(self, "shape_", shape)
        if not reset and max(len(shape), len(fitted)) > 1 and shape != fitted:
            raise ValueError(f"X has samples of shape {shape}, but this {type(self).__name__} was fitted on {fitted}")
        if reset or not self._is_plain(X):
            # scikit-learn would read all of what is mapped, and names no sample; what is finite, the extremes tell.
            known = validate_data(
                self, X[:1] if lazily(X) else X, reset=reset, allow_nd=True, dtype="numeric", ensure_all_finite=False
            )
            X = X if lazily(X) else known  # type: ignore[assignment]
        ends = float(X.min()), float(X.max())
        if reset:
            refuse_unfit(X, ends)
            self.shape_ = tuple(X.shape[1:])
            self.range_ = ends
            if len(self.shape_) == 1:
                self.typical_ = np.asarray(X.mean(axis=0), np.float64)
        else:
            refuse_extreme(type(self).__name__, X, ends, getattr(self, "range_", ends))  # none: a part looks at it
        return X

    def _is_plain(self, X: Any) -> bool:
        """Return whether X is what scikit-learn would leave as it is, at a cost that counts for single samples."""
        fits = type(X) is np.ndarray and X.size > 0 and X.shape[1:] == getattr(self, "shape_", None)
        return fits and X.dtype.kind in "fiu" and not hasattr(self, "feature_names_in_")


def load(path: str | os.PathLike[str], **runtime: Any) -> Detector:
    """Read a detector that `Detector.save` wrote.

    Parameters
    ----------
    path : path
        The folder.
    **runtime : Any
        Parameters to change, such as ``device="cpu"``.

    Returns
    -------
    Detector
        Fitted; its scores equal the saved one's to the bit, on the same machine.

    Raises
    ------
    ModelFileError
        If the folder is incomplete, a byte of it has changed, or its format, class, parameters or shapes are not
        known here. Nothing has been built by then.
    """
    found = models.read(path, **runtime)
    if not isinstance(found, Detector):
        raise models.ModelFileError(f"{path} holds a {type(found).__name__}, which is not a detector")
    return found


def learners(detector: object) -> Iterator[Any]:
    """Yield what has a network of a fitted detector and its parts."""
    if hasattr(detector, "net_"):
        yield detector
    for name, part in vars(detector).items() if hasattr(detector, "__dict__") else ():
        parts = part if isinstance(part, (list, tuple)) else [part]
        for each in parts if name.endswith("_") else ():
            if hasattr(each, "score_samples"):
                yield from learners(each)


def cloned(value: Any) -> Any:
    """Return an unfitted copy of a parameter, but a detector that is fitted as it is."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(cloned, value))
    return value if isinstance(value, Detector) and hasattr(value, "shape_") else clone(value, safe=False)


def fitted(part: AnyDetector, X: np.ndarray) -> AnyDetector:
    """Return a wrapper's part as it is if it is fitted, else a clone of it that is fitted to `X`.

    Raises
    ------
    ValueError
        If it was fitted on samples of another shape.
    """
    if not hasattr(part, "shape_"):
        return clone(part).fit(X)
    if part.shape_ != X.shape[1:]:
        raise ValueError(
            f"X has samples of shape {X.shape[1:]}, but the {type(part).__name__} was fitted on {part.shape_}"
        )
    return part
