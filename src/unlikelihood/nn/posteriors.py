"""Distributions q(z|x) of a variational autoencoder's latents.

A `Posterior` is a parameter; called, it builds its `PosteriorModule`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from typing_extensions import override
from zuko.flows import MaskedAutoregressiveTransform
from zuko.transforms import ComposedTransform

from unlikelihood.nn.levels import standard_normal
from unlikelihood.nn.noise import normal_like
from unlikelihood.parameters import Component, Count


class Flowed:
    """The distribution of f(z_0): a Gaussian `base`, (B, latent), under a `transform` f of latents (..., B, latent)."""

    draws: ClassVar[int] = 16  # from which the entropy is estimated

    def __init__(self, base: Normal, transform: ComposedTransform) -> None:
        self.base = base
        self.transform = transform

    @property
    def loc(self) -> Tensor:
        """Where f puts the Gaussian's mean, (B, latent)."""
        return self.transform(self.base.loc)

    @property
    def scale(self) -> Tensor:
        """The Gaussian's standard deviation, (B, latent)."""
        return self.base.scale

    def drawn(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and log q(z|x), (...), for standard normal noise (..., latent)."""
        start = self.base.loc + self.base.scale * noise
        z, log_det = self.transform.call_and_ladj(start)
        return z, self.base.log_prob(start).sum(-1) - log_det

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log q(z|x), (..., 1), of latents (..., latent). It takes a pass of the network for every dimension."""
        start, log_det = self.transform.inv.call_and_ladj(z)
        return (self.base.log_prob(start).sum(-1) + log_det)[..., None]

    def entropy(self) -> Tensor:
        """Return an estimate of H[q(z|x)], (B, 1), always from the same noise."""
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(self.draws, 1, self.scale.shape[-1], generator=generator, dtype=torch.float32)
        return -self.drawn(noise.to(self.scale))[1].mean(0)[:, None]


class PosteriorModule(nn.Module, ABC):
    """q(z|x), from what the encoder makes of x.

    `n_features` is how many numbers the encoder makes.
    """

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.n_features = n_features

    @abstractmethod
    def forward(self, features: Tensor) -> Any:
        """Return q(z|x), (B, latent), from the encoder's features (B, n_features)."""

    @abstractmethod
    def at(self, q: Any, noise: Tensor) -> Tensor:
        """Return z for standard normal noise (..., latent)."""

    @abstractmethod
    def divergence(self, q: Any) -> tuple[Tensor, Tensor]:
        """Return one z of q(z|x), (B, latent), and KL(q(z|x) ‖ N(0, I)) in nats, or an estimate from that z, (B,)."""


@dataclass(frozen=True)
class Posterior(Component, ABC):
    """q(z|x)."""

    @abstractmethod
    def __call__(self, latent: int, width: int) -> PosteriorModule:
        """Return the module for as many `latent` dimensions, with networks of `width`."""


class DiagonalGaussianModule(PosteriorModule):
    """`DiagonalGaussian`."""

    @override
    def forward(self, features: Tensor) -> Normal:
        mean, log_variance = features.chunk(2, dim=1)
        return Normal(mean, (log_variance / 2).clamp(-10, 10).exp(), validate_args=False)

    @override
    def at(self, q: Normal, noise: Tensor) -> Tensor:
        return q.loc + q.scale * noise

    @override
    def divergence(self, q: Normal) -> tuple[Tensor, Tensor]:
        p = Normal(torch.zeros_like(q.loc), 1.0, validate_args=False)
        return self.at(q, normal_like(q.scale)), kl_divergence(q, p).sum(1)


@dataclass(frozen=True)
class DiagonalGaussian(Posterior):
    """N(z; μ(x), diag σ²(x)), the thesis' posterior."""

    @override
    def __call__(self, latent: int, width: int) -> PosteriorModule:
        return DiagonalGaussianModule(2 * latent)


class InverseAutoregressiveModule(PosteriorModule):
    """`InverseAutoregressive`."""

    def __init__(self, transforms: int, latent: int, width: int) -> None:
        super().__init__(3 * latent)  # μ, σ and h
        orders = [torch.arange(latent).flip([0] if index % 2 else []) for index in range(transforms)]
        self.maps = nn.ModuleList(
            MaskedAutoregressiveTransform(latent, latent, order=order, hidden_features=[8 * width], activation=nn.SiLU)
            for order in orders
        ).float()

    @override
    def forward(self, features: Tensor) -> Flowed:
        mean, log_variance, context = features.chunk(3, dim=1)
        base = Normal(mean, (log_variance / 2).clamp(-10, 10).exp(), validate_args=False)
        return Flowed(base, ComposedTransform(*(step(context) for step in self.maps)))

    @override
    def at(self, q: Flowed, noise: Tensor) -> Tensor:
        return q.drawn(noise)[0]

    @override
    def divergence(self, q: Flowed) -> tuple[Tensor, Tensor]:
        z, log_q = q.drawn(normal_like(q.scale))
        return z, log_q - standard_normal(z)


@dataclass(frozen=True)
class InverseAutoregressive(Posterior):
    r"""A diagonal Gaussian, made to follow the true posterior by autoregressive maps of its samples.

    .. math:: z_0 = \mu(x) + \sigma(x) \odot \epsilon, \qquad
              z_t = a_t(z_{t-1}, h(x)) \odot z_{t-1} + b_t(z_{t-1}, h(x))

    The i-th value of a and b depends on the values of z before the i-th; every other map takes them in reverse order.

    Parameters
    ----------
    transforms : int
        How many maps.

    References
    ----------
    Kingma et al., "Improved variational inference with inverse autoregressive flow", 2016, equations 10 and 11.
    """

    transforms: Count = 2

    @override
    def __call__(self, latent: int, width: int) -> PosteriorModule:
        return InverseAutoregressiveModule(self.transforms, latent, width)
