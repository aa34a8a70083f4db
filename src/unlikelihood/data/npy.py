"""Arrays in .npy and .npz files, whose headers say no more than there is."""

import math
import os
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from unlikelihood.storage.reading import check_claim

MAGIC = b"\x93NUMPY"
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_parsing = Lock()  # Python 3.11 fails now and then where two threads parse (python/cpython#106905)


def npy_map(file: Path) -> NDArray[Any]:
    """Return the array in a .npy file as a memory map.

    Raises
    ------
    ValueError
        If it is damaged, holds Python objects, which are never unpickled, or is of another size than it says.
    """
    with file.open("rb") as content:
        return npy_array(content)


def npy_array(content: BinaryIO) -> NDArray[Any]:
    """Return the array in an open .npy file as a memory map, or that in the memory where it is, as `npy_map` does."""
    shape, by_columns, dtype = _header(content, size_of(content))
    if isinstance(content, BytesIO):
        return np.ndarray(shape, dtype, content.getvalue(), content.tell(), order="F" if by_columns else "C")
    return np.memmap(content, dtype, "r", content.tell(), shape, "F" if by_columns else "C")


def size_of(content: BinaryIO) -> int:
    """Return the bytes of an open file, and go back to its beginning."""
    size = content.seek(0, os.SEEK_END)
    content.seek(0)
    return size


def check_member(arrays: Any, name: str) -> int:
    """Return the bytes of an array in an open .npz file, if its header says as many, before any is unpacked."""
    member = arrays.zip.getinfo(name)
    check_claim(member.compress_size, member.file_size)
    with arrays.zip.open(member) as content:
        _header(content, member.file_size)
    return int(member.file_size)


def _header(content: BinaryIO, size: int) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, order and type of an array, if it has the `size` that they say; what follows is the array."""
    if content.read(len(MAGIC)) != MAGIC:
        raise ValueError("it is no array of NumPy")
    content.seek(0)
    version = np.lib.format.read_magic(content)
    if version not in HEADERS:
        raise ValueError(f"its version is {version}, expected one of {', '.join(map(str, HEADERS))}")
    with _parsing:
        shape, by_columns, dtype = HEADERS[version](content)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are never unpickled")
    expected = content.tell() + math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or size != expected:
        raise ValueError(f"it holds {size} bytes, its header says {expected}: {dtype} of shape {shape}")
    return shape, by_columns, dtype
