"""Random changes of training samples that leave normal samples normal."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from unlikelihood.nn.noise import integers, normal, permutation, uniform, uniform_like
from unlikelihood.nn.spatial import dilate, places, resize, stretch
from unlikelihood.parameters import Component, Count, Fraction, NonNegative


@dataclass(frozen=True)
class Augment(Component, ABC):
    """Draws a new version of every sample of a batch."""

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        r"""Return changed samples of the shape of `x`, (B, C, \*space)."""


@dataclass(frozen=True)
class Affine(Augment):
    """A random affine map of space, the same for all channels, for images and volumes.

    The map is a rotation in each plane of two axes, after a scaling and a shear of each axis, after a shift. What
    comes from outside repeats the border.

    Parameters
    ----------
    rotation : float
        Largest angle in each plane, in degrees.
    scale : float
        Largest logarithm of the factor of an axis.
    shear : float
        Largest shear of an axis along the next.
    shift : float
        Largest shift of an axis, as a fraction of its length.
    """

    rotation: NonNegative = 10.0
    scale: NonNegative = 0.1
    shear: NonNegative = 0.1
    shift: NonNegative = 0.05

    @override
    def __call__(self, x: Tensor) -> Tensor:
        axes = len(spatial(self, x))

        matrix = torch.diag_embed(between(self.scale, x, axes).exp())
        for axis in range(axes):
            following = (axis + 1) % axes
            if following > axis:
                matrix[:, axis, following] = between(self.shear, x)
        for one in range(axes):
            for other in range(one + 1, axes):
                matrix = rotation(between(math.radians(self.rotation), x), one, other, axes) @ matrix
        # The grid's coordinates are (x, y, z) and run from -1 to 1 along every axis, however long it is: angles are
        # kept by mapping to pixels and back, and a shift by the whole length is 2.
        size = torch.tensor(x.shape[:1:-1], dtype=x.dtype, device=x.device)
        matrix = matrix * size / size[:, None]
        theta = torch.cat([matrix, between(2 * self.shift, x, axes, 1)], dim=2)
        grid = places(theta, x.shape[2:])
        return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


@dataclass(frozen=True)
class Elastic(Augment):
    """Bends space smoothly, the same way for all channels, for images and volumes.

    A grid of points over the sample is displaced, each point by a normal draw along every axis; what lies between them
    moves with them, by linear interpolation. What comes from outside
    repeats the border.

    Parameters
    ----------
    points : int
        Points of the grid along every axis.
    strength : float
        Standard deviation of a displacement, as a fraction of the axis' length.

    References
    ----------
    Simard, Steinkraus and Platt, "Best practices for convolutional neural networks applied to visual document
    analysis", 2003; Ronneberger, Fischer and Brox, "U-Net", 2015, for the coarse grid.
    """

    points: Count = 4
    strength: NonNegative = 0.03

    @override
    def __call__(self, x: Tensor) -> Tensor:
        axes = len(spatial(self, x))
        moved = normal(len(x), axes, *[self.points] * axes, device=x.device, dtype=x.dtype)
        # The grid's coordinates run from -1 to 1 along every axis: a shift by the whole length is 2.
        field = 2 * self.strength * resize(moved, x.shape[2:])
        still = torch.eye(axes, axes + 1, dtype=x.dtype, device=x.device)[None]
        grid = places(still, x.shape[2:]) + field.movedim(1, -1)
        return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


@dataclass(frozen=True)
class Stroke(Augment):
    r"""Makes what is bright thicker or thinner, by up to a pixel on every side, for drawn images and for masks.

    .. math:: x' = x + a^+ (\delta x - x) + a^- (\varepsilon x - x),

    with the largest value δx and the smallest value εx of a pixel and those around it, and a drawn between -`thinner`
    and `thicker`.

    Parameters
    ----------
    thinner, thicker : float
        The most pixels, up to 1, that are removed from and added to every side.

    References
    ----------
    Serra, Image Analysis and Mathematical Morphology, 1982: grey-value dilation and erosion.
    """

    thinner: Fraction = 0.5
    thicker: Fraction = 1.0

    @override
    def __call__(self, x: Tensor) -> Tensor:
        spatial(self, x)
        dilated, eroded = dilate(x), -dilate(-x)
        a = alike(uniform(len(x), device=x.device, dtype=x.dtype) * (self.thinner + self.thicker) - self.thinner, x)
        return x + a.relu() * (dilated - x) + (-a).relu() * (eroded - x)


@dataclass(frozen=True)
class Flips(Augment):
    """Mirrors every spatial axis of a sample or not, each with the same probability, for images and volumes.

    Parameters
    ----------
    rate : float
        Probability that an axis is mirrored.
    """

    rate: Fraction = 0.5

    @override
    def __call__(self, x: Tensor) -> Tensor:
        for axis in range(2, x.ndim):
            x = torch.where(alike(uniform(len(x), device=x.device) < self.rate, x), x.flip(axis), x)
        return x


@dataclass(frozen=True)
class Reflections(Augment):
    """Mirrors one spatial axis of a sample or none, each with the same probability, for images and volumes.

    It never mirrors two, which would turn the sample.
    """

    @override
    def __call__(self, x: Tensor) -> Tensor:
        axes = len(spatial(self, x))
        which = integers(axes + 1, len(x), x.device)
        for axis in range(axes):
            x = torch.where(alike(which == axis, x), x.flip(2 + axis), x)
        return x


@dataclass(frozen=True)
class QuarterTurns(Augment):
    """Turns samples by a random number of right angles in every plane of two axes of equal length."""

    @override
    def __call__(self, x: Tensor) -> Tensor:
        for plane in combinations(range(2, x.ndim), 2):
            if x.shape[plane[0]] == x.shape[plane[1]]:
                turns = integers(4, len(x), x.device)
                unturned = x
                for quarters in (1, 2, 3):
                    x = torch.where(alike(turns == quarters, x), unturned.rot90(quarters, plane), x)
        return x


@dataclass(frozen=True)
class Tones(Augment):
    r"""Changes contrast and brightness of a sample, the same for all its values, for grey levels.

    .. math:: x' = m + e^c (x - m) + b s,

    with mean m and standard deviation s of the sample. What comes out may lie beyond the range of the data.

    Parameters
    ----------
    contrast : float
        Largest c, the logarithm of the factor.
    brightness : float
        Largest b, in standard deviations of the sample.
    """

    contrast: NonNegative = 0.2
    brightness: NonNegative = 0.2

    @override
    def __call__(self, x: Tensor) -> Tensor:
        c, b = (alike(between(largest, x), x) for largest in (self.contrast, self.brightness))
        m, s = (alike(of(x.flatten(1), dim=1), x) for of in (torch.mean, torch.std))
        return m + c.exp() * (x - m) + b * s


@dataclass(frozen=True)
class Chain(Augment):
    """Changes samples by several augmentations in order.

    Parameters
    ----------
    steps : tuple of Augment
        The augmentations.
    """

    steps: tuple[Augment, ...] = ()

    @override
    def __call__(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = step(x)
        return x


@dataclass(frozen=True)
class Elsewhere(Augment):
    """Moves a sample by any number of pixels along every axis; beyond its border it is mirrored.

    Pixels keep their values: nothing is interpolated.
    """

    @override
    def __call__(self, x: Tensor) -> Tensor:
        for axis, length in enumerate(spatial(self, x), 2):
            at = torch.arange(length, device=x.device) + integers(2 * length, len(x), x.device)[:, None]
            at = at % (2 * length)
            at = torch.minimum(at, 2 * length - 1 - at)
            shape = [len(x), *[1] * (axis - 1), length, *[1] * (x.ndim - axis - 1)]
            x = x.gather(axis, at.view(shape).expand(x.shape))
        return x


@dataclass(frozen=True)
class Blurred(Augment):
    """Takes the fine detail from every sample, for images and volumes: some keep hardly any.

    A sample is averaged over cells of 2, 4, … pixels along every axis, drawn at random, and interpolated between them.

    Parameters
    ----------
    coarsest : int
        Cells along the shortest axis, at least.
    """

    coarsest: Count = 2

    @override
    def __call__(self, x: Tensor) -> Tensor:
        space = spatial(self, x)
        levels = max(1, int(math.log2(max(2, min(space) / self.coarsest))))

        def averaged(x: Tensor, side: int) -> Tensor:
            cells = [math.ceil(length / side) for length in space]
            return stretch(F.interpolate(x, cells, mode="area"), space)

        return any_of([partial(averaged, side=2**level) for level in range(1, levels + 1)], x)


@dataclass(frozen=True)
class Sometimes(Augment):
    """Changes some samples.

    Parameters
    ----------
    augment : Augment
        How.
    rate : float
        Probability that a sample is changed.
    """

    augment: Augment
    rate: Fraction = 0.5

    @override
    def __call__(self, x: Tensor) -> Tensor:
        rows = torch.nonzero(uniform(len(x), device=x.device) < self.rate)[:, 0]
        return x.index_copy(0, rows, self.augment(x[rows])) if len(rows) else x


@dataclass(frozen=True)
class Swap(Augment):
    """Takes some values of every sample from another sample of the batch, for vectors.

    Parameters
    ----------
    rate : float
        Probability that a value is swapped.

    References
    ----------
    Bahri, Jiang, Tay and Metzler, "SCARF: self-supervised contrastive learning using random feature corruption", 2022.
    """

    rate: Fraction = 0.3

    @override
    def __call__(self, x: Tensor) -> Tensor:
        other = x[permutation(len(x), x.device)]
        return torch.where(uniform_like(x) < self.rate, other, x)


def spatial(change: Component, x: Tensor) -> torch.Size:
    """Return the spatial shape of images (B, C, H, W) or volumes (B, C, D, H, W), which `change` can resample."""
    if x.ndim not in (4, 5):
        name, shape = type(change).__name__, tuple(x.shape[1:])
        raise ValueError(f"{name} changes images (C, H, W) and volumes (C, D, H, W), not samples of shape {shape}")
    return x.shape[2:]


def between(largest: float, x: Tensor, *shape: int) -> Tensor:
    r"""Return draws (B, \*shape) between -largest and largest, for each sample of a batch its own."""
    return (2 * uniform(len(x), *shape, device=x.device, dtype=x.dtype) - 1) * largest


def rotation(angle: Tensor, one: int, other: int, axes: int) -> Tensor:
    """Return the matrices (B, axes, axes) that turn by `angle` (B,), in radians, in the plane of two axes."""
    matrix = torch.eye(axes, dtype=angle.dtype, device=angle.device).repeat(len(angle), 1, 1)
    matrix[:, one, one] = matrix[:, other, other] = angle.cos()
    matrix[:, other, one] = angle.sin()
    matrix[:, one, other] = -angle.sin()
    return matrix


def alike(chosen: Tensor, x: Tensor) -> Tensor:
    r"""Return one value for each sample, (B,), in a shape that goes with the samples (B, \*shape)."""
    return chosen.view(-1, *[1] * (x.ndim - 1))


def any_of(parts: Sequence[Callable[..., Tensor]], *samples: Tensor) -> Tensor:
    """Return what one of the parts, equally probable, makes of each of the samples, (B, ...)."""
    which = integers(len(parts), len(samples[0]), samples[0].device)
    rows = [torch.nonzero(which == number)[:, 0] for number in range(len(parts))]
    made = [part(*(x[some] for x in samples)) for part, some in zip(parts, rows, strict=True) if len(some)]
    return torch.cat(made)[torch.cat(rows).argsort()]
