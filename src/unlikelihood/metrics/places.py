r"""How well maps say where anomalies are.

A map has a value for each pixel or voxel, (n, \*space), higher = more anomalous; a mask of bool, (n, \*space), says
where each sample is anomalous, and is empty for normals. A region is what is connected in a mask, corners included.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unlikelihood.metrics.froc import froc
from unlikelihood.metrics.intervals import Interval

FALSE_POSITIVE_RATE = 0.3  # up to which AUPRO integrates (Bergmann et al.)
RATES = (0.25, 1.0, 4.0)  # false marks a sample
BINS = 1000  # of all values, and of those in masks, where only an interval is at stake
APART = 16  # part of the axis that two marks are apart


@dataclass(frozen=True, eq=False)
class Counts:
    r"""Pixels by their value in the map, from the highest down to the lowest.

    Parameters
    ----------
    normal, anomalous : ndarray, shape (..., values)
        How many pixels outside and inside the masks have each value.
    region : ndarray, shape (..., values)
        The latter, in shares of the region that each lies in.
    """

    normal: NDArray[np.float64]
    anomalous: NDArray[np.float64]
    region: NDArray[np.float64]

    @classmethod
    def of(cls, mask: NDArray[np.bool_], maps: NDArray[Any], values: NDArray[Any]) -> Self:
        """Count the pixels of samples by the nearest of increasing `values` that is not above theirs."""
        found = []
        for inside, each in zip(mask, maps, strict=True):
            place = np.maximum(np.searchsorted(values, each, side="right") - 1, 0)
            share = _shares(inside)
            weights = ((~inside).astype(float), inside.astype(float), share)
            found.append(
                [np.bincount(place.ravel(), weight.ravel().astype(float), len(values))[::-1] for weight in weights]
            )
        return cls(*np.moveaxis(np.array(found), 1, 0))

    def over(self, rows: Any = slice(None)) -> "Counts":
        """Return the counts of some samples together."""
        return Counts(self.normal[rows].sum(0), self.anomalous[rows].sum(0), self.region[rows].sum(0))

    def auroc(self) -> float:
        """Return the chance that a pixel inside the masks has a higher value than one outside."""
        return _area(self.normal, self.anomalous)

    def aupro(self, limit: float = FALSE_POSITIVE_RATE) -> float:
        """Return the mean share of each region that is found, over false positive rates up to a limit.

        It is the area under the curve of per-region overlap divided by the `limit` (Bergmann, Batzner, Fauser,
        Sattlegger & Steger, 2021, "The MVTec anomaly detection dataset", section 5.1).
        """
        return _area(self.normal, self.region, limit) / limit

    def best_dice(self) -> float:
        """Return the Dice coefficient of the masks and all maps above the threshold that makes it largest."""
        hit = np.cumsum(self.anomalous)
        return float(np.max(2 * hit / (hit + np.cumsum(self.normal) + self.anomalous.sum())))


def pixel_auroc(mask: NDArray[np.bool_], maps: NDArray[Any]) -> float:
    """Return the chance that a pixel inside the masks has a higher value than one outside, of all samples."""
    return _counted(mask, maps).auroc()


def aupro(mask: NDArray[np.bool_], maps: NDArray[Any], limit: float = FALSE_POSITIVE_RATE) -> float:
    """Return the area under the per-region overlap up to a false positive rate, as a share of it: `Counts.aupro`."""
    return _counted(mask, maps).aupro(limit)


def best_dice(mask: NDArray[np.bool_], maps: NDArray[Any]) -> float:
    """Return the largest Dice coefficient that one threshold for all maps reaches, over all pixels together."""
    return _counted(mask, maps).best_dice()


def dice(mask: NDArray[np.bool_], marked: NDArray[np.bool_]) -> float:
    """Return the Dice coefficient of masks and what is marked, over all pixels together; 1 where both are empty."""
    total = int(mask.sum()) + int(marked.sum())
    return 2 * int((mask & marked).sum()) / total if total else 1.0


def conformal_threshold(maps: NDArray[Any], alpha: float) -> float | None:
    r"""Return the value above which a map marks something on at most a share `alpha` of new normals.

    It is the ⌊α (n + 1)⌋-th highest of the strongest values in the maps (n, \*space) of normals that training never
    saw; None if there are too few of these.
    """
    strongest = np.sort(maps.reshape(len(maps), -1).max(axis=1))[::-1]
    allowed = math.floor(alpha * (len(strongest) + 1) + 1e-9)
    return float(strongest[allowed - 1]) if 0 < allowed <= len(strongest) else None


@dataclass(frozen=True, eq=False)
class Marks:
    """The places that a map points at.

    Parameters
    ----------
    region : ndarray of int, shape (m,)
        Which region of the mask each hits, from 0; -1 if none.
    value : ndarray, shape (m,)
        Of the map there.
    regions : int
        How many there are.
    """

    region: NDArray[np.int64]
    value: NDArray[np.float64]
    regions: int

    @classmethod
    def of(cls, mask: NDArray[np.bool_], values: NDArray[Any]) -> Self:
        r"""Return the highest places of a map (\*space) that are a sixteenth of each axis apart."""
        labels, regions = _regions(mask)
        size = [2 * (length // APART) + 1 if length >= APART else 3 for length in values.shape]
        highest = (ndimage.maximum_filter(values, size) == values) & (values > values.min())
        plateaus, count = ndimage.label(highest, np.ones((3,) * values.ndim))
        at = ndimage.maximum_position(values, plateaus, np.arange(1, count + 1))
        return cls(
            np.array([labels[place] - 1 for place in at], np.int64),
            np.array([values[place] for place in at], np.float64),
            regions,
        )


def froc_of(marks: list[Marks]) -> dict[float, float]:
    """Return the share of all regions that the marks of samples hit, by how many marks a sample hit none."""
    first = np.cumsum([0, *(each.regions for each in marks)])
    region = [np.where(each.region < 0, -1, each.region + start) for each, start in zip(marks, first, strict=False)]
    return froc(
        np.concatenate(region), np.concatenate([each.value for each in marks]), int(first[-1]), len(marks), RATES
    )


def judge_places(
    mask: NDArray[np.bool_],
    maps: NDArray[Any],
    *,
    threshold: float | None = None,
    group: NDArray[Any] | None = None,
    draws: int = 200,
    seed: int = 0,
) -> dict[str, Interval]:
    r"""Return the figures of maps with 95 % bootstrap intervals, by sample or by group.

    Parameters
    ----------
    mask : ndarray of bool, shape (n, \*space)
        Where each sample is anomalous; some are, and some pixel is not.
    maps : ndarray, shape (n, \*space)
        Finite.
    threshold : float, optional
        Above which a map marks something.
    group : ndarray, shape (n,), optional
        What is drawn together.
    draws, seed : int
        Of the bootstrap. Its figures are of values in 2000 bins, those themselves are exact.

    Returns
    -------
    dict of str to Interval
        ``pixel_auroc``, ``aupro``, ``best_dice``, ``dice_at_threshold`` where there is one, and for volumes
        ``regions_found_at_k``, the share of regions that are hit at k false marks a sample.
    """
    _check(mask, maps)
    binned = Counts.of(mask, maps, np.unique([_evenly_spaced(maps), _evenly_spaced(maps[mask])]))
    marks = [Marks.of(*pair) for pair in zip(mask, maps, strict=True)] if maps.ndim > 3 else []
    hits = np.array([_hits(*pair, threshold) for pair in zip(mask, maps, strict=True)])

    def figures(rows: NDArray[np.intp], counts: Counts) -> dict[str, float]:
        found = {"pixel_auroc": counts.auroc(), "aupro": counts.aupro(), "best_dice": counts.best_dice()}
        if threshold is not None:
            hit, total = hits[rows].sum(0)
            found["dice_at_threshold"] = 2 * hit / total
        if marks:
            found |= {f"regions_found_at_{rate:g}": share for rate, share in froc_of([marks[k] for k in rows]).items()}
        return found

    value = figures(np.arange(len(maps)), _counted(mask, maps))
    drawn = [figures(rows, binned.over(rows)) for rows in _drawn(mask, group, draws, seed)]
    found = {}
    for name, figure in value.items():
        low, high = np.quantile([each[name] for each in drawn], (0.025, 0.975))
        found[name] = Interval(figure, min(float(low), figure), max(float(high), figure))
    return found


def _evenly_spaced(values: NDArray[Any]) -> NDArray[Any]:
    """Return values at evenly spaced ranks, with the lowest and the highest."""
    ordered = np.sort(values, axis=None)
    return ordered[np.linspace(0, len(ordered) - 1, BINS).astype(int)]


def _drawn(mask: NDArray[np.bool_], group: NDArray[Any] | None, draws: int, seed: int) -> Iterator[NDArray[np.intp]]:
    """Yield the rows of bootstrap samples, of units with a mask and of others as many as there are."""
    unit = np.arange(len(mask)) if group is None else np.unique(group, return_inverse=True)[1]
    rows = [np.flatnonzero(unit == number) for number in range(unit.max() + 1)]
    masked = np.array([mask[each].any() for each in rows])
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        chosen = [rng.choice(kind, len(kind)) for kind in map(np.flatnonzero, (masked, ~masked)) if len(kind)]
        yield np.concatenate([rows[number] for number in np.concatenate(chosen)])


def _counted(mask: NDArray[np.bool_], maps: NDArray[Any]) -> Counts:
    """Count the pixels of all samples by each value that there is."""
    _check(mask, maps)
    values, place = np.unique(maps, return_inverse=True)
    weights = (~mask, mask, np.stack([_shares(each) for each in mask]))
    counts = [np.bincount(place.ravel(), weight.ravel(), len(values))[::-1] for weight in weights]
    return Counts(*np.asarray(counts, np.float64))


def _area(x: NDArray[np.float64], y: NDArray[np.float64], limit: float = 1.0) -> float:
    """Return the area under the cumulative share of `y` over that of `x`, up to a limit of the latter."""
    along, up = (np.append(0, np.cumsum(each)) for each in (x, y))
    along, up = along / along[-1], up / up[-1]
    inside = int(np.searchsorted(along, limit, side="right"))
    end = np.interp(limit, along[inside - 1 : inside + 1], up[inside - 1 : inside + 1])
    area = float(np.trapezoid(np.append(up[:inside], end), np.append(along[:inside], limit)))
    return min(area, limit)  # rounding may lead beyond it


def _regions(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    labels, count = ndimage.label(mask, np.ones((3,) * mask.ndim))
    return labels, int(count)


def _shares(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return of which share of its region each pixel is; 0 outside."""
    labels, _ = _regions(mask)
    size = np.bincount(labels.ravel())
    return np.where(mask, 1 / size[labels], 0)


def _hits(mask: NDArray[np.bool_], values: NDArray[Any], threshold: float | None) -> tuple[int, int]:
    """Return how many marked pixels are in the mask, and how many are marked or masked, those in both twice."""
    marked = values > (np.inf if threshold is None else threshold)
    return int((mask & marked).sum()), int(mask.sum()) + int(marked.sum())


def _check(mask: NDArray[np.bool_], maps: NDArray[Any]) -> None:
    if mask.shape != maps.shape or mask.dtype != bool or maps.ndim < 2:
        raise ValueError(
            f"mask has shape {mask.shape} and type {mask.dtype}, expected bool of the shape of the maps, {maps.shape}"
        )
    if not np.isfinite(maps).all():
        raise ValueError("maps hold values that are not finite")
    if mask.all() or not mask.any():
        raise ValueError("mask holds one kind of pixel, expected both some inside and some outside")
