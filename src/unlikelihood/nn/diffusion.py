"""Gaussian diffusion: its schedules, what it costs to code a sample through it, and the scores that it gives."""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from unlikelihood.nn.draws import over_draws
from unlikelihood.nn.levels import Levels, Standardised
from unlikelihood.nn.noise import normal_like, uniform
from unlikelihood.nn.shares import shared, whole
from unlikelihood.parameters import Component, Steps

CLEANEST, NOISIEST = 13.3, -10.0  # log signal-to-noise ratios at which a diffusion starts and ends


@dataclass(frozen=True)
class Schedule(Component, ABC):
    r"""Which noise there is at the time t in [0, 1], and so how often training sees it."""

    @abstractmethod
    def __call__(self, t: Tensor) -> Tensor:
        r"""Return the log signal-to-noise ratio λ of z = α x + σ ε, λ = log(α² / σ²), α² + σ² = 1, at the time t."""


@dataclass(frozen=True)
class CosineSchedule(Schedule):
    r"""α = cos φ with an angle φ that grows linearly from nearly 0 to nearly π/2: mostly medium noise levels.

    References
    ----------
    Nichol and Dhariwal, "Improved denoising diffusion probabilistic models", 2021, equation 17.
    """

    first: ClassVar[float] = math.atan(math.exp(-CLEANEST / 2))
    last: ClassVar[float] = math.atan(math.exp(-NOISIEST / 2))

    @override
    def __call__(self, t: Tensor) -> Tensor:
        return -2 * torch.tan(self.first + t * (self.last - self.first)).log()


@dataclass(frozen=True)
class LinearSchedule(Schedule):
    r"""Noise that is added at a rate β that grows linearly from 0.1 to 20: mostly high noise levels.

    .. math:: \lambda = -\log\bigl(e^{\int_0^t \beta} - 1\bigr)

    References
    ----------
    Ho, Jain and Abbeel, "Denoising diffusion probabilistic models", 2020; Song et al., "Score-based generative
    modeling through stochastic differential equations", 2021, equation 32, for its limit of many steps.
    """

    slowest: ClassVar[float] = 0.1
    fastest: ClassVar[float] = 20.0
    start: ClassVar[float] = 1.7e-5  # where λ is 13.3

    @override
    def __call__(self, t: Tensor) -> Tensor:
        t = self.start + t * (1 - self.start)
        return -torch.expm1(self.slowest * t + (self.fastest - self.slowest) * t.square() / 2).log()


@dataclass(frozen=True)
class EvenSchedule(Schedule):
    """λ that falls linearly: as many low noise levels, which weigh most in `VariationalBound`, as high ones.

    References
    ----------
    Kingma et al., "Variational diffusion models", 2021, appendix B, for its linear start.
    """

    @override
    def __call__(self, t: Tensor) -> Tensor:
        return CLEANEST + t * (NOISIEST - CLEANEST)


