"""Hounsfield units (HU), in which CT measures: water is 0, air -1000."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from unlikelihood.data.ct.formats import UnreadableScan
from unlikelihood.parameters import Range

HU = Annotated[float, Range(-(2**15), 2**15 - 1)]  # what int16 holds
AIR = -1000.0
LUNG_WINDOW = (-1000.0, 400.0)

# Where values lie that are HU with 1024 added: at 0 what is less dense than air, as unsigned numbers end there, lung,
# what is between, soft tissue, bone. Of HU as they are, air, lung and fat lie in the first band, and nothing below it
# but what marks voxels as outside.
BANDS = (-1500, 0, 1, 500, 824, 1324, np.inf)
SOME = 1e-3  # share of voxels
LOOKED_AT = 2**20  # voxels


def as_hu(hu: NDArray[Any]) -> NDArray[Any]:
    """Return a volume as int16 where that loses nothing, as float32 otherwise, or raise a ValueError."""
    if hu.ndim != 3 or not hu.size:
        raise ValueError(f"hu of shape {hu.shape}: expected (D, H, W)")
    if hu.dtype.kind not in "iuf":
        raise ValueError(f"hu of type {hu.dtype}: expected numbers")
    if hu.dtype.kind == "f":
        with np.errstate(over="ignore"):
            held = np.ascontiguousarray(hu, np.float32)
        if not np.isfinite(held).all():  # as float32, which may overflow
            raise ValueError("hu holds intensities that are not finite")
        return held
    small = hu.dtype == np.int16 or (hu.min() >= -(2**15) and hu.max() < 2**15)
    return np.ascontiguousarray(hu, np.int16 if small else np.float32)


def in_hu(file: Path, values: NDArray[Any], intercept: float | None) -> NDArray[Any]:
    """Return the values of an image file with `intercept` added; None refuses those that seem to lack one."""
    if intercept is not None:
        hu = values + np.float32(intercept)
        return hu.astype(np.int32) if values.dtype.kind == "i" and float(intercept).is_integer() else hu
    if _lack_intercept(values):
        raise UnreadableScan(
            f"{file}: its values go from {values.min():g} to {values.max():g}, with soft tissue near 1024; expected "
            "HU, with soft tissue near 0 and air near -1000: intercept=-1024 reads it so, intercept=0 as it is"
        )
    return values


def _lack_intercept(values: NDArray[Any]) -> bool:
    some = values.ravel()[:: max(1, values.size // LOOKED_AT) | 1]  # odd, so that not one column alone is looked at
    below = [np.count_nonzero(some < end) for end in BANDS]  # which sorts nothing, as a histogram would
    light, zero, lung, between, tissue, bone = np.diff(below).tolist()
    # Zeros and what is dense alone are a drawing, not a scan.
    seen = tissue > SOME * some.size and (lung > SOME * some.size or not zero)
    return seen and tissue > between + bone and light < tissue / 10
