"""What somebody sends to be scored: each file becomes samples, or the reason why it does not."""

import json
import threading
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unlikelihood.data.ct.ct_folder import CTFolder
from unlikelihood.data.ct.formats import FORMATS, suffix_of
from unlikelihood.data.dicom_image import has_preamble
from unlikelihood.data.folder import Folder
from unlikelihood.data.image_files import READERS
from unlikelihood.data.images import Images, numbered
from unlikelihood.data.npy import npy_map
from unlikelihood.data.source import Source
from unlikelihood.data.walk import files_in
from unlikelihood.progress import silent
from unlikelihood.serve.archives import ARCHIVES, unpack
from unlikelihood.storage.reading import naming, printable, unpacking

MOST = 100_000  # samples of an array, whose rows take more memory than small ones themselves
LARGEST = float(np.finfo(np.float32).max)
SUFFIXES = (*READERS, *FORMATS, *ARCHIVES)  # that a name on the disk may end in
EXPECTED = (ValueError, OSError, ArithmeticError, ImportError, MemoryError)
_scanning = threading.Lock()  # a scan at a time, for one may fill the memory, and warnings are of the whole process


class Upload(NamedTuple):
    """A file that was sent: what its sender calls it, and where it lies as long as the request lasts."""

    name: str
    file: Path


class Sample(NamedTuple):
    r"""A sample (\*shape) under the name that it is answered by, or the reason why there is none.

    A scan lies in a patient, as its source says; of other volumes it is not known how.
    """

    name: str
    pixels: NDArray[Any] | None
    reason: str = ""
    scan: bool = False


Part = Callable[[], list[Sample]]
"""Reads some of what was sent."""


def place_of(room: Path, number: int, name: str) -> Path:
    """Return where an upload is put: of its name no more than a known suffix."""
    suffix = suffix_of(Path(name))
    return room / f"{number:06d}{suffix if suffix in SUFFIXES else ''}"


def parts_of(
    source: Source | None, shape: tuple[int, ...], uploads: Sequence[Upload], room: Path, most: int
) -> list[Part]:
    r"""Return what reads files as `unlikelihood score` reads them from a source, each by itself.

    Parameters
    ----------
    source : Source, optional
        How images (`Folder`) or scans (`Volumes`, `Candidates`) are read; None takes arrays alone.
    shape : tuple of int
        Of the samples that the detector was fitted to.
    uploads : sequence of Upload
        The files. Single slices of DICOM, where scans are read, are taken together.
    room : Path
        Folder for what is made on the way.
    most : int
        Bytes that a file may unpack to, and all archives together.

    Returns
    -------
    list of callable
        Each returns the samples of a file, of one in an archive of images, or of the scans that lie together. They are
        in the order of the files, and to be called once.
    """
    scans = isinstance(source, CTFolder)
    slices = [one for one in uploads if scans and suffix_of(one.file) not in (*FORMATS, ".npy", *ARCHIVES)]
    slices = [one for one in slices if has_preamble(one.file)]
    found: list[Part] = []
    left = most
    for upload in uploads:
        if upload in slices:
            found += [partial(_of_slices, source, shape, slices, room)] if upload is slices[0] else []
        elif source is not None and suffix_of(upload.file) in ARCHIVES:
            parts, size = _of_archive(source, shape, upload, room, left)
            found, left = found + parts, left - size
        else:
            found.append(partial(_of_file, source, shape, upload, room))
    return [partial(_bounded, part, most) for part in found]


def _bounded(part: Part, most: int) -> list[Sample]:
    with silent(), unpacking(most):
        return part()


def array_of(content: bytes, shape: tuple[int, ...]) -> list[Sample]:
    r"""Return the samples of a JSON array (n, \*shape), or of one sample (\*shape), named by their rows.

    Raises
    ------
    ValueError
        If it is no array of finite numbers of that shape.
    """
    try:
        values = json.loads(content, parse_constant=_refuse_constant, parse_int=float)
        array = np.asarray(values)
        if array.dtype.kind != "f" or b"true" in content or b"false" in content:
            raise ValueError("it holds something else")
        if (np.abs(array) > LARGEST).any():
            raise ValueError(f"it holds numbers beyond {LARGEST:g}")
        array = array.astype(np.float32)
    except (ValueError, TypeError, RecursionError, OverflowError) as error:
        raise ValueError(f"the body is no JSON array of numbers: {' '.join(str(error).split())[:200]}") from error
    return [Sample(str(row), pixels) for row, pixels in enumerate(_rows(array, shape))]


def _refuse_constant(word: str) -> float:
    raise ValueError(f"it holds {word}, expected finite numbers")