class Diffuser(nn.Module):
    r"""A network that finds the noise ε in z = α y + σ ε, with y a sample scaled.

    Noise is measured by the log signal-to-noise ratio λ = log(α² / σ²), a number or (B,).

    The network maps z and where λ is, from 0 for the cleanest to 1 for the noisiest, to an estimate of ε. Grey levels
    are scaled to [-1, 1] for it, continuous data (`levels` is None) standardised.
    """

    def __init__(
        self, network: nn.Module, schedule: Schedule, levels: Levels | None, standardised: Standardised
    ) -> None:
        super().__init__()
        self.network = network
        self.schedule = schedule
        self.levels = levels
        self.standardised = standardised

    def scaled(self, x: Tensor) -> Tensor:
        r"""Return y of samples (B, \*shape)."""
        return self.levels.centred(x) if self.levels else self.standardised(x)[0]

    def add_noise(self, y: Tensor, snr: Tensor, epsilon: Tensor) -> Tensor:
        """Return z at λ."""
        snr = snr.view(-1, *[1] * (y.ndim - 1))
        return snr.sigmoid().sqrt() * y + (-snr).sigmoid().sqrt() * epsilon

    def predict_noise(self, z: Tensor, snr: Tensor) -> Tensor:
        """Return the estimate of ε."""
        where = (CLEANEST - snr) / (CLEANEST - NOISIEST)
        return self.network(z, where.expand(z.shape[0])).to(z.dtype)

    def error(self, y: Tensor, snr: Tensor, epsilon: Tensor) -> Tensor:
        """Return the mean squared error of the estimate of ε for each sample, (B,)."""
        return (epsilon - self.predict_noise(self.add_noise(y, snr, epsilon), snr)).square().flatten(1).mean(1)

    def loss(self, x: Tensor) -> Tensor:
        r"""Return the mean squared error of the estimate, at times spread over [0, 1] in every batch.

        .. math:: E_{t, \epsilon} \lVert \epsilon - \hat\epsilon(\alpha y + \sigma \epsilon, \lambda_t) \rVert^2 / D
        """
        n = whole(len(x))
        even = shared(torch.arange(n, dtype=x.dtype, device=x.device) / n)
        t = (even + uniform(device=x.device, dtype=x.dtype)) % 1
        return self.error(self.scaled(x), self.schedule(t), normal_like(x)).mean()

    def restored(self, z: Tensor, t: Tensor, steps: int) -> Tensor:
        r"""Return what the deterministic way back makes of z at the time t, in as many steps.

        .. math:: \hat y = (z_t - \sigma_t \hat\epsilon) / \alpha_t, \qquad
                  z_s = \alpha_s \hat y + \sigma_s \hat\epsilon

        References
        ----------
        Song, Meng and Ermon, "Denoising diffusion implicit models", 2021, equation 12 with σ = 0.
        """
        ratios = self.schedule(t * torch.linspace(1, 0, steps + 1, dtype=z.dtype, device=z.device))
        for now, then in itertools.pairwise(ratios):
            epsilon = self.predict_noise(z, now)
            y = (z - (-now).sigmoid().sqrt() * epsilon) / now.sigmoid().sqrt()
            y = y.clamp(-1, 1) if self.levels else y
            z = self.add_noise(y, then, epsilon)
        return y

    def bound(self, x: Tensor, epsilon: Tensor) -> Tensor:
        r"""Return the variational bound of log p(x) in nats, (B,), with noise (T + 1, \*shape).

        .. math:: E \log p(x \mid z_0) - \mathrm{KL}(q(z_T \mid x) \,\|\, N(0, I))
                  - \frac{1}{2} \int_{\lambda_T}^{\lambda_0} E \lVert \epsilon
                  - \hat\epsilon(z_\lambda, \lambda) \rVert^2 \, d\lambda

        the limit of many steps, whose integral is taken at the middles of T even pieces. p(x | z_0) is a Gaussian
        around z_0 / α_0 of the standard deviation σ_0 / α_0, and over levels its integral.

        References
        ----------
        Kingma et al., "Variational diffusion models", 2021, section 5; Ho et al., 2020, equation 13.
        """
        y, pieces = self.scaled(x), len(epsilon) - 1
        d = y[0].numel()
        first, last = (y.new_tensor(snr) for snr in (CLEANEST, NOISIEST))
        deviation = (-first / 2).exp()
        if self.levels:
            log_px_z = log_level(y, y + deviation * epsilon[0], deviation, self.levels.count)
        else:
            log_px_z = -d * ((1 + math.log(2 * math.pi)) / 2 + deviation.log()) + self.standardised(x)[1]
        alpha_squared, variance = last.sigmoid(), (-last).sigmoid()
        divergence = (alpha_squared * y.square().flatten(1).sum(1) + d * (variance - 1 - variance.log())) / 2
        width = (CLEANEST - NOISIEST) / pieces
        middles = CLEANEST - width * (torch.arange(pieces, dtype=y.dtype, device=y.device) + 0.5)
        errors = over_draws(self.error, y, middles[:, None], epsilon[1:, None])
        # A control variate: of what the noise's mean square happens to exceed 1 by, the error has the part α⁴ (of
        # standard normal data), which vanishes on average.
        excess = middles.sigmoid().square() * (epsilon[1:].square().flatten(1).mean(1) - 1)
        total = (errors - excess[:, None]).sum(0)
        return log_px_z - divergence - width * d / 2 * total


def log_level(y: Tensor, mean: Tensor, scale: Tensor, count: int) -> Tensor:
    """Return how likely a Gaussian is to fall on the levels y in [-1, 1], the outermost of which never end, (B,)."""
    delta = 1 / (count - 1)
    low = torch.where(y - delta > -1, (y - delta - mean) / scale, -math.inf)
    high = torch.where(y + delta < 1, (y + delta - mean) / scale, math.inf)
    # Φ(high) - Φ(low) = Φ(-low) - Φ(-high), of which that side is taken where the numbers are small.
    flip = low + high > 0
    low, high = torch.where(flip, -high, low), torch.where(flip, -low, high)
    log_high, log_low = torch.special.log_ndtr(high), torch.special.log_ndtr(low)
    return (log_high + torch.log(-torch.expm1(log_low - log_high))).flatten(1).sum(1)


