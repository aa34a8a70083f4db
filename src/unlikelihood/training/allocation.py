"""Memory that one step frees, kept for the next."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock

# Names and numbers of glibc's malloc.h, and what the block leaves behind: where large pieces are no more given back one
# by one, the C library's own adjustment ends, so its furthest values stay.
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
INSIDE = {TRIM_THRESHOLD: -1, MMAP_MAX: 0}
AFTER = {MMAP_MAX: 65536, MMAP_THRESHOLD: 32 * 2**20, TRIM_THRESHOLD: 64 * 2**20}

_lock = Lock()
_inside = 0


def start_anew() -> None:
    """Forget what the threads of the parent of a fork were at: they are not here to come to an end."""
    global _lock, _inside
    if _inside:
        _set(AFTER)
    _lock, _inside = Lock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=start_anew)


@contextmanager
def reusing_memory() -> Iterator[None]:
    """Keep what is freed inside the block for what is asked for there, and give it back to the system at the end.

    A step of training asks for the tensors that the last one freed. glibc gives large ones back to the system and has
    it clear them anew, at up to a third of the time of a step. Elsewhere, the block changes nothing.
    """
    global _inside
    with _lock:
        _inside += 1
        if _inside == 1:
            _set(INSIDE)
    try:
        yield
    finally:
        with _lock:
            _inside = max(0, _inside - 1)  # in a fork that was made inside the block, it is 0
            if not _inside:
                _set(AFTER)
                if library := _glibc():
                    library.malloc_trim(0)


def _set(values: dict[int, int]) -> None:
    if library := _glibc():
        for name, value in values.items():
            library.mallopt(name, value)


@cache
def _glibc() -> ctypes.CDLL | None:
    """Return the C library, where it is glibc."""
    try:
        library = ctypes.CDLL(None)
        return library if library.gnu_get_libc_version and library.mallopt and library.malloc_trim else None
    except (OSError, AttributeError, TypeError):  # no such function, or a system that opens no program as a library
        return None
