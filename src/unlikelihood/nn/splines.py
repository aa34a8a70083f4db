"""Monotonic rational-quadratic splines of many values at once."""

import math

import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Transform
from typing_extensions import override
from zuko.transforms import MonotonicRQSTransform


class Spline(MonotonicRQSTransform):
    """The spline of zuko with its bins along the first axis: over a short last one, torch goes number by number.

    Parameters
    ----------
    widths, heights : Tensor, shape (K, ...)
        What becomes the sizes of the bins of each value.
    derivatives : Tensor, shape (K - 1, ...)
        What becomes the slopes between them.
    bound : float
        The spline is the identity outside [-bound, bound].
    slope : float
        Smallest slope.
    """

    def __init__(self, widths: Tensor, heights: Tensor, derivatives: Tensor, bound: float, slope: float = 1e-3) -> None:
        Transform.__init__(self)
        steepest = math.log(slope)
        beyond = (0, 0) * (widths.ndim - 1)  # `pad` takes the last axis first, and the bins come last

        def knots(size: Tensor) -> Tensor:
            share = (size / (1 + (2 * size / steepest).abs())).softmax(0)
            return bound * (2 * F.pad(share.cumsum(0), (*beyond, 1, 0)) - 1)

        self.horizontal, self.vertical = knots(widths), knots(heights)
        inner = (derivatives / (1 + (derivatives / steepest).abs())).exp()
        self.derivatives = F.pad(inner, (*beyond, 1, 1), value=1.0)

    @property
    @override
    def bins(self) -> int:
        return len(self.horizontal) - 1

    @staticmethod
    @override
    def searchsorted(seq: Tensor, value: Tensor) -> Tensor:
        return (seq < value).sum(0)

    @override
    def bin(self, k: Tensor) -> tuple[Tensor, ...]:
        within = (k >= 0) & (k < self.bins)
        k = k.clamp(0, self.bins - 1)[None]
        x0, x1, y0, y1, d0, d1 = (
            knots.gather(0, side)[0]
            for knots in (self.horizontal, self.vertical, self.derivatives)
            for side in (k, k + 1)
        )
        return within, x0, x1, y0, y1, d0, d1, (y1 - y0) / (x1 - x0)
