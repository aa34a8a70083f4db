"""Findings as DICOM structured reports (Comprehensive 3D SR, TID 1500): points in the patient, and their scores."""

import warnings
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from unlikelihood.data.ct.formats import imported
from unlikelihood.data.ct.segmentation import header_of, slices_of
from unlikelihood.data.source import existing
from unlikelihood.storage.files import replacing

SCHEME = "99UNLIKELIHOOD"  # of the codes of what is measured: DICOM has none for an anomaly score


def save_findings(
    path: str | Path,
    centres: ArrayLike,
    series: str | Path,
    measured: Mapping[str, ArrayLike],
    names: Sequence[str] | None = None,
) -> None:
    """Write findings as a DICOM structured report of the series that they are in, one measurement group each.

    Parameters
    ----------
    path : str or Path
        The .dcm file to write.
    centres : array-like of shape (n, 3)
        World coordinates (x, y, z) in mm, at least one: x_mm, y_mm and z_mm of a table. They are kept in float32.
    series : str or Path
        The folder of the DICOM series, or one of its files.
    measured : mapping of str to array-like of shape (n,)
        By what it is called, such as "anomaly score" and "p-value", a number without a unit for each finding.
    names : sequence of str, optional
        Of the findings; their numbers unless given.

    Raises
    ------
    UnreadableScan
        If there is no such series.
    ValueError
        If there is no finding, a number is not finite, or the series has no frame of reference.
    """
    points = np.asarray(centres, np.float64).reshape(-1, 3)
    columns = {word: np.asarray(values, np.float64) for word, values in measured.items()}
    if not len(points):
        raise ValueError("centres has no rows, expected at least one finding")
    for word, values in {"centres": points, **columns}.items():
        if len(values) != len(points) or not np.isfinite(values).all():
            raise ValueError(f"{word} has the shape {values.shape}, expected {len(points)} rows of finite numbers")
    names = [str(number) for number in range(1, len(points) + 1)] if names is None else names
    slices = slices_of(existing("series", series))
    if not slices[0].frame_of_reference:
        raise ValueError(f"series={str(series)!r} has no frame of reference, in which findings could lie")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # at the patient's name in the headers, which is as it is
        made = _report(
            slices[0].frame_of_reference,
            [header_of(file) for file in dict.fromkeys(one.file for one in slices)],
            [
                (str(name), point, {word: column[row] for word, column in columns.items()})
                for row, (name, point) in enumerate(zip(names, points, strict=True))
            ],
        )
    with replacing(path) as file:
        made.save_as(file)


def _report(frame: str, sources: Sequence[Any], findings: Sequence[tuple[str, Any, Mapping[str, float]]]) -> Any:
    sr, codes = imported("highdicom.sr"), imported("pydicom.sr.codedict").codes
    # The same findings in the same series get the same UIDs.
    content = [sources[0].SeriesInstanceUID, blake2b(repr(findings).encode()).hexdigest()]
    uid, own = imported("pydicom.uid").generate_uid, version("unlikelihood")
    method = sr.AlgorithmIdentification(name="unlikelihood", version=own)
    groups = [
        sr.PlanarROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=sr.TrackingIdentifier(uid(entropy_srcs=[*content, str(row)]), name),
            referenced_region=sr.ImageRegion3D("POINT", point[None], frame),
            finding_type=codes.SCT.MorphologicallyAbnormalStructure,
            algorithm_id=method,
            measurements=[
                sr.Measurement(sr.CodedConcept(word.upper()[:16], SCHEME, word), float(value), codes.UCUM.NoUnits)
                for word, value in values.items()
            ],
        )
        for row, (name, point, values) in enumerate(findings)
    ]
    device = sr.DeviceObserverIdentifyingAttributes(uid(entropy_srcs=["unlikelihood", own]), "unlikelihood")
    observer = sr.ObservationContext(observer_device_context=sr.ObserverContext(codes.DCM.Device, device))
    return sr.Comprehensive3DSR(
        evidence=sources,
        content=sr.MeasurementReport(observer, codes.cid100.CTUnspecifiedBodyRegion, groups)[0],
        series_instance_uid=uid(entropy_srcs=[*content, "series"]),
        series_number=1,
        sop_instance_uid=uid(entropy_srcs=[*content, "own"]),
        instance_number=1,
        manufacturer="unlikelihood",
    )
