"""The bytes of voxels: where they lie, and whether they are all there and as they were written."""

import bz2
import gzip
import math
import re
import zlib
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any

from unlikelihood.data.ct.formats import UnreadableScan, naming
from unlikelihood.data.walk import inside
from unlikelihood.storage.reading import check_claim, no_file

CHUNK = 2**22  # bytes
PACKED = 2**16  # which unpack to 64 MiB at most
FILES = 2**16  # that a scan is in at most
MOST = 1e6  # mm, in a header
PATTERN = re.compile(r"[^%]*%0?\d?d[^%]*")


def listed_files(beside: Path, entry: str, following: Sequence[str]) -> list[Path]:
    """Return the files of voxels that a header names: one, a pattern such as `a%03d.raw 1 20 1`, or a list.

    A header may name files of its own folder, and of those in it. A pattern has one number, as decoders print it by the
    rules of C, by which others read or write where they like.
    """
    words = entry.split()
    if words[:1] == ["LIST"]:
        names = [line.strip() for line in following if line.strip()]
    elif "%" in entry:
        if not PATTERN.fullmatch(words[0]) or len(words) < 3:
            raise UnreadableScan(f"{beside}: names its voxels by {entry!r}, expected such as 'a%03d.raw 1 20 1'")
        first, last, *step = map(int, words[1:4])
        numbers = range(first, last + 1, *step)
        names = [words[0] % k for k in numbers[: FILES + 1]]
    else:
        names = [entry]
    if not 0 < len(names) <= FILES:
        raise UnreadableScan(f"{beside}: names no file of its voxels, or more than {FILES}")
    if outside := next((name for name in names if "\0" in name or not inside(beside.parent, name)), ""):
        raise UnreadableScan(f"{beside}: names {outside!r} as its voxels, expected a file in its folder")
    return [beside.parent / name for name in names]


def check_files(header: Path, files: Sequence[Path]) -> None:
    """Raise unless all files of voxels are files."""
    for file in files:
        if reason := no_file(file):
            raise UnreadableScan(f"{header}: cannot be read as a scan ({file.name}: {reason})")


def check_axes(file: Path, axes: str, sizes: Sequence[int]) -> None:
    """Raise unless an image has as many axes as it says, and few, and something along each."""
    if not 1 <= int(axes) <= 5 or len(sizes) != int(axes) or min(sizes) < 1:
        listed = " x ".join(map(str, sizes[:6]))
        raise UnreadableScan(f"{file}: has {axes[:20]} axes, of {listed} voxels; expected 3 or up to 5, each above 0")


def check_once(file: Path, fields: Container[str], key: str) -> None:
    """Raise if a header has said a field before, which decoders take for the one or the other."""
    if key in fields:
        raise UnreadableScan(f"{file}: says its {key} twice")


def numbers_in(file: Path, name: str, text: str, count: int) -> list[float]:
    """Return the numbers in a field of a header in mm, as many as expected and none beyond a patient."""
    try:
        numbers = [float(word) for word in re.sub("[(),]", " ", text).split()]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(abs(number) <= MOST for number in numbers):
        raise UnreadableScan(f"{file}: its {name} is {text[:60]!r}, expected {count} numbers up to {MOST:g}")
    return numbers


def check_size(file: Path, found: int, shape: Sequence[int], item: int) -> None:
    """Raise unless `found` bytes are the voxels of `shape`, of `item` bytes each."""
    expected = math.prod(shape) * item
    check_claim(expected, expected)
    if found != expected:
        size = " x ".join(map(str, shape))
        raise UnreadableScan(
            f"{file}: cannot be read as a scan (holds {found} bytes of voxels, "
            f"{size} of {item} bytes each are {expected})"
        )


def raw_size(files: Sequence[Path], skipped: int = 0) -> int:
    """Return the size in bytes of all files, without what is `skipped` of each (-1: all but the voxels at its end)."""
    return sum(file.stat().st_size - skipped for file in files)


def unpacked_size(file: Path, start: int, method: str, most: int) -> int:
    """Return how many bytes a compressed stream unpacks to, all of it read, so that its checksums are compared.

    It is given up, with more than `most` bytes, where there are more.
    """
    return sum(map(len, _unpacked(file, start, method, most)))


def unpacked(file: Path, start: int, method: str, most: int) -> bytes:
    """Return what a compressed stream unpacks to, given up as by `unpacked_size`."""
    return b"".join(_unpacked(file, start, method, most))


def _unpacked(file: Path, start: int, method: str, most: int) -> Iterator[bytes]:
    with naming(file), file.open("rb") as content:
        check_claim(most, most)
        content.seek(start)
        total = 0
        for chunk in _zlib(file, content) if method == "zlib" else _stream(content, method):
            yield chunk
            total += len(chunk)
            if total > most:
                return


def _stream(content: Any, method: str) -> Iterator[bytes]:
    unpacked: Any = gzip.GzipFile(fileobj=content) if method == "gzip" else bz2.BZ2File(content)
    return iter(lambda: unpacked.read(CHUNK), b"")


def _zlib(file: Path, content: Any) -> Iterator[bytes]:
    stream = zlib.decompressobj(32 + zlib.MAX_WBITS)  # with the mark of zlib or that of gzip
    for packed in iter(lambda: content.read(PACKED), b""):
        yield stream.decompress(packed)
        if stream.eof:
            if stream.unused_data.strip(b"\0\r\n") or content.read(PACKED).strip(b"\0\r\n"):
                raise UnreadableScan(f"{file}: cannot be read as a scan (something lies behind its compressed voxels)")
            return
    raise UnreadableScan(f"{file}: cannot be read as a scan (its compressed voxels end too early)")
