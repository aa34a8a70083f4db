"""What can be measured on a sample: families of statistics of size, shape, thickness, intensity and texture.

Each measures one sample, and, but for `Shape`, a batch of them by operations of torch that an exported file can hold.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from typing_extensions import override

from unlikelihood.parameters import Component

QUANTILES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
WINDOWS = (3, 5, 9)  # sides in pixels
FLAT = 1e-9  # standard deviation, or variance of grey levels, up to which values count as all the same
LEAST = 1e-30  # stands for 0 in a logarithm: less than any share of pixels, and a number in float32 too
FAR = 1e12  # more than the square of any distance within a sample

Array = NDArray[np.float64]


def inside_distance(mask: NDArray[np.bool_]) -> Array:
    """Return how far each pixel of a mask is from the nearest outside it, in pixels; beyond the frame is outside."""
    return ndimage.distance_transform_edt(np.pad(mask, 1))[(slice(1, -1),) * mask.ndim]


def squared_inside_distance(mask: Tensor) -> Tensor:
    r"""Return the squares of what `inside_distance` gives for masks (B, C, \*space), float64.

    Along one axis after the other, as squares of distances along several add up.
    """
    squared = mask.double() * FAR
    for axis in range(2, mask.ndim):
        along = torch.arange(mask.shape[axis] + 2, dtype=torch.float64)
        steps = (along[1:-1, None] - along).square()
        # What lies beyond the frame is outside.
        before = F.pad(squared.movedim(axis, -1), (1, 1))
        squared = (before[..., None, :] + steps).amin(-1).movedim(-1, axis)
    return squared


@dataclass(frozen=True, eq=False)
class Region:
    """One channel of a sample with its foreground.

    `x` holds values in units of the normals' range, `levels` those between one grey level and the next, and `deep` the
    depths, in pixels, at which thickness is counted.
    """

    x: Array
    mask: NDArray[np.bool_]
    levels: Array
    deep: Array

    @cached_property
    def box(self) -> NDArray[np.bool_]:
        """The foreground in its bounding box; without any pixel where there is no foreground."""
        found = ndimage.find_objects(self.mask.astype(np.uint8))
        return self.mask[found[0]] if found else self.mask[(slice(0, 0),) * self.mask.ndim]

    @cached_property
    def depth(self) -> Array:
        """The inside distance of each pixel of the foreground."""
        return inside_distance(self.box)[self.box] if self.box.size else np.empty(0)

    @property
    def faces(self) -> int:
        """The number of sides of pixels between foreground and outside."""
        padded = np.pad(self.box, 1)
        return sum(int(np.count_nonzero(np.diff(padded, axis=axis))) for axis in range(padded.ndim))


@dataclass(frozen=True, eq=False)
class Regions:
    r"""What `Region` holds of one sample, of a batch: `x` and `mask` (B, \*space)."""

    x: Tensor
    mask: Tensor
    levels: Array
    deep: Array

    @property
    def count(self) -> Tensor:
        """The pixels of each foreground, (B,), float64."""
        return self.mask.flatten(1).double().sum(1)


@dataclass(frozen=True)
class Family(Component, ABC):
    """Statistics of one kind, for `Radiomics`."""

    of_values: ClassVar[bool] = False  # a mask has none
    # Why it cannot be exported, as a verb; None if it can.
    unexportable: ClassVar[str | None] = "is not written in operations of torch"

    @abstractmethod
    def __call__(self, region: Region) -> list[float]:
        """Return the statistics of a channel of a sample, always as many; all 0 of an empty foreground."""

    def of_tensor(self, regions: Regions) -> list[Tensor]:
        """Return the same of a batch, (B,) each, by operations of torch."""
        raise NotImplementedError(f"{type(self).__name__} {self.unexportable}")


class Size(Family):
    """The logarithms of the foreground's volume and surface, in pixels and their faces."""

    unexportable = None

    @override
    def __call__(self, region: Region) -> list[float]:
        return [np.log(max(int(np.count_nonzero(region.box)), 1)), np.log(max(region.faces, 1))]

    @override
    def of_tensor(self, regions: Regions) -> list[Tensor]:
        axes = regions.mask.ndim - 1
        padded = F.pad(regions.mask.double(), (1, 1) * axes)
        pairs = [neighbours(padded, axis) for axis in range(1, axes + 1)]
        faces = torch.stack([(one - other).abs().flatten(1).sum(1) for one, other in pairs]).sum(0)
        return [regions.count.clamp_min(1).log(), faces.clamp_min(1).log()]


