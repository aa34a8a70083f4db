"""PNG, JPEG and TIFF files, with every bit they have, upright."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

ORIENTATION = 274  # a tag of TIFF, which EXIF is
# What shows a stored image (H, W, C) upright, by the tag's value; 1 is upright already.
UPRIGHT: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored),
}


def read_image(file: Path) -> NDArray[Any]:
    """Read a PNG, JPEG or TIFF image, turned as its EXIF orientation says.

    Parameters
    ----------
    file : Path
        The file.

    Returns
    -------
    ndarray of shape (C, H, W)
        Intensities as they are stored, in the type of the file.

    Raises
    ------
    ValueError
        If it is not a whole image of these kinds, or holds more than one; the message names the file.
    """
    try:
        image, orientation = READERS[file.suffix.lower()](file)
    except Exception as error:  # the decoders of damaged files raise all kinds
        raise ValueError(f"{file}: cannot be read as an image ({type(error).__name__}: {error})") from error
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise ValueError(f"{file}: holds intensities that are not finite")
    upright = UPRIGHT[orientation](image) if orientation in UPRIGHT else image
    return np.moveaxis(upright, -1, 0).astype(image.dtype.newbyteorder("="), copy=False)


def _png(file: Path) -> tuple[NDArray[Any], int]:
    content = file.read_bytes()
    exif = content.partition(b"IDAT")[0].partition(b"eXIf")[2]
    return _with_channels(imagecodecs.png_decode(content)), _exif_orientation(exif)


def _jpeg(file: Path) -> tuple[NDArray[Any], int]:
    content = file.read_bytes()
    # The decoder fills what is missing with grey; so look for the end mark after the last start of a scan.
    if content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda"):
        raise ValueError("it ends before its end mark")
    return _with_channels(imagecodecs.jpeg_decode(content)), _exif_orientation(content.partition(b"Exif\0\0")[2])


def _tiff(file: Path) -> tuple[NDArray[Any], int]:
    with tifffile.TiffFile(file) as content:
        page = content.pages.first
        axes = content.series[0].axes
        if len(content.series) > 1 or axes not in ("YX", "YXS", "SYX", "CYX"):
            raise ValueError(f"{len(content.series)} image(s) with axes {axes}, expected one, grey or in colour")
        if page.photometric in (tifffile.PHOTOMETRIC.PALETTE, tifffile.PHOTOMETRIC.MINISWHITE):
            raise ValueError(f"its intensities are coded ({page.photometric!r}), expected plain ones")
        image, orientation = content.asarray(), int(page.tags.valueof(ORIENTATION, default=1))
    return np.moveaxis(image, 0, -1) if axes in ("SYX", "CYX") else _with_channels(image), orientation


def _exif_orientation(exif: bytes) -> int:
    if not exif:
        return 1
    order = "<" if exif.startswith(b"II") else ">"
    (start,) = struct.unpack_from(f"{order}I", exif, 4)
    (entries,) = struct.unpack_from(f"{order}H", exif, start)
    tags = (struct.unpack_from(f"{order}H6xH", exif, start + 2 + 12 * k) for k in range(entries))
    return next((value for tag, value in tags if tag == ORIENTATION), 1)


def _with_channels(image: NDArray[Any]) -> NDArray[Any]:
    return image[..., None] if image.ndim == 2 else image


READERS = {".png": _png, ".jpg": _jpeg, ".jpeg": _jpeg, ".tif": _tiff, ".tiff": _tiff}
