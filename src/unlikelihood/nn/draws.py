"""Samples looked at with several draws of noise each: few samples with many draws in one pass."""

from collections.abc import Callable

import torch
from torch import Tensor

ROWS = 32  # of a pass, up to which several draws are joined; past that it costs as much as one after the other


def over_draws(function: Callable[..., Tensor], x: Tensor, *draws: Tensor) -> Tensor:
    r"""Return what a function makes of samples with each of n draws, (n, B).

    Parameters
    ----------
    function : callable
        Maps rows (R, \*shape), and as many of each kind of draw (R, ...), to a number for each row, (R,).
    x : Tensor
        Samples (B, \*shape).
    *draws : Tensor
        What is drawn, one kind each: (n, B, ...), or (n, 1, ...) where it is the same for all samples.
    """
    batch = x.shape[0]
    # A graph that is traced for batches of any size has one way for all of them.
    together = max(1, ROWS // batch) if isinstance(batch, int) else 1
    found = []
    for some in zip(*(kind.split(together) for kind in draws), strict=True):
        n = len(some[0])
        rows = [each.expand(n, batch, *each.shape[2:]).flatten(0, 1) for each in (x[None], *some)]
        found.append(function(*rows).view(n, -1))
    return torch.cat(found)
