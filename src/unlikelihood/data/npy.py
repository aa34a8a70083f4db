"""Arrays in .npy and .npz files, whose headers say no more than there is."""

import math
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from unlikelihood.data.reading import check_claim

MAGIC = b"\x93NUMPY"
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def npy_map(file: Path) -> NDArray[Any]:
    """Return the array in a .npy file as a memory map.

    Raises
    ------
    ValueError
        If it is damaged, holds Python objects, which are never unpickled, or is of another size than it says.
    """
    with file.open("rb") as content:
        _check_size(content, file.stat().st_size)
    return np.load(file, mmap_mode="r", allow_pickle=False)


def npz_member(arrays: Any, key: str) -> NDArray[Any]:
    """Return an array of an open .npz file, of which nothing is made before its size is known to be right."""
    member = arrays.zip.getinfo(f"{key}.npy")
    check_claim(member.compress_size, member.file_size)
    with arrays.zip.open(member) as content:
        _check_size(content, member.file_size)
    return np.asarray(arrays[key])


def _check_size(content: BinaryIO, size: int) -> None:
    if content.read(len(MAGIC)) != MAGIC:
        raise ValueError("it is no array of NumPy")
    content.seek(0)
    version = np.lib.format.read_magic(content)
    if version not in HEADERS:
        raise ValueError(f"its version is {version}, expected one of {', '.join(map(str, HEADERS))}")
    shape, _, dtype = HEADERS[version](content)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are never unpickled")
    expected = content.tell() + math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or size != expected:
        raise ValueError(f"it holds {size} bytes, its header says {expected}: {dtype} of shape {shape}")
