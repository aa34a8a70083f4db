"""A network whose outputs depend on earlier values alone: MADE, and gated PixelCNN of any dimension."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override
from zuko.nn import MaskedMLP

from unlikelihood.nn.networks import WIDEST
from unlikelihood.nn.spatial import conv

REACH = 2  # positions that a convolution looks back


class Causal(nn.Module):
    r"""Maps samples (B, \*shape) to `outputs` numbers for every value, (B, \*shape, outputs).

    Those for the value x_i depend on x_1, ..., x_{i-1} alone, in raster order: slice by slice, row by row, position by
    position, and there channel by channel. Gated convolutions sum up all earlier positions, without a blind spot; a
    masked multi-layer perceptron, MADE, goes on to the channels. Vectors have one position, and so only the latter,
    with 8 `width` hidden units.

    References
    ----------
    Germain et al., "MADE: masked autoencoder for distribution estimation", 2015; van den Oord et al., "Conditional
    image generation with PixelCNN decoders", 2016.
    """

    def __init__(self, shape: Sequence[int], outputs: int, width: int, layers: int) -> None:
        super().__init__()
        channels, *space = shape
        self.split = (channels, outputs)
        axes = len(space)
        first = [Gated(axes, channels, width, first=True)] if axes else []
        others = [Gated(axes, width, width, first=False) for _ in range(layers - 1)] if axes else []
        self.layers = nn.ModuleList(first + others)
        context = width if axes else 1
        hidden = 2 * width if axes else WIDEST * width
        sees = torch.cat([torch.ones(channels, channels).tril(-1), torch.ones(channels, context)], 1).bool()
        self.head = MaskedMLP(sees.repeat_interleave(outputs, 0), [hidden, hidden], activation=nn.SiLU).float()

    @override
    def forward(self, x: Tensor) -> Tensor:
        stacks = [x] * (x.ndim - 2)
        for layer in self.layers:
            stacks = layer(stacks)
        context = stacks[-1] if stacks else torch.ones_like(x[:, :1])
        values = torch.cat([x, context], 1).movedim(1, -1)
        return self.head(values).unflatten(-1, self.split).movedim(-2, 1)


class Gated(nn.Module):
    r"""One gated layer of as many stacks as there are axes.

    Stack d knows, at the position p, the positions q that share p's first d coordinates and come before it in the
    next: q_1 = p_1, ..., q_d = p_d, q_{d+1} < p_{d+1}. Of the others that are earlier it learns from stack d - 1. With
    two axes these are PixelCNN's vertical and horizontal stacks.

    .. math:: h_d \leftarrow h_d + W (\tanh a_d \odot \sigma(b_d)), \qquad
              (a_d, b_d) = K_d * h_d + L \, h_{d-1}

    The `first` layer must not see p itself; the others may, for they see only what it lets through.
    """

    twice: Tensor

    def __init__(self, axes: int, channels_in: int, width: int, *, first: bool) -> None:
        super().__init__()
        self.first = first
        self.looks = nn.ModuleList(look_back(axes, axis, channels_in, 2 * width, first=first) for axis in range(axes))
        self.links = nn.ModuleList(conv(axes, width, 2 * width, 1) for _ in range(axes - 1))
        self.mixes = nn.ModuleList(conv(axes, width, width, 1) for _ in range(axes))
        # tanh a is 2 σ(2a) - 1, and one pass of σ over a and b is many times faster than one of each over its half.
        self.register_buffer("twice", torch.tensor([2.0, 1.0]).repeat_interleave(width), persistent=False)

    @override
    def forward(self, stacks: Sequence[Tensor]) -> list[Tensor]:
        after: list[Tensor] = []
        twice = self.twice.view(-1, *[1] * len(self.looks))
        for h, look, link, mix in zip(stacks, self.looks, [None, *self.links], self.mixes, strict=True):
            gates = look(h) if link is None else look(h) + link(after[-1])
            a, b = (twice * gates).sigmoid().chunk(2, dim=1)
            new = mix((2 * a - 1) * b)
            after.append(new if self.first else h + new)
        return after


def look_back(axes: int, axis: int, channels_in: int, channels_out: int, *, first: bool) -> nn.Module:
    """Return the convolution that sees, from p, positions before it (`first`) or up to it along `axis`.

    Along the axes before that one it stays where it is; along those after it, it looks both ways.
    """
    kernel = [1] * axis + [REACH if first else REACH + 1] + [2 * REACH - 1] * (axes - axis - 1)
    # torch wants the paddings of the last axis first; a negative one cuts p itself off.
    both = (REACH - 1, REACH - 1)
    sides = [(0, 0)] * axis + [(REACH, -1 if first else 0)] + [both] * (axes - axis - 1)
    return nn.Sequential(Pad(sum(sides[::-1], ())), conv(axes, channels_in, channels_out, tuple(kernel)))


class Pad(nn.Module):
    """Adds zeros to the ends of axes, the last axis first, or cuts values off where a number is negative."""

    def __init__(self, sides: Sequence[int]) -> None:
        super().__init__()
        self.sides = tuple(sides)

    @override
    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, self.sides)
