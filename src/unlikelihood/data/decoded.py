"""Images decoded in parallel, once: in memory if they are few, in a map in the cache if they are many."""

import json
import math
import os
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from hashlib import blake2b, file_digest
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unlikelihood.data.ct.content import SETTLED, identity
from unlikelihood.data.kept import keep
from unlikelihood.data.mapped import WHOLE, Mapped, Stored, held
from unlikelihood.data.npy import npy_map
from unlikelihood.data.source import cache
from unlikelihood.progress import progress
from unlikelihood.storage.files import allocate, replacing
from unlikelihood.storage.reading import no_file

VERSION = 1  # of how images are decoded: those of another one are decoded again
FEW = 32  # images for each thread that are decoded before they are stored
EXACT = ("uint8", "int8", "uint16", "int16")  # types that float32 holds exactly, in fewer bytes


class Row(NamedTuple):
    """An image as it is stored (C, *space), what of it is anomalous (*space), and what must be alike in all."""

    pixels: NDArray[Any]
    mask: NDArray[np.bool_] | None
    kind: tuple[Any, ...]


class Decoded(NamedTuple):
    """Images, their masks, which of the files they are of, and why the others are left out."""

    pixels: Any  # an array or `Mapped`
    mask: NDArray[np.bool_] | None
    kept: NDArray[np.intp]
    failures: list[str]


def decode(
    n: int,
    read: Callable[[int], Row],
    differs: Callable[[int, tuple[Any, ...], tuple[Any, ...]], str],
    files: Sequence[tuple[str, ...]],
    settings: Sequence[Any],
    *,
    window_of: Callable[[np.dtype[Any]], tuple[float, float] | None],
    skip: bool,
) -> Decoded:
    """Decode images, by as many threads as there are cores.

    Up to 256 MiB in float32 are decoded into memory. More are decoded into a folder of the cache, in the type of the
    files if `float32` holds that exactly, and mapped; it is named by a hash of every byte of the files and of the
    settings.

    Parameters
    ----------
    n : int
        How many images there are.
    read : callable
        Returns the image of a number; a ValueError says that it cannot be read.
    differs : callable
        Says what is wrong with an image of another kind than the first: given its number and both kinds.
    files : sequence of tuples of str
        The files that they are in: for each what belongs to it, or each that holds several.
    settings : sequence
        Everything else that decides what is decoded, as plain values.
    window_of : callable
        The stored intensities that become 0 and 1, for images of a type; None leaves all.
    skip : bool
        Leave out what cannot be read, or differs from the first, where otherwise the first such is an error.

    Returns
    -------
    Decoded
    """
    rows = _alike(read, differs, n, skip=skip)
    with closing(rows), warnings.catch_warnings(), progress("Reading images", total=n) as update:
        # At what does not matter; what does is checked. Threads would not restore the filters that they set.
        warnings.simplefilter("ignore")
        failures: list[str] = []
        for row in rows:
            if isinstance(row, Row):
                break
            failures.append(row)
            update()
        else:
            return Decoded(np.empty(0, np.float32), None, np.empty(0, np.intp), failures)
        whole = chain(failures, [row], rows)
        window = window_of(row.pixels.dtype)
        if n * row.pixels.size * 4 <= WHOLE:
            pixels = np.empty((n, *row.pixels.shape), row.pixels.dtype)
            mask = None if row.mask is None else np.empty((n, *row.mask.shape), bool)
            kept, failures = _fill(whole, pixels, mask, update)
            some = held(Mapped([Stored(pixels, window)]).choose(slice(len(kept))))
            return Decoded(some, None if mask is None else mask[: len(kept)], kept, failures)

        def make(folder: Path) -> None:
            shape = (n, *row.pixels.shape)
            pixels = np.lib.format.open_memmap(folder / "pixels.npy", "w+", _storable(row.pixels.dtype), shape)
            mask = None
            if row.mask is not None:
                mask = np.lib.format.open_memmap(folder / "mask.npy", "w+", bool, (n, *row.mask.shape))
            for file in folder.glob("*.npy"):
                allocate(file)
            kept, failures = _fill(whole, pixels, mask, update)
            if _seen(files) != before:
                raise ValueError("files have changed while they were read: read them again")
            np.save(folder / "kept.npy", kept)
            (folder / "failures.json").write_text(json.dumps(failures), encoding="utf-8")

        before = _seen(files)
        place = keep(cache() / "decoded" / key_of(files, [VERSION, *settings], before), make)
    kept = np.array(npy_map(place / "kept.npy"))
    failures = json.loads((place / "failures.json").read_text(encoding="utf-8"))
    pixels = npy_map(place / "pixels.npy")[: len(kept)]
    masks = place / "mask.npy"
    mask = npy_map(masks)[: len(kept)] if masks.is_file() else None
    return Decoded(Mapped([Stored(pixels, window)]), mask, kept, failures)