class Shape(Family):
    r"""How the foreground is shaped, whatever its size and place.

    log surface\ :sup:`d` / volume\ :sup:`d-1`, logarithms of the ratios of the principal axes, logarithm of the share
    of the bounding box that is filled, Euler number, number of components, and share of the largest.
    """

    unexportable = "counts connected parts, for which no graph has operations"

    @override
    def __call__(self, region: Region) -> list[float]:
        box, axes = region.box, region.box.ndim
        volume = np.count_nonzero(box)
        if not volume:
            return [0.0] * (axes + 4)
        # A pixel is as wide as it is, so the second moments have those of a unit square or cube in them.
        moments = np.linalg.eigvalsh(np.cov(np.argwhere(box).T, bias=True) + np.eye(axes) / 12)
        labels, components = ndimage.label(box, np.ones([3] * axes))
        return [
            axes * np.log(region.faces) - (axes - 1) * np.log(volume),
            *(np.log(moments[1:] / moments[:-1]) / 2),
            np.log(volume / box.size),
            euler_number(box),
            components,
            np.bincount(labels.ravel())[1:].max() / volume,
        ]


class Thickness(Family):
    """The shares of the foreground that are deeper than each depth."""

    unexportable = None

    @override
    def __call__(self, region: Region) -> list[float]:
        return [np.mean(region.depth > at) if len(region.depth) else 0.0 for at in region.deep]

    @override
    def of_tensor(self, regions: Regions) -> list[Tensor]:
        depth = squared_inside_distance(regions.mask[:, None]).sqrt().flatten(1)
        return [(depth > at).double().sum(1) / regions.count.clamp_min(1) for at in regions.deep.tolist()]


class Intensity(Family):
    """Moments and quantiles of the values, and mean and standard deviation of those in the foreground."""

    of_values = True
    unexportable = None

    @override
    def __call__(self, region: Region) -> list[float]:
        within = region.x[region.mask] if region.mask.any() else np.zeros(1)
        return [*distribution(region.x), within.mean(), within.std()]

    @override
    def of_tensor(self, regions: Regions) -> list[Tensor]:
        x, mask, count = regions.x.flatten(1), regions.mask.flatten(1), regions.count.clamp_min(1)
        mean = x.where(mask, 0.0).sum(1) / count
        variance = (x - mean[:, None]).square().where(mask, 0.0).sum(1) / count
        return [*distribution_tensor(x), mean, variance.sqrt()]


class Texture(Family):
    """Statistics of the gradient, of windows of three sizes, and of the co-occurrences of eight grey levels.

    Moments and quantiles of the gradient's magnitude; the mean standard deviation within windows; contrast,
    homogeneity, energy, entropy and correlation of the grey levels of neighbours along the axes.
    """

    of_values = True
    unexportable = None

    @override
    def __call__(self, region: Region) -> list[float]:
        x = region.x
        slopes = [np.gradient(x, axis=axis) for axis in range(x.ndim) if x.shape[axis] > 1] or [np.zeros_like(x)]
        windows = [
            np.sqrt(np.maximum(ndimage.uniform_filter(x**2, side) - ndimage.uniform_filter(x, side) ** 2, 0)).mean()
            for side in WINDOWS
        ]
        steepness = np.sqrt(sum(slope**2 for slope in slopes))
        return [*distribution(steepness), *windows, *co_occurrence(x, region.levels)]

    @override
    def of_tensor(self, regions: Regions) -> list[Tensor]:
        x = regions.x
        slopes = [gradient(x, axis) for axis in range(1, x.ndim) if x.shape[axis] > 1]
        steepness = torch.stack([slope.square() for slope in slopes or [torch.zeros_like(x)]]).sum(0).sqrt()
        windows = []
        for side in WINDOWS:
            mean, square = x, x.square()
            for axis in range(1, x.ndim):
                mean, square = (smoothed(each, axis, side) for each in (mean, square))
            windows.append((square - mean.square()).clamp_min(0).sqrt().flatten(1).mean(1))
        return [*distribution_tensor(steepness.flatten(1)), *windows, *co_occurrence_tensor(x, regions.levels)]


def euler_number(mask: NDArray[np.bool_]) -> int:
    """Return vertices - edges + faces - cells of a foreground: components - tunnels + cavities in a volume."""
    total = 0
    for flat in range(mask.ndim + 1):
        for axes in combinations(range(mask.ndim), flat):
            cells = np.pad(mask, 1)
            for axis in axes:
                length = cells.shape[axis]
                cells = cells.take(range(length - 1), axis) | cells.take(range(1, length), axis)
            total += (-1) ** (mask.ndim - flat) * np.count_nonzero(cells)
    return total


