"""Samples in Zarr stores."""

import json
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any
from zipfile import ZipFile, is_zipfile

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from unlikelihood.data.arrays import ArrayRows, ArraySource, channels_first, numpy_file, of_each
from unlikelihood.data.decoded import key_of
from unlikelihood.data.images import Images
from unlikelihood.data.kept import keep
from unlikelihood.data.mapped import BLOCK, WHOLE, windowed
from unlikelihood.data.npy import npy_map
from unlikelihood.data.source import cache, existing
from unlikelihood.storage.extras import needing
from unlikelihood.storage.files import allocate
from unlikelihood.storage.reading import calling, check_claim, naming, no_file

# What may be between bytes and numbers: codecs of numcodecs run what they find where they unpickle it.
CODECS = (
    "adler32", "astype", "bitround", "blosc", "bytes", "bz2", "crc32", "crc32c", "delta", "endian", "fixedscaleoffset",
    "fletcher32", "gzip", "jenkins_lookup3", "lz4", "lzma", "packbits", "quantize", "sharding_indexed", "shuffle",
    "transpose", "zlib", "zstd",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Zarr(ArraySource):
    """Images, volumes or vectors in a Zarr store of format 2 or 3, a folder or a .zip file, labelled or not.

    Chunks are read where samples lie that are asked for. Data that take more than 256 MiB as float32 are unpacked once
    into the cache, and mapped there, to be read in any order. A sample of which no chunk is stored is an error, for it
    may be lost. Samples are named "a.zarr/00012" after the store and their index.

    Further parameters are those of `ArraySource`.

    Parameters
    ----------
    array : str
        Name of the array of samples in the store; the array that the store is, or the only one in it, unless given.
    """

    array: str = ""

    @override
    def read(self) -> Images:
        rows = self.rows()
        with calling(rows.path, "samples"):
            chunked: Chunked = rows.pixels  # type: ignore[assignment]
            if not len(rows):
                raise ValueError("it holds no samples")
            if 4 * math.prod(chunked.shape) > WHOLE:
                return ArrayRows(self, rows.path, chunked.mapped(), rows.label, rows.group).read(0, len(rows))
            images = rows.read(0, len(rows))
            if not np.isfinite(images.pixels).all():
                raise ValueError("it holds intensities that are not finite")
            return images

    @override
    def rows(self) -> ArrayRows:
        path = existing("path", self.path)
        if self.window is not None:
            windowed(np.empty(0), self.window)
        with needing("zarr", "reading Zarr"):
            import zarr  # noqa: F401
        store = Store(path)
        pixels = Chunked(store, self.array or store.only(), self.channel_axis)
        label, group = (self._column(name, key, store) for name, key in (("label", self.label), ("group", self.group)))
        with calling(path, "samples"):
            columns = (of_each(name, own, len(pixels)) for name, own in (("label", label), ("group", group)))
            return ArrayRows(self, path, pixels, *columns)  # type: ignore[arg-type]

    def _column(self, parameter: str, key: str | Path | None, store: "Store") -> NDArray[Any] | None:
        if key is None:
            return None
        if Path(key).suffix == ".npy":
            return np.asarray(numpy_file(existing(parameter, key)))
        opened = store.opened(str(key))
        if opened.ndim != 1:
            raise ValueError(f"{parameter}={str(key)!r} has shape {opened.shape}, expected a value for each sample")
        with calling(f"{store.path}/{key}", "an array"):
            return np.asarray(opened[:])


class Store:
    """A folder or a .zip file with chunks and what describes them, by key.

    Parameters
    ----------
    path : Path
        The folder or the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.packed: dict[str, int] | None = None  # by key, how many bytes a .zip file stores
        if not path.is_dir():
            with naming(path, "a Zarr store"):
                if not is_zipfile(path):
                    raise ValueError("it is neither a folder nor a .zip file")
                self.archive = ZipFile(path)
                self.packed = {one.filename: one.compress_size for one in self.archive.infolist()}
                if len(self.packed) < len(self.archive.infolist()):
                    raise ValueError("it holds a name twice")
                for one in self.archive.infolist():
                    check_claim(one.compress_size, one.file_size)

    def stored(self, key: str) -> int:
        """Return how many bytes are stored under a key, 0 if nothing is; a ValueError says what is no file."""
        if self.packed is not None:
            return self.packed.get(key, 0)
        file = self.path / key
        if reason := no_file(file):
            if file.is_symlink() or reason != "is not there":
                raise ValueError(f"its {key} {reason}")
            return 0
        return file.stat().st_size

    def text(self, key: str) -> str:
        """Return a text that is stored, empty if it is not."""
        size = self.stored(key)
        if not size:
            return ""
        if size > BLOCK:
            raise ValueError(f"its {key} of {size} bytes describes no array")
        with self._open(key) as content:
            return content.read().decode()

    def check_blosc(self, key: str) -> None:
        """Raise unless what is stored is as long as its header says, behind which the codec would read on."""
        size = self.stored(key) if self.packed is None else self.archive.getinfo(key).file_size
        with self._open(key) as content:
            header = content.read(16)
        said = int.from_bytes(header[12:], "little")
        if len(header) < 16 or said != size:
            raise ValueError(f"its {key} holds {size} bytes, its header says {said}")

    def _open(self, key: str) -> Any:
        return (self.path / key).open("rb") if self.packed is None else self.archive.open(key)

    def described(self, array: str) -> Mapping[str, Any]:
        """Return what is said of an array, {} if there is none of that name."""
        start = f"{array}/" if array else ""
        for name in (f"{start}zarr.json", f"{start}.zarray"):
            found = json.loads(self.text(name) or "{}")
            if found and found.get("node_type", "array") == "array":
                return dict(found)
        return {}

    def arrays(self) -> list[str]:
        """Return the names of the arrays at the top of the store."""
        if self.packed is None:
            names = {place.name for place in self.path.iterdir() if place.is_dir()}
        else:
            names = {key.partition("/")[0] for key in self.packed if "/" in key}
        return sorted(name for name in names if self.described(name))

    def only(self) -> str:
        """Return the name of the only array, "" if the store is one."""
        with calling(self.path, "a Zarr store"):
            if self.described(""):
                return ""
            found = self.arrays()
        if len(found) != 1:
            raise ValueError(f"array='': expected one of the {len(found)} arrays in {self.path}: {', '.join(found)}")
        return found[0]

    def opened(self, array: str) -> Any:
        """Return an array, of which nothing is read yet.

        Raises
        ------
        ValueError
            If there is none of that name, or it is not one of numbers and of codecs that run nothing.
        """
        import zarr
        from zarr.storage import LocalStore, ZipStore

        with calling(f"{self.path}/{array}", "a Zarr array"):
            if ".." in Path(array).parts or not (said := self.described(array)):
                raise ValueError(f"there is no array of this name, expected one of {', '.join(self.arrays())}")
            for name in _codecs(said):
                if name.removeprefix("numcodecs.") not in CODECS:
                    raise ValueError(f"it is coded by {name}, expected one of {', '.join(CODECS)}")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                store = LocalStore(self.path, read_only=True) if self.packed is None else ZipStore(self.path, mode="r")
                found = zarr.open_array(store, path=array, mode="r", zarr_format=said["zarr_format"])
            if found.dtype.kind not in "biufU":
                raise ValueError(f"it holds values of type {found.dtype}, expected real numbers")
            return found

    def files(self) -> list[Path]:
        """Return every file of the store."""
        return sorted(self.path.rglob("*")) if self.packed is None else [self.path]


class Chunked:
    r"""Samples (n, C, \*space) or (n, F) in a Zarr array, of which a slice reads the chunks that it needs.

    Parameters
    ----------
    store : Store
        Where they lie.
    array : str
        Name of the array there.
    channel_axis : int, optional
        Axis of the channels in the array.
    """

    def __init__(self, store: Store, array: str, channel_axis: int | None) -> None:
        self.store, self.array, self.channel_axis = store, array, channel_axis
        found = self._opened
        with calling(f"{store.path}/{array}", "samples"):
            if found.dtype.kind == "U" or found.ndim < 2 or min(found.shape[1:]) < 1:
                raise ValueError(f"its shape is {found.shape} and its type {found.dtype}, expected samples of numbers")
            # An array of the shape that takes no memory.
            self.shape = channels_first(np.broadcast_to(np.zeros((), found.dtype), found.shape), channel_axis).shape
        self.dtype = found.dtype
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, index: slice) -> NDArray[Any]:
        start, stop, _ = index.indices(len(self))
        with self._named(start):
            self._check(start, stop)
            with np.errstate(all="ignore"):
                values = np.asarray(self._opened[start:stop])
        return channels_first(values.astype(values.dtype.newbyteorder("="), copy=False), self.channel_axis)

    def mapped(self) -> NDArray[Any]:
        """Return all samples, which are unpacked once into the cache, as a memory map."""
        step = max(1, BLOCK // math.prod(self.shape[1:]))

        def make(folder: Path) -> None:
            dtype = self.dtype.newbyteorder("=")
            whole = np.lib.format.open_memmap(folder / "pixels.npy", "w+", dtype, self.shape)
            allocate(folder / "pixels.npy")
            for start in range(0, len(self), step):
                whole[start : start + step] = self[start : start + step]
            whole.flush()

        files = [(str(file),) for file in self.store.files() if not file.is_dir()]
        key = key_of(files, ["zarr", self.array, self.channel_axis])
        return npy_map(keep(cache() / "decoded" / key, make) / "pixels.npy")

    @cached_property
    def _opened(self) -> Any:
        return self.store.opened(self.array)

    @cached_property
    def _outermost(self) -> str:
        """The name of the codec that is undone first."""
        said = self.store.described(self.array)
        coded = [said["compressor"]] if said.get("compressor") else said.get("codecs") or [""]
        return next(_codecs({"codecs": coded[-1:]})).removeprefix("numcodecs.")

    @contextmanager
    def _named(self, start: int) -> Iterator[None]:
        with calling(f"{self.store.path}/{start:05d}", "samples"):
            yield

    def _check(self, start: int, stop: int) -> None:
        """Raise unless chunks of every sample are stored, which may hold as many values as they claim."""
        found, prefix = self._opened, f"{self.array}/" if self.array else ""
        sizes = found.shards or found.chunks
        rest = [range(-(-length // size)) for length, size in zip(found.shape[1:], sizes[1:], strict=True)]
        for row in range(start // sizes[0], -(-stop // sizes[0])):
            keys = (f"{prefix}{found.metadata.encode_chunk_key((row, *others))}" for others in product(*rest))
            there = {key: size for key in keys if (size := self.store.stored(key))}
            for key in there if self._outermost == "blosc" else ():
                self.store.check_blosc(key)
            stored = sum(there.values())
            if not stored:
                raise ValueError(f"no chunk of it is stored (samples {row * sizes[0]} to {(row + 1) * sizes[0] - 1})")
            check_claim(stored, math.prod(sizes) * math.prod(map(len, rest)) * found.dtype.itemsize)


def _codecs(said: Any) -> Iterator[str]:
    """Yield the names of all codecs that an array is said to be coded by, at any depth."""
    coded = [said.get("compressor"), *(said.get("filters") or []), *(said.get("codecs") or [])]
    for one in (one for one in coded if one is not None):
        if isinstance(one, str):
            yield one
            continue
        yield str(one.get("id") or one.get("name"))
        inner = one.get("configuration") or {}
        yield from _codecs({"codecs": [*(inner.get("codecs") or []), *(inner.get("index_codecs") or [])]})
