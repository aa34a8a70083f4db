"""Statistics of size, shape, thickness, intensity and texture: an encoder of images and volumes without training."""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.covariance import ledoit_wolf

from unlikelihood.embedder import NearestEmbeddings
from unlikelihood.progress import progress

BINS = 1024  # of the histogram from which thresholds and grey levels are read
LEVELS = 8  # of thickness, and of grey in co-occurrences
QUANTILES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
WINDOWS = (3, 5, 9)  # sides in pixels

Array = NDArray[np.float64]


class Radiomics(NearestEmbeddings):
    r"""Embeds a sample by what one would measure on it, and scores by its distance to the nearest normals.

    The foreground is what lies above Otsu's threshold on the values of all the normals. In each channel five families
    of statistics are taken:

    - size: logarithms of the foreground's volume and surface;
    - shape: compactness, ratios of the principal axes, share of the bounding box that is filled, Euler number, number
      of components, share of the largest;
    - thickness: square roots of the shares of the foreground that lie deeper under its surface than seven depths, the
      depths evenly spaced up to the normals' deepest; mean, standard deviation and maximum of the depth;
    - intensity: moments and quantiles, and mean and standard deviation in the foreground;
    - texture: moments and quantiles of the gradient's magnitude, standard deviation within windows of three sizes, and
      contrast, homogeneity, energy, entropy and correlation of the co-occurrences of eight grey levels in neighbours.

    Masks, which have two values, have the first three only. All are the same for a sample and its mirror images.
    Each statistic t is standardised by the normals, and divided by the square root of how many its family has, so that
    families count alike; then the normals' covariance C of what results is taken out,

    .. math:: e(x) = C^{-1/2} u(x), \qquad u_t(x) = \frac{t(x) - \mathrm{median}_t}{\sigma_t \sqrt{n_t}},

    so that distances are Mahalanobis distances. C is Ledoit and Wolf's estimate, which holds for few samples too.
    Lengths are in pixels or voxels, whatever their spacing. A vector's statistics are its values.

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
    (3, 50)
    """

    def _fit(self, X: np.ndarray) -> None:
        if len(self.shape_) > 1:
            self._survey(X)
        families = self._measure(X)
        flat = np.concatenate(families, axis=1)
        spread = flat.std(axis=0)
        self.median_ = np.median(flat, axis=0)
        # What no normal varies in has no spread; it is then counted in its own unit.
        spread[spread <= 1e-9 * np.abs(self.median_)] = 1.0
        self.scale_ = spread * np.sqrt(np.concatenate([np.full(f.shape[1], f.shape[1]) for f in families]))
        standardised = (flat - self.median_) / self.scale_
        self.whitening_ = whitening(standardised)
        self.embeddings_ = standardised @ self.whitening_

    def _embed(self, X: np.ndarray) -> np.ndarray:
        return (np.concatenate(self._measure(X), axis=1) - self.median_) / self.scale_ @ self.whitening_

    def _survey(self, X: np.ndarray) -> None:
        """Learn from the normals what is foreground, what are grey levels, and how deep a foreground can be."""
        low, high = self.range_
        # The unit of all values is the range of the normals.
        counts = [np.histogram(X[:, c], BINS, (low, high if high > low else low + 1))[0] for c in range(X.shape[1])]
        self.threshold_ = np.array([otsu(count) for count in counts])
        self.levels_ = np.array([grey_levels(count) for count in counts])
        self.is_mask_ = int(all(((x == low) | (x == high)).all() for x in X))
        deepest = [max(depths(mask).max(initial=1.0) for mask in self._masks(x)) for x in X]
        self.depths_ = np.linspace(1, max(deepest), LEVELS + 1)[1:-1]

    def _measure(self, X: np.ndarray) -> list[Array]:
        """Return the statistics of samples, a family (n, statistics) at a time."""
        if len(self.shape_) == 1:
            return [np.asarray(X, np.float64)]
        with progress("Measuring", len(X)) as advance:
            measured = []
            for x in X:
                measured.append(self._measure_one(x))
                advance()
        return [np.array(family) for family in zip(*measured, strict=True)]

    def _measure_one(self, x: np.ndarray) -> list[list[float]]:
        families = [family for mask in self._masks(x) for family in outline(mask, self.depths_)]
        if not self.is_mask_:
            for channel, mask, levels in zip(self._scaled(x), self._masks(x), self.levels_, strict=True):
                families += [intensity(channel, mask), texture(channel, levels)]
        return families

    def _scaled(self, x: np.ndarray) -> Array:
        low, high = self.range_
        return (np.asarray(x, np.float64) - low) / ((high - low) or 1.0)

    def _masks(self, x: np.ndarray) -> NDArray[np.bool_]:
        return self._scaled(x) > self.threshold_.reshape(-1, *[1] * (x.ndim - 1))


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


