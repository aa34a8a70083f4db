"""The contract: what a detector is, a detector with a network, and one that can generate."""

import json
import os
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar, dataclass_transform

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from unlikelihood import persistence
from unlikelihood.checkpoint import Checkpoint, fingerprint
from unlikelihood.identity import identities, refuse_seen
from unlikelihood.nn.augment import Augment
from unlikelihood.parameters import Count, NonNegative, Positive, check_parameters
from unlikelihood.progress import progress
from unlikelihood.training import (
    NothingLearnt,
    NotTrustworthy,
    Turn,
    batches_of,
    fabric_for,
    place,
    seeded,
    train,
)

Net = TypeVar("Net", bound=nn.Module)
AnyDetector = TypeVar("AnyDetector", bound="Detector")


@dataclass_transform(eq_default=False, kw_only_default=False)
@dataclass(eq=False, repr=False)
class Detector(BaseEstimator, ABC):
    """Ranks samples by how likely the normal ones would have produced them; `Conformal` decides.

    A subclass annotates its parameters, as a dataclass does, and writes `_fit` and `_score`. The constructor only
    stores; parameters and data are checked by `fit`. What `_fit` learns goes into attributes whose names end in
    ``_``: arrays and plain values, from which `_restore` makes whatever else scoring needs.

    Parameters
    ----------
    seed : int
        Seeds everything random in `fit` and in `score_samples`.
    """

    _: KW_ONLY
    seed: int = 0

    # Of one sample: vectors (F,), images (C, H, W), volumes (C, D, H, W).
    ranks: ClassVar[tuple[int, ...]] = (1, 3, 4)
    # Parameters of where a fit runs, not of what is fitted: model files and fingerprints leave them out.
    runtime: ClassVar[tuple[str, ...]] = ()

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
            If a parameter is out of its bounds, or `X` is empty, not finite, or of no such shape.
        """
        check_parameters(self)
        X = self._checked(X, reset=True)
        started = time.perf_counter()
        self.__dict__.pop("calibration_", None)  # of an earlier fit
        self.seen_ = np.unique(identities(X))
        self._fit(X)
        self._restore()
        self.fit_seconds_ = time.perf_counter() - started
        return self

    def calibrate(self, X: np.ndarray) -> Self:
        """Remember how normals that training never saw score, for `Conformal`; a model file keeps it.

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
            If one of them was trained on, or `X` is empty, not finite or of another shape.
        sklearn.exceptions.NotFittedError
            Before `fit`.
        """
        scores = self.score_samples(X)
        refuse_seen(self, X)
        self.calibration_ = np.sort(scores)
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
            If `X` is empty, not finite or of another shape.
        sklearn.exceptions.NotFittedError
            Before `fit`.
        """
        check_is_fitted(self, "shape_")
        X = self._checked(X, reset=False)
        for alarm in self._alarms():
            warnings.warn(f"{type(self).__name__}: {alarm}", NotTrustworthy, stacklevel=2)
        scores = np.asarray(self._score(X), np.float64)
        if len(scores) > 1 and np.ptp(scores) == 0 and any((x != X[0]).any() for x in X):
            warnings.warn(
                f"all {len(scores)} scores are {scores[0]:g} although the samples differ: "
                f"this {type(self).__name__} cannot rank them",
                NothingLearnt,
                stacklevel=2,
            )
        return scores

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the fitted detector to a folder, for `unlikelihood.load`.

        Parameters
        ----------
        path : path
            The folder: it gets ``detector.json`` and ``weights.safetensors``. One that is there is replaced.

        Returns
        -------
        Path
            The folder.
        """
        check_is_fitted(self, "shape_")
        return persistence.save(self, path)

    def _alarms(self) -> tuple[str, ...]:
        """Return what was found wrong, after its training, with this detector or with what it is made of."""
        parts = [part for name, part in vars(self).items() if name.endswith("_") and isinstance(part, Detector)]
        return sum((part._alarms() for part in parts), tuple(getattr(self, "alarms_", ())))

    def __sklearn_clone__(self) -> Self:
        # scikit-learn's own clone forgets what parts have learnt; here a fitted part is configuration.
        return type(self)(**{name: cloned(value) for name, value in self.get_params(deep=False).items()})

    @abstractmethod
    def _fit(self, X: np.ndarray) -> None:
        r"""Learn from normal samples (n, \*shape)."""

    @abstractmethod
    def _score(self, X: np.ndarray) -> np.ndarray:
        """Return (n,) scores, higher = more normal."""

    def _restore(self) -> None:
        """Make from the fitted arrays and values what only memory can hold; called by `fit` and by `load`."""

    def _state(self) -> dict[str, Any]:
        """Return the fitted arrays and plain values: all that a model file has to hold."""
        return {
            name: value
            for name, value in vars(self).items()
            if name.endswith("_") and isinstance(value, (np.ndarray, float, int, str, tuple, list, dict, Detector))
        }

    def _set_state(self, state: dict[str, Any]) -> None:
        """Take what `_state` gave, from a file."""
        self.__dict__.update(state)
        self._restore()

    def _checked(self, X: np.ndarray, *, reset: bool) -> np.ndarray:
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
        X = validate_data(self, X, reset=reset, allow_nd=True, dtype="numeric", ensure_all_finite=True)
        if reset:
            self.shape_ = tuple(X.shape[1:])
            self.range_ = (float(X.min()), float(X.max()))
            self.n_samples_ = len(X)
        return X


def cloned(value: Any) -> Any:
    """Return an unfitted copy of a parameter, but a detector that is fitted as it is."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(cloned, value))
    return value if isinstance(value, Detector) and hasattr(value, "shape_") else clone(value, safe=False)


