"""What can be measured on a sample: families of statistics of size, shape, thickness, intensity and texture."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from typing_extensions import override

from unlikelihood.parameters import Component

QUANTILES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
WINDOWS = (3, 5, 9)  # sides in pixels

Array = NDArray[np.float64]


def inside_distance(mask: NDArray[np.bool_]) -> Array:
    """Return how far each pixel of a mask is from the nearest outside it, in pixels; beyond the frame is outside."""
    return ndimage.distance_transform_edt(np.pad(mask, 1))[(slice(1, -1),) * mask.ndim]


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


@dataclass(frozen=True)
class Family(Component, ABC):
    """Statistics of one kind, for `Radiomics`."""

    of_values: ClassVar[bool] = False  # a mask has none

    @abstractmethod
    def __call__(self, region: Region) -> list[float]:
        """Return the statistics of a channel of a sample, always as many; all 0 of an empty foreground."""


class Size(Family):
    """The logarithms of the foreground's volume and surface, in pixels and their faces."""

    @override
    def __call__(self, region: Region) -> list[float]:
        return [np.log(max(int(np.count_nonzero(region.box)), 1)), np.log(max(region.faces, 1))]


class Shape(Family):
    r"""How the foreground is shaped, whatever its size and place.

    log surface\ :sup:`d` / volume\ :sup:`d-1`, logarithms of the ratios of the principal axes, logarithm of the share
    of the bounding box that is filled, Euler number, number of components, and share of the largest.
    """

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

    @override
    def __call__(self, region: Region) -> list[float]:
        return [np.mean(region.depth > at) if len(region.depth) else 0.0 for at in region.deep]


class Intensity(Family):
    """Moments and quantiles of the values, and mean and standard deviation of those in the foreground."""

    of_values = True

    @override
    def __call__(self, region: Region) -> list[float]:
        within = region.x[region.mask] if region.mask.any() else np.zeros(1)
        return [*distribution(region.x), within.mean(), within.std()]


class Texture(Family):
    """Statistics of the gradient, of windows of three sizes, and of the co-occurrences of eight grey levels.

    Moments and quantiles of the gradient's magnitude; the mean standard deviation within windows; contrast,
    homogeneity, energy, entropy and correlation of the grey levels of neighbours along the axes.
    """

    of_values = True

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
    z = (x - mean) / std if std > 1e-9 else np.zeros_like(x)
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
        ((i - mean) * (j - mean) * p).sum() / variance if variance > 1e-9 else 1.0,
    ]
