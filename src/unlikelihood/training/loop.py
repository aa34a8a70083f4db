"""The one training loop of the project."""

import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from unlikelihood.nn.noise import drawing_from
from unlikelihood.nn.shares import normalising_together, rank, share_of, sharing, size, summed
from unlikelihood.progress import progress, silent
from unlikelihood.training.alarms import NothingLearnt
from unlikelihood.training.allocation import reusing_memory
from unlikelihood.training.batches import batches_of
from unlikelihood.training.checkpoint import Checkpoint
from unlikelihood.training.devices import place
from unlikelihood.training.logs import log_of
from unlikelihood.training.seeding import number

if TYPE_CHECKING:
    from lightning_fabric import Fabric

LOSS_CHECK_STEPS = 16  # reading the loss waits for an accelerator, so it is read in groups
STILL_STEPS = 16  # fewer losses than this on either side do not tell whether it moved


class Diverged(ArithmeticError):
    """A loss is no longer a finite number."""


class Objective(nn.Module):
    r"""What a module minimises in a training step, and how.

    Parameters
    ----------
    name : str
        What the history calls the loss.
    module : Module
        The module whose parameters are optimised. All other parameters are frozen meanwhile.
    loss : callable
        Maps a batch (B, \*shape) to its mean, a scalar, in nats or whatever unit the paper has. Random numbers come
        from `nn.noise`. Where ranks share a batch, each computes the loss of its share.
    prepare : callable
        Maps the whole batch to the tensors (B, ...) that the loss takes instead of it, on every rank alike: what mixes
        the samples of a batch, or changes some of them.
    repeat : int
        Optimiser steps per training step, each on a batch of its own.
    optimizer : callable
        Makes the optimiser from the parameters.
    schedule : callable
        Maps the fraction of training done, in [0, 1), to a factor on the learning rate.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        loss: Callable[..., Tensor],
        *,
        prepare: Callable[[Tensor], Sequence[Tensor]] | None = None,
        optimizer: Callable[..., torch.optim.Optimizer],
        repeat: int = 1,
        schedule: Callable[[float], float] = lambda done: 1.0,
    ) -> None:
        super().__init__()
        self.name = name
        self.module = module
        self.loss = loss
        self.prepare = prepare
        self.optimizer = optimizer
        self.repeat = repeat
        self.schedule = schedule

    @override
    def forward(self, *prepared: Tensor) -> Tensor:
        return self.loss(*prepared)


def one_cycle(done: float, warmup: float = 0.1) -> float:
    """Return the learning rate's factor after the fraction `done`: a linear rise, then a half cosine to zero.

    Parameters
    ----------
    done : float
        Fraction of training done, in [0, 1).
    warmup : float
        Fraction of training spent rising.

    References
    ----------
    Smith and Topin, "Super-convergence", 2018.
    """
    if done < warmup:
        return max(done / warmup, 1e-2)
    return 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))


def adam(learning_rate: float, betas: tuple[float, float] = (0.9, 0.999)) -> Callable[..., torch.optim.Optimizer]:
    """Return what makes an Adam of parameters; a step of it passes over each of them once.

    Parameters
    ----------
    learning_rate : float
        α.
    betas : tuple of float
        β₁ and β₂.

    References
    ----------
    Kingma and Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1.
    """
    return partial(torch.optim.Adam, lr=learning_rate, betas=betas, fused=True)


def train(
    net: nn.Module,
    objectives: Sequence[Objective],
    X: np.ndarray,
    *,
    epochs: int,
    batch_size: int,
    clip: float | None = None,
    augment: Callable[[Tensor], Tensor] | None = None,
    seed: int = 0,
    fabric: "Fabric",
    checkpoint: Checkpoint | None = None,
    title: str = "Fitting",
) -> dict[str, tuple[float, ...]]:
    r"""Train `net` in place, one objective after the other in every step, until the data was seen `epochs` times.

    All ranks of torch's process group, where there is one, call this alike and share every batch. The net becomes what
    one process makes of it, but for the order of float32 sums: the noise is that of one process, and batch
    normalisation takes in the whole batch.

    Parameters
    ----------
    net : Module
        The network, whose parts the objectives name.
    objectives : sequence of Objective
        In order. The one that repeats most sees each sample once an epoch.
    X : ndarray
        Samples (n, \*shape).
    epochs : int
        Passes over the data.
    batch_size : int
        Samples in a batch, of all ranks together, at most; the batches of an epoch are of equal size, give or take one.
    clip : float or None
        Largest norm of an objective's gradient; longer ones are shortened to it. None leaves them.
    augment : callable or None
        Maps a batch to a changed one before an objective sees it; None leaves the batches.
    seed : int
        Seeds the order of the data and the noise of every step.
    fabric : Fabric
        Device and precision.
    checkpoint : Checkpoint or None
        Where to resume from, and to save to while training runs.
    title : str
        What the progress bar calls it.

    Returns
    -------
    dict
        For each objective its mean loss in each epoch.

    Raises
    ------
    Diverged
        If a loss is not finite.
    ValueError
        If a batch has less samples than there are ranks.
    """
    place(net, fabric.device, X.shape[1:]).train()
    optimisations = [Optimisation(objective, fabric, clip) for objective in objectives]
    optimizers = [optimisation.optimizer.optimizer for optimisation in optimisations]
    batch_of = batches_of(X, fabric.device)
    batches_per_epoch = math.ceil(len(X) / batch_size)
    if len(X) // batches_per_epoch < size():
        raise ValueError(
            f"batch_size={batch_size} makes batches of {len(X) // batches_per_epoch} of the {len(X)} samples, expected "
            f"at least one sample for each of {size()} ranks"
        )
    mixing = augment is not None or any(objective.prepare for objective in objectives)
    rounds = max(objective.repeat for objective in objectives)
    steps = max(1, epochs * batches_per_epoch // rounds)
    start, losses = (checkpoint and checkpoint.resume(net, optimizers, steps)) or (0, [[] for _ in objectives])
    generator = torch.Generator(fabric.device)
    unread: list[Tensor] = []
    log, names = log_of(title.removeprefix("Fitting ")), [objective.name for objective in objectives]
    note = ""

    def batch(position: int) -> Batch:
        index = indices(len(X), batches_per_epoch, seed, position)
        x = batch_of(index if mixing else index[share_of(len(index))])
        return Batch(len(index), augment(x) if augment else x)

    with ExitStack() as inside:
        inside.enter_context(reusing_memory())
        inside.enter_context(drawing_from(generator))
        inside.enter_context(normalising_together(net))
        inside.enter_context(silent(rank() > 0))
        advance = inside.enter_context(progress(title, steps, start))
        for step in range(start, steps):
            generator.manual_seed(number(seed, step))
            batches = [batch(step * rounds + round_) for round_ in range(rounds)]
            for optimisation in optimisations:
                if len(optimisations) > 1 or step == start:  # else nothing has changed
                    stand_still(net, except_for=optimisation.objective.module)
                unread.append(optimisation.step(batches, step / steps))
            due = checkpoint is not None and checkpoint.due
            if (step + 1) % LOSS_CHECK_STEPS == 0 or step + 1 == steps or due:
                new = list(zip(*read(unread, losses, objectives, step), strict=True))
                for done, row in enumerate(new, step + 1 - len(new)):
                    log(dict(zip(names, row, strict=True)), done)
                note = "loss " + ", ".join(f"{values[-1]:.4g}" for values in losses)
            if checkpoint and due:
                checkpoint.save(step + 1, losses, net, optimizers)
            advance(note=note)

    net.requires_grad_(True).eval()
    if checkpoint:
        checkpoint.remove()
    warn_if_still(losses)
    return {
        objective.name: tuple(float(np.mean(part)) for part in np.array_split(values, min(epochs, len(values))))
        for objective, values in zip(objectives, losses, strict=True)
    }


class Batch(NamedTuple):
    """The samples of a batch, or this rank's share of them, and how many the whole batch has."""

    n: int
    x: Tensor


