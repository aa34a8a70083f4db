r"""Distributions p(x|z) around a decoder's output, all in nats.

A `Likelihood` is a parameter; called with the shape of a sample it builds its `LikelihoodModule`, whose tensors learn.
Samples x, decoder outputs and means are (B, \*shape), in the unit in which `VAE` hands them over: images and volumes
from 0 to 1, the range of the training samples, and vectors standardised feature by feature.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from unlikelihood.parameters import Component, Count, Positive

THESIS_SIGMA = math.sqrt(0.5)
HELD = 2**24  # residuals that are held at once to be decomposed, unless a covariance is larger


class LikelihoodModule(nn.Module, ABC):
    """p(x|z), given what the decoder makes of z."""

    @abstractmethod
    def forward(self, x: Tensor, output: Tensor) -> Tensor:
        """Return log p(x|z) in nats, (B,)."""

    def mean(self, output: Tensor) -> Tensor:
        """Return E[x|z]."""
        return output

    def fit_residuals(self, residuals: Iterable[Tensor]) -> None:
        """Fit to batches (B, D) of the training residuals x - E[x|z] what training left open; if nothing, take none."""


@dataclass(frozen=True)
class Likelihood(Component, ABC):
    """p(x|z)."""

    continuous: ClassVar[bool] = True  # a density, which depends on the unit of x; else a probability

    @abstractmethod
    def __call__(self, shape: Sequence[int]) -> LikelihoodModule:
        """Return the module for samples of `shape`."""


def gaussian(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""Return the log-density in nats, (B,), of a Gaussian with one variance for all D values.

    .. math:: -\frac{\lVert x - \mu \rVert^2}{2 \sigma^2} - \frac{D}{2} \log(2 \pi \sigma^2)
    """
    squared = (x - mean).square().flatten(1).sum(1)
    d = x[0].numel()
    return -squared / (2 * log_variance.exp()) - d / 2 * (math.log(2 * math.pi) + log_variance)


