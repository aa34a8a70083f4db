"""The bytes of voxels: where they lie, and whether they are all there and as they were written."""

import bz2
import gzip
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unlikelihood.data.ct.formats import UnreadableScan

CHUNK = 2**22


def listed_files(beside: Path, entry: str, following: Sequence[str]) -> list[Path]:
    """Return the files of voxels that a header names: one, a pattern such as `a%03d.raw 1 20 1`, or a list."""
    words = entry.split()
    if words[:1] == ["LIST"]:
        names = [line.strip() for line in following if line.strip()]
    elif "%" in words[0] and len(words) >= 3:
        first, last, *step = map(int, words[1:4])
        names = [words[0] % k for k in range(first, last + 1, *step)]
    else:
        names = [entry]
    return [beside.parent / name for name in names]


def check_size(file: Path, found: int, shape: Sequence[int], item: int) -> None:
    """Raise unless `found` bytes are the voxels of `shape`, of `item` bytes each."""
    expected = math.prod(shape) * item
    if found != expected:
        size = " x ".join(map(str, shape))
        raise UnreadableScan(
            f"{file}: cannot be read as a scan (holds {found} bytes of voxels, "
            f"{size} of {item} bytes each are {expected})"
        )


def raw_size(files: Sequence[Path], skipped: int = 0) -> int:
    """Return the size in bytes of all files, without what is `skipped` of each (-1: all but the voxels at its end)."""
    return sum(file.stat().st_size - skipped for file in files)


def unpacked_size(file: Path, start: int, method: str) -> int:
    """Return how many bytes a compressed stream unpacks to, all of it read, so that its checksums are compared."""
    with file.open("rb") as content:
        content.seek(start)
        if method == "zlib":
            return _zlib_size(file, content)
        unpacked: Any = gzip.GzipFile(fileobj=content) if method == "gzip" else bz2.BZ2File(content)
        return sum(len(chunk) for chunk in iter(lambda: unpacked.read(CHUNK), b""))


def _zlib_size(file: Path, content: Any) -> int:
    stream, total = zlib.decompressobj(32 + zlib.MAX_WBITS), 0  # with the mark of zlib or that of gzip
    for chunk in iter(lambda: content.read(CHUNK), b""):
        total += len(stream.decompress(chunk))
        if stream.eof:
            return total
    raise UnreadableScan(f"{file}: cannot be read as a scan (its compressed voxels end too early)")