def distribution(x: Array) -> list[float]:
    """Return mean, standard deviation, skewness, kurtosis and quantiles of values."""
    mean, std = x.mean(), x.std()
    z = (x - mean) / std if std > FLAT else np.zeros_like(x)
    return [mean, std, (z * z * z).mean(), (z * z * z * z).mean(), *np.quantile(x, QUANTILES)]


def co_occurrence(x: Array, levels: Array) -> list[float]:
    """Return contrast, homogeneity, energy, entropy and correlation of the grey levels of neighbours along the axes."""
    level, many = np.searchsorted(levels, x), len(levels) + 1
    count = np.zeros(many**2)
    for axis in range(x.ndim):
        length = x.shape[axis]
        one, other = level.take(range(length - 1), axis), level.take(range(1, length), axis)
        count += np.bincount((many * one + other).ravel(), minlength=many**2)
    p = count.reshape(many, many)
    p = (p + p.T) / max(2 * p.sum(), 1)
    i, j = np.indices(p.shape)
    mean = (i * p).sum()
    variance = ((i - mean) ** 2 * p).sum()
    return [
        ((i - j) ** 2 * p).sum(),
        (p / (1 + abs(i - j))).sum(),
        (p**2).sum(),
        -(p[p > 0] * np.log(p[p > 0])).sum(),
        ((i - mean) * (j - mean) * p).sum() / variance if variance > FLAT else 1.0,
    ]


def neighbours(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Return what has a neighbour further along an axis, and those neighbours."""
    return x.narrow(axis, 0, x.shape[axis] - 1), x.narrow(axis, 1, x.shape[axis] - 1)


def gradient(x: Tensor, axis: int) -> Tensor:
    """Return what `numpy.gradient` does along an axis."""
    place = torch.arange(x.shape[axis])
    above, below = (place + 1).clamp_max(x.shape[axis] - 1), (place - 1).clamp_min(0)
    apart = (above - below).view(-1, *[1] * (x.ndim - 1 - axis))
    return (x.index_select(axis, above) - x.index_select(axis, below)) / apart


def smoothed(x: Tensor, axis: int, side: int) -> Tensor:
    """Return the means in windows along an axis, reflected at its ends as `scipy.ndimage.uniform_filter` has it."""
    length = x.shape[axis]
    reflected = x.index_select(axis, torch.from_numpy(np.pad(np.arange(length), side // 2, mode="symmetric")))
    return torch.stack([reflected.narrow(axis, start, length) for start in range(side)]).sum(0) / side


def distribution_tensor(x: Tensor) -> list[Tensor]:
    """Return what `distribution` does of the rows of values (B, m)."""
    mean, last = x.mean(1), x.shape[1] - 1
    centred = x - mean[:, None]
    std = centred.square().mean(1).sqrt()
    z = torch.where(std > FLAT, 1 / std.clamp_min(FLAT), 0.0)[:, None] * centred
    at = last * np.array(QUANTILES)
    below = at.astype(np.int64)
    ordered, share = x.sort(1).values, torch.from_numpy(at - below)
    low, high = (ordered[:, torch.from_numpy(place)] for place in (below, np.minimum(below + 1, last)))
    quantiles = low + share * (high - low)
    return [mean, std, (z * z * z).mean(1), (z * z * z * z).mean(1), *quantiles.unbind(1)]


def co_occurrence_tensor(x: Tensor, levels: Array) -> list[Tensor]:
    r"""Return what `co_occurrence` does of a batch (B, \*space)."""
    many = len(levels) + 1
    level = (x[..., None] > torch.from_numpy(levels)).sum(-1)
    member = (level[..., None] == torch.arange(many)).double()
    pairs = [neighbours(member, axis) for axis in range(1, x.ndim)]
    count = torch.stack([one.flatten(1, -2).transpose(1, 2) @ other.flatten(1, -2) for one, other in pairs]).sum(0)
    p = count + count.transpose(1, 2)
    p = p / p.sum((1, 2), keepdim=True).clamp_min(1)
    i, j = map(torch.from_numpy, np.indices((many, many)).astype(np.float64))
    mean = (i * p).sum((1, 2), keepdim=True)
    variance = ((i - mean).square() * p).sum((1, 2))
    covariance = ((i - mean) * (j - mean) * p).sum((1, 2))
    return [
        ((i - j).square() * p).sum((1, 2)),
        (p / (1 + (i - j).abs())).sum((1, 2)),
        p.square().sum((1, 2)),
        -(p * p.clamp_min(LEAST).log()).sum((1, 2)),
        (covariance / variance.clamp_min(FLAT)).where(variance > FLAT, 1.0),
    ]
