"""Normalising flows and their steps, for vectors, images and volumes from one definition each.

`shape` is that of one sample; `width` is the channels of a step's convolutions, or an eighth of its hidden units for
vectors; `of_values` maps the `n_params` numbers θ of a value to the invertible map f of that value.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Annotated

from torch import Tensor, nn
from torch.distributions import Transform
from typing_extensions import override
from zuko.transforms import (
    AutoregressiveTransform,
    ComposedTransform,
    DependentTransform,
    MonotonicAffineTransform,
)

from unlikelihood.nn.causal import Causal
from unlikelihood.nn.couplings import Coupling, still
from unlikelihood.nn.levels import Levels, Standardised, standard_normal
from unlikelihood.nn.masks import Checkerboards, Masks
from unlikelihood.nn.splines import Spline
from unlikelihood.parameters import Component, Count, OpenFraction, Positive, Range


@dataclass(frozen=True)
class FlowStep(Component, ABC):
    """An invertible map of the whole sample, whose parameters a network makes of a part of it."""

    @property
    @abstractmethod
    def n_params(self) -> int:
        """How many numbers the map of one value takes."""

    @abstractmethod
    def of_values(self, theta: Tensor) -> Transform:
        """Return the map of single values (...) with the numbers `theta` (n_params, ...)."""

    @abstractmethod
    def __call__(self, shape: Sequence[int], index: int, width: int) -> nn.Module:
        """Return the `index`-th step: a module whose call returns a `Transform` of flat samples (B, D)."""


@dataclass(frozen=True)
class AffineMap(FlowStep):
    r"""y = a x + b, with a between `slope` and its inverse."""

    slope: OpenFraction = 1e-3

    @property
    @override
    def n_params(self) -> int:
        return 2

    @override
    def of_values(self, theta: Tensor) -> Transform:
        return MonotonicAffineTransform(*theta, slope=self.slope)


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
        widths, heights, derivatives = theta.split([self.bins, self.bins, self.bins - 1])
        return Spline(widths, heights, derivatives, bound=self.bound)


@dataclass(frozen=True)
class CouplingStep(FlowStep):
    """Maps half of the values that `masks` let it look at, with parameters that follow from the other half."""

    _: KW_ONLY
    masks: Masks = field(default_factory=Checkerboards)

    @override
    def __call__(self, shape: Sequence[int], index: int, width: int) -> nn.Module:
        return Coupling(*self.masks(shape, index), math.prod(shape), self.n_params, self.of_values, width)


@dataclass(frozen=True)
class AutoregressiveStep(FlowStep):
    """Maps every value, with parameters that follow from those before it; odd steps take them in reverse order."""

    layers: Count = 4

    @override
    def __call__(self, shape: Sequence[int], index: int, width: int) -> nn.Module:
        return Masked(shape, index % 2 == 1, self.n_params, self.of_values, width, self.layers)


@dataclass(frozen=True)
class AffineCoupling(AffineMap, CouplingStep):
    """Affine coupling: with it and `Multiscale` masks, `Flow` is Real NVP.

    Parameters
    ----------
    slope : float
        The factor a of y = a x + b stays between it and its inverse; 0.2 keeps training steady.
    masks : Masks
        `Checkerboards` or `Multiscale`.

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
    masks : Masks
        `Checkerboards` or `Multiscale`.

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
    slope : float
        As for `AffineCoupling`.

    References
    ----------
    Papamakarios, Pavlakou and Murray, "Masked autoregressive flow for density estimation", 2017, equation 3.
    """


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
        return DependentTransform(self.of_values(theta.flatten(1, -2).flip(self.turned).movedim(-1, 0)), 1)


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
        y, log_det = self.levels.opened(x, u) if self.levels else (x, x.new_zeros(x.shape[0]))
        if self.levels:
            log_det = log_det - self.levels.beyond(x).flatten(1).sum(1)
        y, log_det_scale = self.standardised(y)
        z, log_det_steps = self.transform.call_and_ladj(y.flatten(1))
        return standard_normal(z) + log_det + log_det_scale + log_det_steps

    def inverse(self, z: Tensor, shape: Sequence[int]) -> Tensor:
        r"""Return the samples (B, \*shape) that f maps to z (B, D)."""
        y = self.standardised.inverse(self.transform.inv(z).unflatten(1, tuple(shape)))
        return self.levels.closed(y) if self.levels else y
