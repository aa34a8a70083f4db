"""The files that hold a scan: which they are, and errors that name them."""

import importlib
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from unlikelihood.storage import reading
from unlikelihood.storage.extras import needing

NIFTI = (".nii", ".nii.gz", ".hdr")  # .hdr: the header of a pair, with its voxels in .img
METAIMAGE = (".mha", ".mhd")
NRRD = (".nrrd", ".nhdr")
FORMATS = (*METAIMAGE, *NIFTI, *NRRD)


class UnreadableScan(reading.Unreadable):
    """Raised when a file is no whole scan, or its slices do not make up an even grid; the message says which."""


class TextHeader(NamedTuple):
    """A text header: fields by their names in lower case, the lines that follow them, and where it ends."""

    fields: dict[str, str]
    following: list[str]
    end: int


def naming(file: Path) -> AbstractContextManager[None]:
    """Make one `UnreadableScan` that names `file` of whatever a decoder raises; see `reading.naming`."""
    return reading.naming(file, "a scan", UnreadableScan)


def suffix_of(path: Path) -> str:
    """Return the suffix of a file in lower case, ".nii.gz" whole."""
    name = path.name.lower()
    return next((suffix for suffix in FORMATS if name.endswith(suffix)), path.suffix.lower())


def sitk() -> Any:
    """Return SimpleITK."""
    return imported("SimpleITK")


def imported(module: str) -> Any:
    """Return a module of the `ct` extra."""
    with needing("ct", "a scan"):
        return importlib.import_module(module)
