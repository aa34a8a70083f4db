"""HU of the voxels of DICOM slices: decoded in full or refused, and scaled as their headers say."""

import warnings
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlikelihood.data.ct.dicom import Slice
from unlikelihood.data.ct.formats import UnreadableScan, imported, naming
from unlikelihood.data.ct.hounsfield import AIR

JPEG = "1.2.840.10008.1.2.4."
CODECS = {  # by transfer syntax; what is not here, pydicom reads itself
    **dict.fromkeys([f"{JPEG}50", f"{JPEG}51"], "jpeg_decode"),
    **dict.fromkeys([f"{JPEG}57", f"{JPEG}70"], "ljpeg_decode"),
    **dict.fromkeys([f"{JPEG}80", f"{JPEG}81"], "jpegls_decode"),
    **dict.fromkeys([f"{JPEG}90", f"{JPEG}91"], "jpeg2k_decode"),
    **dict.fromkeys([f"{JPEG}201", f"{JPEG}202", f"{JPEG}203"], "htj2k_decode"),
}
END = b"\xff\xd9"  # of a JPEG stream of any kind


def hounsfield_of(slices: Sequence[Slice]) -> NDArray[Any]:
    """Return the HU (n, H, W) of slices, each file read once where its frames follow one another."""
    planes: list[NDArray[Any]] = []
    for file, own in groupby(slices, key=lambda one: one.file):
        with naming(file), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # at what does not matter here; what does is checked
            data = imported("pydicom").dcmread(file, force=True)
            for check in CHECKS:
                check(file, data)
            planes += [_scaled(_stored(file, data, one), data, one) for one in own]
    return np.stack(planes)


def _stored(file: Path, data: Any, one: Slice) -> NDArray[np.int64]:
    """Return the values that a frame stores, of the bits that are meant for them, with their sign."""
    syntax = str(data.file_meta.TransferSyntaxUID)
    if codec := CODECS.get(syntax):
        values = _decoded(file, data, one.frame, codec)
    else:
        decoder = imported("pydicom.pixels").get_decoder(syntax)
        values = decoder.as_array(data, raw=True, index=one.frame)[0]
    if values.shape != one.shape:
        raise UnreadableScan(f"{file}: an image of shape {values.shape}, its header says {one.shape}")
    if values.dtype.kind not in "iu":
        raise UnreadableScan(f"{file}: stores {values.dtype}, expected integers")
    return _signed(values, data)


def _decoded(file: Path, data: Any, frame: int, codec: str) -> NDArray[Any]:
    import imagecodecs

    encaps, count = imported("pydicom.encaps"), int(data.get("NumberOfFrames") or 1)
    stream = encaps.get_frame(data.PixelData, frame, number_of_frames=count)
    if not stream.rstrip(b"\0").endswith(END):
        raise UnreadableScan(f"{file}: cannot be read as a scan (the end of its compressed voxels is missing)")
    decode: Callable[[bytes], NDArray[Any]] = getattr(imagecodecs, codec)
    return decode(stream)


def _signed(values: Any, data: Any) -> NDArray[np.int64]:
    # The bits above may hold an overlay, and a JPEG stream may be of the other sign than its header says.
    bits = int(data.BitsStored)
    values = np.asarray(values).astype(np.int64) & (2**bits - 1)
    return values - ((values >> (bits - 1)) << bits) if data.PixelRepresentation else values


def _scaled(stored: NDArray[np.int64], data: Any, one: Slice) -> NDArray[Any]:
    hu = stored * one.slope + one.intercept
    if (padding := data.get("PixelPaddingValue")) is not None:
        # What is outside the field of view is no denser than air, whatever number marks it.
        limits = [int(_signed(value, data)) for value in (padding, data.get("PixelPaddingRangeLimit", padding))]
        hu[(stored >= min(limits)) & (stored <= max(limits)) & (hu > AIR)] = AIR
    whole = np.rint(hu)
    return whole.astype(np.int32) if np.array_equal(hu, whole) else hu.astype(np.float32)


def _check_pixels(file: Path, data: Any) -> None:
    if "PixelData" not in data:
        raise UnreadableScan(f"{file}: cannot be read as a scan (it holds no pixel data)")
    if "TransferSyntaxUID" not in getattr(data, "file_meta", ()):  # as old tools write it
        implicit, little = data.original_encoding
        kind = "ImplicitVRLittleEndian" if implicit else "ExplicitVRLittleEndian" if little else "ExplicitVRBigEndian"
        data.file_meta = imported("pydicom").dataset.FileMetaDataset()
        data.file_meta.TransferSyntaxUID = getattr(imported("pydicom.uid"), kind)


def _check_bits(file: Path, data: Any) -> None:
    allocated, stored = int(data.BitsAllocated), int(data.BitsStored)
    high = int(data.get("HighBit", stored - 1))
    if int(data.SamplesPerPixel) != 1 or allocated not in (8, 16, 32) or not 1 < stored <= allocated:
        raise UnreadableScan(f"{file}: stores {stored} of {allocated} bits, {data.SamplesPerPixel} values a pixel")
    if high != stored - 1:
        raise UnreadableScan(f"{file}: its highest bit is {high} of {stored}, expected {stored - 1}")


def _check_size(file: Path, data: Any) -> None:
    if data.file_meta.TransferSyntaxUID.is_compressed:
        return
    frames, item = int(data.get("NumberOfFrames") or 1), int(data.BitsAllocated) // 8
    expected = frames * int(data.Rows) * int(data.Columns) * item
    if len(data.PixelData) not in (expected, expected + expected % 2):
        raise UnreadableScan(
            f"{file}: cannot be read as a scan (holds {len(data.PixelData)} bytes of voxels, "
            f"its header says {expected})"
        )


CHECKS = (_check_pixels, _check_bits, _check_size)
