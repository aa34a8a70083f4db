"""The scans that are one image: NIfTI, MetaImage and NRRD."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from unlikelihood.data.ct import metaimage, nifti, nrrd
from unlikelihood.data.ct.formats import METAIMAGE, NIFTI, UnreadableScan, naming, sitk, suffix_of


def image_fields(file: Path) -> dict[str, Any]:
    """Return the fields of the scan in an image file, which must be whole and undamaged."""
    suffix = suffix_of(file)
    with naming(file):
        if not file.stat().st_size:
            raise UnreadableScan(f"{file}: cannot be read as a scan (it is empty)")
        fields = nifti.image_fields(file) if suffix in NIFTI else _by_itk(file, suffix)
    return {**fields, "series": file.name[: -len(suffix)]}


def voxel_files(file: Path) -> list[Path]:
    """Return the other files that an image file has its voxels in."""
    suffix = suffix_of(file)
    module: Any = nifti if suffix in NIFTI else metaimage if suffix in METAIMAGE else nrrd
    with naming(file):
        return list(module.voxel_files(file))


def _by_itk(file: Path, suffix: str) -> dict[str, Any]:
    module: Any = metaimage if suffix in METAIMAGE else nrrd
    module.check(file)
    source = sitk().ImageFileReader()
    source.SetImageIO("MetaImageIO" if suffix in METAIMAGE else "NrrdImageIO")  # ITK minds the case of names
    source.SetFileName(str(file))
    with _messages_as_error(file):
        image = source.Execute()
    hu = sitk().GetArrayFromImage(image)
    while image.GetDimension() > 3 and image.GetSize()[-1] == 1:
        image, hu = image[..., 0], hu[0]
    if image.GetDimension() != 3:
        raise UnreadableScan(f"{file}: an image of shape {hu.shape}, expected (D, H, W)")
    direction = np.reshape(image.GetDirection(), (3, 3))
    return {"hu": hu, "origin": image.GetOrigin(), "spacing": image.GetSpacing(), "direction": direction}


@contextmanager
def _messages_as_error(file: Path) -> Iterator[None]:
    """Make an error of what ITK would print, and go on."""
    messages: list[str] = []

    class Messages(sitk().LoggerBase):  # type: ignore[misc]
        def DisplayText(self, text: str) -> None:  # noqa: N802 - ITK's name
            messages.append(" ".join(text.split()))

        DisplayErrorText = DisplayWarningText = DisplayText

    heard = Messages()
    before = heard.SetAsGlobalITKLogger()
    try:
        yield
    finally:
        before.SetAsGlobalITKLogger()
    if messages:
        raise UnreadableScan(f"{file}: cannot be read as a scan ({messages[0][-300:]})")