def _alike(read: Callable[[int], Row], differs: Callable[..., str], n: int, *, skip: bool) -> Generator[Row | str]:
    """Yield images in order, and for those that are left out the reason."""

    def attempt(number: int) -> Row | ValueError:
        try:
            return read(number)
        except ValueError as error:
            return error

    first: tuple[Any, ...] | None = None
    # The first alone, for what it says of their size may spare decoding the others.
    for number, row in enumerate(chain(map(attempt, range(min(n, 1))), in_threads(attempt, range(1, n)))):
        if isinstance(row, Row):
            first = first or row.kind
            if row.kind == first:
                yield row
                continue
            row = ValueError(differs(number, row.kind, first))
        if not skip:
            raise row
        yield str(row)


def in_threads(function: Callable[[Any], Any], values: Sequence[Any]) -> Iterator[Any]:
    """Yield what a function makes of values, in order, by a thread for each core; the decoders let others run."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as pool:
        # Some at a time, so that what is decoded does not pile up; in a run for each thread, as handing over costs.
        for start in range(0, len(values), FEW * cores):
            some = values[start : start + FEW * cores]
            length = math.ceil(len(some) / cores)
            runs = [some[first : first + length] for first in range(0, len(some), length)]
            for done in pool.map(lambda run: [function(value) for value in run], runs):
                yield from done


def _fill(
    rows: Iterator[Row | str], pixels: NDArray[Any], mask: NDArray[np.bool_] | None, update: Callable[..., None]
) -> tuple[NDArray[np.intp], list[str]]:
    kept: list[int] = []
    failures: list[str] = []
    for number, row in enumerate(rows):
        if isinstance(row, Row):
            pixels[len(kept)] = row.pixels
            if mask is not None:
                mask[len(kept)] = row.mask
            kept.append(number)
        else:
            failures.append(row)
        update()
    return np.array(kept, np.intp), failures


def _storable(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.uint8) if dtype.kind == "b" else dtype if dtype.name in EXACT else np.dtype(np.float32)


def _seen(files: Sequence[tuple[str, ...]]) -> tuple[str, int]:
    """Return a hash of sizes, times and numbers of files, and their last change in ns."""
    digest, latest = blake2b(digest_size=16), 0
    for file in chain.from_iterable(files):
        now = [0, 0, 0, 0] if no_file(Path(file)) else identity(Path(file))
        latest = max(latest, *now[1:3])
        digest.update(json.dumps([os.path.abspath(file), now]).encode())
    return digest.hexdigest(), latest


def key_of(files: Sequence[tuple[str, ...]], settings: Sequence[Any], seen: tuple[str, int] | None = None) -> str:
    """Return a hash of every byte of the files, which is remembered until one of them changes, and of settings."""
    seen = seen or _seen(files)
    memory = cache() / "decoded" / f"{seen[0]}.content"
    if memory.is_file():
        content = memory.read_text(encoding="utf-8")
    else:
        digest = blake2b(digest_size=16)
        for own in in_threads(_content, files):
            digest.update(own)
        content = digest.hexdigest()
        if time.time_ns() - seen[1] > SETTLED:
            with replacing(memory) as part:
                part.write_text(content, encoding="utf-8")
    return blake2b(json.dumps([content, *settings]).encode(), digest_size=16).hexdigest()


def _content(files: tuple[str, ...]) -> bytes:
    # The suffix too, for it decides which decoder reads a file.
    found = []
    for file in map(Path, files):
        if no_file(file):
            found.append((file.suffix.lower(), ""))
            continue
        with file.open("rb") as content:
            found.append((file.suffix.lower(), file_digest(content, "blake2b").hexdigest()))
    return json.dumps(found).encode()
