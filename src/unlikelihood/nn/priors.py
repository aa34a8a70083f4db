"""Distributions p(z) of a variational autoencoder's latents, for scoring and generating.

Training always pulls q(z|x) towards the standard normal. A `Prior` is a parameter; called, it builds its `PriorModule`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from typing_extensions import override

from unlikelihood.parameters import Component

HELD = 2**24  # log-densities that are held at once when the bandwidth is chosen
MOST = 2**16  # exemplars
AT_ONCE = 2**16  # exemplars whose log-densities are held at once


class PriorModule(nn.Module, ABC):
    """p(z)."""

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """Return log p(z) in nats, (...), of latents (..., latent)."""

    @abstractmethod
    def draw(self, noise: Tensor, choice: Tensor) -> Tensor:
        """Return latents (n, latent) made of standard normal noise (n, latent) and uniform numbers in [0, 1) (n,)."""

    def fit_posteriors(self, posteriors: Iterable[Normal]) -> None:
        """Fit to the posteriors of the training samples, in batches (B, latent); if nothing, take none."""


@dataclass(frozen=True)
class Prior(Component, ABC):
    """p(z)."""

    @abstractmethod
    def __call__(self, n: int, latent: int) -> PriorModule:
        """Return the module for `n` training samples and as many `latent` dimensions."""


class StandardNormalModule(PriorModule):
    """`StandardNormal`."""

    @override
    def log_prob(self, z: Tensor) -> Tensor:
        return -(z.square() + math.log(2 * math.pi)).sum(-1) / 2

    @override
    def draw(self, noise: Tensor, choice: Tensor) -> Tensor:
        return noise


@dataclass(frozen=True)
class StandardNormal(Prior):
    """N(z; 0, I), the thesis' prior."""

    @override
    def __call__(self, n: int, latent: int) -> PriorModule:
        return StandardNormalModule()


class ExemplarsModule(PriorModule):
    """`Exemplars`."""

    mean: Tensor
    rows: Tensor
    variance: Tensor

    bandwidths: ClassVar[tuple[float, ...]] = tuple(math.exp(power / 3) for power in range(-12, 13))
    n_chosen: ClassVar[int] = 1024  # training latents on which the bandwidth is chosen

    def __init__(self, n: int, latent: int) -> None:
        super().__init__()
        kept = min(n, MOST)
        self.register_buffer("mean", torch.zeros(kept, latent, dtype=torch.float32))
        # Which of the training samples are exemplars, evenly spaced.
        self.register_buffer("rows", torch.arange(kept) * n // kept, persistent=False)
        self.register_buffer("variance", torch.ones(latent, dtype=torch.float32))

    @override
    def log_prob(self, z: Tensor) -> Tensor:
        parts = [torch.logsumexp(self.log_components(z, mean, self.variance), -1) for mean in self.mean.split(AT_ONCE)]
        return (torch.logsumexp(torch.stack(parts), 0) if len(parts) > 1 else parts[0]) - math.log(len(self.mean))

    @override
    def draw(self, noise: Tensor, choice: Tensor) -> Tensor:
        index = (choice * len(self.mean)).long()
        return self.mean[index] + self.variance.sqrt() * noise

    @override
    def fit_posteriors(self, posteriors: Iterable[Normal]) -> None:
        start, total = 0, torch.zeros_like(self.variance, dtype=torch.float64)
        for q in posteriors:
            own = (self.rows >= start) & (self.rows < start + len(q.loc))
            self.mean[own] = q.loc[self.rows[own] - start].to(self.mean)
            total += q.scale.square().sum(0)
            start += len(q.loc)
        variance = (total / start).to(self.variance)
        n, device = len(self.mean), self.mean.device
        chosen = torch.linspace(0, n - 1, min(self.n_chosen, n), dtype=torch.float32, device=device).long()

        def left_out(c: float) -> float:
            found = []
            for some in chosen.split(max(1, HELD // n)):
                others = self.log_components(self.mean[some], self.mean, c * variance)
                others[torch.arange(len(some)), some] = -math.inf
                found.append(torch.logsumexp(others, 1))
            return torch.cat(found).mean().item()

        best = max(self.bandwidths, key=left_out) if n > 1 else 1.0
        self.variance.copy_(best * variance)

    def log_components(self, z: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """Return log N(z; μ_j, diag(variance)) of each of the means (n, latent), (..., n)."""
        # The squared distance is expanded so that it is a matrix product.
        z, mean = z / variance.sqrt(), mean / variance.sqrt()
        distance = z.square().sum(-1, keepdim=True) - 2 * z @ mean.T + mean.square().sum(1)
        return -(distance + variance.log().sum() + len(variance) * math.log(2 * math.pi)) / 2


@dataclass(frozen=True)
class Exemplars(Prior):
    r"""A Gaussian around the latent of every training sample, or of 65,536 of them, fitted once training has ended.

    .. math:: p(z) = \frac{1}{n} \sum_{j=1}^{n} N(z; \mu_j, c \, \mathrm{diag}(\bar{\sigma}^2))

    μ_j is the mean of the j-th training sample's posterior and σ̄² the mean of all their variances. The bandwidth c
    is the one of 25 between e⁻⁴ and e⁴ that makes training latents likeliest under all others: it is chosen on
    normals alone, by leave-one-out. Where the standard normal also holds the empty space between the classes of
    normal samples for likely, this prior does not.

    References
    ----------
    Norouzi, Fleet and Norouzi, "Exemplar VAE", 2020, equation 4; Hoffman and Johnson, "ELBO surgery", 2016.
    """

    @override
    def __call__(self, n: int, latent: int) -> PriorModule:
        return ExemplarsModule(n, latent)
