"""Statistics of size, shape, thickness, intensity and texture: an encoder of images and volumes without training."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.embedder import NearestEmbeddings
from unlikelihood.contract.refusals import NotExportable
from unlikelihood.nn.statistics import Family, Intensity, Region, Regions, Shape, Size, Texture, Thickness
from unlikelihood.progress import progress

BINS = 1024  # of the histogram from which thresholds and grey levels are read
LEVELS = 8  # of thickness, and of grey in co-occurrences

Array = NDArray[np.float64]


class Radiomics(NearestEmbeddings):
    r"""Embeds a sample by radiomic features, and scores by its distance to the nearest normals.

    The foreground is what lies above Otsu's threshold on the values of all the normals. Masks, which have two values,
    have no statistics of intensity. All are the same for a sample and its mirror images.
    Each statistic t is standardised by the normals, and divided by the square root of how many its family has, so that
    families count alike; then the normals' covariance C of what results is taken out,

    .. math:: e(x) = C^{-1/2} u(x), \qquad u_t(x) = \frac{t(x) - \mathrm{median}_t}{\sigma_t \sqrt{n_t}},

    so that distances are Mahalanobis distances. C is Ledoit and Wolf's estimate, which holds for few samples too.
    Lengths are in pixels or voxels, whatever their spacing. A vector's statistics are its values.

    Parameters
    ----------
    families : sequence of Family
        What is measured in each channel: `Size`, `Shape`, `Thickness`, `Intensity` and `Texture`, or some of them.
        With `Shape`, which counts connected parts, it cannot be exported.

    References
    ----------
    Otsu, "A threshold selection method from gray-level histograms", 1979; Haralick, Shanmugam and Dinstein, "Textural
    features for image classification", 1973; van Griethuysen et al., "Computational radiomics system to decode the
    radiographic phenotype", 2017, for the families; Ledoit and Wolf, "A well-conditioned estimator for
    large-dimensional covariance matrices", 2004.

    Examples
    --------
    >>> X = np.random.default_rng(0).random((64, 1, 8, 8), dtype=np.float32)
    >>> Radiomics().fit(X).embed(X[:3]).shape
    (3, 47)
    """

    families: Sequence[Family] = (Size(), Shape(), Thickness(), Intensity(), Texture())

    @override
    def _fit(self, X: np.ndarray) -> None:
        if len(self.shape_) > 1:
            self._survey(X)
        families = self._measure(X)
        flat = np.concatenate(families, axis=1)
        spread = flat.std(axis=0)
        self.median_ = np.median(flat, axis=0)
        # What no normal varies in, but for rounding, has no spread; it is then counted in its own unit. Values of
        # images were float32, and are now in units of their range.
        rounding = 1e-6 * np.maximum(np.abs(self.median_), 1) if len(self.shape_) > 1 else 1e-9 * np.abs(self.median_)
        spread[spread <= rounding] = 1.0
        self.scale_ = spread * np.sqrt(np.concatenate([np.full(f.shape[1], f.shape[1]) for f in families]))
        flat -= self.median_  # in place, as there may be many
        flat /= self.scale_
        self.whitening_ = whitening(flat)
        self._remember(flat @ self.whitening_)

    @override
    def _embed(self, X: np.ndarray) -> np.ndarray:
        return (np.concatenate(self._measure(X), axis=1) - self.median_) / self.scale_ @ self.whitening_

    @override
    def _embed_tensor(self, x: Tensor) -> Tensor:
        median, scale, whitening = map(torch.from_numpy, (self.median_, self.scale_, self.whitening_))
        return (self._measure_tensor(x.double()) - median) / scale @ whitening

    def _survey(self, X: np.ndarray) -> None:
        """Learn from the normals what is foreground, what are grey levels, and how deep a foreground can be."""
        low, high = self.range_
        # The unit of all values is the range of the normals.
        among = (low, high if high > low else low + 1)
        # Of one sample after the other, for numpy copies what it counts.
        counts = np.zeros((X.shape[1], BINS), np.int64)
        for x in X:
            counts += [np.histogram(channel, BINS, among)[0] for channel in x]
        self.threshold_ = np.array([otsu(count) for count in counts])
        self.levels_ = np.array([grey_levels(count) for count in counts])
        self.is_mask_ = int(all(((x == low) | (x == high)).all() for x in X))
        self.depths_ = np.empty(0)
        deepest = max(region.depth.max(initial=1.0) for x in X for region in self._regions(x))
        self.depths_ = np.linspace(1, deepest, LEVELS + 1)[1:-1]
        if not any(self._taken(family) for family in self.families):
            raise ValueError("families measure values only, but these are masks: expected Size, Shape or Thickness too")

    def _measure(self, X: np.ndarray) -> list[Array]:
        """Return the statistics of samples, a family (n, statistics) at a time."""
        if len(self.shape_) == 1:
            return [np.asarray(X, np.float64)]
        measured: list[Array] = []
        with progress("Measuring", len(X)) as advance:
            for row, x in enumerate(X):
                found = self._measure_one(x)
                measured = measured or [np.empty((len(X), len(family))) for family in found]
                for family, statistics in zip(measured, found, strict=True):
                    family[row] = statistics
                advance()
        return measured

    def _measure_one(self, x: np.ndarray) -> list[list[float]]:
        regions = list(self._regions(x))
        return [family(region) for region in regions for family in self.families if self._taken(family)]

    def _measure_tensor(self, x: Tensor) -> Tensor:
        """Return the statistics of a batch, (B, statistics), by operations of torch."""
        if x.ndim == 2:
            return x
        families = list(filter(self._taken, self.families))
        for family in families:
            if family.unexportable is not None:
                raise NotExportable(f"Radiomics cannot be exported: {type(family).__name__} {family.unexportable}")
        low, high = self.range_
        scaled = (x - low) / ((high - low) or 1.0)
        channels = zip(scaled.unbind(1), self.threshold_.tolist(), self.levels_, strict=True)
        regions = [Regions(one, one > threshold, levels, self.depths_) for one, threshold, levels in channels]
        return torch.stack([found for one in regions for family in families for found in family.of_tensor(one)], 1)

    def _taken(self, family: Family) -> bool:
        return not (self.is_mask_ and family.of_values)

    def _regions(self, x: np.ndarray) -> Iterator[Region]:
        r"""Yield the channels of a sample, (C, \*space)."""
        low, high = self.range_
        scaled = (np.asarray(x, np.float64) - low) / ((high - low) or 1.0)
        for channel, threshold, levels in zip(scaled, self.threshold_, self.levels_, strict=True):
            yield Region(channel, channel > threshold, levels, self.depths_)


def whitening(u: Array) -> Array:
    """Return C^(-1/2), the map after which the rows of `u` have no correlations, (statistics, statistics)."""
    covariance = ledoit_wolf(u)[0] if len(u) > 1 else np.zeros((u.shape[1],) * 2)
    variance, axes = np.linalg.eigh(covariance)
    # Without any variance, as of a single sample, there is nothing to take out.
    variance = np.maximum(variance, 1e-9 * variance[-1]) if variance[-1] > 0 else np.ones_like(variance)
    return axes / np.sqrt(variance) @ axes.T


def otsu(count: NDArray[np.int64]) -> float:
    """Return the value, in [0, 1], half-way between the two classes whose variance between them is greatest."""
    value = (np.arange(len(count)) + 0.5) / len(count)
    below, above = np.cumsum(count)[:-1], np.cumsum(count[::-1])[::-1][1:]
    mean_below = np.cumsum(count * value)[:-1] / np.maximum(below, 1)
    mean_above = np.cumsum((count * value)[::-1])[::-1][1:] / np.maximum(above, 1)
    best = np.argmax(below * above * (mean_above - mean_below) ** 2)
    return float((mean_below[best] + mean_above[best]) / 2)


def grey_levels(count: NDArray[np.int64]) -> Array:
    """Return the values in [0, 1] between eight grey levels, evenly spaced over 98 % of the pixels."""
    low, high = np.searchsorted(np.cumsum(count) / count.sum(), [0.01, 0.99]) / len(count) + [0, 1 / len(count)]
    return np.linspace(low, high, LEVELS + 1)[1:-1]
