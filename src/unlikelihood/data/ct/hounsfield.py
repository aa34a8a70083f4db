"""Hounsfield units (HU), in which CT measures: water is 0, air -1000."""

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from unlikelihood.parameters import Range

HU = Annotated[float, Range(-(2**15), 2**15 - 1)]  # what int16 holds
AIR = -1000.0
LUNG_WINDOW = (-1000.0, 400.0)


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