def fitted(part: AnyDetector, X: np.ndarray) -> AnyDetector:
    r"""Return a wrapper's part as it is if it is fitted, else a clone of it that is fitted to `X`.

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


class Trained(Detector, Generic[Net]):
    """A detector with a network: a subclass says how to `build` it, whose `turns` train it, and how it scores.

    Parameters
    ----------
    epochs : int
        Passes over the training samples.
    batch_size : int
        Samples in a batch.
    learning_rate : float
        Step size of the optimiser.
    clip : float or None
        Largest norm of a gradient; None does not shorten any.
    augment : Augment or None
        Changes training samples at random, anew in every epoch: `Affine`, or None.
    seed
        Seeds weights, batches and noise.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
    precision : {'auto', '32-true', '16-mixed', 'bf16-mixed'}
        Arithmetic of training: ``auto`` is bfloat16 mixed where a CUDA device has it, else float32. Scores are
        always computed in float32.
    checkpoint : str or None
        File that an interrupted `fit` resumes from; None keeps none. It is deleted when `fit` ends.
    checkpoint_seconds : float
        Time between two saves of it.
    """

    _: KW_ONLY
    epochs: Count = 30
    batch_size: Count = 128
    learning_rate: Positive = 1e-3
    clip: Positive | None = None
    augment: Augment | None = None
    device: str = "auto"
    precision: Literal["auto", "32-true", "16-mixed", "bf16-mixed"] = "auto"
    checkpoint: str | None = None
    checkpoint_seconds: NonNegative = 30.0

    runtime = ("device", "checkpoint", "checkpoint_seconds")

    @abstractmethod
    def build(self, shape: Sequence[int]) -> Net:
        """Return the untrained network for samples of `shape`."""

    @abstractmethod
    def turns(self, net: Net) -> list[Turn]:
        """Return who steps down which loss, in order."""

    @abstractmethod
    def _score_batch(self, x: Tensor) -> Tensor:
        r"""Return (B,) scores of the batch (B, \*shape), higher = more normal."""

    def _finish(self, X: np.ndarray) -> None:
        """Fit what is left to fit after training."""

    def _fit(self, X: np.ndarray) -> None:
        fabric = fabric_for(self.device, self.precision)
        with seeded(self.seed):
            self.net_ = self.build(self.shape_)
        self.history_ = train(
            self.net_,
            self.turns(self.net_),
            X,
            epochs=self.epochs,
            batch_size=self.batch_size,
            clip=self.clip,
            augment=self.augment,
            seed=self.seed,
            fabric=fabric,
            checkpoint=self._checkpoint(X),
            title=f"Fitting {type(self).__name__}",
        )
        self._settle_precision()
        self._finish(X)

    def _settle_precision(self) -> None:
        # In float32 the score of a sample depends on the batch it is in by about one part in a million. Networks of
        # vectors are small enough to do better; convolutions in float64 would be many times slower.
        if len(self.shape_) == 1:
            self.net_.double()

    def _checkpoint(self, X: np.ndarray) -> Checkpoint | None:
        if self.checkpoint is None:
            return None
        configured = json.dumps(persistence.configuration(self), sort_keys=True)
        return Checkpoint(self.checkpoint, fingerprint(configured, X), self.checkpoint_seconds)

    @torch.inference_mode()
    def _score(self, X: np.ndarray) -> np.ndarray:
        scores = [self._score_batch(x).double().cpu().numpy() for x in self._batches(X, "Scoring")]
        return np.concatenate(scores)

    def _batches(self, X: np.ndarray, title: str) -> Iterator[Tensor]:
        """Yield the samples in order, in batches on the network's device."""
        weight = next(self.net_.parameters())
        batch_of = batches_of(X, weight.device, weight.dtype)
        with progress(title, len(X)) as advance:
            for start in range(0, len(X), self.batch_size):
                index = np.arange(start, min(start + self.batch_size, len(X)))
                yield batch_of(index)
                advance(len(index))

    def _noise(self, *shape: int) -> Tensor:
        """Return standard normal noise that follows from the fitted seed, the same for every sample."""
        generator = torch.Generator().manual_seed(self.seed)
        return torch.randn(shape, generator=generator).to(next(self.net_.parameters()))

    def _state(self) -> dict[str, Any]:
        net = getattr(self, "net_", None)
        weights = net.state_dict() if net is not None else {}
        return super()._state() | {f"net.{name}": tensor.cpu().numpy() for name, tensor in weights.items()}

    def _set_state(self, state: dict[str, Any]) -> None:
        weights = {name[4:]: torch.from_numpy(state.pop(name)) for name in list(state) if name.startswith("net.")}
        self.__dict__.update(state)
        with seeded(self.seed):
            self.net_ = self.build(self.shape_)
        self._settle_precision()
        self.net_.load_state_dict(weights)
        place(self.net_, fabric_for(self.device, "32-true").device, self.shape_).eval()
        self._restore()


