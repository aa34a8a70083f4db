"""HU of the voxels of DICOM slices: decoded in full or refused, and scaled as their headers say."""

import warnings
from collections.abc import Sequence
from io import BytesIO
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlikelihood.data.ct.dicom import Slice
from unlikelihood.data.ct.formats import UnreadableScan, imported, naming
from unlikelihood.data.ct.hounsfield import AIR
from unlikelihood.data.dicom_pixels import signed, stored_values


def hounsfield_of(slices: Sequence[Slice]) -> NDArray[Any]:
    """Return the HU (n, H, W) of slices, each file read once where its frames follow one another."""
    planes: list[NDArray[Any]] = []
    for file, own in groupby(slices, key=lambda one: one.file):
        with naming(file), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # at what does not matter here; what does is checked
            # Out of memory, which gives no more than there is, whatever length an element claims.
            data = imported("pydicom").dcmread(BytesIO(file.read_bytes()), force=True)
            planes += [_scaled(_stored(data, one), data, one) for one in own]
    return np.stack(planes)


def _stored(data: Any, one: Slice) -> NDArray[np.signedinteger]:
    values = stored_values(data, one.frame)
    if values.shape != one.shape:  # which was read before the file was replaced
        raise UnreadableScan(f"{one.file}: an image of shape {values.shape}, expected {one.shape}")
    return values


def _scaled(stored: NDArray[np.signedinteger], data: Any, one: Slice) -> NDArray[Any]:
    held = abs(one.slope) * 2 ** int(data.BitsStored) + abs(one.intercept) < 2**31  # by int32
    exact = held and one.slope.is_integer() and one.intercept.is_integer()
    hu = stored * int(one.slope) + int(one.intercept) if exact else stored * one.slope + one.intercept
    if (padding := data.get("PixelPaddingValue")) is not None:
        # What is outside the field of view is no denser than air, whatever number marks it.
        limits = [int(signed(value, data)) for value in (padding, data.get("PixelPaddingRangeLimit", padding))]
        hu[(stored >= min(limits)) & (stored <= max(limits)) & (hu > AIR)] = AIR
    if exact:
        return hu
    whole = np.rint(hu)
    return whole.astype(np.int32) if held and np.array_equal(hu, whole) else hu.astype(np.float32)
