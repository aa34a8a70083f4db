"""What a detector's maps are worth on a split whose test has masks."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlikelihood.data.images import Images
from unlikelihood.data.splits import Split
from unlikelihood.metrics.intervals import Interval
from unlikelihood.metrics.places import conformal_threshold, judge_places
from unlikelihood.report.maps import Locates
from unlikelihood.storage.identity import unseen

ALPHA = 0.05  # share of normals that may have a mark
PIXELS, SAMPLES = 2**25, 200  # whose maps are judged at most, and as many of calibration normals


def places_of(
    detector: object, split: Split, *, attributed: int, draws: int, seed: int
) -> tuple[dict[str, Interval], dict[str, Any]]:
    """Return the figures of a detector's maps of the test, and what is to be known about them; empty without masks.

    They are of all test samples, or of evenly spaced ones where these are many: `attributed` at most where the maps are
    not the detector's own. Anomalies that have no mask, and detectors of other libraries, are not judged. The threshold
    is that of calibration normals.
    """
    test = split.test
    if test.mask is None or not isinstance(detector, Locates) or not test.mask.any():
        return {}, {}
    allowed = SAMPLES if detector.map_kind.own else attributed
    if allowed < 2:
        return {}, {}
    known = np.flatnonzero(test.mask.reshape(len(test), -1).any(axis=1) | (np.asarray(test.label) == 0))
    most = min(allowed, max(2, PIXELS // math.prod(test.pixels.shape[2:])))
    test = _some(test[known], most)
    held_out = unseen(detector, split.calibration.pixels)
    held_out = held_out[_evenly(len(held_out), most)]
    threshold = conformal_threshold(detector.anomaly_map(held_out), ALPHA) if len(held_out) else None
    figures = judge_places(
        np.asarray(test.mask),
        detector.anomaly_map(test.pixels),
        threshold=threshold,
        group=test.group,
        draws=min(draws, 200),
        seed=seed,
    )
    facts = {
        "map_kind": str(detector.map_kind),
        "map_samples": len(test),
        "map_threshold": threshold,
        "map_alpha": None if threshold is None else ALPHA,
    }
    return figures, facts


def _some(test: Images, most: int) -> Images:
    """Return at most so many, evenly spaced among the normals and among the anomalies."""
    kinds = [np.flatnonzero(np.asarray(test.label) == label) for label in (0, 1)]
    share = min(1.0, most / len(test))
    return test[np.sort(np.concatenate([kind[_evenly(len(kind), math.ceil(share * len(kind)))] for kind in kinds]))]


def _evenly(count: int, most: int) -> NDArray[np.intp]:
    return np.linspace(0, count - 1, min(count, most)).astype(int) if count else np.empty(0, int)
