"""NIfTI: .nii, .nii.gz, and .hdr with its voxels in .img."""

import math
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from unlikelihood.data.ct.formats import UnreadableScan, imported, suffix_of
from unlikelihood.data.ct.voxel_bytes import check_axes, check_files, check_size, unpacked
from unlikelihood.storage.reading import check_scale

TO_LPS = np.diag((-1.0, -1.0, 1.0, 1.0))  # NIfTI's axes are right, front, head (RAS)
REPAIRED = 30  # the level from which on what nibabel would repair, and go on, is damage
AGREEMENT = 0.05  # of a voxel, by which a corner may lie apart in the two places that a header may say
GZIP = b"\x1f\x8b"


def voxel_files(file: Path) -> list[Path]:
    """Return the other file that holds the voxels of a NIfTI file."""
    if suffix_of(file) != ".hdr":
        return []
    pair = file.with_suffix(".img")
    return [next((one for one in (pair, file.with_suffix(".IMG")) if one.exists()), pair)]


def image_fields(file: Path) -> dict[str, Any]:
    """Return the fields of the scan in a NIfTI file.

    Not by ITK, which fills up with zeros what is missing at the end of a file, and makes oblique axes right-angled.
    """
    nibabel = imported("nibabel")
    with nibabel.imageglobals.ErrorLevel(REPAIRED):
        image = nibabel.load(file, mmap=False)
    if not isinstance(image, nibabel.Nifti1Pair):
        raise UnreadableScan(f"{file}: cannot be read as a scan (it is a {type(image).__name__}, expected NIfTI)")
    for check in (_check_unit, _check_scale, _check_place):
        check(file, image)
    hu = np.asanyarray(_voxels(file, image))
    while hu.ndim > 3 and hu.shape[-1] == 1:
        hu = hu[..., 0]
    affine = TO_LPS @ image.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    return {"hu": hu.T, "origin": affine[:3, 3], "spacing": spacing, "direction": affine[:3, :3] / spacing}


def _check_unit(file: Path, image: Any) -> None:
    unit = image.header.get_xyzt_units()[0]
    if unit not in ("mm", "unknown"):
        raise UnreadableScan(f"{file}: its lengths are in {unit}, expected mm")


def _check_scale(file: Path, image: Any) -> None:
    # Of the file: nibabel's header says that there is none. A slope of 0 means none, by the definition of the format.
    with imported("nibabel").openers.ImageOpener(file) as content:
        slope, inter = type(image.header).from_fileobj(content, check=False)._structarr[["scl_slope", "scl_inter"]][()]
    check_scale(float(slope) or 1.0, float(inter) if slope else 0.0)


def _voxels(file: Path, image: Any) -> Any:
    """Return what makes the array of voxels, which are all there; compressed ones are unpacked once."""
    voxels = (voxel_files(file) or [file])[0]
    check_files(file, [voxels])
    with voxels.open("rb") as content:
        packed = content.read(2) == GZIP
    stored, item = image.dataobj, image.header.get_data_dtype().itemsize
    if not packed:
        check_size(file, voxels.stat().st_size - stored.offset, image.shape, item)
        return stored
    found = unpacked(voxels, 0, "gzip", stored.offset + math.prod(image.shape) * item)
    check_size(file, len(found) - stored.offset, image.shape, item)
    spec = stored.shape, stored.dtype, stored.offset, stored.slope, stored.inter
    return imported("nibabel").arrayproxy.ArrayProxy(BytesIO(found), spec, mmap=False)


def _check_place(file: Path, image: Any) -> None:
    check_axes(file, str(len(image.shape)), image.shape)
    if not all(0 < step < np.inf for step in image.header["pixdim"][1:4]):
        raise UnreadableScan(f"{file}: its pixdim is {image.header['pixdim'][1:4]}, expected lengths above 0")
    qform, sform = image.get_qform(coded=True)[0], image.get_sform(coded=True)[0]
    if qform is None and sform is None:
        raise UnreadableScan(f"{file}: does not say how it lies in the patient (qform and sform are 0)")
    if qform is None or sform is None:
        return
    corners = np.array([(*at, 1) for at in product(*[(0, size - 1) for size in image.shape[:3]])])
    apart = float(np.linalg.norm(corners @ (qform - sform).T, axis=1).max())
    if not apart <= AGREEMENT * min(image.header.get_zooms()[:3]):
        raise UnreadableScan(f"{file}: its qform and its sform put it {apart:.3g} mm apart, expected one place")
