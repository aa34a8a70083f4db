"""Single DICOM images, such as X-rays and mammograms, as a viewer shows them."""

import warnings
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from unlikelihood.data.dicom_pixels import stored_values
from unlikelihood.storage.extras import needing
from unlikelihood.storage.reading import check_scale, no_file

SLICES = ("CT", "MR", "PT")  # modalities of slices, whose windows differ from slice to slice
COMPUTED = ("RTDOSE", "SEG", "RTIMAGE", "REG")  # modalities of what has pixels and is no picture


def has_preamble(file: Path) -> bool:
    """Return whether a file begins as DICOM files do."""
    if no_file(file):
        return False
    try:
        with file.open("rb") as content:
            return content.read(132)[128:] == b"DICM"
    except OSError:
        return False


def no_image(file: Path) -> str:
    """Return what a DICOM file is if it holds no image, such as a report; empty where it may hold one."""
    if no_file(file):
        return ""
    try:
        from pydicom import dcmread

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = dcmread(file, stop_before_pixels=True, specific_tags=["SOPClassUID", "Modality", "Rows"])
            kind = header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID")
            # An image that lacks its size is damaged, as is what is of no kind that there may be.
            name = str(kind.name) if kind and kind.is_valid else ""
            lacking = "Rows" not in header and "Image Storage" not in name
            return name if lacking or header.get("Modality") in COMPUTED else ""
    except Exception:  # which reading it will name
        return ""


def read_dicom(content: BinaryIO) -> NDArray[Any]:
    """Read a DICOM image as it is displayed: by its modality and VOI look-up tables or window, black to white.

    Parameters
    ----------
    content : BinaryIO
        The file, opened.

    Returns
    -------
    ndarray of shape (H, W) or (H, W, 3)
        Grey: float32 from 0 (black) to 1 (white), MONOCHROME1 too. Colours in RGB: as they are stored where they have
        8 bits, else float32 from 0 to 1.

    Raises
    ------
    ValueError
        If it is damaged, a slice of a series, or holds several frames or no image.
    MissingPackage
        If pydicom is not installed.
    """
    with needing("ct", f"{getattr(content, 'name', 'an image')}: DICOM"):
        from pydicom import dcmread
    # Out of memory, which gives no more than there is, whatever length an element claims.
    return _shown(dcmread(BytesIO(content.read())))


def _shown(dataset: Any) -> NDArray[Any]:
    from pydicom.pixels.processing import apply_color_lut

    if dataset.get("Modality") in SLICES:
        raise ValueError(f"a slice of {dataset.Modality}, which the source Volumes reads by series")
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        raise ValueError(f"{dataset.NumberOfFrames} frames, expected one")
    kind, samples = dataset.PhotometricInterpretation, int(dataset.SamplesPerPixel)
    if samples != (1 if kind.startswith(("MONOCHROME", "PALETTE")) else 3):
        raise ValueError(f"{samples} values a pixel, of which it says that they are {kind}")
    if kind == "PALETTE COLOR":
        bits = int(dataset.RedPaletteColorLookupTableDescriptor[2])
        return _of_bits(apply_color_lut(dataset.pixel_array, dataset), bits)
    if not kind.startswith("MONOCHROME"):
        return _of_bits(dataset.pixel_array, int(dataset.BitsStored))  # YBR as RGB
    check_scale(float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0)))
    shown = _displayed(stored_values(dataset), dataset)
    return 1 - shown if kind == "MONOCHROME1" else shown


def _of_bits(colours: NDArray[Any], bits: int) -> NDArray[Any]:
    return colours if colours.dtype == np.uint8 else colours.astype(np.float32) / np.float32(2**bits - 1)


def _displayed(stored: NDArray[Any], dataset: Any) -> NDArray[np.float32]:
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    image = _whole(apply_modality_lut(stored, dataset))
    if "WindowCenter" in dataset or "VOILUTSequence" in dataset:
        ends = np.array([-(2**40), 2**40])  # beyond every window and table
    else:
        signed, bits = dataset.PixelRepresentation == 1, dataset.BitsStored
        span = [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if signed else [0, 2**bits - 1]
        ends = apply_modality_lut(np.array(span, stored.dtype), dataset)
    # The ends of the display are not those of this image: a faint image stays faint.
    with np.errstate(over="ignore"):
        image, (low, high) = (np.asarray(apply_voi_lut(values, dataset), np.float64) for values in (image, ends))
    if not low < high:
        raise ValueError(f"its look-up tables map all intensities to {low:g}")
    if not np.isfinite(image).all() or not np.isfinite(high - low):
        raise ValueError("its look-up tables or its window make numbers that are not finite")
    return np.clip((image - low) / (high - low), 0, 1).astype(np.float32)


def _whole(values: NDArray[Any]) -> NDArray[Any]:
    # A look-up table takes integers, which rescaling makes floating point.
    return values.astype(np.int64) if (values == np.rint(values)).all() else values