@dataclass(frozen=True)
class DiffusionScore(Component, ABC):
    """Statistics of a sample under a diffusion, and the score that is made of them."""

    normals: ClassVar[int] = 512  # training samples that the numbers are standardised on

    @abstractmethod
    def terms(self, net: Diffuser, x: Tensor, noise: Callable[..., Tensor]) -> Tensor:
        r"""Return K numbers for each sample, (B, K), given noise(n), the same (n, \*shape) for all samples."""

    def __call__(self, terms: Tensor, deviation: Tensor) -> Tensor:
        r"""Return the score, (B,), from the terms and their standard deviations s among training normals.

        .. math:: -\frac{1}{K} \sum_k e_k / s_k

        which is minus the mean of the terms' z-values, but for a constant.
        """
        return -(terms / deviation).mean(1)


def evenly(times: int, like: Tensor) -> Tensor:
    """Return times that divide [0, 1] evenly, without its ends."""
    return torch.arange(1, times + 1, dtype=like.dtype, device=like.device) / (times + 1)


@dataclass(frozen=True)
class DenoisingErrors(DiffusionScore):
    r"""The errors of the predicted noise at K evenly spaced times, each standardised on training normals.

    Parameters
    ----------
    times : int
        K.
    draws : int
        Draws of the noise at every time.
    """

    times: Steps = 8
    draws: Steps = 1

    @override
    def terms(self, net: Diffuser, x: Tensor, noise: Callable[..., Tensor]) -> Tensor:
        y = net.scaled(x)
        ratios = net.schedule(evenly(self.times, y)).repeat_interleave(self.draws)
        errors = over_draws(net.error, y, ratios[:, None], noise(len(ratios))[:, None])
        return errors.unflatten(0, (self.times, self.draws)).mean(1).T


@dataclass(frozen=True)
class Reconstructions(DiffusionScore):
    r"""The distances of a sample to its reconstructions from K times, each standardised on training normals.

    Parameters
    ----------
    times : int
        K, evenly spaced.
    steps : int
        Denoising steps of each reconstruction.

    References
    ----------
    Graham et al., "Denoising diffusion models for out-of-distribution detection", 2023.
    """

    times: Steps = 5
    steps: Steps = 5

    @override
    def terms(self, net: Diffuser, x: Tensor, noise: Callable[..., Tensor]) -> Tensor:
        return torch.stack([left.square().flatten(1).mean(1) for left in self.left_over(net, x, noise)], 1)

    def left_over(self, net: Diffuser, x: Tensor, noise: Callable[..., Tensor]) -> Iterator[Tensor]:
        r"""Yield what each of the K reconstructions has beyond the scaled sample, (B, \*shape)."""
        y = net.scaled(x)
        for t, epsilon in zip(evenly(self.times, y), noise(self.times), strict=True):
            yield net.restored(net.add_noise(y, net.schedule(t), epsilon), t, self.steps) - y


@dataclass(frozen=True)
class VariationalBound(DiffusionScore):
    r"""The bound of log p(x) in nats, in the limit of many steps of diffusion.

    A query takes T passes of the network. For Gaussian data of the variance s² in each of D dimensions the best
    network's squared error is D u / (1 + u) with u = s² exp λ, and so the bound is too low by

    .. math:: \frac{h}{2} \sum_{i=1}^{T} \frac{u_i}{1 + u_i} - \frac{1}{2} \log \frac{1 + u_0}{1 + u_T}

    nats per dimension, where h is the distance of two λ. For s from 0.01 to 3 that is less than 0.0001 bits with T = 64
    and about 0.01 with T = 8. (A chain of 64 steps, which has :math:`e^h - 1` for h, is 1.8 bits too low for s = 1.)

    Parameters
    ----------
    steps : int
        T, levels of noise at which the integral over them is taken.
    """

    normals: ClassVar[int] = 0
    steps: Steps = 64

    @override
    def terms(self, net: Diffuser, x: Tensor, noise: Callable[..., Tensor]) -> Tensor:
        return net.bound(x, noise(self.steps + 1))[:, None]

    @override
    def __call__(self, terms: Tensor, deviation: Tensor) -> Tensor:
        return terms[:, 0]
