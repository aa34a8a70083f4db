"""The search of a generator's latent space for the samples nearest to given ones."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from typing_extensions import override

from unlikelihood.contract.blocks import blocks
from unlikelihood.contract.detector import fitted
from unlikelihood.contract.queries import Query, descend, descending
from unlikelihood.contract.reconstructor import Reconstructor
from unlikelihood.contract.trained import Generator, between
from unlikelihood.nn.descents import Descent
from unlikelihood.progress import progress
from unlikelihood.storage.identity import identities
from unlikelihood.training.batches import batches_of
from unlikelihood.training.devices import free_memory

AT_ONCE = 256  # more latents than this at once do not make a step any faster


@dataclass(frozen=True, eq=False)
class SearchResult:
    r"""What a search found for n samples x.

    Parameters
    ----------
    z : ndarray, shape (n, latent)
        Where it ended.
    generation : ndarray, shape (n, \*shape)
        G(z), the nearest generation found.
    residual_map : ndarray, shape (n, \*shape)
        abs(x - G(z)), in the samples' unit.
    residual, discrimination, loss : ndarray, shape (n,)
        L_R, L_D and L of `Query`, or A_R, A_D and A of `SquaredQuery`.
    """

    z: np.ndarray
    generation: np.ndarray
    residual_map: np.ndarray
    residual: np.ndarray
    discrimination: np.ndarray
    loss: np.ndarray


@dataclass(frozen=True, eq=False)
class SearchPath:
    r"""What a search for one sample x went through.

    Parameters
    ----------
    sample : ndarray, shape (\*shape)
        x.
    loss : ndarray, shape (steps + 1,)
        L, or A, at the start and after every step.
    step : ndarray of int, shape (m,)
        Of which steps the generations are, 0 for the start.
    generation : ndarray, shape (m, \*shape)
        G(z) there.
    """

    sample: np.ndarray
    loss: np.ndarray
    step: np.ndarray
    generation: np.ndarray


class SearchDetector(Reconstructor):
    """A detector that scores by what a search of the latent space of its fitted `generator_` leaves over."""

    generator: Generator

    def _fit_generator(self, X: np.ndarray, layer: int, *, critic: bool) -> None:
        self.generator_ = fitted(self.generator, X)
        if critic:
            check_critic(self.generator_, X, layer)

    @abstractmethod
    def _search(self, X: np.ndarray) -> SearchResult:
        """Return what the search found for checked samples."""

    @abstractmethod
    def _walk(self, x: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
        r"""Yield the losses (restarts,) and the generations (restarts, \*shape) at each step for one checked sample."""

    def _score(self, X: np.ndarray) -> np.ndarray:
        # In blocks, for a search returns pictures too.
        return -np.concatenate([self._search(block).loss for block in blocks(X)])

    def search(self, X: np.ndarray) -> SearchResult:
        r"""Return all that the search finds for samples (n, \*shape)."""
        check_is_fitted(self, "shape_")
        return self._search(self._checked(X, reset=False))

    def path(self, x: np.ndarray, moments: int = 8) -> SearchPath:
        r"""Return the way of the search for one sample.

        Parameters
        ----------
        x : ndarray
            The sample, (\*shape).
        moments : int
            How many generations to keep at most, the first and the last among them.

        Returns
        -------
        SearchPath
            Of the start whose end has the least loss.
        """
        check_is_fitted(self, "shape_")
        losses, made = zip(*self._walk(self._checked(x[None], reset=False)), strict=True)
        best = int(losses[-1].argmin())
        step = np.unique(np.linspace(0, len(made) - 1, min(moments, len(made))).round().astype(np.intp))
        loss = np.array([float(of_step[best]) for of_step in losses])
        return SearchPath(np.array(x), loss, step, np.stack([made[at][best].float().cpu().numpy() for at in step]))

    def interpolate(self, start: np.ndarray, end: np.ndarray, n: int = 8) -> np.ndarray:
        r"""Return `n` generations (n, \*shape) on the line between the latents found for two samples (\*shape)."""
        z = torch.from_numpy(self.search(np.stack([start, end])).z)
        return between(self.generator_, z[0], z[1], n)

    @override
    def reconstruct(self, X: np.ndarray) -> np.ndarray:
        r"""Return the nearest generation G(z) of each sample, (n, \*shape)."""
        return self.search(X).generation

    def generate(self, n: int) -> np.ndarray:
        r"""Return `n` samples of the generator, (n, \*shape)."""
        return self.generator_.generate(n)


def walk(
    generator: Generator,
    x: np.ndarray,
    starts: Callable[[np.ndarray, Tensor], Tensor],
    make_query: Callable[[Tensor], Query],
    *,
    steps: int,
    descent: Descent,
) -> Iterator[tuple[Tensor, Tensor]]:
    r"""Yield the losses (restarts,) and generations (restarts, \*shape) of a search for one sample, step by step.

    The parameters are those of `search`, with `x` of shape (1, \*shape).
    """
    weight = next(generator.net_.parameters())
    with torch.no_grad(), frozen(generator.net_):
        batch = batches_of(x, weight.device, weight.dtype)(np.arange(1))
        z = starts(x, batch).flatten(0, 1)
        query = make_query(batch.repeat_interleave(len(z), 0))
        for at in descending(query, z, steps, descent):
            *_, loss, made = query.losses(at)
            yield loss, made


def search(
    generator: Generator,
    X: np.ndarray,
    starts: Callable[[np.ndarray, Tensor], Tensor],
    make_query: Callable[[Tensor], Query],
    *,
    steps: int,
    descent: Descent,
) -> SearchResult:
    r"""Search the latent space for all samples at once, or as many as memory holds.

    Parameters
    ----------
    generator : Generator
        Fitted.
    X : ndarray
        Samples (n, \*shape).
    starts : callable
        Maps samples, as an array and as a batch on the generator's device, to their starts (B, restarts, latent);
        the end with the least loss is kept.
    make_query : callable
        Makes the query of a batch.
    steps, descent : int, Descent
        How far, and how.
    """
    found: list[list[np.ndarray]] = []
    weight = next(generator.net_.parameters())
    batch_of = batches_of(X, weight.device, weight.dtype)
    with torch.no_grad(), frozen(generator.net_), progress("Searching", len(X)) as advance:
        first = starts(X[:1], batch_of(np.arange(1)))
        restarts = first.shape[1]

        def query(x: Tensor) -> Query:
            return make_query(x.repeat_interleave(restarts, 0))

        size = max(1, latents_at_once(query, batch_of(np.arange(1)), first) // restarts)
        for begin in range(0, len(X), size):
            index = np.arange(begin, min(begin + size, len(X)))
            x = batch_of(index)
            z = starts(X[index], x)
            of_batch = query(x)
            ended = descend(of_batch, z.flatten(0, 1), steps, descent)
            residual, discrimination, loss, made = of_batch.losses(ended)
            best = loss.view(len(x), restarts).argmin(1) + restarts * torch.arange(len(x), device=x.device)
            generation = made[best]
            parts = (ended[best], generation, (x - generation).abs(), residual[best], discrimination[best], loss[best])
            found.append([part.cpu().numpy() for part in parts])
            advance(len(x))
    where, *pictures_and_losses = (np.concatenate(part) for part in zip(*found, strict=True))
    pictures = (part.astype(np.float32) for part in pictures_and_losses[:2])
    losses = (part.astype(np.float64) for part in pictures_and_losses[2:])
    return SearchResult(where, *pictures, *losses)


def latents_at_once(query: Callable[[Tensor], Query], x: Tensor, z: Tensor) -> int:
    """Return how many latents a step takes at once: up to 256, in half of the device's free memory.

    What a step keeps for its backward pass is counted for one sample and for two; the difference is what each
    further one costs, and as much again is allowed for what is not kept. The answer is a power of two, so that it
    does not follow every change in free memory.
    """

    def kept(copies: int) -> int:
        total = 0

        def pack(tensor: Tensor) -> Tensor:
            nonlocal total
            total += tensor.nbytes
            return tensor

        of_copies = query(x.repeat_interleave(copies, 0))
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            of_copies.slope(z.repeat(copies, 1, 1).flatten(0, 1))
        return total

    each = max(1, kept(2) - kept(1)) / z.shape[1]
    fit = min(free_memory(x.device) / 2 / (2 * each), AT_ONCE)
    return 1 << max(0, int(fit).bit_length() - 1)


@contextmanager
def frozen(net: nn.Module) -> Iterator[None]:
    """Keep the parameters of `net` from taking part in backward passes inside the block."""
    learning = [parameter for parameter in net.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


def content(x: np.ndarray) -> int:
    """Return a number that follows from the values of a sample alone, in single precision."""
    return int.from_bytes(identities(x[None]).astype("<u8").tobytes())


def check_critic(generator: Generator, X: np.ndarray, layer: int) -> None:
    """Raise if a fitted generator has no critic, or its critic no such layer."""
    weight = next(generator.net_.parameters())
    with torch.no_grad():
        layers = len(generator.features(batches_of(X[:1], weight.device, weight.dtype)(np.arange(1))))
    if not layers:
        raise ValueError(
            f"generator is a {type(generator).__name__}, which has no critic, expected one that has, "
            "or a discrimination (and kappa) of 0"
        )
    if not -layers <= layer < layers:
        raise ValueError(f"layer is {layer}, expected an integer from {-layers} to {layers - 1}")
