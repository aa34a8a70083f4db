"""Distributions of one value given those before it, all in nats."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from unlikelihood.parameters import Component, Count, Range

HALVINGS = 40  # of the interval that a quantile is in


@dataclass(frozen=True)
class Conditional(Component, ABC):
    """p(x_i | x_1, ..., x_{i-1}), given what a network makes of those before."""

    @property
    def levels(self) -> int | None:
        """How many values there are, on an even grid from -1 to 1; None: any number, of mean 0 and variance 1."""
        return None

    @property
    @abstractmethod
    def n_params(self) -> int:
        """How many numbers the network makes for each value."""

    @abstractmethod
    def __call__(self, x: Tensor, theta: Tensor) -> Tensor:
        """Return log p in nats, (...), of values x (...) with the network's numbers (..., n_params)."""

    @abstractmethod
    def quantile(self, u: Tensor, theta: Tensor) -> Tensor:
        """Return the values (...) below or at which x is with probability u, in (0, 1): draws if u is uniform."""


@dataclass(frozen=True)
class GaussianMixture(Conditional):
    r"""A mixture of Gaussians, for continuous values: RNADE's conditional.

    .. math:: p(x) = \sum_c \pi_c \, N(x; \mu_c, \sigma_c^2)

    Parameters
    ----------
    n_components : int
        c.

    References
    ----------
    Uria, Murray and Larochelle, "RNADE: the real-valued neural autoregressive density-estimator", 2013, equation 8.
    """

    n_components: Count = 8

    @property
    @override
    def n_params(self) -> int:
        return 3 * self.n_components

    @override
    def __call__(self, x: Tensor, theta: Tensor) -> Tensor:
        log_weight, mean, log_scale = mixture(theta)
        standard = (x[..., None] - mean) * (-log_scale).exp()
        return torch.logsumexp(log_weight - standard.square() / 2 - log_scale - math.log(2 * math.pi) / 2, -1)

    @override
    def quantile(self, u: Tensor, theta: Tensor) -> Tensor:
        return quantile_of_mixture(u, theta, torch.special.ndtri, torch.special.ndtr)


@dataclass(frozen=True)
class LogisticMixture(Conditional):
    r"""A mixture of logistics that is discretised, for grey levels.

    .. math:: P(x) = \sum_c \pi_c \Bigl[ \sigma\Bigl(\frac{x + \delta - \mu_c}{s_c}\Bigr)
              - \sigma\Bigl(\frac{x - \delta - \mu_c}{s_c}\Bigr) \Bigr]

    where 2δ is the distance of two levels; the lowest level goes on to -∞ and the highest to ∞.

    Parameters
    ----------
    n_components : int
        c.
    levels : int
        Number of grey levels, 256 for 8 bits.

    References
    ----------
    Salimans et al., "PixelCNN++", 2017, equation 2.
    """

    n_components: Count = 5
    levels: Annotated[int, Range(2)] = 256

    @property
    @override
    def n_params(self) -> int:
        return 3 * self.n_components

    @override
    def __call__(self, x: Tensor, theta: Tensor) -> Tensor:
        log_weight, mean, log_scale = mixture(theta)
        x, delta, inverse = x[..., None], 1 / (self.levels - 1), (-log_scale).exp()
        low = torch.where(x - delta > -1, (x - delta - mean) * inverse, -math.inf)
        high = torch.where(x + delta < 1, (x + delta - mean) * inverse, math.inf)
        return torch.logsumexp(log_weight + log_between(low, high), -1)

    @override
    def quantile(self, u: Tensor, theta: Tensor) -> Tensor:
        x = quantile_of_mixture(u, theta, torch.logit, torch.sigmoid)
        return 2 * ((x + 1) / 2 * (self.levels - 1)).round().clamp(0, self.levels - 1) / (self.levels - 1) - 1


@dataclass(frozen=True)
class Binary(Conditional):
    r"""A Bernoulli distribution for every value, for masks: NADE's conditional.

    .. math:: P(x) = \sigma(\theta)^{x} \, (1 - \sigma(\theta))^{1 - x}, \qquad x \in \{0, 1\}

    References
    ----------
    Larochelle and Murray, "The neural autoregressive distribution estimator", 2011, equation 7.
    """

    @property
    @override
    def levels(self) -> int:
        return 2

    @property
    @override
    def n_params(self) -> int:
        return 1

    @override
    def __call__(self, x: Tensor, theta: Tensor) -> Tensor:
        return F.logsigmoid(x * theta[..., 0])  # here x is -1 or 1

    @override
    def quantile(self, u: Tensor, theta: Tensor) -> Tensor:
        return 1 - 2 * (u <= (-theta[..., 0]).sigmoid()).to(u)


def mixture(theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return log-weights, means, spread out at first, and log-scales from a network's numbers (..., 3 n_components)."""
    weight, mean, log_scale = theta.chunk(3, -1)
    spread = torch.linspace(-1, 1, mean.shape[-1] + 2, dtype=mean.dtype, device=mean.device)[1:-1]
    # That is `log_softmax`, which over a short last axis goes number by number.
    weight = weight - weight.detach().amax(-1, keepdim=True)
    log_weight = weight - weight.exp().sum(-1, keepdim=True).log()
    return log_weight, mean + spread, log_scale.clamp(-7, 7)


def quantile_of_mixture(
    u: Tensor, theta: Tensor, quantile: Callable[[Tensor], Tensor], cumulative: Callable[[Tensor], Tensor]
) -> Tensor:
    """Return the quantile of a mixture, by bisection between the lowest and the highest of its components'.

    `quantile` and `cumulative` are those of the standard component.
    """
    log_weight, mean, log_scale = mixture(theta)
    weight, scale = log_weight.exp(), log_scale.exp()
    of_components = mean + scale * quantile(u)[..., None]
    low, high = of_components.amin(-1), of_components.amax(-1)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        below = (weight * cumulative((middle[..., None] - mean) / scale)).sum(-1) < u
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2


def log_between(low: Tensor, high: Tensor) -> Tensor:
    """Return log(σ(high) - σ(low)) for low < high, either of which may be infinite, exact far out in the tails.

    It is σ(high) σ(-low) (1 - exp(low - high)).
    """
    return F.logsigmoid(high) + F.logsigmoid(-low) + torch.log(-torch.expm1(low - high))
