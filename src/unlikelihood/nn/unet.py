"""A U-Net with the time as an input, for vectors, images and volumes from one definition."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from unlikelihood.nn.networks import WIDEST, pyramid, widths
from unlikelihood.nn.spatial import conv, from_cells, layer_norm, linear, to_cells

FREQUENCIES = 16  # sines, and as many cosines, of the time
FASTEST = 1000.0


class UNet(nn.Module):
    r"""Maps samples (B, \*shape) at times in [0, 1], (B,), to as many numbers, at first all zero.

    Or to another number of `channels_out`.

    Residual blocks of `widths` at the sizes of `pyramid`, down and up again, each given the time. Vectors have one
    size, at which the blocks are fully connected.

    References
    ----------
    Ho, Jain and Abbeel, "Denoising diffusion probabilistic models", 2020, appendix B.
    """

    def __init__(self, shape: Sequence[int], width: int, channels_out: int | None = None) -> None:
        super().__init__()
        channels, *space = shape
        axes = len(space)
        wide = widths(width, len(pyramid(space))) if space else [WIDEST * width]
        embedding = 4 * width
        self.time_embedding = nn.Sequential(
            linear(2 * FREQUENCIES, embedding), nn.SiLU(), linear(embedding, embedding), nn.SiLU()
        )
        self.entry = conv(axes, channels, wide[0])
        narrower = [wide[0], *wide[:-1]]
        self.shrink = nn.ModuleList(conv(axes, before, before, stride=2) for before in wide[:-1])
        self.down = nn.ModuleList(Block(axes, before, w, embedding) for before, w in zip(narrower, wide, strict=True))
        self.middle = Block(axes, wide[-1], wide[-1], embedding)
        self.up = nn.ModuleList(Block(axes, 2 * w, before, embedding) for before, w in zip(narrower, wide, strict=True))
        self.exit = nn.Sequential(layer_norm(wide[0]), nn.SiLU(), conv(axes, wide[0], channels_out or channels))
        for parameter in self.exit[-1].parameters():
            nn.init.zeros_(parameter)

    @override
    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        embedding = self.time_embedding(sinusoids(time))
        h, kept = self.entry(x), []
        for shrink, block in zip([None, *self.shrink], self.down, strict=True):
            h = block(h if shrink is None else shrink(h), embedding)
            kept.append(h)
        h = self.middle(h, embedding)
        for block, beside in zip(reversed(self.up), reversed(kept), strict=True):
            if h.shape[2:] != beside.shape[2:]:
                h = F.interpolate(h, size=beside.shape[2:], mode="nearest")
            h = block(torch.cat([h, beside], 1), embedding)
        return self.exit(h)


class Block(nn.Module):
    """Two layers after normalisation, the second given the time, beside a way around them."""

    def __init__(self, axes: int, channels_in: int, channels_out: int, embedding: int) -> None:
        super().__init__()
        self.first = nn.Sequential(layer_norm(channels_in), nn.SiLU(), conv(axes, channels_in, channels_out))
        self.time = linear(embedding, channels_out)
        self.second = nn.Sequential(layer_norm(channels_out), nn.SiLU(), conv(axes, channels_out, channels_out))
        self.around = conv(axes, channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()

    @override
    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        time = self.time(embedding)
        h = self.first(x) + time.view(*time.shape, *[1] * (x.ndim - 2))
        return self.around(x) + self.second(h)


def sinusoids(time: Tensor) -> Tensor:
    """Return sines and cosines (B, 32) of times (B,), from slow to fast."""
    frequencies = torch.logspace(0, math.log10(FASTEST), FREQUENCIES, dtype=time.dtype, device=time.device)
    angles = time[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1)


class PixelNet(nn.Module):
    r"""Maps samples (B, C, \*space) to a number for each pixel, (B, \*space), or each of a vector's values, (B, F).

    A `UNet` at one time. Of samples with more than `cells` pixels it sees cells of several pixels a side, as channels.
    """

    def __init__(self, shape: Sequence[int], width: int, cells: int) -> None:
        super().__init__()
        channels, *space = shape
        self.side = 1
        while math.prod(math.ceil(length / self.side) for length in space) > cells:
            self.side += 1
        small = [math.ceil(length / self.side) for length in space]
        within = self.side ** len(space)
        self.unet = UNet([channels * within, *small], width, within if space else None)

    @override
    def forward(self, x: Tensor) -> Tensor:
        time = torch.zeros(x.shape[0], dtype=x.dtype, device=x.device)
        if x.ndim == 2:
            return self.unet(x, time)
        return from_cells(self.unet(to_cells(x, self.side), time), self.side, x.shape[2:])
