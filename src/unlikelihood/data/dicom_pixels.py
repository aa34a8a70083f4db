"""What the pixels of a DICOM image store, decoded in full or refused."""

import struct
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlikelihood.storage.reading import check_claim

JPEG = "1.2.840.10008.1.2.4."
CODECS = {  # by transfer syntax; what is not here, pydicom reads itself
    **dict.fromkeys([f"{JPEG}50", f"{JPEG}51"], "jpeg_decode"),
    **dict.fromkeys([f"{JPEG}57", f"{JPEG}70"], "ljpeg_decode"),
    **dict.fromkeys([f"{JPEG}80", f"{JPEG}81"], "jpegls_decode"),
    **dict.fromkeys([f"{JPEG}90", f"{JPEG}91"], "jpeg2k_decode"),
    "1.2.840.10008.1.2.5": "dicomrle_decode",
    **dict.fromkeys([f"{JPEG}201", f"{JPEG}202", f"{JPEG}203"], "htj2k_decode"),
}
RLE_HEAD = 64  # bytes
END = b"\xff\xd9"  # of a JPEG stream of any kind


def stored_values(data: Any, frame: int = 0) -> NDArray[np.signedinteger]:
    """Return the values (H, W) that a grey frame stores, of the bits that are meant for them, with their sign.

    Raises
    ------
    ValueError
        If they are not of the size that the header says, or no integers, or their compressed stream has no end.
        Other errors are the decoder's.
    """
    from pydicom.pixels import get_decoder

    for check in CHECKS:
        check(data)
    syntax = data.file_meta.TransferSyntaxUID
    if codec := CODECS.get(str(syntax)):
        values = _decoded(data, frame, codec)
    else:
        values = get_decoder(syntax).as_array(data, raw=True, index=frame)[0]
    shape = int(data.Rows), int(data.Columns)
    if values.shape != shape:
        raise ValueError(f"an image of shape {values.shape}, its header says {shape}")
    if values.dtype.kind not in "iu":
        raise ValueError(f"stores {values.dtype}, expected integers")
    bits = int(data.BitsStored)
    if codec and not -(2 ** (bits - 1)) <= int(values.min()) <= int(values.max()) < 2**bits:
        raise ValueError(f"its compressed voxels are {values.min()} to {values.max()}, which {bits} bits do not hold")
    return signed(values, data)


def signed(values: Any, data: Any) -> NDArray[np.signedinteger]:
    """Return values with the sign that the header gives them."""
    # The bits above may hold an overlay, and a JPEG stream may be of the other sign than its header says.
    bits = int(data.BitsStored)
    values = np.asarray(values).astype(np.int32 if bits < 31 else np.int64) & (2**bits - 1)
    return values - ((values >> (bits - 1)) << bits) if data.PixelRepresentation else values


def _decoded(data: Any, frame: int, codec: str) -> NDArray[Any]:
    import imagecodecs
    from pydicom.encaps import get_frame

    stream = get_frame(data.PixelData, frame, number_of_frames=int(data.get("NumberOfFrames") or 1))
    if codec == "dicomrle_decode":
        dtype = np.dtype(f"<u{int(data.BitsAllocated) // 8}")
        _check_segments(stream, dtype.itemsize)
        found = imagecodecs.dicomrle_decode(stream, dtype)
        if len(found) != int(data.Rows) * int(data.Columns) * dtype.itemsize:
            raise ValueError(f"its runs make {len(found)} bytes, its header says {data.Rows} x {data.Columns} pixels")
        return np.frombuffer(found, dtype).reshape(int(data.Rows), int(data.Columns))
    if not stream.rstrip(b"\0\xff").endswith(END):
        raise ValueError("the end of its compressed voxels is missing")
    decode: Callable[[bytes], NDArray[Any]] = getattr(imagecodecs, codec)
    return decode(stream)


def _check_segments(stream: bytes, expected: int) -> None:
    """Raise unless the head of a run-length coded frame has a segment for each byte of a value, all inside the frame.

    The decoder would read wherever the head says (PS3.5, G.5).
    """
    head = stream[:RLE_HEAD].ljust(RLE_HEAD, b"\0")
    segments, *starts = struct.unpack(f"<{RLE_HEAD // 4}I", head)
    bounds = [RLE_HEAD - 1, *starts[:expected], len(stream)]
    if segments != expected or any(start >= stop for start, stop in pairwise(bounds)):
        raise ValueError(f"its head says {segments} segments from {bounds[1:-1]}, of {expected} in {len(stream)} bytes")


def _check_pixels(data: Any) -> None:
    from pydicom import uid
    from pydicom.dataset import FileMetaDataset

    if "PixelData" not in data:
        raise ValueError("it holds no pixel data")
    if "TransferSyntaxUID" not in getattr(data, "file_meta", ()):  # as old tools write it
        implicit, little = data.original_encoding
        kind = "ImplicitVRLittleEndian" if implicit else "ExplicitVRLittleEndian" if little else "ExplicitVRBigEndian"
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = getattr(uid, kind)


def _check_bits(data: Any) -> None:
    allocated, stored = int(data.BitsAllocated), int(data.BitsStored)
    high, sign = int(data.get("HighBit", stored - 1)), int(data.PixelRepresentation)
    if sign not in (0, 1):
        raise ValueError(f"its PixelRepresentation is {sign}, expected 0 or 1")
    if int(data.SamplesPerPixel) != 1 or allocated not in (8, 16, 32) or not 1 < stored <= allocated:
        raise ValueError(f"stores {stored} of {allocated} bits, {data.SamplesPerPixel} values a pixel")
    if high != stored - 1:
        raise ValueError(f"its highest bit is {high} of {stored}, expected {stored - 1}")


def _check_size(data: Any) -> None:
    frames, item = int(data.get("NumberOfFrames") or 1), int(data.BitsAllocated) // 8
    expected = frames * int(data.Rows) * int(data.Columns) * item
    if expected <= 0:
        raise ValueError(f"{frames} frames of {data.Rows} x {data.Columns}, expected at least one pixel")
    if data.file_meta.TransferSyntaxUID.is_compressed:
        check_claim(len(data.PixelData), expected)
    elif len(data.PixelData) not in (expected, expected + expected % 2):
        raise ValueError(f"holds {len(data.PixelData)} bytes of voxels, its header says {expected}")


CHECKS = (_check_pixels, _check_bits, _check_size)