def _of_file(source: Source | None, shape: tuple[int, ...], upload: Upload, room: Path) -> list[Sample]:
    name, file = upload
    suffix = suffix_of(file)
    if suffix == ".npy" and (samples := _attempt(name, file, lambda: _samples(name, file, shape), shape)):
        return samples
    if isinstance(source, Folder):
        return _attempt(name, file, lambda: [(name, source.one(file))], shape)
    if isinstance(source, CTFolder) and suffix in FORMATS:
        return _attempt(name, file, lambda: _scans(source, name, file, room), shape, scan=True)
    expected = f"{', '.join(FORMATS)}, an archive of DICOM, or DICOM slices" if source is not None else ".npy"
    return [Sample(name, None, f"{name}: no file that this model can be shown, expected {expected}")]


def _of_slices(source: Source | None, shape: tuple[int, ...], slices: Sequence[Upload], room: Path) -> list[Sample]:
    study = room / "slices"
    study.mkdir()
    for number, one in enumerate(slices):
        one.file.rename(study / f"{number:06d}.dcm")
    return _attempt("slices", study, lambda: _scans(source, "slices", study, room), shape, scan=True)


def _of_archive(
    source: Source, shape: tuple[int, ...], upload: Upload, room: Path, most: int
) -> tuple[list[Part], int]:
    """Return what reads the files of an archive, and the bytes that these have."""
    name, file = upload
    place = file.with_name(f"{file.name} unpacked")
    try:
        size = unpack(file, place, most)
    except EXPECTED as error:
        refused = Sample(name, None, _in_a_line(error).replace(str(file), name))
        return [lambda: [refused]], 0
    if not isinstance(source, Folder):
        return [lambda: _attempt(name, place, lambda: _scans(source, name, place, room), shape, scan=True)], size
    inside = [Upload(f"{name}/{one.relative_to(place).as_posix()}", one) for one in files_in(place)]
    parts: list[Part] = [partial(_attempt, one.name, one.file, _reading(source, one), shape) for one in inside]
    return parts or [lambda: [Sample(name, None, f"{name}: holds no files")]], size


def _reading(source: Folder, upload: Upload) -> Callable[[], list[tuple[str, NDArray[Any]]]]:
    return lambda: [(upload.name, source.one(upload.file))]


def _samples(name: str, file: Path, shape: tuple[int, ...]) -> list[tuple[str, NDArray[Any]]]:
    """Return the samples of an array in a file, as `Arrays` names them; none of what may be a picture."""
    with naming(file, "an array"):
        array = np.array(npy_map(file))
        if array.dtype.kind not in "buif":
            raise ValueError(f"it holds values of type {array.dtype}, expected real numbers")
        if array.ndim == len(shape) - 1 and len(shape) > 1:
            return []
        rows = _rows(array, shape)
    names = [name] if array.ndim == len(shape) else numbered(name, len(rows)).tolist()
    return list(zip(names, rows, strict=True))


def _rows(array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    if array.shape[1:] == shape and len(array) > MOST:
        raise ValueError(f"it holds {len(array)} samples, expected at most {MOST}")
    if array.shape == shape:
        return array[None]
    if array.shape[1:] == shape and len(array):
        return array
    inner = ", ".join(map(str, shape))
    raise ValueError(f"its shape is {array.shape}, expected samples (n, {inner}) as the model was fitted to")


def _scans(source: Any, name: str, place: Path, room: Path) -> Iterable[tuple[str, NDArray[Any] | str]]:
    """Return the samples of the scans in a file or folder, or why one cannot be read."""
    forgiving = {name: True for name in ("skip_unreadable", "skip_rejected") if hasattr(source, name)}
    with _scanning, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is skipped is named by `unread`
        images: Images = replace(source, path=place, table=None, cache=room / "cache", jobs=1, **forgiving).read()
        pixels = np.array(np.asarray(images.pixels))  # what is mapped goes with the request
    found = [*zip(np.asarray(images.name).tolist(), pixels, strict=True), *images.unread.items()]
    return [(_below(name, place, own), one) for own, one in found]


def _attempt(
    name: str,
    place: Path,
    read: Callable[[], Iterable[tuple[str, NDArray[Any] | str]]],
    shape: tuple[int, ...],
    scan: bool = False,
) -> list[Sample]:
    """Return what is read of a file or folder: by its sender's name, not by where it lies; or why nothing is."""

    def told(text: str) -> str:
        return text.replace(f"{place.parent}/", "").replace(place.name, name)

    try:
        found = list(read())
    except EXPECTED as error:
        return [Sample(name, None, told(_in_a_line(error)))]
    samples = []
    for own, pixels in found:
        if isinstance(pixels, str):
            samples.append(Sample(own, None, told(pixels)))
        elif pixels.shape != shape:
            why = f"{own}: its shape is {pixels.shape}, but the model was fitted on {shape}"
            samples.append(Sample(own, None, why))
        else:
            samples.append(Sample(own, pixels, scan=scan))
    return samples


def _in_a_line(error: Exception) -> str:
    return printable(" ".join(str(error).split())) or type(error).__name__


def _below(name: str, place: Path, own: str) -> str:
    """Return the name of a sample in a file or folder: after its sender's, what the source calls it inside."""
    inside = own.removeprefix(place.name).removeprefix("./").strip("/")
    return name if inside in ("", ".") else f"{name}/{inside}"
