"""Archives that strangers send: unpacked whole, within a limit and in their own folder, or not at all."""

import gzip
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from unlikelihood.storage.reading import check_claim, naming, printable, unpacking

ARCHIVES = (".zip", ".tar", ".tgz", ".gz")  # the last of them of .tar.gz, for scans in .nii.gz have that for a suffix
MEMBERS = 10_000  # files and folders of an archive
ENTRY = b"PK\x01\x02"  # what each entry in the table of a .zip begins with
CHUNK = 2**20  # bytes


class Member(NamedTuple):
    """A file in an archive: its path there, the bytes that it claims to have, and what opens it."""

    path: str
    size: int
    open: Callable[[], Any]


def unpack(file: Path, place: Path, most: int) -> int:
    """Unpack an archive into a folder that is made, and return the bytes of what it holds.

    Parameters
    ----------
    file : Path
        .zip, .tar, .tar.gz or .tgz.
    place : Path
        The folder.
    most : int
        Bytes that it may unpack to.

    Raises
    ------
    Unreadable
        If it is damaged or encrypted, or holds too much, too many, a name twice, a link, or a path that leads outside.
    """
    opened = _zip if file.suffix == ".zip" else _tar
    with naming(file, f"a {file.suffix} archive"), unpacking(most), opened(file, most) as members:
        held, total = {}, 0
        for one in members:
            path, total = PurePosixPath(one.path), total + one.size
            check_claim(file.stat().st_size, total)
            if path.is_absolute() or ".." in path.parts or "\\" in one.path or not one.path.isprintable():
                raise ValueError(f"it holds {printable(one.path)[:99]!r}, expected paths in the archive")
            if path in held:
                raise ValueError(f"it holds {one.path[:99]!r} twice")
            held[path] = one
        place.mkdir()
        for path, one in held.items():
            try:
                (place / path).parent.mkdir(parents=True, exist_ok=True)
                with one.open() as packed, (place / path).open("xb") as content:
                    shutil.copyfileobj(packed, content, CHUNK)
            except OSError as error:  # which would name the place
                raise ValueError(f"it holds {one.path[:99]!r}, which cannot be written: {error.strerror}") from None
    return total


@contextmanager
def _zip(file: Path, most: int) -> Iterator[Iterator[Member]]:
    def members(archive: zipfile.ZipFile) -> Iterator[Member]:
        _refuse_many(len(archive.infolist()))
        for one in archive.infolist():
            if one.flag_bits & 1:
                raise ValueError("it is encrypted")
            if not one.is_dir():
                check_claim(one.compress_size, one.file_size)
                yield Member(one.filename, one.file_size, lambda one=one: archive.open(one))  # type: ignore[misc]

    with file.open("rb") as content:
        # Before they are read: each takes ten times its bytes in memory.
        _refuse_many(sum(chunk.count(ENTRY) for chunk in iter(partial(content.read, CHUNK), b"")) // 10)
    with zipfile.ZipFile(file) as archive:
        yield members(archive)


@contextmanager
def _tar(file: Path, most: int) -> Iterator[Iterator[Member]]:
    def members(archive: tarfile.TarFile) -> Iterator[Member]:
        for number, one in enumerate(archive, start=1):
            _refuse_many(number)
            if not one.isdir():
                if not one.isreg() or one.issparse():
                    raise ValueError(f"it holds {printable(one.name)[:99]!r}, a link or no plain file")
                yield Member(one.name, one.size, lambda one=one: archive.extractfile(one))  # type: ignore[misc]

    plain = file if file.suffix == ".tar" else _gunzipped(file, most)
    with tarfile.open(plain, "r:") as archive:
        yield members(archive)
    if plain != file:
        plain.unlink()


def _refuse_many(number: int) -> None:
    if number > MEMBERS:
        raise ValueError(f"it holds more than {MEMBERS} files and folders")


def _gunzipped(file: Path, most: int) -> Path:
    """Unpack what holds a .tar, within the limit: its headers alone can claim more than the memory."""
    plain, size = file.with_name("unpacked.tar"), 0
    with gzip.open(file) as packed, plain.open("wb") as content:
        while chunk := packed.read(CHUNK):
            size += len(chunk)
            check_claim(file.stat().st_size, size)
            content.write(chunk)
    return plain
