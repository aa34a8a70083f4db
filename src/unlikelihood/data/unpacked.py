"""Compressed files that are unpacked once, into the cache, where they can be mapped."""

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from unlikelihood.data.decoded import key_of
from unlikelihood.data.kept import keep
from unlikelihood.data.source import cache

CHUNK = 2**20  # bytes


def unpacked(path: Path, name: str, opened: Callable[[], Any]) -> Path:
    """Return a file in the cache with what is packed in another.

    Parameters
    ----------
    path : Path
        The packed file, of which every byte counts.
    name : str
        What of it is unpacked.
    opened : callable
        Opens that, as a binary file.

    Returns
    -------
    Path
        The unpacked file. If it cannot be read to its end, there is none, and the error is passed on.
    """

    def make(folder: Path) -> None:
        with closing(opened()) as packed, (folder / "content").open("wb") as file:
            shutil.copyfileobj(packed, file, CHUNK)

    return keep(cache() / "decoded" / key_of([(str(path),)], [name]), make) / "content"
