"""Encoder and decoder for vectors, images and volumes, from one definition each.

`shape` is that of one sample: (F,), (C, H, W) or (C, D, H, W). `width` is the channels of the convolutions at full
size, doubled level by level up to eight times as many; for vectors, an eighth of the units of fully connected layers.
"""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from unlikelihood.nn.spatial import UpsampledConv, batch_norm, conv, linear

MIN_AXIS = 7  # convolutions halve the axes while the shortest is longer than this
WIDEST = 8  # and double the channels, up to this multiple of the width


def pyramid(space: Sequence[int], smallest: int = MIN_AXIS) -> list[tuple[int, ...]]:
    """Return the sizes of the spatial axes level by level, halved (rounded up) while the shortest is above `smallest`.

    Examples
    --------
    >>> pyramid((28, 28))
    [(28, 28), (14, 14), (7, 7)]
    >>> pyramid((64, 48))
    [(64, 48), (32, 24), (16, 12), (8, 6)]
    """
    levels = [tuple(space)]
    while min(levels[-1]) > smallest:
        levels.append(tuple(math.ceil(size / 2) for size in levels[-1]))
    return levels


def widths(width: int, levels: int) -> list[int]:
    """Return the channels level by level: doubled, up to eight times the first."""
    return [width * min(2**level, WIDEST) for level in range(levels)]


class Encoder(nn.Sequential):
    r"""Maps samples (B, \*shape) to features (B, features)."""

    def __init__(self, shape: Sequence[int], features: int, width: int) -> None:
        channels, *space = shape
        hidden = WIDEST * width
        if not space:
            super().__init__(
                linear(channels, hidden),
                nn.SiLU(),
                linear(hidden, hidden),
                nn.SiLU(),
                linear(hidden, features),
            )
            return
        sizes = pyramid(space)
        layers: list[nn.Module] = []
        for wider in widths(width, max(1, len(sizes) - 1)):
            layers += [conv(len(space), channels, wider, stride=2 if len(sizes) > 1 else 1), nn.SiLU()]
            channels = wider
        flat = channels * math.prod(sizes[-1])
        super().__init__(*layers, nn.Flatten(), linear(flat, hidden), nn.SiLU(), linear(hidden, features))


class Embedding(nn.Sequential):
    r"""Maps samples (B, \*shape) to embeddings (B, features), with batch normalisation in every layer.

    Contrastive learning needs it: without, the embeddings of an untrained network are almost the same for all samples.
    """

    def __init__(self, shape: Sequence[int], features: int, width: int) -> None:
        channels, *space = shape
        if not space:
            hidden = WIDEST * width
            layers = [
                *normalised(linear(channels, hidden), hidden, 0),
                *normalised(linear(hidden, hidden), hidden, 0),
            ]
            super().__init__(*layers, linear(hidden, features))
            return
        axes, sizes, layers = len(space), pyramid(space), []
        for wider in widths(width, max(1, len(sizes) - 1)):
            layers += normalised(conv(axes, channels, wider, stride=2 if len(sizes) > 1 else 1), wider, axes)
            channels = wider
        layers += normalised(conv(axes, channels, channels), channels, axes)
        super().__init__(*layers, nn.Flatten(), linear(channels * math.prod(sizes[-1]), features))

    def feature_maps(self, x: Tensor) -> list[Tensor]:
        r"""Return what the rectifiers make of samples (B, \*shape), the finest first."""
        found = []
        for layer in self:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                found.append(x)
        return found


def normalised(layer: nn.Module, channels: int, axes: int) -> list[nn.Module]:
    """Return `layer` followed by batch normalisation of its channels over the spatial axes, and a rectifier."""
    return [layer, batch_norm(axes, channels), nn.ReLU()]


class Decoder(nn.Sequential):
    r"""Maps features (B, features) to samples (B, \*shape), the mirror of `Encoder`."""

    def __init__(self, shape: Sequence[int], features: int, width: int) -> None:
        channels, *space = shape
        hidden = WIDEST * width
        entry = [linear(features, hidden), nn.SiLU()]
        if not space:
            super().__init__(*entry, linear(hidden, hidden), nn.SiLU(), linear(hidden, channels))
            return
        sizes = pyramid(space)[::-1]
        wide = widths(width, max(1, len(sizes) - 1))[::-1]
        layers: list[nn.Module] = []
        for size, before, after in zip(sizes[1:], wide, wide[1:], strict=False):
            layers += [UpsampledConv(before, after, size), nn.SiLU()]
        super().__init__(
            *entry,
            linear(hidden, wide[0] * math.prod(sizes[0])),
            nn.SiLU(),
            nn.Unflatten(1, (wide[0], *sizes[0])),
            *layers,
            UpsampledConv(wide[-1], channels, space) if len(sizes) > 1 else conv(len(space), wide[-1], channels),
        )
