"""Arrays in .npy files, whose headers say no more than there is."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def npy_map(file: Path) -> NDArray[Any]:
    """Return the array in a .npy file as a memory map.

    Raises
    ------
    ValueError
        If it is damaged, holds Python objects, which are never unpickled, or has other bytes behind it. Other errors
        are of a header that is none.
    """
    found = np.load(file, mmap_mode="r", allow_pickle=False)
    if not isinstance(found, np.memmap):
        raise ValueError("it is no .npy file")
    if (size := file.stat().st_size) != found.offset + found.nbytes:
        raise ValueError(f"it holds {size} bytes, its header says {found.offset + found.nbytes}")
    return found
