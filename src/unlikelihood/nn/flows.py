"""Steps of a normalising flow, for vectors, images and volumes from one definition each.

`shape` is that of one sample; `width` is the channels of a step's convolutions, or an eighth of its hidden units for
vectors; `of_values` maps the `n_params` numbers θ of a value to the invertible map f of that value.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.distributions import Transform
from typing_extensions import override
from zuko.transforms import (
    AutoregressiveTransform,
    ComposedTransform,
    CouplingTransform,
    DependentTransform,
    MonotonicAffineTransform,
    MonotonicRQSTransform,
)

from unlikelihood.nn.causal import Causal
from unlikelihood.nn.levels import Levels, Standardised, standard_normal
from unlikelihood.nn.networks import WIDEST
from unlikelihood.nn.spatial import conv, linear, transposed_conv
from unlikelihood.parameters import Component, Count, Positive, Range

COARSEST = 3  # checkerboards have fields of 1, 2 and 4 values
KERNEL = 5  # of the convolution that halves the axes


@dataclass(frozen=True)
class FlowStep(Component, ABC):
    """An invertible map of the whole sample, whose parameters a network makes of a part of it."""

    @property
    @abstractmethod
    def n_params(self) -> int:
        """How many numbers the map of one value takes."""

    @abstractmethod
    def of_values(self, theta: Tensor) -> Transform:
        """Return the map of single values with the numbers `theta` (..., n_params)."""

    @abstractmethod
    def __call__(self, shape: Sequence[int], index: int, width: int) -> nn.Module:
        """Return the `index`-th step: a module whose call returns a `Transform` of flat samples (B, D)."""


@dataclass(frozen=True)
class AffineMap(FlowStep):
    r"""y = a x + b, with a in (10⁻³, 10³)."""

    @property
    @override
    def n_params(self) -> int:
        return 2

    @override
    def of_values(self, theta: Tensor) -> Transform:
        return MonotonicAffineTransform(*theta.unbind(-1))


@dataclass(frozen=True)
class SplineMap(FlowStep):
    """A monotonic rational-quadratic spline on [-bound, bound], the identity outside."""

    bins: Annotated[int, Range(2)] = 8
    bound: Positive = 5.0

    @property
    @override
    def n_params(self) -> int:
        return 3 * self.bins - 1

    @override
    def of_values(self, theta: Tensor) -> Transform:
        return MonotonicRQSTransform(*theta.split([self.bins, self.bins, self.bins - 1], -1), bound=self.bound)


@dataclass(frozen=True)
class CouplingStep(FlowStep):
    """Maps half of the values, with parameters that follow from the other half."""

    @override
    def __call__(self, shape: Sequence[int], index: int, width: int) -> nn.Module:
        return Coupling(shape, checkerboard(shape, index), self.n_params, self.of_values, width)


@dataclass(frozen=True)
class AutoregressiveStep(FlowStep):
    """Maps every value, with parameters that follow from those before it; odd steps take them in reverse order."""

    layers: Count = 4

    @override
    def __call__(self, shape: Sequence[int], index: int, width: int) -> nn.Module:
        return Masked(shape, index % 2 == 1, self.n_params, self.of_values, width, self.layers)


@dataclass(frozen=True)
class AffineCoupling(AffineMap, CouplingStep):
    """Affine coupling: with it, `Flow` is Real NVP.

    References
    ----------
    Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP", 2017, equations 7 and 8.
    """


@dataclass(frozen=True)
class SplineCoupling(SplineMap, CouplingStep):
    """Spline coupling: with it, `Flow` is a neural spline flow.

    Parameters
    ----------
    bins : int
        Pieces of the spline.
    bound : float
        It is the identity outside [-bound, bound], in standard deviations.

    References
    ----------
    Durkan et al., "Neural spline flows", 2019.
    """


@dataclass(frozen=True)
class AffineAutoregressive(AffineMap, AutoregressiveStep):
    """Affine autoregression: with it, `Flow` is MAF. To generate takes a pass of the network for every value.

    Parameters
    ----------
    layers : int
        Layers of the causal convolutions of images and volumes.

    References
    ----------
    Papamakarios, Pavlakou and Murray, "Masked autoregressive flow for density estimation", 2017, equation 3.
    """


def checkerboard(shape: Sequence[int], index: int) -> Tensor:
    """Return which values (D,) the `index`-th coupling keeps: every other field; later, of coarser boards."""
    longest = max(shape)
    coarseness = (index // 2) % min(COARSEST, max(1, (longest - 1).bit_length()))
    places = torch.meshgrid([torch.arange(size) >> coarseness for size in shape], indexing="ij")
    return ((sum(places) + index) % 2 == 0).flatten()  # type: ignore[union-attr]


class Coupling(nn.Module):
    r"""A step that keeps the values under `keeps` and maps the others: y_a = x_a, y_b = f(x_b; θ(x_a))."""

    keeps: Tensor

    def __init__(
        self, shape: Sequence[int], keeps: Tensor, n_params: int, of_values: Callable[[Tensor], Transform], width: int
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.of_values = of_values
        self.register_buffer("keeps", keeps, persistent=False)
        self.network = Conditioner(shape, n_params, width)

    @override
    def forward(self) -> Transform:
        return CouplingTransform(self.of_rest, self.keeps)

    def of_rest(self, kept: Tensor) -> Transform:
        """Return the map of the other values, given those that are kept."""
        x = kept.new_zeros(len(kept), len(self.keeps))
        x[:, self.keeps] = kept
        keeps = self.keeps.to(x).expand_as(x)
        seen = torch.cat([part.unflatten(1, self.shape) for part in (x, keeps)], 1)
        return DependentTransform(self.of_values(self.network(seen).to(x.dtype)[:, ~self.keeps]), 1)


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


class Masked(nn.Module):
    r"""A step that maps every value, given those before it: y_i = f(x_i; θ_i(x_1, ..., x_{i-1}))."""

    def __init__(
        self,
        shape: Sequence[int],
        backwards: bool,
        n_params: int,
        of_values: Callable[[Tensor], Transform],
        width: int,
        layers: int,
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.turned = [1] if backwards else []
        self.of_values = of_values
        self.network = Causal(shape, n_params, width, layers)
        still(self.network.head[-1])

    @override
    def forward(self) -> Transform:
        return AutoregressiveTransform(self.of_all, math.prod(self.shape))

    def of_all(self, x: Tensor) -> Transform:
        """Return the map of all values."""
        theta = self.network(x.flip(self.turned).unflatten(1, self.shape)).to(x.dtype)
        return DependentTransform(self.of_values(theta.flatten(1, -2).flip(self.turned)), 1)


def still(layer: nn.Module) -> None:
    """Make `layer` return zeros, so that the flow begins as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


