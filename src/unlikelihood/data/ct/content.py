"""Hashes of the content of files, which stand for all that was read of them."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path

from unlikelihood.storage.files import replacing
from unlikelihood.storage.reading import no_file

SETTLED = 2 * 10**9  # ns after a change, from which on another one is sure to get another time


def identity(file: Path) -> list[int]:
    """Return size, times of change in ns and number of a file: who rewrites it can forge one of these, but not all."""
    at = file.stat()
    return [at.st_size, at.st_mtime_ns, at.st_ctime_ns, at.st_ino]


def remembered(memory: Path) -> dict[str, list[object]]:
    """Return what a JSON file remembers, nothing where there is none, or it is damaged."""
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


@contextmanager
def content_hashes(memory: Path) -> Iterator[Callable[[Path], str]]:
    """Yield a function from a file to the hash of all its bytes, which remembers what it hashed in the file `memory`.

    What cannot be read has an empty hash.
    """
    known = remembered(memory)
    before = len(known), list(known.values())

    def content_hash(file: Path) -> str:
        if no_file(file):
            return ""
        try:
            now = identity(file)
            entry = known.get(str(file.resolve()), [])
            if entry[:-1] == now:
                return str(entry[-1])
            with file.open("rb") as content:
                digest = file_digest(content, "blake2b").hexdigest()[:32]
        except OSError:
            return ""
        if time.time_ns() - max(now[1:3]) > SETTLED:
            known[str(file.resolve())] = [*now, digest]
        return digest

    yield content_hash
    if (len(known), list(known.values())) != before:
        with replacing(memory) as part:
            part.write_text(json.dumps(known), encoding="utf-8")
