"""Layers over any number of spatial axes: 0 for vectors, 1 for signals, 2 for images and 3 for volumes.

They are made in float32, whatever torch's default is.
"""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
TRANSPOSING = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
BATCH_NORMS = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
AVERAGE_POOLS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
LINEAR_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}

FINEST = 32  # positions along an axis of feature maps, at most where there is a choice

linear = partial(nn.Linear, dtype=torch.float32)


def conv(
    axes: int,
    channels_in: int,
    channels_out: int,
    kernel: int | tuple[int, ...] = 3,
    stride: int = 1,
    padding: int | None = None,
) -> nn.Module:
    """Return a convolution, by default padded by half its kernel; without axes a fully connected layer."""
    if axes == 0:
        return linear(channels_in, channels_out)
    if padding is None:
        padding = kernel // 2 if isinstance(kernel, int) else 0
    return CONVOLUTIONS[axes](channels_in, channels_out, kernel, stride, padding, dtype=torch.float32)  # type: ignore[arg-type]


def transposed_conv(
    axes: int,
    channels_in: int,
    channels_out: int,
    kernel: int,
    stride: int,
    padding: int = 0,
    output_padding: int | Sequence[int] = 0,
) -> nn.Module:
    """Return a transposed convolution."""
    return TRANSPOSED[axes](
        *(channels_in, channels_out, kernel, stride, padding, output_padding),  # type: ignore[arg-type]
        dtype=torch.float32,
    )


