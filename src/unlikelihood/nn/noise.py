"""Random numbers for losses, latents and augmentations: from the generator of a block of code, such as a fit.

Where ranks share a batch, each draws for the whole of it and takes its share: the numbers are those of one process.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

import torch
from torch import Tensor

from unlikelihood.nn.shares import shared, whole

GENERATOR: ContextVar[torch.Generator | None] = ContextVar("GENERATOR", default=None)


@contextmanager
def drawing_from(generator: torch.Generator | None) -> Iterator[None]:
    """Draw from `generator` inside the block, in this thread alone; None is torch's global one, as it is outside.

    A generator of another device than the tensors' draws there, and its numbers are moved.
    """
    token = GENERATOR.set(generator)
    try:
        yield
    finally:
        GENERATOR.reset(token)


def normal(*shape: int, device: torch.device | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return standard normal numbers, as `torch.randn` does."""
    return normal_like(torch.empty(shape, device=device, dtype=dtype))


def uniform(*shape: int, device: torch.device | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return numbers uniform on [0, 1), as `torch.rand` does."""
    return uniform_like(torch.empty(shape, device=device, dtype=dtype))


def normal_like(x: Tensor) -> Tensor:
    """Return standard normal numbers in the shape, type and layout of `x`, as `torch.randn_like` does."""
    return _filled(x, Tensor.normal_)


def uniform_like(x: Tensor) -> Tensor:
    """Return numbers uniform on [0, 1) in the shape, type and layout of `x`, as `torch.rand_like` does."""
    return _filled(x, Tensor.uniform_)


def integers(high: int, n: int, device: torch.device | None = None) -> Tensor:
    """Return `n` integers from 0 to `high` - 1."""
    return _filled(torch.empty(n, dtype=torch.int64, device=device), partial(Tensor.random_, to=high))


def permutation(n: int, device: torch.device | None = None) -> Tensor:
    """Return 0 to `n` - 1 in a random order."""
    generator = GENERATOR.get()
    source = device if generator is None else generator.device
    return torch.randperm(n, generator=generator, device=source).to(device or source)


def _filled(x: Tensor, fill: Callable[..., Tensor]) -> Tensor:
    generator = GENERATOR.get()
    numbers = torch.empty_like(x, device=x.device if generator is None else generator.device)
    if not x.ndim or (n := whole(len(x))) == len(x):
        return fill(numbers, generator=generator).to(x.device)
    # In the layout of `x`, for numbers are drawn in the order in which they lie in memory.
    shape, strides = (n, *x.shape[1:]), (numbers[0].numel(), *numbers.stride()[1:])
    numbers = torch.empty_strided(shape, strides, dtype=numbers.dtype, device=numbers.device)
    return shared(fill(numbers, generator=generator)).to(x.device)
