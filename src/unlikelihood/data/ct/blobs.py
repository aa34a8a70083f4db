"""Places in a CT scan that look like nodules: bright blobs in the lungs, by classical means."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unlikelihood.data.ct.scan import Scan

Floats = NDArray[np.float32]

STEP = 1.0  # mm, size of a voxel of the upright grid that is searched
COARSE = 2  # voxels of it to one of the grid of the lung mask
LUNG_BELOW, ROOM_BELOW = -400.0, -950.0  # HU, of a voxel of lung or air, and of the median of the room around a body
BRIGHTEST = 100.0  # HU to which voxels are clipped, so that bone and calcium are no better than tissue
SHARE = 0.2  # of the largest region of the lungs, that another one must have
CLOSING = 8.0  # mm, radius of what is closed: vessels and nodules in the lungs, or at their wall
DIAMETERS = np.geomspace(4.0, 20.0, 7)  # mm
MATCHED = 2 * np.sqrt(3)  # diameter over the standard deviation of the filter that answers most to a ball
RATIO = 1.3  # of the two Gaussians whose difference is the filter
FAINTEST = 20.0  # HU, the least answer


class Candidate(NamedTuple):
    """A place that looks like a nodule: its centre (x, y, z) in mm, its diameter in mm, and how much, in HU."""

    centre: tuple[float, float, float]
    diameter: float
    score: float


def lung_mask(hu: Floats, step: float) -> NDArray[np.bool_]:
    """Return which voxels of a volume are in the lungs, with what they enclose.

    Regions of less than -400 HU, without the room: what touches a side and has the median of air. Small regions are
    left out, and the rest is closed, so that nodules at the wall are inside.

    Parameters
    ----------
    hu : ndarray of shape (D, H, W)
        Axes along z, y and x.
    step : float
        Size of a voxel in mm.
    """
    regions, count = ndimage.label(hu < LUNG_BELOW)
    if not count:
        return np.zeros(hu.shape, bool)
    sides = [regions[:, 0], regions[:, -1], regions[..., 0], regions[..., -1]]
    numbers = np.arange(1, count + 1)
    sizes = ndimage.sum_labels(np.ones(hu.shape, np.float32), regions, numbers)
    large = numbers[sizes > 1e-3 * hu.size]
    touching = set(np.unique(np.concatenate([side.ravel() for side in sides])).tolist())
    inside = [k for k in large if k not in touching or np.median(hu[regions == k]) > ROOM_BELOW]
    if not inside:
        return np.zeros(hu.shape, bool)
    most = max(sizes[k - 1] for k in inside)
    lungs = np.isin(regions, [k for k in inside if sizes[k - 1] >= SHARE * most])
    margin = int(np.ceil(CLOSING / step)) + 1
    padded = np.pad(lungs, margin, mode="edge")
    grown = ndimage.distance_transform_edt(~padded, step) <= CLOSING
    closed = ndimage.distance_transform_edt(grown, step) > CLOSING
    return closed[(slice(margin, -margin),) * 3] | lungs


def find_blobs(scan: Scan, limit: int) -> list[Candidate]:
    """Return at most `limit` places in a scan that look like nodules, the most likely first.

    On a grid of 1 mm, differences of Gaussians [1]_ answer to bright blobs of 4 to 20 mm; where the answer is largest
    in space and scale, the score is the least of the three curvatures there, times the squared scale: a vessel is
    bright but straight along one axis, so it scores little. What is found depends on the scan alone.

    References
    ----------
    .. [1] D. G. Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 60, 2004.
    """
    shape = tuple(np.ceil(scan.extent / STEP - 1e-3).astype(int).tolist())
    hu = scan.crop(scan.centre, shape, STEP, outside=0.0)
    coarse = lung_mask(hu[::COARSE, ::COARSE, ::COARSE], COARSE * STEP)
    lungs = coarse.repeat(COARSE, 0).repeat(COARSE, 1).repeat(COARSE, 2)[tuple(map(slice, shape))]
    if not lungs.any():
        return []
    box = ndimage.find_objects(lungs.astype(np.uint8))[0]
    inside = lungs[box]
    volume = np.minimum(hu[box], BRIGHTEST)
    volume[~inside] = np.median(volume[inside])
    first = scan.centre - (np.array(shape)[::-1] - 1) / 2 * STEP + [STEP * part.start for part in box[::-1]]
    found = []
    for at, sigma in _maxima(volume, inside):
        score = _blobness(volume, at, sigma)
        x, y, z = (first + STEP * np.array(at[::-1])).tolist()
        found.append(Candidate((x, y, z), float(sigma * MATCHED), score))
    return _apart(sorted(found, key=lambda one: (-one.score, one.centre)), limit)


def _maxima(volume: Floats, inside: NDArray[np.bool_]) -> list[tuple[tuple[int, ...], float]]:
    best, scale = np.full(volume.shape, FAINTEST, np.float32), np.zeros(volume.shape, np.int8)
    for k, diameter in enumerate(DIAMETERS):
        sigma = diameter / MATCHED / STEP
        answer = ndimage.gaussian_filter(volume, sigma, mode="nearest", truncate=3)
        answer -= ndimage.gaussian_filter(volume, RATIO * sigma, mode="nearest", truncate=3)
        scale[answer > best] = k
        np.maximum(best, answer, out=best)
    peaks = (best == ndimage.maximum_filter(best, 3)) & (best > FAINTEST) & inside
    return [(tuple(at), float(DIAMETERS[scale[tuple(at)]] / MATCHED)) for at in np.argwhere(peaks).tolist()]


def _blobness(volume: Floats, at: tuple[int, ...], sigma: float) -> float:
    """Return the least curvature at a voxel, seen through a Gaussian of `sigma` mm, times `sigma` squared, in HU."""
    sigma /= STEP
    reach = int(np.ceil(3 * sigma))
    around = [np.arange(k - reach, k + reach + 1).clip(0, n - 1) for k, n in zip(at, volume.shape, strict=True)]
    patch = volume[np.ix_(*around)]
    t = np.arange(-reach, reach + 1) / sigma
    even = np.exp(-(t**2) / 2)
    even /= even.sum()
    kernels = np.stack([even, t * even, (t**2 - 1) * even])  # the Gaussian and its derivatives, times powers of sigma
    derivatives = patch
    for _ in range(3):  # each sums the axis that is first, and appends that of the orders along it
        derivatives = np.tensordot(derivatives, kernels, axes=(0, 1))
    hessian = np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            hessian[i, j] = derivatives[tuple(int(axis == i) + int(axis == j) for axis in range(3))]
    return float(-np.linalg.eigvalsh(hessian).max())


def _apart(found: list[Candidate], limit: int) -> list[Candidate]:
    """Return the first of those that lie in one another."""
    kept: list[Candidate] = []
    for one in found:
        if len(kept) == limit or one.score <= 0:
            break
        if all(np.linalg.norm(np.subtract(one.centre, other.centre)) > other.diameter / 2 for other in kept):
            kept.append(one)
    return kept
