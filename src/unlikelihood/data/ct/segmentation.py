"""Maps and marks as DICOM segmentations, which viewers lay over the scan that they are of."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unlikelihood.data.ct.dicom import Slice, chosen_series, headers_in
from unlikelihood.data.ct.formats import UnreadableScan, imported
from unlikelihood.data.ct.scan import Scan
from unlikelihood.data.source import existing
from unlikelihood.data.walk import files_in
from unlikelihood.storage.files import replacing


def marked(scan: Scan, centres: ArrayLike, diameters: ArrayLike) -> Scan:
    """Return marks as a scan of their own: 1 in balls, 0 elsewhere, on the grid of `scan`.

    Parameters
    ----------
    scan : Scan
        The scan that the marks are in.
    centres : array-like of shape (n, 3)
        World coordinates (x, y, z) in mm of their middles.
    diameters : array-like of shape (n,) or float
        In mm. A ball smaller than a voxel is the voxel that holds its centre.
    """
    balls = np.zeros(scan.hu.shape, np.int16)
    centres = np.asarray(centres, np.float64).reshape(-1, 3)
    for centre, diameter in zip(centres, np.broadcast_to(diameters, len(centres)), strict=True):
        middle, reach = scan.to_index(centre), diameter / 2 / scan.spacing[::-1]
        low = np.clip(np.floor(middle - reach), 0, scan.hu.shape).astype(int)
        high = np.clip(np.ceil(middle + reach) + 1, 0, scan.hu.shape).astype(int)
        index = np.moveaxis(np.indices(high - low), 0, -1) + low
        inside = np.linalg.norm(scan.to_world(index) - centre, axis=-1) <= diameter / 2
        inside |= (index == np.rint(middle)).all(-1)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        balls[box] |= inside
    return replace(scan, hu=balls)


def save_segmentation(path: str | Path, mask: Scan, series: str | Path, *, label: str = "Anomaly") -> None:
    """Write where a map is above 0 as a DICOM segmentation of the series that it is of.

    Each pixel of each slice of the series takes the voxel of the map that it lies in, so that a map on the grid of the
    scan, a crop of it (`Scan.of_crop`) and the slices of a tilted gantry are all where they belong in the patient.

    Parameters
    ----------
    path : str or Path
        The .dcm file to write.
    mask : Scan
        The map, in world coordinates; see `marked`.
    series : str or Path
        The folder of the DICOM series, or one of its files.
    label : str
        What the segment is called.

    Raises
    ------
    UnreadableScan
        If there is no such series, or it lies in several objects of many frames (enhanced CT).
    ValueError
        If no pixel of the series lies where the map is above 0.
    """
    slices = slices_of(existing("series", series))
    segment = np.stack([_section(mask, one) for one in slices])
    marked_slices = np.flatnonzero(segment.any(axis=(1, 2)))
    if not len(marked_slices):
        raise ValueError(f"mask={mask!r} has nothing above 0 in the series {slices[0].series} in {series}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # at the patient's name in the headers, which is as it is
        # Without a gap, for which readers such as ITK would put what follows it elsewhere.
        kept = slice(marked_slices[0], marked_slices[-1] + 1)
        made = _segmentation(slices[kept], segment[kept], label)
    with replacing(path) as file:
        made.save_as(file)


def slices_of(place: Path) -> list[Slice]:
    """Return the slices of the DICOM series in a folder, or that a file is of, in the order of their places."""
    headers = headers_in(files_in(place if place.is_dir() else place.parent))
    own = {one.series for header in headers for one in header.slices if header.file == place}
    chosen = chosen_series(place, headers, own.pop() if len(own) == 1 else None)
    if chosen.damage:
        raise UnreadableScan(chosen.damage)
    if 1 < (files := len({one.file for one in chosen.slices})) < len(chosen.slices):
        raise UnreadableScan(
            f"{chosen.slices[0].file}: the series lies in {files} files of many frames, expected one, or one a slice"
        )
    normal = np.cross(chosen.slices[0].axes[:3], chosen.slices[0].axes[3:])
    return sorted(chosen.slices, key=lambda one: float(normal @ one.position))


def _section(mask: Scan, one: Slice) -> NDArray[np.bool_]:
    """Return which pixels (H, W) of a slice lie in voxels of the map that are above 0."""
    rows, columns = np.indices(one.shape)
    x, y = np.array(one.axes).reshape(2, 3)
    world = one.position + columns[..., None] * one.spacing[0] * x + rows[..., None] * one.spacing[1] * y
    index = np.rint(mask.to_index(world)).astype(int)
    within = np.all((index >= 0) & (index < mask.hu.shape), axis=-1)
    section = np.zeros(one.shape, bool)
    section[within] = mask.hu[tuple(index[within].T)] > 0
    return section


def _segmentation(slices: Sequence[Slice], segment: NDArray[np.bool_], label: str) -> Any:
    highdicom, codes = imported("highdicom"), imported("pydicom.sr.codedict").codes
    sources = [header_of(file) for file in dict.fromkeys(one.file for one in slices)]
    own = version("unlikelihood")
    method = highdicom.AlgorithmIdentificationSequence(
        name="unlikelihood", version=own, family=codes.DCM.ArtificialIntelligence
    )
    described = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label=label,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.MorphologicallyAbnormalStructure,
        algorithm_type="AUTOMATIC",
        algorithm_identification=method,
    )
    # The same segment of the same series gets the same UIDs.
    content = [slices[0].series, label, blake2b(segment.tobytes()).hexdigest()]
    series, instance = (
        imported("pydicom.uid").generate_uid(entropy_srcs=[*content, kind]) for kind in ("series", "own")
    )
    return highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=segment.astype(np.uint8),
        segmentation_type="BINARY",
        segment_descriptions=[described],
        plane_positions=[highdicom.PlanePositionSequence("PATIENT", one.position) for one in slices],
        omit_empty_frames=False,
        series_instance_uid=series,
        series_number=1,
        sop_instance_uid=instance,
        instance_number=1,
        manufacturer="unlikelihood",
        manufacturer_model_name="unlikelihood",
        software_versions=own,
        device_serial_number="0",
        content_description="Where a detector found something anomalous; no diagnosis",
    )


def header_of(file: Path) -> Any:
    """Return what a DICOM file says beside its pixels, with what an object that is derived from it must have."""
    data = imported("pydicom").dcmread(file, stop_before_pixels=True, force=True)
    for tag in ("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "PatientBirthDate", "PatientSex"):
        if tag not in data:  # which the standard asks for, though it may be empty
            setattr(data, tag, "")
    return data
