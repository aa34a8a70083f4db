"""Image files, with every bit they have, upright, and without what only their display needs."""

import math
import os
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import imagecodecs
import numpy as np
import simplejpeg
import tifffile
from numpy.typing import NDArray
from PIL import Image

from unlikelihood.data.dicom_image import has_preamble, read_dicom
from unlikelihood.data.npy import npy_array, size_of
from unlikelihood.storage.reading import check_claim, naming

ORIENTATION = 274  # a tag of TIFF, which EXIF is
# What shows a stored image (H, W, …) upright, by the tag's value; 1 is upright already.
UPRIGHT: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored),
}
DEFLATED = (8, 32946)
BILEVEL = (2, 3, 4)  # the compressions of TIFF that are for images of one bit
# By how a TIFF begins: the numbers that lead to a page and that count its tags, and the bytes of a tag.
PAGES = {
    mark: (f"{order}{offset}", f"{order}{count}", tag)
    for mark, order, offset, count, tag in (
        (b"II*\0", "<", "I", "H", 12),
        (b"MM\0*", ">", "I", "H", 12),
        (b"II+\0", "<", "Q", "Q", 20),
        (b"MM\0+", ">", "Q", "Q", 20),
    )
}
BEGINNINGS = {
    rb"\x89PNG\r\n": ".png",
    rb"\xff\xd8\xff": ".jpg",
    rb"II[*+]\0|MM\0[*+]": ".tif",
    rb"RIFF.{4}WEBP": ".webp",
    rb"BM": ".bmp",
    rb"GIF8": ".gif",
    rb"\0\0\0\x0cjP|\xff\x4f\xff\x51": ".jp2",
    rb"\x93NUMPY": ".npy",
    rb".{128}DICM": ".dcm",
}
STACKS = {f"{depth}{plane}" for depth in "ZIQ" for plane in ("YX", "YXS")}  # axes of TIFF files of several pages


class Decoded(NamedTuple):
    """What a decoder gives: an array (H, W), (H, W, C), (D, H, W, C), how to turn it, and whether C ends in alpha."""

    image: NDArray[Any]
    orientation: int = 1
    alpha: bool = False


def is_image(file: Path) -> bool:
    """Return whether a file is an image by its suffix, or DICOM by its content, whatever its name."""
    return file.suffix.lower() in READERS or has_preamble(file)


def is_dicom(file: Path) -> bool:
    """Return whether a file would be read as DICOM."""
    return READERS.get(file.suffix.lower(), _dicom) is _dicom


def read_image(file: Path, background: float | None = None) -> NDArray[Any]:
    r"""Read an image or a volume, turned as its EXIF orientation says.

    Parameters
    ----------
    file : Path
        The file.
    background : float, optional
        Intensity of the background where the image is transparent, from 0 (black) to 1 (white).

    Returns
    -------
    ndarray of shape (C, \*space)
        Intensities as they are stored, in the type of the file; of DICOM as they are displayed, float32 in [0, 1].

    Raises
    ------
    Unreadable
        If it is not a whole image, or holds more than one; or is transparent and there is no background.
    """
    with naming(file, "an image"), file.open("rb") as content:
        return image_in(content, file.suffix, background)


def image_in(content: BinaryIO, suffix: str, background: float | None = None) -> NDArray[Any]:
    """Read an image as `read_image` does, out of an open file or the memory.

    Parameters
    ----------
    content : BinaryIO
        What is read, from its beginning.
    suffix : str
        Which format it is in, such as ".png".
    background : float, optional
        As for `read_image`.
    """
    image, orientation, alpha = READERS.get(suffix.lower(), _dicom)(content)
    check_values(image)
    image = image[..., None] if image.ndim == 2 else image
    if orientation in UPRIGHT:
        depth_last = np.moveaxis(image, 0, -1) if image.ndim == 4 else image
        upright = UPRIGHT[orientation](depth_last)
        image = np.moveaxis(upright, -1, 0) if image.ndim == 4 else upright
    if alpha:
        image = _opaque(image, background)
    return np.moveaxis(image, -1, 0).astype(image.dtype.newbyteorder("="), copy=False)


def suffix_of(content: bytes) -> str:
    """Return the suffix that goes with how an encoded image begins.

    Raises
    ------
    ValueError
        If it begins as none of the formats that are read.
    """
    known = (suffix for beginning, suffix in BEGINNINGS.items() if re.match(beginning, content, re.DOTALL))
    if suffix := next(known, ""):
        return suffix
    raise ValueError(
        f"it begins with {content[:8]!r}, expected an image: {', '.join(dict.fromkeys(BEGINNINGS.values()))}"
    )


def check_values(image: NDArray[Any]) -> None:
    """Raise a ValueError unless the values of an image are real numbers that float32 can hold, one at least."""
    if image.dtype.kind not in "buif":
        raise ValueError(f"it holds values of type {image.dtype}, expected real numbers")
    if not image.size:
        raise ValueError(f"its shape is {image.shape}, expected at least one pixel")
    if image.dtype.kind == "f" and not np.abs(image).max() <= np.finfo(np.float32).max:
        raise ValueError("it holds intensities that are not finite in 32 bits")


