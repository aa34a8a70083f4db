"""The files that hold a scan: which they are, and errors that name them."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

NIFTI = (".nii", ".nii.gz", ".hdr")  # .hdr: the header of a pair, with its voxels in .img
METAIMAGE = (".mha", ".mhd")
NRRD = (".nrrd", ".nhdr")
FORMATS = (*METAIMAGE, *NIFTI, *NRRD)


class UnreadableScan(ValueError):
    """Raised when a file is no whole scan, or its slices do not make up an even grid; the message says which."""


class TextHeader(NamedTuple):
    """A text header: fields by their names in lower case, the lines that follow them, and where it ends."""

    fields: dict[str, str]
    following: list[str]
    end: int


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """Make one line that names `file` of whatever a decoder raises: damaged files make them raise all kinds."""
    try:
        yield
    except (UnreadableScan, ImportError):
        raise
    except Exception as error:
        kind = "" if type(error) is ValueError else f"{type(error).__name__}: "
        message = " ".join(str(error).split())
        raise UnreadableScan(f"{file}: cannot be read as a scan ({kind}{message[-300:]})") from error


def suffix_of(path: Path) -> str:
    """Return the suffix of a file in lower case, ".nii.gz" whole."""
    name = path.name.lower()
    return next((suffix for suffix in FORMATS if name.endswith(suffix)), path.suffix.lower())


def files_in(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and all folders in it, in the order of their paths, and links to nothing."""
    yield from _files_in(folder, (folder.resolve(),))


def _files_in(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    # Dot files are what a file system, or a process that was killed while it wrote, left behind.
    for place in sorted(folder.iterdir()):
        if place.name.startswith("."):
            continue
        if place.is_dir():
            if (real := place.resolve()) not in above:  # a link may lead back to where it lies
                yield from _files_in(place, (*above, real))
        elif place.is_file() or place.is_symlink():
            yield place


def sitk() -> Any:
    """Return SimpleITK."""
    return imported("SimpleITK")


def imported(module: str) -> Any:
    """Return a module of the `ct` extra."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"CT scans need {module.split('.')[0]}: pip install unlikelihood[ct]") from error
