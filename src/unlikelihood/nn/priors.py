"""Distributions p(z) of a variational autoencoder's latents."""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Normal

from unlikelihood.nn.part import Part


class Prior(Part, ABC):
    """p(z), which scores and generates; training always pulls q(z|x) towards the standard normal."""

    def prepare(self, n: int, latent: int) -> None:
        """Make the tensors whose size follows from the `n` training samples and the `latent` dimensions."""

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """Return log p(z) in nats, (...), of latents (..., latent)."""

    @abstractmethod
    def draw(self, noise: Tensor, choice: Tensor) -> Tensor:
        """Return latents (n, latent) made of standard normal noise (n, latent) and uniform numbers in [0, 1) (n,)."""

    def settle(self, q: Normal) -> None:
        """Fit to the posteriors of the training samples, (n, latent)."""


class StandardNormal(Prior):
    """N(z; 0, I), the thesis' prior."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log N(z; 0, I)."""
        return -(z.square() + math.log(2 * math.pi)).sum(-1) / 2

    def draw(self, noise: Tensor, choice: Tensor) -> Tensor:
        """Return the noise."""
        return noise


class Exemplars(Prior):
    r"""A Gaussian around the latent of every training sample, fitted once training has ended.

    .. math:: p(z) = \frac{1}{n} \sum_{j=1}^{n} N(z; \mu_j, c \, \mathrm{diag}(\bar{\sigma}^2))

    μ_j is the mean of the j-th training sample's posterior and σ̄² the mean of all their variances. The bandwidth c
    is the one of 24 between e⁻⁴ and e⁴ that makes training latents likeliest under all others: it is chosen on
    normals alone, by leave-one-out. Where the standard normal also holds the empty space between the classes of
    normal samples for likely, this prior does not.

    References
    ----------
    Norouzi, Fleet and Norouzi, "Exemplar VAE", 2020, equation 4; Hoffman and Johnson, "ELBO surgery", 2016.
    """

    mean: Tensor
    variance: Tensor

    bandwidths: ClassVar[tuple[float, ...]] = tuple(math.exp(power / 3) for power in range(-12, 13))
    judges: ClassVar[int] = 1024  # training latents on which the bandwidth is chosen

    def prepare(self, n: int, latent: int) -> None:
        """Make room for the latents of `n` training samples."""
        self.register_buffer("mean", torch.zeros(n, latent))
        self.register_buffer("variance", torch.ones(latent))

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log p(z)."""
        return torch.logsumexp(self.log_components(z, self.variance), -1) - math.log(len(self.mean))

    def draw(self, noise: Tensor, choice: Tensor) -> Tensor:
        """Return a latent around a random training sample's."""
        index = (choice * len(self.mean)).long()
        return self.mean[index] + self.variance.sqrt() * noise

    def settle(self, q: Normal) -> None:
        """Keep the means and choose the bandwidth."""
        self.mean.copy_(q.loc)
        variance = q.scale.square().mean(0)
        judges = torch.linspace(0, len(self.mean) - 1, min(self.judges, len(self.mean)), device=q.loc.device).long()

        def left_out(c: float) -> float:
            others = self.log_components(self.mean[judges], c * variance)
            others[torch.arange(len(judges)), judges] = -math.inf
            return torch.logsumexp(others, 1).mean().item()

        best = max(self.bandwidths, key=left_out) if len(self.mean) > 1 else 1.0
        self.variance.copy_(best * variance)

    def log_components(self, z: Tensor, variance: Tensor) -> Tensor:
        """Return log N(z; μ_j, diag(variance)) for every j, (..., n)."""
        # The squared distance is expanded so that it is a matrix product.
        z, mean = z / variance.sqrt(), self.mean / variance.sqrt()
        distance = z.square().sum(-1, keepdim=True) - 2 * z @ mean.T + mean.square().sum(1)
        return -(distance + variance.log().sum() + len(variance) * math.log(2 * math.pi)) / 2