def _opaque(image: NDArray[Any], background: float | None) -> NDArray[Any]:
    colours, alpha = image[..., :-1], image[..., -1:]
    full = np.iinfo(image.dtype).max if image.dtype.kind in "iu" else 1
    if (alpha == full).all():
        return colours
    if background is None:
        raise ValueError("it is transparent in places; background=0 puts it on black, background=1 on white")
    share = alpha / full
    mixed = colours * share + background * full * (1 - share)
    return (np.rint(mixed) if image.dtype.kind in "iu" else mixed).astype(image.dtype)


def _png(file: BinaryIO) -> Decoded:
    content = file.read()
    width, height, depth = struct.unpack_from(">IIB", content, 16)
    check_claim(len(content), width * height * depth // 8)
    exif = content.partition(b"IDAT")[0].partition(b"eXIf")[2]
    image = imagecodecs.png_decode(content)
    return Decoded(image, _exif_orientation(exif), alpha=image.ndim == 3 and image.shape[-1] in (2, 4))


def _jpeg(file: BinaryIO) -> Decoded:
    content = file.read()
    height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
    check_claim(len(content), height * width)
    if colours in ("CMYK", "YCCK"):
        raise ValueError(f"its colours are printing inks, {colours}; expected grey or RGB")
    # Other decoders fill up what is missing or damaged, and go on.
    image = simplejpeg.decode_jpeg(content, "GRAY" if colours == "Gray" else "RGB", strict=True)
    return Decoded(image, _exif_orientation(content.partition(b"Exif\0\0")[2]))


def _jpeg2000(file: BinaryIO) -> Decoded:
    content = file.read()
    with Image.open(BytesIO(content), formats=["JPEG2000"]) as opened:
        check_claim(len(content), opened.width * opened.height)
    image = imagecodecs.jpeg2k_decode(content)
    return Decoded(image, alpha=image.ndim == 3 and image.shape[-1] in (2, 4))


def _tiff(file: BinaryIO) -> Decoded:
    _check_pages(file)
    file.seek(0)
    with tifffile.TiffFile(file) as content:
        page = content.pages.first
        axes = content.series[0].axes
        if len(content.series) > 1 or axes not in ("YX", "YXS", "SYX", "CYX", *STACKS):
            raise ValueError(
                f"{len(content.series)} image(s) with axes {axes}, expected one, grey or in colour, or one stack"
            )
        if page.photometric not in (
            tifffile.PHOTOMETRIC.MINISBLACK,
            tifffile.PHOTOMETRIC.RGB,
            tifffile.PHOTOMETRIC.YCBCR,
        ):
            raise ValueError(f"its intensities are coded ({page.photometric!r}), expected plain ones")
        extra = [int(kind) for kind in page.extrasamples]
        if extra and max(extra) == 0 and page.photometric == tifffile.PHOTOMETRIC.RGB:
            raise ValueError("it has a channel beside its colours that is called neither alpha nor anything else")
        for check in (_check_coding, _check_strips):
            check(file, content.series[0])
        if 1 in extra:
            raise ValueError("its colours are stored multiplied by alpha; expected them as they are")
        image, orientation = content.asarray(), int(page.tags.valueof(ORIENTATION, default=1))
    if axes in ("SYX", "CYX"):
        image = np.moveaxis(image, 0, -1)
    elif axes in STACKS and axes[-1] != "S":
        image = image[..., None]
    return Decoded(image, orientation, alpha=2 in extra)


def _check_pages(content: BinaryIO) -> None:
    """Refuse pages that lead to one another in a circle, which the decoder would follow without an end."""
    size, known = size_of(content), set[int]()
    offset, count, tag = PAGES.get(content.read(4), ("", "", 0))
    if not offset:
        return  # as the decoder will say
    content.seek(struct.calcsize(offset))  # in a BigTIFF the sizes of numbers come first
    while 0 < (page := _next(content, offset)) < size:
        if page in known:
            raise ValueError("its pages lead to one another in a circle")
        known.add(page)
        content.seek(page)
        content.seek(min(size, _next(content, count) * tag), os.SEEK_CUR)


def _next(content: BinaryIO, form: str) -> int:
    """Return the next number in a file, 0 at its end."""
    found = content.read(struct.calcsize(form))
    return int(struct.unpack(form, found)[0]) if len(found) == struct.calcsize(form) else 0


def _check_coding(file: BinaryIO, series: Any) -> None:
    page = series.pages[0]
    bits = page.bitspersample
    if bits not in (1, 2, 4, 8, 10, 12, 14, 16, 24, 32, 64) or (page.compression in BILEVEL and bits != 1):
        raise ValueError(f"it stores {bits} bits a value, by {page.compression!r}")


def _check_strips(file: BinaryIO, series: Any) -> None:
    size = size_of(file)
    check_claim(size, series.size * series.dtype.itemsize)
    for page in (one for one in series.pages if one is not None):
        counts, starts, like = page.databytecounts, page.dataoffsets, page.keyframe
        if 0 in counts or 0 in starts:
            raise ValueError("some of its strips or tiles are not there")  # which would be filled with zeros
        if not len(counts) == len(starts) == math.prod(like.chunked):
            raise ValueError(f"it has {len(counts)} strips or tiles, its header says {math.prod(like.chunked)}")
        if max(map(sum, zip(starts, counts, strict=True))) > size:
            raise ValueError("some of its strips or tiles lie beyond its end")
        row = -(-math.prod(like.chunks[1:]) * like.bitspersample // 8)
        if like.compression in DEFLATED:
            _check_deflated(file, starts, counts, like.chunks[0] * row)
        if like.compression == tifffile.COMPRESSION.NONE and like.photometric != tifffile.PHOTOMETRIC.YCBCR:
            expected = math.prod(like.chunked) * like.chunks[0] * row  # if the last strip is as long as the others
            planes = like.samplesperpixel if like.planarconfig == tifffile.PLANARCONFIG.SEPARATE else 1
            lacking = 0 if like.is_tiled else -like.imagelength % like.chunks[0] * row * planes
            if not expected - lacking <= sum(counts) <= expected:
                raise ValueError(f"its strips hold {sum(counts)} bytes, its header says {expected}")


def _check_deflated(content: BinaryIO, starts: Sequence[int], counts: Sequence[int], most: int) -> None:
    for start, count in zip(starts, counts, strict=True):
        content.seek(start)
        if len(zlib.decompressobj().decompress(content.read(count), most + 1)) > most:
            raise ValueError(f"a strip or tile of it holds more than the {most} bytes that its header says")


def _check_bitmap(header: bytes, size: int) -> None:
    start, more = struct.unpack_from("<II", header, 10)
    if more < 40:
        return  # of an older kind
    width, height, bits, packed = struct.unpack_from("<ii2xHI", header, 18)
    expected = start + (width * bits + 31) // 32 * 4 * abs(height)
    most = expected + 3 if more == 40 else size  # later ones may have a profile behind
    if start < 14 + more or (not packed and not expected <= size <= most):
        raise ValueError(f"it holds {size} bytes, its header says {expected}")


def _pillow(form: str, file: BinaryIO) -> Decoded:
    header, size = file.read(34), size_of(file)
    with Image.open(file, formats=[form]) as opened:  # the first frame, where there are several
        check_claim(size, opened.width * opened.height)
        if opened.tile and opened.tile[0][1] != (0, 0, *opened.size):
            raise ValueError(f"its first frame covers {opened.tile[0][1]} of {opened.size} pixels")
        if opened.format == "BMP":
            _check_bitmap(header, size)
        opened.load()
        transparent = opened.has_transparency_data
        colours = "L" if opened.mode in ("1", "L", "LA") else "RGB"
        image = np.asarray(opened.convert(f"{colours}A" if transparent else colours))
        return Decoded(image, opened.getexif().get(ORIENTATION, 1), transparent)


def _npy(file: BinaryIO) -> Decoded:
    image = npy_array(file)
    if image.ndim == 2 or (image.ndim == 3 and image.shape[-1] == 3):
        return Decoded(image)
    if image.ndim == 3 and min(image.shape[0], image.shape[-1]) > 4:
        return Decoded(image[..., None])
    raise ValueError(
        f"its shape is {image.shape}, expected (H, W), (H, W, 3) or more than 4 slices of a volume (D, H, W)"
    )


def _dicom(file: BinaryIO) -> Decoded:
    return Decoded(read_dicom(file))


def _exif_orientation(exif: bytes) -> int:
    if not exif:
        return 1
    order = "<" if exif.startswith(b"II") else ">"
    (start,) = struct.unpack_from(f"{order}I", exif, 4)
    (entries,) = struct.unpack_from(f"{order}H", exif, start)
    tags = (struct.unpack_from(f"{order}H6xH", exif, start + 2 + 12 * k) for k in range(entries))
    return next((value for tag, value in tags if tag == ORIENTATION), 1)


READERS: dict[str, Callable[[BinaryIO], Decoded]] = {
    **dict.fromkeys((".png",), _png),
    **dict.fromkeys((".jpg", ".jpeg"), _jpeg),
    **dict.fromkeys((".tif", ".tiff"), _tiff),
    **{f".{form.lower()}": partial(_pillow, form) for form in ("WEBP", "BMP", "GIF")},
    **dict.fromkeys((".jp2", ".j2k", ".jpx"), _jpeg2000),
    **dict.fromkeys((".npy",), _npy),
    **dict.fromkeys((".dcm", ".dicom"), _dicom),
}