class GaussianModule(LikelihoodModule):
    """`Gaussian`."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = sigma

    @override
    def forward(self, x: Tensor, output: Tensor) -> Tensor:
        return gaussian(x, output, 2 * x.new_tensor(self.sigma).log())


@dataclass(frozen=True)
class Gaussian(Likelihood):
    """N(x; μ(z), σ²I) with a given σ.

    Parameters
    ----------
    sigma : float
        Standard deviation, as a fraction of the training samples' range (images and volumes) or of a feature's
        standard deviation (vectors). The thesis' 1/(2σ²) = 1, its equation 16, is the default.
    """

    sigma: Positive = THESIS_SIGMA

    @override
    def __call__(self, shape: Sequence[int]) -> LikelihoodModule:
        return GaussianModule(self.sigma)


class LearntGaussianModule(LikelihoodModule):
    """`LearntGaussian`."""

    def __init__(self) -> None:
        super().__init__()
        self.log_variance = nn.Parameter(torch.zeros((), dtype=torch.float32))

    @override
    def forward(self, x: Tensor, output: Tensor) -> Tensor:
        return gaussian(x, output, self.log_variance)


@dataclass(frozen=True)
class LearntGaussian(Likelihood):
    """N(x; μ(z), σ²I) with σ learnt by gradient descent along with the network."""

    @override
    def __call__(self, shape: Sequence[int]) -> LikelihoodModule:
        return LearntGaussianModule()


class OptimalGaussianModule(LikelihoodModule):
    """`OptimalGaussian`."""

    log_variance: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("log_variance", torch.zeros((), dtype=torch.float32))

    @override
    def forward(self, x: Tensor, output: Tensor) -> Tensor:
        return gaussian(x, output, self.best(x - output) if self.training else self.log_variance)

    @override
    def fit_residuals(self, residuals: Iterable[Tensor]) -> None:
        squares, count = 0.0, 0
        for residual in residuals:
            squares, count = squares + float(residual.square().sum()), count + residual.numel()
        self.log_variance.fill_(math.log(max(squares / count, 1e-12)))

    def best(self, residual: Tensor) -> Tensor:
        """Return log σ*²."""
        return residual.square().mean().clamp_min(1e-12).log()


@dataclass(frozen=True)
class OptimalGaussian(Likelihood):
    r"""N(x; μ(z), σ²I) with the σ that is best in closed form.

    .. math:: \sigma^{*2} = \frac{1}{D} \lVert x - \mu(z) \rVert^2, \text{ averaged over the batch in training}

    and over the training set once training has ended.

    References
    ----------
    Rybkin, Daniilidis and Levine, "Simple and effective VAE training with calibrated decoders", 2021, equation 6.
    """

    @override
    def __call__(self, shape: Sequence[int]) -> LikelihoodModule:
        return OptimalGaussianModule()


class CorrelatedGaussianModule(GaussianModule):
    """`CorrelatedGaussian`: until its residuals are fitted, b is zero."""

    offset: Tensor
    axes: Tensor
    variance: Tensor
    rest: Tensor

    def __init__(self, d: int, k: int, ridge: float, sigma: float) -> None:
        super().__init__(sigma)
        self.ridge = ridge
        self.register_buffer("offset", torch.zeros(d, dtype=torch.float32))
        self.register_buffer("axes", torch.zeros(k, d, dtype=torch.float32))
        self.register_buffer("variance", torch.ones(k, dtype=torch.float32))
        self.register_buffer("rest", torch.ones((), dtype=torch.float32))

    @override
    def mean(self, output: Tensor) -> Tensor:
        return output + self.offset.view(output.shape[1:])

    @override
    def forward(self, x: Tensor, output: Tensor) -> Tensor:
        if self.training:
            return super().forward(x, output)
        residual = (x - output).flatten(1) - self.offset
        d, k = len(self.offset), len(self.variance)
        along = residual @ self.axes.T
        across = (residual.square().sum(1) - along.square().sum(1)).clamp_min(0)
        mahalanobis = (along.square() / self.variance).sum(1) + across / self.rest
        log_det = self.variance.log().sum() + (d - k) * self.rest.log()
        return -(mahalanobis + log_det + d * math.log(2 * math.pi)) / 2

    @override
    def fit_residuals(self, residuals: Iterable[Tensor]) -> None:
        d, k = len(self.offset), len(self.variance)
        mean, eigenvalues, axes, total = spectrum(residuals)
        self.offset.copy_(mean)
        found = min(k, len(eigenvalues))
        variance = axes.new_zeros(k)
        variance[:found] = eigenvalues[:found]
        ridge = self.ridge * (total / d).clamp_min(1e-12)
        self.axes[:found] = axes[:found]
        self.variance.copy_(variance + ridge)
        self.rest.copy_((total - variance.sum()).clamp_min(0) / max(d - k, 1) + ridge)


def spectrum(batches: Iterable[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""Return the rows' mean (D,), their covariance's eigenvalues (m,), descending, and vectors (m, D), and its trace.

    Rows, in batches (B, D), that are few are decomposed as they are. Of more, only the sum of their products, (D, D),
    is held, in double precision and about the mean of the first, so that squares of the residuals lose nothing.
    """
    rows: list[Tensor] = []
    rest, n = iter(batches), 0
    for batch in rest:
        rows.append(batch)
        n, d = n + len(batch), batch.shape[1]
        if n > max(d, HELD // d):
            break
    else:
        whole = torch.cat(rows)
        mean = whole.mean(0)
        centred = whole - mean
        _, singular, axes = torch.linalg.svd(centred, full_matrices=False)
        return mean, singular.square() / n, axes, centred.square().sum() / n
    like, n = rows[0], 0
    origin = torch.stack([exact(batch).mean(0) for batch in rows]).mean(0)
    total, products = torch.zeros_like(origin), origin.new_zeros(d, d)
    for batch in chain(rows, rest):
        centred = exact(batch) - origin
        n, total = n + len(batch), total + centred.sum(0)
        products.addmm_(centred.T, centred)
    shift = total / n
    covariance = products / n - shift.outer(shift)
    eigenvalues, axes = torch.linalg.eigh(covariance)
    found = (origin + shift, eigenvalues.flip(0).clamp_min(0), axes.T.flip(0), covariance.trace())
    mean, eigenvalues, axes, trace = (tensor.to(like) for tensor in found)
    return mean, eigenvalues, axes, trace


def exact(x: Tensor) -> Tensor:
    """Return a tensor in double precision, on the CPU where its device has none."""
    return (x.cpu() if x.device.type == "mps" else x).double()


@dataclass(frozen=True)
class CorrelatedGaussian(Likelihood):
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
        Standard deviation while training, in the unit of `Gaussian`.

    References
    ----------
    Tipping and Bishop, "Probabilistic principal component analysis", 1999, equations 7 and 8.
    """

    rank: Count | None = None
    ridge: Positive = 1e-3
    sigma: Positive = THESIS_SIGMA

    @override
    def __call__(self, shape: Sequence[int]) -> LikelihoodModule:
        d = math.prod(shape)
        k = d if self.rank is None else min(self.rank, d)
        return CorrelatedGaussianModule(d, k, self.ridge, self.sigma)


class BernoulliModule(LikelihoodModule):
    """`Bernoulli`: the decoder's output is the logit."""

    @override
    def forward(self, x: Tensor, output: Tensor) -> Tensor:
        # Beyond 0 and 1 the sum below has no bound: what no normal shows would seem the more likely.
        x = x.clamp(0, 1)
        return -F.binary_cross_entropy_with_logits(output, x, reduction="none").flatten(1).sum(1)

    @override
    def mean(self, output: Tensor) -> Tensor:
        return output.sigmoid()


@dataclass(frozen=True)
class Bernoulli(Likelihood):
    r"""A Bernoulli distribution for each value, for masks: μ(z) is the probability of the greatest training value.

    .. math:: \sum_i x_i \log \mu_i + (1 - x_i) \log(1 - \mu_i)

    x is 0 for the least training value and 1 for the greatest, of vectors too, so that masks in {0, 1} and {0, 255}
    have the same probability. For values in between it is the usual relaxation, which is not normalised; values beyond
    count as the nearer of the two.
    """

    continuous: ClassVar[bool] = False

    @override
    def __call__(self, shape: Sequence[int]) -> LikelihoodModule:
        return BernoulliModule()
