"""What is made of files once and kept in the cache: whole and checked, or made again."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import file_digest
from pathlib import Path
from typing import NamedTuple

from unlikelihood.data.source import cache
from unlikelihood.storage.files import recover, replacing
from unlikelihood.storage.locks import alone

SUMS = "sums.json"  # the hash of every other file of an entry; its own time is that of the last use
# Folders of what can be made again; the rest of the cache are downloads.
MADE = {"decoded": "images of folders and arrays, decoded", "crops": "volumes and cubes of CT scans, resampled"}
LIMIT = 100.0  # GiB
IN_USE = 3600.0  # seconds after its last use in which an entry stays, as another process may be reading it


class Entry(NamedTuple):
    """An entry of the cache: its place, its bytes, and when it was last used, in seconds since the epoch."""

    place: Path
    size: int
    used: float


def keep(place: Path, make: Callable[[Path], None]) -> Path:
    """Return a folder, which is made if it is not there or no longer whole.

    Two processes that want the same folder make it once. When one is added, those that were used least recently go
    until the cache is within its `limit`.

    Parameters
    ----------
    place : Path
        The folder, named by a hash of all that it is made of, in one of the folders `MADE` of the cache.
    make : callable
        Makes the folder, given its path, and writes files there.

    Returns
    -------
    Path
        `place`.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    with alone(place):
        if not in_use(place):
            with replacing(place, lasting=False) as part:  # what a power failure leaves of it, its sums tell
                part.mkdir()
                make(part)
                seal(part)
            make_room()
    return place


def seal(folder: Path) -> None:
    """Write down the hash of every file of a folder."""
    sums = {file.name: _digest(file) for file in sorted(folder.iterdir())}
    (folder / SUMS).write_text(json.dumps(sums), encoding="utf-8")


def sealed(file: Path) -> str:
    """Return the hash of a file of a folder that was sealed."""
    return str(json.loads((file.parent / SUMS).read_text(encoding="utf-8"))[file.name])


def in_use(folder: Path) -> bool:
    """Return whether a folder is there with every byte that was sealed, and take note that it is used now."""
    try:
        sums = json.loads((folder / SUMS).read_text(encoding="utf-8"))
        found = {file.name: _digest(file) for file in folder.iterdir() if file.name != SUMS}
        whole = bool(found) and found == sums
        os.utime(folder / SUMS)
    except (OSError, ValueError):
        return False
    return whole


def limit() -> float:
    """Return the bytes that what is made may take: `$UNLIKELIHOOD_CACHE_LIMIT` in GiB, or 100 GiB."""
    given = os.environ.get("UNLIKELIHOOD_CACHE_LIMIT") or LIMIT
    try:
        size = float(given)
    except ValueError:
        size = -1.0
    if not size >= 0:
        raise ValueError(f"UNLIKELIHOOD_CACHE_LIMIT={given!r}: expected a size in GiB, 0 or more")
    return size * 2**30


def entries() -> Iterator[Entry]:
    """Yield what is kept that can be made again."""
    for kind in MADE:
        for place in sorted((cache() / kind).glob("*")):
            if place.is_dir() and not place.name.startswith("."):
                files = [file.stat() for file in place.iterdir()]
                yield Entry(place, sum(at.st_size for at in files), max((at.st_mtime for at in files), default=0.0))
            elif place.suffix == ".npy":
                yield Entry(place, place.stat().st_size, place.stat().st_mtime)


def make_room() -> list[Entry]:
    """Remove the least recently used until the cache is within its limit, and return what went."""
    known = sorted(entries(), key=lambda entry: entry.used)
    excess = sum(entry.size for entry in known) - limit()
    gone = []
    for entry in known:
        if excess <= 0 or time.time() - entry.used < IN_USE:
            break
        remove(entry)
        gone.append(entry)
        excess -= entry.size
    return gone


def remove(entry: Entry) -> None:
    """Remove an entry; an array that is mapped stays readable where it is, or on Windows stays."""
    with suppress(OSError):
        if entry.place.is_dir():
            shutil.rmtree(entry.place)
        else:
            entry.place.unlink()


def clear(kind: str) -> None:
    """Remove what can be made again from a folder of the cache, but for what another process is making."""
    for place in (cache() / kind).glob("*"):
        if place.name.endswith(".part"):
            recover(place.with_name(place.name[1:].rsplit(".", 2)[0]))
        elif place.is_dir():
            shutil.rmtree(place, ignore_errors=True)
        else:
            place.unlink(missing_ok=True)


def folder() -> Path:
    """Return the folder of the cache."""
    return cache()


def downloads() -> int:
    """Return the bytes of the cache beside what can be made again."""
    files = (file for file in cache().rglob("*") if file.is_file())
    return sum(file.stat().st_size for file in files if file.relative_to(cache()).parts[0] not in MADE)


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return file_digest(content, "blake2b").hexdigest()[:32]