class UpsampledConv(nn.Module):
    r"""A convolution of pixels that are repeated once along every axis, cut to axes of the sizes `target`.

    Of an odd kernel w; beyond the border is zero. Neighbours that are repeated have one value, so it is a transposed
    convolution of stride 2 by the mirrored w * (1, 1): the same numbers, for a kernel of 3 by 4 products of 9 in images
    and 8 of 27 in volumes.
    """

    def __init__(self, channels_in: int, channels_out: int, target: Sequence[int], kernel: int = 3) -> None:
        super().__init__()
        # The same names, and the same first values, as those of a convolution.
        plain = conv(len(target), channels_in, channels_out, kernel)
        self.weight, self.bias = plain.parameters()
        self.padding = kernel // 2
        self.within = (slice(None), slice(None), *map(slice, target))

    @override
    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.transpose(0, 1)
        for axis in range(2, x.ndim):
            mirrored, nothing = weight.flip(axis), torch.zeros_like(weight.narrow(axis, 0, 1))
            weight = torch.cat([mirrored, nothing], axis) + torch.cat([nothing, mirrored], axis)
        if len(self.weight) == 1:  # torch is slow there
            return self._to_one(x, weight)[self.within]
        convolve = TRANSPOSING[x.ndim - 2]
        return convolve(x, weight, self.bias, stride=2, padding=self.padding)[self.within]

    def _to_one(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return what the transposed convolution makes for one channel, by a product of matrices.

        Its results, one for each tap of the kernel, are shifted and summed, axis by axis.
        """
        # Of two dimensions: what `@` makes of more differs in its last bit now and then, where several threads compute.
        found = x.movedim(1, -1).flatten(0, -2) @ weight.flatten(1)
        found = found.view(len(x), *x.shape[2:], *weight.shape[2:])
        for axis in range(1, x.ndim - 1):
            halves = [torch.zeros_like(found.select(x.ndim - 1, 0)) for _ in range(2)]
            for tap, values in enumerate(found.unbind(x.ndim - 1)):
                shift, parity = divmod(tap - self.padding, 2)
                halves[parity] = halves[parity] + F.pad(values, (0, 0) * (values.ndim - 1 - axis) + (shift, -shift))
            found = torch.stack(halves, axis + 1).flatten(axis, axis + 1)
        return found[:, None] + self.bias


def batch_norm(axes: int, channels: int) -> nn.Module:
    """Return batch normalisation."""
    return BATCH_NORMS[axes](channels, dtype=torch.float32)


def layer_norm(channels: int) -> nn.Module:
    """Return normalisation of each sample over all its channels and positions, with a scale for each channel."""
    return nn.GroupNorm(1, channels, dtype=torch.float32)


def dilate(x: Tensor) -> Tensor:
    r"""Return the largest value of each position and those around it, (B, C, \*space)."""
    for axis in range(2, x.ndim):  # axis by axis, in a tenth of the time of pooling
        n = x.shape[axis] - 1
        if n:
            pairs = torch.maximum(x.narrow(axis, 0, n), x.narrow(axis, 1, n))
            first, last = pairs.narrow(axis, 0, 1), pairs.narrow(axis, n - 1, 1)
            x = torch.maximum(torch.cat([first, pairs], axis), torch.cat([pairs, last], axis))
    return x


def side_by_side(levels: Sequence[Tensor]) -> Tensor:
    r"""Return feature maps (B, C_l, \*space_l) as one (B, ΣC_l, \*space), averaged over neighbouring positions.

    They are brought to the space of the finest whose axes are at most `FINEST` long, or else of the coarsest.
    """
    axes = levels[0].ndim - 2
    if axes == 0:
        return torch.cat(list(levels), 1)
    space = next((level.shape[2:] for level in levels if max(level.shape[2:]) <= FINEST), levels[-1].shape[2:])
    pooled = [AVERAGE_POOLS[axes](level, 3, 1, 1, count_include_pad=False) for level in levels]
    return torch.cat([stretch(level, space) for level in pooled], 1)


def stretch(x: Tensor, size: Sequence[int]) -> Tensor:
    r"""Return (B, C, \*space) as (B, C, \*size), interpolated linearly between the middles of its cells."""
    return F.interpolate(x, tuple(size), mode=LINEAR_MODES[x.ndim - 2], align_corners=False)


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    r"""Return (B, C, \*space) as (B, C, \*size), interpolated linearly between corners that stay where they are.

    It is a matrix product along every axis: of a few points to many, in less time than by interpolation.
    """
    for axis, length in enumerate(size, 2):
        one = torch.eye(x.shape[axis], dtype=x.dtype, device=x.device)[None]
        weights = F.interpolate(one, length, mode="linear", align_corners=True)[0]
        x = (x.movedim(axis, -1) @ weights).movedim(-1, axis)
    return x


def places(theta: Tensor, space: Sequence[int]) -> Tensor:
    r"""Return where affine maps (B, axes, axes + 1) take every position, (B, \*space, axes).

    Coordinates are (x, y, z), and run from -1 to 1 along every axis, as those of `torch.nn.functional.affine_grid`: it
    takes several times as long.
    """
    axes = len(space)
    found = theta[:, :, -1].view(-1, *[1] * axes, axes)
    for number, length in enumerate(reversed(space)):
        at = (2 * torch.arange(length, dtype=theta.dtype, device=theta.device) + 1) / length - 1
        column = theta[:, :, number].view(-1, *[1] * axes, axes)
        found = found + at.view(length, *[1] * (number + 1)) * column
    return found


def to_cells(x: Tensor, side: int) -> Tensor:
    r"""Return (B, C, \*space) in cells of `side` along every axis, (B, C side^axes, \*cells); the edge repeats."""
    axes = x.ndim - 2
    if side == 1:
        return x
    missing = [amount for length in x.shape[:1:-1] for amount in (0, -length % side)]
    x = F.pad(x, missing, mode="replicate")
    for axis in range(axes):
        x = x.unflatten(2 + 2 * axis, (-1, side))
    # B, C, cells, side, cells, side, ... to B, C, side, side, ..., cells, cells, ...
    x = x.permute(0, 1, *range(3, 3 + 2 * axes, 2), *range(2, 2 + 2 * axes, 2))
    return x.flatten(1, 1 + axes)


def from_cells(x: Tensor, side: int, space: Sequence[int]) -> Tensor:
    r"""Return cells (B, side^axes, \*cells) as the values (B, \*space) that they hold, the inverse of `to_cells`."""
    axes = len(space)
    x = x.unflatten(1, [side] * axes)
    x = x.permute(0, *[place for axis in range(axes) for place in (1 + axes + axis, 1 + axis)])
    for axis in range(axes):
        x = x.flatten(1 + axis, 2 + axis)
    return x[(slice(None), *(slice(length) for length in space))]