def outline(mask: NDArray[np.bool_], deep: Array) -> list[list[float]]:
    """Return the sizes, shape and thickness of a foreground."""
    depth = depths(mask)
    if not len(depth):
        return [[0.0] * 2, [0.0] * (mask.ndim + 4), [0.0] * (len(deep) + 3)]
    box = mask[ndimage.find_objects(mask.astype(np.uint8))[0]]
    axes, volume = box.ndim, len(depth)
    face = sum(np.count_nonzero(np.diff(np.pad(box, 1), axis=axis)) for axis in range(axes))
    # A pixel is as wide as it is, so the second moments have those of a unit square or cube in them.
    moments = np.linalg.eigvalsh(np.cov(np.argwhere(box).T, bias=True) + np.eye(axes) / 12)
    labels, components = ndimage.label(box, np.ones([3] * axes))
    return [
        [np.log(volume), np.log(face)],
        [
            axes * np.log(face) - (axes - 1) * np.log(volume),
            *(np.log(moments[1:] / moments[:-1]) / 2),
            np.log(volume / box.size),
            euler_number(box),
            components,
            np.bincount(labels.ravel())[1:].max() / volume,
        ],
        [*np.sqrt([(depth > at).mean() for at in deep]), depth.mean(), depth.std(), depth.max()],
    ]


def depths(mask: NDArray[np.bool_]) -> Array:
    """Return how far each pixel of the foreground is from the nearest outside it; beyond the frame is outside."""
    inside = ndimage.find_objects(mask.astype(np.uint8))
    if not inside:
        return np.empty(0)
    box = np.pad(mask[inside[0]], 1)
    return ndimage.distance_transform_edt(box)[box]


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


def intensity(x: Array, mask: NDArray[np.bool_]) -> list[float]:
    """Return moments and quantiles of the values, and the first two moments of those in the foreground."""
    within = x[mask] if mask.any() else np.zeros(1)
    return [*distribution(x), within.mean(), within.std()]


def texture(x: Array, levels: Array) -> list[float]:
    """Return statistics of the gradient, of windows and of the co-occurrences of grey levels."""
    slopes = [np.gradient(x, axis=axis) for axis in range(x.ndim) if x.shape[axis] > 1] or [np.zeros_like(x)]
    windows = [
        np.sqrt(np.maximum(ndimage.uniform_filter(x**2, side) - ndimage.uniform_filter(x, side) ** 2, 0)).mean()
        for side in WINDOWS
    ]
    return [*distribution(np.sqrt(sum(slope**2 for slope in slopes))), *windows, *co_occurrence(x, levels)]


def distribution(x: Array) -> list[float]:
    """Return mean, standard deviation, skewness, kurtosis and quantiles of values."""
    mean, std = x.mean(), x.std()
    z = (x - mean) / std if std > 1e-9 else np.zeros_like(x)
    return [mean, std, (z * z * z).mean(), (z * z * z * z).mean(), *np.quantile(x, QUANTILES)]


def co_occurrence(x: Array, levels: Array) -> list[float]:
    """Return contrast, homogeneity, energy, entropy and correlation of the grey levels of neighbours along the axes."""
    level = np.searchsorted(levels, x)
    count = np.zeros(LEVELS**2)
    for axis in range(x.ndim):
        length = x.shape[axis]
        one, other = level.take(range(length - 1), axis), level.take(range(1, length), axis)
        count += np.bincount((LEVELS * one + other).ravel(), minlength=LEVELS**2)
    p = count.reshape(LEVELS, LEVELS)
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