class Optimisation:
    """An objective with its optimiser, on a device."""

    def __init__(self, objective: Objective, fabric: "Fabric", clip: float | None) -> None:
        self.objective = objective
        self.fabric = fabric
        self.clip = clip
        self.loss, self.optimizer = fabric.setup(objective, objective.optimizer(objective.module.parameters()))
        self.rates = [group["lr"] for group in self.optimizer.param_groups]

    def step(self, batches: Sequence[Batch], done: float) -> Tensor:
        """Optimise on as many of the batches as the objective repeats, and return the last loss."""
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * self.objective.schedule(done)
        for n, x in batches[: self.objective.repeat]:
            self.optimizer.zero_grad()
            prepared = self.objective.prepare(x) if self.objective.prepare else [x]
            with sharing(n) as share:
                loss = self.loss(*(part[share] if len(part) == n else part for part in prepared))
                # The gradient is the mean over the ranks, whose shares may differ by a sample.
                loss = loss * ((share.stop - share.start) * size() / n)
                self.fabric.backward(loss)
            if self.clip is not None:
                self.fabric.clip_gradients(self.loss, self.optimizer, max_norm=self.clip, error_if_nonfinite=False)
            self.optimizer.step()
        return summed(loss.detach()) / size()


def indices(n: int, batches_per_epoch: int, seed: int, batch: int) -> np.ndarray:
    """Return which of `n` samples are in the `batch`-th batch since training began."""
    epoch, position = divmod(batch, batches_per_epoch)
    return visits(n, batches_per_epoch, seed, epoch)[position]


@lru_cache(maxsize=2)  # the epoch, and the next, where an objective's batches reach into it
def visits(n: int, batches_per_epoch: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Return the batches, of indices, in which the epoch visits `n` samples."""
    return np.array_split(np.random.default_rng([seed, epoch]).permutation(n), batches_per_epoch)


def stand_still(net: nn.Module, *, except_for: nn.Module) -> None:
    """Keep all parameters of `net` from collecting gradients, but for those of the part `except_for`."""
    net.requires_grad_(False)
    except_for.requires_grad_(True)


def read(
    unread: list[Tensor], losses: list[list[float]], objectives: Sequence[Objective], step: int
) -> list[list[float]]:
    """Move the losses of the last steps to `losses`, a list for each objective, and return those of these steps.

    `Diverged` if one is not finite.
    """
    values: list[list[float]] = torch.stack(unread).reshape(-1, len(objectives)).T.tolist()
    unread.clear()
    for objective, past, new in zip(objectives, losses, values, strict=True):
        if not all(map(math.isfinite, new)):
            raise Diverged(
                f"the loss of {objective.name!r} stopped being finite at about step {step + 1}; lower learning_rate, "
                "set clip, or look for extreme values in the data"
            )
        past.extend(new)
    return values


def warn_if_still(losses: Sequence[Sequence[float]]) -> None:
    """Warn if no loss moved, from the first to the last quarter of training, by more than its own noise."""
    quarter = len(losses[0]) // 4
    if quarter < STILL_STEPS:
        return
    for values in losses:
        first, last = np.array(values[:quarter]), np.array(values[-quarter:])
        noise = math.sqrt((first.var() + last.var()) / quarter)
        if abs(last.mean() - first.mean()) > 2 * noise:
            return
    warnings.warn(
        f"the loss did not move in {len(losses[0])} steps: nothing was learnt; raise learning_rate or epochs",
        NothingLearnt,
        stacklevel=3,
    )
