"""Writing the slices of a DICOM series."""

import re
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlikelihood.data.ct.formats import imported

UID = re.compile(r"(?=.{3,64}$)\d+(\.\d+)+")


def write_slices(
    folder: Path,
    hu: NDArray[Any],
    positions: NDArray[np.float64],
    spacing: NDArray[np.float64],
    direction: NDArray[np.float64],
    series: str,
    patient: str,
) -> None:
    """Write one file a slice; `positions` (D, 3) are of their first voxels, the others are as in `Scan`.

    A `series` that is no UID, and what else needs one, gets one that follows from the content.
    """
    pydicom, uid = imported("pydicom"), imported("pydicom.uid")
    stored = np.rint(hu)
    if stored.min() < -(2**15) or stored.max() >= 2**15:
        raise ValueError(f"hu from {stored.min():g} to {stored.max():g}: expected what 16 bits hold")
    own = series if UID.fullmatch(series) else ""
    series = own or uid.generate_uid(entropy_srcs=[series, patient, blake2b(hu.tobytes()).hexdigest()])
    for k, plane in enumerate(stored.astype("<i2")):
        data = pydicom.Dataset()
        data.file_meta = pydicom.dataset.FileMetaDataset()
        data.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = uid.CTImageStorage
        data.SOPInstanceUID = uid.generate_uid(entropy_srcs=[series, str(k)])
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        data.StudyInstanceUID = uid.generate_uid(entropy_srcs=[series, "study"])
        data.FrameOfReferenceUID = uid.generate_uid(entropy_srcs=[series, "frame"])
        data.SeriesInstanceUID, data.PatientID, data.PatientName = series, patient, patient
        data.Modality, data.ImageType, data.InstanceNumber = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"], k + 1
        data.ImagePositionPatient = [f"{value:.10g}" for value in positions[k]]
        data.ImageOrientationPatient = [f"{value:.10f}" for value in direction[:, :2].T.ravel()]
        data.PixelSpacing = [f"{value:.10g}" for value in (spacing[1], spacing[0])]
        data.SliceThickness = f"{spacing[2]:.10g}"
        data.Rows, data.Columns = plane.shape
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
        data.RescaleSlope, data.RescaleIntercept, data.RescaleType = "1", "0", "HU"
        data.PixelData = plane.tobytes()
        data.save_as(folder / f"{k:04d}.dcm", enforce_file_format=True)
