"""Grey levels, and how continuous densities are made to hold for them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from typing_extensions import override

MARGIN = 0.05  # of the unit interval, kept free on either side: a logit of 0 or 1 would be infinite


@dataclass(frozen=True)
class Levels:
    r"""Intensities of which there are `count`, evenly spaced from `low` to `high`.

    A density p(y) of the continuous y = k + u gives a bound of the probability of the levels k,

    .. math:: \log P(k) = \log \int_{[0, 1)^D} p(k + u) \, du \ge E_u[\log p(k + u)]

    Parameters
    ----------
    count : int
        Number of levels, 256 for 8 bits.
    low, high : float
        The lowest level and the highest.

    References
    ----------
    Theis, van den Oord and Bethge, "A note on the evaluation of generative models", 2016, equation 6; Papamakarios,
    Pavlakou and Murray, "Masked autoregressive flow for density estimation", 2017, appendix E, for the logit.
    """

    count: int
    low: float = 0.0
    high: float = 1.0

    @classmethod
    def of(cls, count: int, seen: tuple[float, float]) -> "Levels":
        """Return `count` levels from 0 to 1, or, for data that are not within, from its lowest value to its highest."""
        low, high = seen
        if low >= 0 and high <= 1:
            return cls(count)
        return cls(count, low, high if high > low else low + 1)

    def index(self, x: Tensor) -> Tensor:
        """Return k, from 0 to count - 1, of the level that is nearest to each intensity; none lies beyond the ends.

        The gradient is that of k before it is rounded: steps have none, and a score shows where by its gradient.
        """
        k = (x - self.low) / (self.high - self.low) * (self.count - 1)
        return (k.round() + (k - k.detach())).clamp(0, self.count - 1)

    def beyond(self, x: Tensor) -> Tensor:
        """Return by how many levels each intensity lies beyond the ends: what no normal shows costs a nat for each."""
        k = (x - self.low) / (self.high - self.low) * (self.count - 1)
        return (k - k.clamp(-0.5, self.count - 0.5)).abs()

    def centred(self, x: Tensor) -> Tensor:
        """Return the level that is nearest to each intensity, from -1 for the lowest to 1 for the highest."""
        return 2 * self.index(x) / (self.count - 1) - 1

    def restored(self, k: Tensor) -> Tensor:
        """Return the intensities of levels k, which need not be whole."""
        return self.low + k / (self.count - 1) * (self.high - self.low)

    def opened(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        r"""Spread levels over the whole line by uniform noise `u` and a logit.

        .. math:: v = \lambda + (1 - 2 \lambda) (k + u) / \text{count}, \qquad y = \log v - \log(1 - v)

        Returns
        -------
        tuple of Tensor
            y, and log |∂y/∂k| summed over each sample, (B,).
        """
        v = MARGIN + (1 - 2 * MARGIN) * (self.index(x) + u) / self.count
        log_slope = math.log((1 - 2 * MARGIN) / self.count) - v.log() - (1 - v).log()
        return torch.logit(v), log_slope.flatten(1).sum(1)

    def closed(self, y: Tensor) -> Tensor:
        """Return the intensities that `opened` makes y of when the noise is ½."""
        v = (y.sigmoid() - MARGIN) / (1 - 2 * MARGIN)
        return self.restored((v * self.count - 0.5).clamp(0, self.count - 1))


class Standardised(nn.Module):
    """Subtracts a location from every channel and divides by a scale, (C,); of vectors, every feature is a channel."""

    def __init__(self, location: Tensor, scale: Tensor) -> None:
        super().__init__()
        # Not buffers, which would follow the network into precisions that its device may not have.
        self.location = location
        self.scale = scale

    @override
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        r"""Return y of samples (B, C, \*space), and log |∂y/∂x| of one, a number."""
        location, scale = self._like(x)
        return (x - location) / scale, -scale.log().sum() * x[0, 0].numel()

    def inverse(self, y: Tensor) -> Tensor:
        """Return x."""
        location, scale = self._like(y)
        return y * scale + location

    def _like(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shape = (-1, *[1] * (x.ndim - 2))
        return self.location.to(x).view(shape), self.scale.to(x).view(shape)


def moments(batches: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Return each channel's mean and standard deviation, 1 where it is constant, over batches of samples.

    Of vectors, every feature is a channel.
    """
    n, total, squares = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for batch in batches:
        x = batch.double().transpose(0, 1).flatten(1)
        n, total, squares = n + x.shape[1], total + x.sum(1), squares + x.square().sum(1)
    mean = total / n
    deviation = (squares / n - mean.square()).clamp_min(0).sqrt()
    return mean, torch.where(deviation > 1e-6 * (1 + mean.abs()), deviation, 1.0)


def log_mean_exp(log_p: Tensor) -> Tensor:
    """Return the logarithm of the mean probability over draws (L, B), (B,)."""
    return torch.logsumexp(log_p, 0) - math.log(len(log_p))


def standard_normal(z: Tensor) -> Tensor:
    r"""Return log N(z; 0, I), (B,), of (B, \*shape)."""
    return -(z.square() + math.log(2 * math.pi)).flatten(1).sum(1) / 2
