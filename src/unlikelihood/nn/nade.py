"""The networks of NADE and RNADE: a layer of hidden units for every value, all with the same weights."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from unlikelihood.nn.ordered import Conditionals

BLOCK = 16  # values whose sums are found together


class SharedUnits(nn.Module, ABC):
    r"""Maps samples (B, \*shape), flattened in order, to `outputs` numbers for every value.

    .. math:: a_i = c + \sum_{j < i} W_j x_j, \qquad \theta_i = b_i + V_i^T h_i(a_i)

    The columns of W and the offset c are those of every value's hidden units, so that a_{i+1} follows from a_i, and all
    values take no more than D times as long as one.
    """

    def __init__(self, shape: Sequence[int], outputs: int, hidden: int) -> None:
        super().__init__()
        size = math.prod(shape)
        self.shape = tuple(shape)
        self.weight = parameter(size, hidden, scale=size**-0.5)
        self.offset = parameter(hidden, scale=0.5)
        self.readout = parameter(size, hidden, outputs, scale=hidden**-0.5)
        self.bias = parameter(size, outputs, scale=0.0)

    @abstractmethod
    def units(self, a: Tensor, at: slice) -> Tensor:
        """Return the hidden units of the values `at`, (n, B, hidden), from their sums `a` of that shape."""

    def seen(self, x: Tensor) -> Tensor:
        """Return what of values enters the sums."""
        return x

    @override
    def forward(self, x: Tensor) -> Tensor:
        a = self.sums(self.seen(x.flatten(1)))
        theta = torch.baddbmm(self.bias[:, None], self.units(a, slice(None)), self.readout)
        return theta.transpose(0, 1).unflatten(1, self.shape)

    def sums(self, values: Tensor) -> Tensor:
        """Return a of what enters the sums, (B, D), for all values, (D, B, hidden).

        Values come in blocks, so that the sums over those before a block, and over those before a value in its own, are
        products of matrices.
        """
        n, beyond = -(-len(self.weight) // BLOCK), -len(self.weight) % BLOCK
        x, weight = (F.pad(each, (0, 0, 0, beyond)).unflatten(0, (n, BLOCK)) for each in (values.T, self.weight))
        x = x.transpose(1, 2)
        blocks = (x @ weight).cumsum(0)
        before = self.offset + torch.cat([torch.zeros_like(blocks[:1]), blocks[:-1]])
        earlier = torch.ones(BLOCK, BLOCK, dtype=x.dtype, device=x.device).tril(-1)
        within = (earlier[:, None] * x[:, None]).flatten(1, 2) @ weight
        a = before[:, None] + within.unflatten(1, (BLOCK, values.shape[0]))
        return a.flatten(0, 1)[: len(self.weight)]

    def in_order(self, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        r"""Go through the values of samples (B, \*shape), which whoever loops over them may fill in on the way.

        Yields
        ------
        tuple of Tensor
            The next value of every sample, a view of `x` (B,), and its numbers (B, outputs), from those before it.
        """
        values = x.view(len(x), -1)
        a = self.offset.expand(len(x), -1)
        for index, weight in enumerate(self.weight):
            at = slice(index, index + 1)
            yield values[:, index], self.bias[index] + self.units(a[None], at)[0] @ self.readout[index]
            a = a + self.seen(values[:, at]) * weight


class SigmoidUnits(SharedUnits):
    r"""NADE's: h_i = σ(a_i), of values from 0 to 1.

    References
    ----------
    Larochelle and Murray, "The neural autoregressive distribution estimator", 2011, equations 5 and 6.
    """

    @override
    def seen(self, x: Tensor) -> Tensor:
        return (x + 1) / 2  # conditionals have their levels from -1 to 1

    @override
    def units(self, a: Tensor, at: slice) -> Tensor:
        return a.sigmoid()


class RectifiedUnits(SharedUnits):
    r"""RNADE's: h_i = max(0, ρ_i a_i), with a factor ρ_i for every value.

    References
    ----------
    Uria, Murray and Larochelle, "RNADE: the real-valued neural autoregressive density-estimator", 2013, section 2.
    """

    def __init__(self, shape: Sequence[int], outputs: int, hidden: int) -> None:
        super().__init__(shape, outputs, hidden)
        self.factor = nn.Parameter(torch.ones(math.prod(shape), dtype=torch.float32))

    @override
    def units(self, a: Tensor, at: slice) -> Tensor:
        return (self.factor[at, None, None] * a).relu()


class Estimator(Conditionals):
    """A product of conditionals by shared units, from which it takes no longer to draw than to score."""

    network: SharedUnits

    def inverse(self, u: Tensor) -> Tensor:
        r"""Return samples (B, \*shape), value after value, from numbers of the same shape, uniform on [0, 1]."""
        tiny = torch.finfo(u.dtype).eps
        y = u.clamp(tiny, 1 - tiny)
        for value, theta in self.network.in_order(y):
            value.copy_(self.conditional.quantile(value, theta))
        if self.levels is None:
            return self.standardised.inverse(y)
        return self.levels.restored((y + 1) / 2 * (self.levels.count - 1))


def parameter(*shape: int, scale: float) -> nn.Parameter:
    """Return normally distributed weights."""
    return nn.Parameter(scale * torch.randn(*shape, dtype=torch.float32))
