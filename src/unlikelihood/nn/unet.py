"""A U-Net that knows the time, for vectors, images and volumes from one definition."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlikelihood.nn.networks import WIDEST, conv, pyramid, widths

FREQUENCIES = 16  # sines, and as many cosines, that tell the time
FASTEST = 1000.0


class UNet(nn.Module):
    r"""Maps samples (B, \*shape) at times in [0, 1], (B,), to as many numbers, at first all zero.

    Residual blocks at the sizes of `pyramid`, down and up again, each of them told the time. Vectors have one size,
    at which the blocks are fully connected.

    Parameters
    ----------
    shape : sequence of int
        Of one sample: (F,), (C, H, W) or (C, D, H, W).
    width : int
        Channels at full size, doubled level by level; an eighth of the hidden units for vectors.

    References
    ----------
    Ho, Jain and Abbeel, "Denoising diffusion probabilistic models", 2020, appendix B.
    """

    def __init__(self, shape: Sequence[int], width: int) -> None:
        super().__init__()
        channels, *space = shape
        axes = len(space)
        wide = widths(width, len(pyramid(space))) if space else [WIDEST * width]
        told = 4 * width
        self.clock = nn.Sequential(nn.Linear(2 * FREQUENCIES, told), nn.SiLU(), nn.Linear(told, told), nn.SiLU())
        self.entry = layer(axes, channels, wide[0])
        befores = [wide[0], *wide[:-1]]
        self.shrink = nn.ModuleList(conv(axes, before, before, stride=2) for before in wide[:-1])
        self.down = nn.ModuleList(Block(axes, before, w, told) for before, w in zip(befores, wide, strict=True))
        self.middle = Block(axes, wide[-1], wide[-1], told)
        self.up = nn.ModuleList(Block(axes, 2 * w, before, told) for before, w in zip(befores, wide, strict=True))
        self.exit = nn.Sequential(nn.GroupNorm(1, wide[0]), nn.SiLU(), layer(axes, wide[0], channels))
        for parameter in self.exit[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Return the numbers."""
        told = self.clock(sinusoids(time))
        h, kept = self.entry(x), []
        for shrink, block in zip([None, *self.shrink], self.down, strict=True):
            h = block(h if shrink is None else shrink(h), told)
            kept.append(h)
        h = self.middle(h, told)
        for block, beside in zip(reversed(self.up), reversed(kept), strict=True):
            if h.shape[2:] != beside.shape[2:]:
                h = F.interpolate(h, size=beside.shape[2:], mode="nearest")
            h = block(torch.cat([h, beside], 1), told)
        return self.exit(h)


class Block(nn.Module):
    """Two layers after normalisation, the second of which is told the time, beside a way around them."""

    def __init__(self, axes: int, channels_in: int, channels_out: int, told: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(1, channels_in), nn.SiLU(), layer(axes, channels_in, channels_out))
        self.time = nn.Linear(told, channels_out)
        self.second = nn.Sequential(nn.GroupNorm(1, channels_out), nn.SiLU(), layer(axes, channels_out, channels_out))
        self.around = layer(axes, channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """Return the features."""
        time = self.time(told)
        h = self.first(x) + time.view(*time.shape, *[1] * (x.ndim - 2))
        return self.around(x) + self.second(h)


def layer(axes: int, channels_in: int, channels_out: int, kernel: int = 3) -> nn.Module:
    """Return a convolution over the given number of spatial axes, or for 0 a fully connected layer."""
    return conv(axes, channels_in, channels_out, kernel) if axes else nn.Linear(channels_in, channels_out)


def sinusoids(time: Tensor) -> Tensor:
    """Return sines and cosines (B, 32) of times (B,), from slow to fast."""
    frequencies = torch.logspace(0, math.log10(FASTEST), FREQUENCIES, dtype=time.dtype, device=time.device)
    angles = time[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1)
