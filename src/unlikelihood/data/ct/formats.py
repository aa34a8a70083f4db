"""The files that hold a scan as one image: MetaImage, NIfTI and NRRD."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

NIFTI = (".nii", ".nii.gz")
ITK = {
    ".mha": "MetaImageIO",
    ".mhd": "MetaImageIO",
    ".nrrd": "NrrdImageIO",
}  # who reads it; ITK minds the case of names
FORMATS = (".mha", ".mhd", *NIFTI, ".nrrd")


class UnreadableScan(ValueError):
    """Raised when a file is no whole scan, or its slices do not make up an even grid; the message says which."""


def image_fields(file: Path) -> dict[str, Any]:
    """Return the fields of the scan in an image file."""
    suffix = suffix_of(file)
    fields = _nifti(file) if suffix in NIFTI else _itk(file, ITK[suffix])
    return {**fields, "series": file.name[: -len(suffix)]}


def _itk(file: Path, reader: str) -> dict[str, Any]:
    image = sitk_image(file, reader)
    if image.GetDimension() == 4 and image.GetSize()[3] == 1:
        image = image[:, :, :, 0]
    hu = sitk().GetArrayFromImage(image)
    if image.GetDimension() != 3:
        raise UnreadableScan(f"{file}: an image of shape {hu.shape}, expected (D, H, W)")
    if reader == "NrrdImageIO":
        _refuse_other_units(file)
    direction = np.reshape(image.GetDirection(), (3, 3))
    return {"hu": hu, "origin": image.GetOrigin(), "spacing": image.GetSpacing(), "direction": direction}


def _refuse_other_units(file: Path) -> None:
    # ITK passes over the unit of an NRRD file.
    with file.open("rb") as content:
        for line in iter(content.readline, b""):
            key, _, units = line.partition(b":")
            if not line.strip():  # the end of the header
                return
            if key == b"space units" and units.replace(b'"mm"', b"").strip():
                raise UnreadableScan(
                    f"{file}: its lengths are in {units.decode('utf-8', 'replace').strip()}, expected mm"
                )


def _nifti(file: Path) -> dict[str, Any]:
    # Not by ITK, which fills up with zeros what is missing at the end of a file.
    try:
        image = imported("nibabel").load(file, mmap=False)
        hu = np.asanyarray(image.dataobj)
        placed = image.header["qform_code"] or image.header["sform_code"]
        unit = image.header.get_xyzt_units()[0]
        affine = np.diag((-1.0, -1.0, 1.0, 1.0)) @ image.affine  # NIfTI's axes are right, front, head (RAS)
    except ImportError:
        raise
    except Exception as error:  # damaged files, and other data of this suffix, raise all kinds
        raise UnreadableScan(f"{file}: cannot be read as a scan ({type(error).__name__}: {error})") from error
    if not placed:
        raise UnreadableScan(f"{file}: does not say how it lies in the patient (qform and sform are 0)")
    if unit not in ("mm", "unknown"):
        raise UnreadableScan(f"{file}: its lengths are in {unit}, expected mm")
    while hu.ndim > 3 and hu.shape[-1] == 1:
        hu = hu[..., 0]
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    return {"hu": hu.T, "origin": affine[:3, 3], "spacing": spacing, "direction": affine[:3, :3] / spacing}


def sitk_image(file: Path, reader: str) -> Any:
    """Return the image in a file that one of ITK's readers reads."""
    source = sitk().ImageFileReader()
    source.SetImageIO(reader)
    source.SetFileName(str(file))
    try:
        return source.Execute()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        if "No such file" in reason:  # what ITK says of half a MetaImage
            reason = "it, or the file of its voxels, is damaged, not whole or not there"
        raise UnreadableScan(f"{file}: cannot be read as a scan ({reason})") from error


def suffix_of(path: Path) -> str:
    """Return the suffix of a file in lower case, ".nii.gz" whole."""
    name = path.name.lower()
    return next((suffix for suffix in FORMATS if name.endswith(suffix)), path.suffix.lower())


def files_in(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and all folders in it, in the order of their paths, and links to nothing."""
    # Dot files are what a file system, or a process that was killed while it wrote, left behind.
    for place in sorted(folder.iterdir()):
        if place.name.startswith("."):
            continue
        if place.is_dir():
            yield from files_in(place)
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
