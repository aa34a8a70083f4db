"""The files that hold a scan as one image: MetaImage, NIfTI and NRRD."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

NIFTI = (".nii", ".nii.gz")
FORMATS = (".mha", ".mhd", *NIFTI, ".nrrd")
AIR = -1000.0  # HU


class UnreadableScan(ValueError):
    """Raised when a file is no whole scan, or its slices do not make up an even grid; the message says which."""


def image_fields(file: Path) -> dict[str, Any]:
    """Return the fields of the scan in an image file."""
    suffix = suffix_of(file)
    fields = _nifti(file) if suffix in NIFTI else _itk(file)
    return {**fields, "series": file.name[: -len(suffix)]}


def _itk(file: Path) -> dict[str, Any]:
    hu, image = sitk_array(file)
    if image.GetDimension() != 3:
        raise UnreadableScan(f"{file}: an image of shape {hu.shape}, expected (D, H, W)")
    direction = np.reshape(image.GetDirection(), (3, 3))
    return {"hu": hu, "origin": image.GetOrigin(), "spacing": image.GetSpacing(), "direction": direction}


def _nifti(file: Path) -> dict[str, Any]:
    # Not by ITK, which fills up with zeros what is missing at the end of a file.
    try:
        image = imported("nibabel").load(file, mmap=False)
        hu = np.asanyarray(image.dataobj)
    except ImportError:
        raise
    except Exception as error:  # damaged files raise all kinds
        raise UnreadableScan(f"{file}: cannot be read as a scan ({type(error).__name__}: {error})") from error
    if not (image.header["qform_code"] or image.header["sform_code"]):
        raise UnreadableScan(f"{file}: does not say how it lies in the patient (qform and sform are 0)")
    if (unit := image.header.get_xyzt_units()[0]) not in ("mm", "unknown"):
        raise UnreadableScan(f"{file}: its lengths are in {unit}, expected mm")
    affine = np.diag((-1.0, -1.0, 1.0, 1.0)) @ image.affine  # NIfTI's axes are right, front, head (RAS)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    return {"hu": hu.T, "origin": affine[:3, 3], "spacing": spacing, "direction": affine[:3, :3] / spacing}


def sitk_array(file: Path) -> tuple[NDArray[Any], Any]:
    """Return the voxels in a file that ITK reads, and its image."""
    try:
        image = sitk().ReadImage(str(file))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        if "No such file" in reason:  # what ITK says of half a MetaImage
            reason = "it, or the file of its voxels, is damaged, not whole or not there"
        raise UnreadableScan(f"{file}: cannot be read as a scan ({reason})") from error
    return sitk().GetArrayFromImage(image), image


def suffix_of(path: Path) -> str:
    """Return the suffix of a file in lower case, ".nii.gz" whole."""
    name = path.name.lower()
    return next((suffix for suffix in FORMATS if name.endswith(suffix)), path.suffix.lower())


def image_suffix(path: Path) -> str:
    """Return the suffix of a file that holds a scan, nothing of another."""
    return suffix if (suffix := suffix_of(path)) in FORMATS else ""


def files_in(folder: Path) -> list[Path]:
    """Return the files in a folder and all folders in it, in the order of their paths."""
    return list(_visible(folder))


def _visible(folder: Path) -> Iterator[Path]:
    # Dot files are what a file system, or a process that was killed while it wrote, left behind.
    for place in sorted(folder.iterdir()):
        if place.name.startswith("."):
            continue
        if place.is_dir():
            yield from _visible(place)
        elif place.is_file():
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
