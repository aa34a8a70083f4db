"""Distributions p(x|z) around a decoder's output, all in nats."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlikelihood.nn.part import Part


class Likelihood(Part, ABC):
    """p(x|z), given what the decoder makes of z."""

    def prepare(self, shape: Sequence[int]) -> None:
        """Make the tensors whose size follows from the `shape` of a sample."""

    @abstractmethod
    def forward(self, x: Tensor, output: Tensor) -> Tensor:
        r"""Return log p(x|z) in nats, (B,), of samples and decoder outputs (B, \*shape)."""

    def mean(self, output: Tensor) -> Tensor:
        r"""Return E[x|z], (B, \*shape)."""
        return output

    def settle(self, residual: Tensor) -> None:
        """Fit to the training residuals x - E[x|z], (n, D), what training left open."""


def gaussian(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""Return the log-density in nats, (B,), of a Gaussian with one variance for all D values.

    .. math:: -\frac{\lVert x - \mu \rVert^2}{2 \sigma^2} - \frac{D}{2} \log(2 \pi \sigma^2)
    """
    squared = (x - mean).square().flatten(1).sum(1)
    d = x[0].numel()
    return -squared / (2 * log_variance.exp()) - d / 2 * (math.log(2 * math.pi) + log_variance)


class Gaussian(Likelihood):
    """N(x; μ(z), σ²I) with a given σ.

    Parameters
    ----------
    sigma : float
        Standard deviation in the samples' unit. The thesis' 1/(2σ²) = 1, its equation 16, is the default.
    """

    def __init__(self, sigma: float = math.sqrt(0.5)) -> None:
        super().__init__()
        if not sigma > 0:
            raise ValueError(f"{type(self).__name__}: sigma is {sigma!r}, expected a number above 0")
        self.sigma = sigma

    def forward(self, x: Tensor, output: Tensor) -> Tensor:
        """Return log N(x; output, σ²I)."""
        return gaussian(x, output, 2 * x.new_tensor(self.sigma).log())


class LearntGaussian(Likelihood):
    """N(x; μ(z), σ²I) with σ learnt by gradient descent along with the network."""

    def __init__(self) -> None:
        super().__init__()
        self.log_variance = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, output: Tensor) -> Tensor:
        """Return log N(x; output, σ²I)."""
        return gaussian(x, output, self.log_variance)


class OptimalGaussian(Likelihood):
    r"""N(x; μ(z), σ²I) with the σ that is best in closed form.

    .. math:: \sigma^{*2} = \frac{1}{D} \lVert x - \mu(z) \rVert^2, \text{ averaged over the batch in training}

    and over the training set once training has ended.

    References
    ----------
    Rybkin, Daniilidis and Levine, "Simple and effective VAE training with calibrated decoders", 2021, equation 6.
    """

    log_variance: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("log_variance", torch.zeros(()))

    def forward(self, x: Tensor, output: Tensor) -> Tensor:
        """Return log N(x; output, σ*²I)."""
        if self.training:
            return gaussian(x, output, (x - output).square().mean().clamp_min(1e-12).log())
        return gaussian(x, output, self.log_variance)

    def settle(self, residual: Tensor) -> None:
        """Set σ* to that of the training residuals."""
        self.log_variance.copy_(residual.square().mean().clamp_min(1e-12).log())


class CorrelatedGaussian(Gaussian):
    r"""N(x; μ(z) + b, Σ) with a mean b and a covariance Σ of the residuals that are fitted once training has ended.

    Training uses `Gaussian`. Then, with the eigenvectors v and eigenvalues λ of the residuals' covariance,

    .. math:: \Sigma = \sum_{i \le k} (\lambda_i + \epsilon) \, v_i v_i^\top
              + (\bar\lambda + \epsilon) \, \bigl(I - \sum_{i \le k} v_i v_i^\top\bigr),
              \qquad \epsilon = \text{ridge} \cdot \tfrac{1}{D} \mathrm{tr}

    where the mean λ̄ of the remaining eigenvalues stands in for them. So errors that every normal sample shows
    weigh little and unusual ones much: the score is the whitened residual, in nats.

    Parameters
    ----------
    rank : int or None
        k, the eigenvectors kept. None keeps all of them: a full covariance.
    ridge : float
        Added to every eigenvalue, as a fraction of the mean residual variance.
    sigma : float
        Standard deviation while training, in the samples' unit.

    References
    ----------
    Tipping and Bishop, "Probabilistic principal component analysis", 1999, equations 7 and 8.
    """

    offset: Tensor
    axes: Tensor
    variance: Tensor
    rest: Tensor

    def __init__(self, rank: int | None = None, ridge: float = 1e-3, sigma: float = math.sqrt(0.5)) -> None:
        super().__init__(sigma)
        if rank is not None and rank < 1:
            raise ValueError(f"CorrelatedGaussian: rank is {rank!r}, expected an integer of at least 1 or None")
        if not ridge > 0:
            raise ValueError(f"CorrelatedGaussian: ridge is {ridge!r}, expected a number above 0")
        self.rank = rank
        self.ridge = ridge

    def prepare(self, shape: Sequence[int]) -> None:
        """Make room for the mean and the eigenvectors."""
        d = math.prod(shape)
        k = d if self.rank is None else min(self.rank, d)
        self.register_buffer("offset", torch.zeros(d))
        self.register_buffer("axes", torch.zeros(k, d))
        self.register_buffer("variance", torch.ones(k))
        self.register_buffer("rest", torch.ones(()))

    def forward(self, x: Tensor, output: Tensor) -> Tensor:
        """Return log N(x; output + b, Σ)."""
        if self.training:
            return super().forward(x, output)
        residual = (x - output).flatten(1) - self.offset
        d, k = len(self.offset), len(self.variance)
        along = residual @ self.axes.T
        across = (residual.square().sum(1) - along.square().sum(1)).clamp_min(0)
        mahalanobis = (along.square() / self.variance).sum(1) + across / self.rest
        log_det = self.variance.log().sum() + (d - k) * self.rest.log()
        return -(mahalanobis + log_det + d * math.log(2 * math.pi)) / 2

    def settle(self, residual: Tensor) -> None:
        """Fit b and Σ to the training residuals."""
        d, k = len(self.offset), len(self.variance)
        self.offset.copy_(residual.mean(0))
        centred = residual - self.offset
        _, singular, axes = torch.linalg.svd(centred, full_matrices=False)
        total = centred.square().sum() / len(residual)
        found = min(k, len(singular))
        variance = torch.zeros(k).to(centred)
        variance[:found] = singular[:found].square() / len(residual)
        ridge = self.ridge * (total / d).clamp_min(1e-12)
        self.axes[:found] = axes[:found]
        self.variance.copy_(variance + ridge)
        self.rest.copy_((total - variance.sum()).clamp_min(0) / max(d - k, 1) + ridge)


class Bernoulli(Likelihood):
    r"""A coin for each value, for masks and other data in [0, 1]; the decoder's output is the logit.

    .. math:: \sum_i x_i \log \mu_i + (1 - x_i) \log(1 - \mu_i)

    It is a probability for binary values; for values in between it is the usual relaxation, not normalised.
    """

    def forward(self, x: Tensor, output: Tensor) -> Tensor:
        """Return log p(x|z)."""
        return -F.binary_cross_entropy_with_logits(output, x, reduction="none").flatten(1).sum(1)

    def mean(self, output: Tensor) -> Tensor:
        """Return the probability of a one."""
        return output.sigmoid()
