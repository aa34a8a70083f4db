"""Samples in WebDataset shards: tar archives, in which the files of a sample have one name and several suffixes."""

import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from unlikelihood.data.decoded import Row
from unlikelihood.data.image_files import READERS
from unlikelihood.data.packed_source import PackedRows, PackedSource, among
from unlikelihood.storage.reading import calling, naming, printable

LABEL = "cls"
LONGEST = 1000  # bytes of a label
CHUNK = 2**20  # bytes


@dataclass(frozen=True, kw_only=True)
class WebDataset(PackedSource):
    """Images in WebDataset shards, labelled or not: plain .tar archives, which are not unpacked.

    The files of a sample have the same path up to the first dot of their name, and a suffix each. Its image is read as
    `Folder` reads an image file, its label is what `.cls` says; other files are not looked at. The headers of all
    shards are read once, samples where they lie. They are named "a.tar/path/name" after shard and path.

    Further parameters are those of `PackedSource`.

    Parameters
    ----------
    image : str, optional
        The suffix of the images, such as "png" or "left.png". Unless given, that of an image format, of which a sample
        must have one.
    """

    suffix: ClassVar[str] = ".tar"
    image: str | None = None

    @override
    def opened(self) -> "TarRows":
        if self.image is not None and f".{self.image.lower().rpartition('.')[2]}" not in READERS:
            raise ValueError(f"image={self.image!r}: expected a suffix that ends in one of {', '.join(READERS)}")
        return TarRows(self, self.files())


class Place(NamedTuple):
    """Where in a shard a file lies, in bytes, and its suffix, without the first dot."""

    offset: int = -1
    size: int = 0
    suffix: str = ""


class TarRows(PackedRows):
    """Samples in tar archives, of which those that are asked for are read.

    Parameters
    ----------
    source : WebDataset
        How they are read.
    files : list of Path
        The archives.
    """

    def __init__(self, source: WebDataset, files: list[Path]) -> None:
        self.source = source
        self._keys: list[list[str]] = []
        images: list[Place] = []
        labels: list[Place] = []
        counts: Counter[str] = Counter()
        for file in files:
            with naming(file, "a tar archive"):
                found, left_out = _samples(file, source.image)
            counts.update(left_out)
            self._keys.append(list(found))
            for held in found.values():
                labels.append(held.pop(LABEL, Place()))
                images.append(next(iter(held.values()), Place()))
        super().__init__(source, files, [len(keys) for keys in self._keys], counts)
        # As arrays, which take a tenth of the memory.
        self._suffixes = sorted({place.suffix for place in images})
        which = {suffix: k for k, suffix in enumerate(self._suffixes)}
        self._images = np.array([(one.offset, one.size, which[one.suffix]) for one in images], np.int64).reshape(-1, 3)
        self._labels = np.array([(one.offset, one.size) for one in labels], np.int64).reshape(-1, 2)
        self._labelled = bool((self._labels[:, 0] >= 0).any())

    @override
    def names(self, start: int, stop: int) -> NDArray[np.str_]:
        found = [
            f"{self.files[k].name}/{key}"
            for k, first, last in among(self.starts, start, stop)
            for key in self._keys[k][first:last]
        ]
        return np.array(found, np.str_)

    @override
    def labels(self, start: int, stop: int) -> list[int] | None:
        if not self._labelled:
            return None
        found = []
        for number in range(start, stop):
            where = self.where(number)
            with calling(where, "a labelled sample"):
                if not 0 < self._labels[number, 1] <= LONGEST:
                    raise ValueError(f"its .{LABEL} is missing or longer than {LONGEST} bytes, where others have one")
                word = self._content(number, *self._labels[number]).decode().strip()
            found.append(self.source.names.label_in({LABEL: word}, LABEL, where))
        return found

    @override
    def sample(self, number: int) -> Row:
        offset, size, which = self._images[number].tolist()
        with calling(self.where(number), "an image"):
            if offset < 0:
                raise ValueError(f"it has no {self.source.image or 'image'}")
            suffix = f".{self._suffixes[which].rpartition('.')[2]}"
            return self.image(self._content(number, offset, size), suffix)

    def _content(self, number: int, offset: int, size: int) -> bytes:
        file = self.file_of(number)
        with naming(file, "a tar archive"), file.open("rb") as content:
            content.seek(offset)
            found = content.read(size)
            if len(found) != size:
                raise ValueError("it became shorter since its headers were read")
            return found


def _samples(file: Path, image: str | None) -> tuple[dict[str, dict[str, Place]], Counter[str]]:
    """Return where the image and the label of each sample of an archive lie, and how many files are of none."""
    found: dict[str, dict[str, Place]] = {}
    left_out: Counter[str] = Counter()
    with file.open("rb") as content:
        for member in _members(content, file.stat().st_size):
            folder, slash, name = member.name.rpartition("/")
            stem, _, suffix = name.partition(".")
            if not stem or not suffix:
                left_out["files whose names are no name and a suffix"] += 1
                continue
            held = found.setdefault(f"{folder}{slash}{stem}", {})
            suffix = suffix.lower()
            wanted = f".{suffix}" in READERS if image is None else suffix == image.lower().removeprefix(".")
            if not wanted and suffix != LABEL:
                continue
            if suffix in held:
                raise ValueError(f"it holds {member.name[:99]!r} twice")
            if wanted and (others := held.keys() - {LABEL}):
                both = f"{min(others)} and {suffix}"
                raise ValueError(f"its sample {stem[:99]!r} has images in {both}: image says which to read")
            held[suffix] = Place(member.offset_data, member.size, suffix)
    return found, left_out


def _members(content: BinaryIO, size: int) -> Iterator[Any]:
    """Yield the files of an archive: all of them, or an error."""
    if content.read(2) == b"\x1f\x8b":
        raise ValueError("it is packed by gzip, expected a plain .tar, in which samples can be read where they lie")
    content.seek(0)
    with tarfile.open(fileobj=content, mode="r:") as archive:
        before = -1
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # they would take much memory
            if not before < member.offset_data <= member.offset_data + member.size <= size:
                raise ValueError(f"its member {printable(member.name)[:99]!r} of {member.size} bytes is not in it")
            before = member.offset_data
            if not member.name.isprintable():
                raise ValueError(f"it holds {printable(member.name)[:99]!r}, expected a name in UTF-8")
            if not member.isdir():
                if not member.isreg() or member.issparse():
                    raise ValueError(f"it holds {member.name[:99]!r}, a link or no plain file")
                yield member
        # At a damaged header, too, there are no more members.
        content.seek(archive.offset)
        if len(end := content.read(tarfile.BLOCKSIZE)) < tarfile.BLOCKSIZE or any(end):
            raise ValueError(f"at byte {archive.offset} is neither a member nor its end")
        if any(chunk.strip(b"\0") for chunk in iter(partial(content.read, CHUNK), b"")):
            raise ValueError(f"it goes on after its end, at byte {archive.offset}")