class NormalisingFlow(nn.Module):
    r"""A density on samples (B, \*shape) through an invertible map f to the standard normal.

    .. math:: \log p(x) = \log N(f(x); 0, I) + \log \left| \det \frac{\partial f(x)}{\partial x} \right|

    f levels out grey levels if there are any, standardises the channels, and goes through the steps.
    """

    def __init__(self, steps: Sequence[nn.Module], levels: Levels | None, standardised: Standardised) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)
        self.levels = levels
        self.standardised = standardised

    @property
    def transform(self) -> ComposedTransform:
        """The steps as one map of flat samples (B, D)."""
        return ComposedTransform(*(step() for step in self.steps))

    def log_prob(self, x: Tensor, u: Tensor) -> Tensor:
        r"""Return log p(x) in nats, (B,), given uniform noise of a sample's shape if there are levels."""
        y, log_det = self.levels.opened(x, u) if self.levels else (x, x.new_zeros(len(x)))
        y, log_det_scale = self.standardised(y)
        z, log_det_steps = self.transform.call_and_ladj(y.flatten(1))
        return standard_normal(z) + log_det + log_det_scale + log_det_steps

    def inverse(self, z: Tensor, shape: Sequence[int]) -> Tensor:
        r"""Return the samples (B, \*shape) that f maps to z (B, D)."""
        y = self.standardised.inverse(self.transform.inv(z).unflatten(1, tuple(shape)))
        return self.levels.closed(y) if self.levels else y
