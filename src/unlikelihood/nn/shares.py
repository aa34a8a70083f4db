"""A batch that several processes have their shares of: the ranks of torch's process group, if there is one.

Losses are written for a batch, and see this rank's share of it. A loss that mixes the samples of a batch gathers them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm
from typing_extensions import override

BATCH: ContextVar[int | None] = ContextVar("BATCH", default=None)  # samples of the batch that is shared


def rank() -> int:
    """Return which of the ranks this process is, from 0."""
    return distributed.get_rank() if _together() else 0


def size() -> int:
    """Return how many ranks there are: 1 without a process group."""
    return distributed.get_world_size() if _together() else 1


def first(known: Any) -> Any:
    """Return what rank 0 knows, on every rank."""
    told = [known]
    if size() > 1:
        distributed.broadcast_object_list(told)
    return told[0]


def share_of(n: int) -> slice:
    """Return which of the `n` samples of a batch are this rank's; the shares differ by one sample at most."""
    each, more = divmod(n, size())
    start = rank() * each + min(rank(), more)
    return slice(start, start + each + (rank() < more))


@contextmanager
def sharing(n: int) -> Iterator[slice]:
    """Let the code inside compute with this rank's share of a batch of `n` samples, and yield which it is."""
    token = BATCH.set(n if size() > 1 else None)
    try:
        yield share_of(n)
    finally:
        BATCH.reset(token)


def whole(n: int) -> int:
    """Return the samples of the batch of which the `n` samples at hand are this rank's share, else `n`."""
    batch = BATCH.get()
    if batch is None:
        return n
    share = share_of(batch)
    return batch if n == share.stop - share.start else n


def shared(x: Tensor) -> Tensor:
    """Return this rank's share of what was made for the whole batch, (B, ...)."""
    return x if BATCH.get() is None else x[share_of(len(x))]


def gathered(x: Tensor) -> Tensor:
    """Return what all ranks have of a batch, (B, ...), of which `x` is this rank's share, differentiably."""
    batch = BATCH.get()
    if batch is None:
        return x
    among = x.new_zeros(batch, *x.shape[1:])
    among[share_of(batch)] = x
    return summed(among)


def summed(x: Tensor) -> Tensor:
    """Return the sum over the ranks, differentiably."""
    return x if size() == 1 else _Sum.apply(x)


class _Sum(torch.autograd.Function):
    @staticmethod
    @override
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.detach().clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    @override
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        # Every rank's loss depends on this rank's summand.
        return summed(slopes[0])


@contextmanager
def normalising_together(net: nn.Module) -> Iterator[None]:
    """Let batch normalisation inside the block take its statistics from the shares of all ranks.

    torch's own does so on accelerators alone.
    """
    layers = [layer for layer in net.modules() if isinstance(layer, _BatchNorm)] if size() > 1 else []
    for layer in layers:
        layer.forward = partial(_normalised, layer)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _normalised(layer: _BatchNorm, x: Tensor) -> Tensor:
    """Return what a layer of batch normalisation makes of a batch (B, C, ...), of which this is a share."""
    if not layer.training:
        return type(layer).forward(layer, x)
    y = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    others, along = [0, *range(2, x.ndim)], (1, -1, *[1] * (x.ndim - 2))
    count = y.new_tensor([y.numel() / y.shape[1]])
    total = summed(torch.cat([y.sum(others), count]))
    n = total[-1]
    mean = total[:-1] / n
    centred = y - mean.view(along)
    variance = summed(centred.square().sum(others)) / n
    if layer.running_mean is not None and layer.running_var is not None and layer.num_batches_tracked is not None:
        with torch.no_grad():
            layer.num_batches_tracked.add_(1)
            step = 1 / float(layer.num_batches_tracked) if layer.momentum is None else layer.momentum
            layer.running_mean.lerp_(mean.to(layer.running_mean), step)
            layer.running_var.lerp_((variance * n / (n - 1)).to(layer.running_var), step)
    y = centred * (variance + layer.eps).rsqrt().view(along)
    if layer.affine:
        y = y * layer.weight.view(along) + layer.bias.view(along)
    return y.to(x.dtype)


def _together() -> bool:
    return distributed.is_available() and distributed.is_initialized()
