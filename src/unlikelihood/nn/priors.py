"""Distributions p(z) of a variational autoencoder's latents."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.distributions import Normal


class Prior(nn.Module, ABC):
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


class AggregatePosterior(Prior):
    """The mean of the training samples' posteriors, fitted once training has ended.

    .. math:: p(z) = \\frac{1}{n} \\sum_{j=1}^{n} q(z \\mid x_j)

    Among all priors it is the one that makes the training samples' mean ELBO largest. Where the standard normal
    also holds the empty space between the classes of normal samples for likely, this one does not.

    References
    ----------
    Hoffman and Johnson, "ELBO surgery", 2016; Tomczak and Welling, "VAE with a VampPrior", 2018, equation 9.
    """

    mean: Tensor
    scale: Tensor

    def prepare(self, n: int, latent: int) -> None:
        """Make room for the posteriors of `n` training samples."""
        self.register_buffer("mean", torch.zeros(n, latent))
        self.register_buffer("scale", torch.ones(n, latent))

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log p(z), computed by matrix products: the square in each exponent is expanded."""
        precision = self.scale.square().reciprocal()
        constant = (self.scale.log() + self.mean.square() * precision / 2).sum(1) + math.log(2 * math.pi) * z.shape[-1] / 2
        linear = z @ (self.mean * precision).T - z.square() @ precision.T / 2
        return torch.logsumexp(linear - constant, -1) - math.log(len(self.mean))

    def draw(self, noise: Tensor, choice: Tensor) -> Tensor:
        """Return a latent around a random training sample's."""
        index = (choice * len(self.mean)).long()
        return self.mean[index] + self.scale[index] * noise

    def settle(self, q: Normal) -> None:
        """Keep the posteriors."""
        self.mean.copy_(q.loc)
        self.scale.copy_(q.scale)
