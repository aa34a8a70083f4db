"""Coupling layers of a normalising flow: half of the values decide how the other half is mapped."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Transform
from typing_extensions import override
from zuko.transforms import CouplingTransform, DependentTransform, IdentityTransform

from unlikelihood.nn.networks import WIDEST
from unlikelihood.nn.spatial import conv, linear, transposed_conv

KERNEL = 5  # of the convolution that halves the axes


class Coupling(nn.Module):
    r"""A step that keeps some values and maps others: y_a = x_a, y_b = f(x_b; θ(x_a)).

    Parameters
    ----------
    places : Tensor, shape (C', \*space')
        Where in the flat sample (D,) the values are that the step looks at.
    keeps : Tensor, shape (C', \*space')
        Which of these it keeps.
    size : int
        D.
    n_params, of_values, width
        As for `FlowStep`.
    """

    places: Tensor
    keeps: Tensor
    mapped: Tensor
    changed: Tensor
    unchanged: Tensor

    def __init__(
        self,
        places: Tensor,
        keeps: Tensor,
        size: int,
        n_params: int,
        of_values: Callable[[Tensor], Transform],
        width: int,
    ) -> None:
        super().__init__()
        self.shape = places.shape
        self.of_values = of_values
        mapped = places[~keeps]
        order = mapped.argsort()  # that of the flat sample, in which `CouplingTransform` hands the values over
        constants = {
            "places": places.flatten(),
            "keeps": keeps.flatten(),
            "mapped": (~keeps).flatten().nonzero()[:, 0][order],
            "changed": mapped.sort().values,
            "unchanged": torch.ones(size, dtype=torch.bool).index_fill(0, mapped, False).nonzero()[:, 0],
        }
        for name, constant in constants.items():
            self.register_buffer(name, constant, persistent=False)
        self.network = Conditioner(places.shape, n_params, width)

    @override
    def forward(self) -> Transform:
        if not len(self.changed):  # as in every other step where a sample has one value
            return DependentTransform(IdentityTransform(), 1)
        return Halves(self.of_rest, self.unchanged, self.changed)

    def of_rest(self, others: Tensor) -> Transform:
        """Return the map of the values that are mapped, given all others."""
        x = others.new_zeros(others.shape[0], len(self.unchanged) + len(self.changed))
        x[:, self.unchanged] = others
        kept = x[:, self.places]
        seen = torch.cat([part.unflatten(1, self.shape) for part in (kept, self.keeps.to(x).expand_as(kept))], 1)
        theta = self.network(seen).to(x.dtype).index_select(1, self.mapped)
        return DependentTransform(self.of_values(theta.movedim(-1, 0)), 1)


class Halves(CouplingTransform):
    """A coupling that is told where both halves are, rather than a mask: a graph holds no search for its places."""

    def __init__(self, meta: Callable[[Tensor], Transform], unchanged: Tensor, changed: Tensor) -> None:
        Transform.__init__(self)
        self.meta = meta
        self.idx_a = unchanged
        self.idx_b = changed


class Conditioner(nn.Module):
    r"""Maps samples and their mask, (B, 2C, \*space), to numbers for every value, (B, D, n_params), at first all zero.

    Residual convolutions at half the size; fully connected layers for vectors.
    """

    def __init__(self, shape: Sequence[int], n_params: int, width: int) -> None:
        super().__init__()
        channels, *space = shape
        self.split = (channels, n_params)
        hidden, axes = WIDEST * width, len(space)
        if space:
            self.layers = nn.Sequential(
                conv(axes, 2 * channels, width, KERNEL, 2),
                *(Residual(conv(axes, width, width), conv(axes, width, width)) for _ in range(2)),
                nn.SiLU(),
                Doubling(width, channels * n_params, space),
            )
        else:
            self.layers = nn.Sequential(
                linear(2 * channels, hidden),
                Residual(linear(hidden, hidden), linear(hidden, hidden)),
                nn.SiLU(),
                linear(hidden, channels * n_params),
            )
        still(self.layers[-1])

    @override
    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).unflatten(1, self.split).movedim(2, -1).flatten(1, -2)


class Doubling(nn.Module):
    """Makes two positions along every axis of each, and cuts them to axes of the sizes `space`."""

    def __init__(self, channels_in: int, channels_out: int, space: Sequence[int]) -> None:
        super().__init__()
        self.layer = transposed_conv(len(space), channels_in, channels_out, 2, 2)
        self.within = (..., *map(slice, space))

    @override
    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[self.within]


class Residual(nn.Module):
    """x + f(x), with f two layers, each after a nonlinearity."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.SiLU(), first, nn.SiLU(), second)

    @override
    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def still(layer: nn.Module) -> None:
    """Make `layer` return zeros, so that the flow begins as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
