"""Detectors with a network: what they share, and those that can generate."""

import copy
import json
import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.distributions import Normal
from typing_extensions import override

from unlikelihood.contract.blocks import like
from unlikelihood.contract.detector import Detector
from unlikelihood.contract.refusals import check_state
from unlikelihood.nn.augment import Augment
from unlikelihood.parameters import Count, NonNegative, Positive
from unlikelihood.storage import models
from unlikelihood.training.allocation import reusing_memory
from unlikelihood.training.batches import in_halves, in_order
from unlikelihood.training.bounded import bounded
from unlikelihood.training.checkpoint import checkpoint_of
from unlikelihood.training.devices import device_for, fabric_for, place
from unlikelihood.training.loop import Objective, train
from unlikelihood.training.seeding import initialising

Net = TypeVar("Net", bound=nn.Module)
AnyTrained = TypeVar("AnyTrained", bound="Trained")


class Learner(Detector, Generic[Net]):
    """A detector with a network: a subclass says how to `build` it and whose `objectives` train it.

    Parameters
    ----------
    epochs : int
        Passes over the training samples.
    batch_size : int
        Samples in a batch, of all processes together where several share the fit.
    learning_rate : float
        Step size of the optimiser.
    clip : float or None
        Largest norm of a gradient; None does not shorten any.
    augment : Augment or None
        Changes training samples at random, anew in every epoch, such as `Affine`; None leaves them.
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
    def objectives(self, net: Net) -> list[Objective]:
        """Return what the network's modules minimise, in the order of a training step."""

    def _finish(self, X: np.ndarray) -> None:
        """Fit what is left to fit after training."""

    def _fit(self, X: np.ndarray) -> None:
        fabric = fabric_for(self.device, self.precision)
        with initialising(self.seed):
            self.net_ = self.build(self.shape_)
        with checkpoint_of(self.checkpoint, self.checkpoint_seconds, self._described, X) as checkpoint:
            self.history_ = train(
                self.net_,
                self.objectives(self.net_),
                X,
                epochs=self.epochs,
                batch_size=self.batch_size,
                clip=self.clip,
                augment=self.augment,
                seed=self.seed,
                fabric=fabric,
                checkpoint=checkpoint,
                title=f"Fitting {type(self).__name__}",
            )
        self._settle_precision()
        self._finish(X)

    def _settle_precision(self) -> None:
        # In float32 the score of a sample depends on the batch it is in by about one part in a million. Networks of
        # vectors are small enough to do better; convolutions in float64 would be many times slower.
        if len(self.shape_) == 1:
            self.net_.double()

    def _described(self) -> str:
        return json.dumps(models.configuration(self), sort_keys=True)

    @torch.inference_mode()
    def map_batches(self, function: Callable[[Tensor], Tensor], X: np.ndarray, title: str) -> np.ndarray:
        """Return what `function` makes of the samples, batch by batch."""
        made = np.empty((0,))
        start = 0
        with reusing_memory():
            for x in self.batches(X, title):
                part = in_halves(function, x).cpu().numpy()
                made = made if start else like(X, (len(X), *part.shape[1:]), part.dtype)
                made[start : start + len(part)] = part
                start += len(part)
        return made

    def batches(self, X: np.ndarray, title: str) -> Iterator[Tensor]:
        """Yield the samples in order, in batches on the network's device."""
        weight = next(self.net_.parameters())
        return in_order(X, self.batch_size, title, weight.device, weight.dtype)

    def cast(self, x: Tensor) -> Tensor:
        """Return raw samples as `batches` hands them over."""
        return x.float().to(next(self.net_.parameters()))

    def noise(self, *shape: int) -> Tensor:
        """Return standard normal noise that follows from the fitted seed, the same for every sample."""
        generator = torch.Generator().manual_seed(self.seed)
        return torch.randn(shape, generator=generator, dtype=torch.float32).to(next(self.net_.parameters()))

    def draws_of_noise(self, n: int, *shape: int, antithetic: bool) -> Tensor:
        r"""Return n such draws, (n, \*shape); antithetic ones are pairs of opposite sign."""
        if not antithetic:
            return self.noise(n, *shape)
        noise = self.noise(math.ceil(n / 2), *shape)
        return torch.cat([noise, -noise])[:n]

    @override
    def state(self) -> dict[str, Any]:
        net = getattr(self, "net_", None)
        weights = net.state_dict() if net is not None else {}
        return super().state() | {f"net.{name}": tensor.cpu().numpy() for name, tensor in weights.items()}

    @override
    def set_state(self, state: dict[str, Any]) -> None:
        weights = {name[4:]: torch.from_numpy(state.pop(name)) for name in list(state) if name.startswith("net.")}
        check_state(type(self).__name__, state)
        self._take_state(state)
        with initialising(self.seed), bounded(weights):
            self.net_ = self.build(self.shape_)
        self._settle_precision()
        self.net_.load_state_dict(weights)
        place(self.net_, device_for(self.device), self.shape_).eval()
        self._restore()