class Generator(Trained[Net]):
    """A detector whose network can make samples out of latent vectors."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        r"""Return the samples (B, \*shape) at the latents (B, latent), differentiably."""

    @abstractmethod
    def draw(self, n: int, *key: int) -> Tensor:
        """Return `n` latents (n, latent) from the prior, that follow from the fitted seed and `key` alone."""

    def features(self, x: Tensor) -> list[Tensor]:
        r"""Return what a judge sees in samples (B, \*shape), layer by layer; a generator without one has none."""
        return []

    @torch.inference_mode()
    def generate(self, n: int) -> np.ndarray:
        r"""Return samples that the model holds for normal.

        Parameters
        ----------
        n : int
            How many.

        Returns
        -------
        ndarray of shape (n, \*shape), float32
            The same at every call.
        """
        check_is_fitted(self, "shape_")
        batches = self.draw(n).to(next(self.net_.parameters())).split(self.batch_size)
        return np.concatenate([self.decode(z).float().cpu().numpy() for z in batches])


class Embedder(Trained[Net]):
    """A detector whose network maps samples to vectors in which like ones are near one another."""

    @abstractmethod
    def _embed_batch(self, x: Tensor) -> Tensor:
        r"""Return the embeddings (B, features) of the batch (B, \*shape)."""

    @torch.inference_mode()
    def embed(self, X: np.ndarray) -> np.ndarray:
        r"""Return the embedding of each sample, from that sample alone.

        Parameters
        ----------
        X : ndarray
            Samples of the shape that `fit` saw.

        Returns
        -------
        ndarray of shape (n, features)
        """
        check_is_fitted(self, "shape_")
        X = self._checked(X, reset=False)
        return np.concatenate([self._embed_batch(x).cpu().numpy() for x in self._batches(X, "Embedding")])
