"""What somebody sends to be scored: each file becomes samples, or the reason why it does not."""

import json
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
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
from unlikelihood.storage.reading import check_claim, naming, printable, unpacking

MEMBERS = 10_000  # files of an archive
SUFFIXES = (*READERS, *FORMATS, ".zip")  # that a name on the disk may end in
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


def place_of(room: Path, number: int, name: str) -> Path:
    """Return where an upload is put, in a folder of its own: of its name no more than a known suffix."""
    suffix = suffix_of(Path(name))
    folder = room / f"{number:06d}"
    folder.mkdir()
    return folder / f"{number:06d}{suffix if suffix in SUFFIXES else ''}"


def read_uploads(
    source: Source | None, shape: tuple[int, ...], uploads: Sequence[Upload], room: Path, most: int
) -> list[Sample]:
    r"""Read files as `unlikelihood score` reads them from a source, each by itself.

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
        Bytes that a file may unpack to.

    Returns
    -------
    list of Sample
        In the order of the files.
    """
    scans = isinstance(source, CTFolder)
    slices = [one for one in uploads if scans and suffix_of(one.file) not in (*FORMATS, ".npy", ".zip")]
    slices = [one for one in slices if has_preamble(one.file)]
    found: list[Sample] = []
    with silent(), unpacking(most):
        for upload in uploads:
            if upload not in slices:
                found += _of_file(source, shape, upload, room, most)
            elif upload is slices[0]:
                found += _of_slices(source, shape, slices, room)
    return found


def array_of(content: bytes, shape: tuple[int, ...]) -> list[Sample]:
    r"""Return the samples of a JSON array (n, \*shape), or of one sample (\*shape), named by their rows.

    Raises
    ------
    ValueError
        If it is no array of finite numbers of that shape.
    """
    try:
        values = json.loads(content, parse_constant=_refuse_constant)
        array = np.asarray(values)
        if array.dtype.kind not in "biuf":
            raise ValueError("it holds something else")
        with np.errstate(over="raise"):
            array = array.astype(np.float32)
    except (ValueError, TypeError, RecursionError, OverflowError, FloatingPointError) as error:
        raise ValueError(f"the body is no JSON array of numbers: {' '.join(str(error).split())[:200]}") from error
    return [Sample(str(row), pixels) for row, pixels in enumerate(_rows(array, shape))]


def _refuse_constant(word: str) -> float:
    raise ValueError(f"it holds {word}, expected finite numbers")


def _of_file(source: Source | None, shape: tuple[int, ...], upload: Upload, room: Path, most: int) -> list[Sample]:
    name, file = upload
    suffix = suffix_of(file)
    if suffix == ".npy" and (samples := _attempt(name, file, lambda: _samples(name, file, shape), shape)):
        return samples
    if isinstance(source, Folder) and suffix != ".zip":
        return _attempt(name, file, lambda: [(name, source.one(file))], shape)
    if isinstance(source, CTFolder) and suffix in FORMATS:
        return _attempt(name, file, lambda: _scans(source, name, file, room), shape, scan=True)
    if source is not None and suffix == ".zip":
        return _of_archive(source, shape, upload, room, most)
    expected = f"{', '.join(FORMATS)}, a .zip of DICOM, or DICOM slices" if source is not None else ".npy"
    return [Sample(name, None, f"{name}: no file that this model can be shown, expected {expected}")]


def _of_slices(source: Source | None, shape: tuple[int, ...], slices: Sequence[Upload], room: Path) -> list[Sample]:
    study = room / "slices"
    study.mkdir()
    for number, one in enumerate(slices):
        one.file.rename(study / f"{number:06d}.dcm")
    return _attempt("slices", study, lambda: _scans(source, "slices", study, room), shape, scan=True)


def _of_archive(source: Source, shape: tuple[int, ...], upload: Upload, room: Path, most: int) -> list[Sample]:
    name, file = upload
    place = file.with_name("unpacked")
    try:
        _unpack(file, place, most)
    except EXPECTED as error:
        return [Sample(name, None, _in_a_line(error).replace(str(file), name))]
    if not isinstance(source, Folder):
        return _attempt(name, place, lambda: _scans(source, name, place, room), shape, scan=True)
    inside = [Upload(f"{name}/{one.relative_to(place).as_posix()}", one) for one in files_in(place)]
    none = [Sample(name, None, f"{name}: holds no files")]
    return [sample for one in inside for sample in _attempt(one.name, one.file, _reading(source, one), shape)] or none


def _reading(source: Folder, upload: Upload) -> Callable[[], list[tuple[str, NDArray[Any]]]]:
    return lambda: [(upload.name, source.one(upload.file))]


def _unpack(file: Path, place: Path, most: int) -> None:
    """Unpack an archive, unless it holds too much, too many, or something outside of itself."""
    with naming(file, "a .zip archive"), zipfile.ZipFile(file) as archive:
        members = [one for one in archive.infolist() if not one.is_dir()]
        if len(members) > MEMBERS:
            raise ValueError(f"it holds {len(members)} files, expected at most {MEMBERS}")
        check_claim(file.stat().st_size, sum(one.file_size for one in members))
        for one in members:
            path = PurePosixPath(one.filename)
            if path.is_absolute() or ".." in path.parts or "\\" in one.filename or not one.filename.isprintable():
                raise ValueError(f"it holds {printable(one.filename)[:99]!r}, expected paths in the archive")
            if one.flag_bits & 1:
                raise ValueError("it is encrypted")
            check_claim(one.compress_size, one.file_size)
        place.mkdir()
        archive.extractall(place, members)


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