class Trained(Learner[Net]):
    """A detector whose network itself scores, batch by batch."""

    @abstractmethod
    def score_batch(self, x: Tensor) -> Tensor:
        r"""Return (B,) scores of the batch (B, \*shape), higher = more normal, differentiably."""

    def _score(self, X: np.ndarray) -> np.ndarray:
        return self.map_batches(self.score_batch, X, "Scoring")

    @override
    def _score_tensor(self, x: Tensor) -> Tensor:
        return self.score_batch(self.cast(x))


class Generator(Trained[Net]):
    """A detector whose network can make samples out of latent vectors."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        r"""Return the samples (B, \*shape) at the latents (B, latent), differentiably."""

    @abstractmethod
    def draw(self, n: int, *key: int) -> Tensor:
        """Return `n` latents (n, latent) from the prior, that follow from the fitted seed and `key` alone."""

    def features(self, x: Tensor) -> list[Tensor]:
        r"""Return what the critic's layers make of samples (B, \*shape); a generator without a critic has none."""
        return []

    @torch.inference_mode()
    def generate(self, n: int) -> np.ndarray:
        r"""Return samples from the model's distribution of normals.

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


class Variational(Generator[Net]):
    """A generator that can infer latents: p(x, z) = p(x|z) p(z), and an encoder's posterior q(z|x)."""

    @abstractmethod
    def encode(self, x: Tensor) -> Normal:
        r"""Return q(z|x), a diagonal Gaussian (B, latent), of samples (B, \*shape)."""

    @abstractmethod
    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        r"""Return log p(x|z) in nats, (B,), of samples (B, \*shape) and latents (B, latent)."""

    @abstractmethod
    def log_prior(self, z: Tensor) -> Tensor:
        """Return log p(z) in nats, (...), of latents (..., latent)."""

    @abstractmethod
    def activations(self, x: Tensor) -> list[Tensor]:
        r"""Return what the encoder's layers make of samples (B, \*shape), the samples themselves first."""

    @torch.inference_mode()
    def interpolate(self, start: np.ndarray, end: np.ndarray, n: int = 8) -> np.ndarray:
        r"""Return `n` samples (n, \*shape) on the line between the posterior means of two (\*shape)."""
        check_is_fitted(self, "shape_")
        pair = self._checked(np.stack([start, end]), reset=False)
        z = torch.cat([self.encode(x).loc for x in self.batches(pair, "")])
        return between(self, z[0], z[1], n)


@torch.inference_mode()
def between(generator: Generator, start: Tensor, end: Tensor, n: int) -> np.ndarray:
    r"""Return `n` samples (n, \*shape), float32, at evenly spaced latents on the line between two (latent,)."""
    weight = next(generator.net_.parameters())
    share = torch.linspace(0, 1, n).to(weight)[:, None]
    return generator.decode(torch.lerp(start.to(weight), end.to(weight), share)).float().cpu().numpy()


def precise(part: AnyTrained) -> AnyTrained:
    """Return a copy of a fitted part that computes in float64: for wrappers that take differences of its answers."""
    copied = copy.copy(part)
    copied.net_ = copy.deepcopy(part.net_).double()
    return copied
