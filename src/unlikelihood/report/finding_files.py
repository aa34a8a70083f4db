"""Findings as files: a DICOM structured report of each series that the scored cubes are cut out of."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlikelihood.data.ct.cubes import Cubes
from unlikelihood.data.ct.findings import save_findings
from unlikelihood.data.ct.formats import FORMATS, suffix_of
from unlikelihood.data.ct.scan_files import by_name
from unlikelihood.data.source import existing
from unlikelihood.storage.files import filling
from unlikelihood.storage.tables import Columns

MEASURED = {"anomaly_score": "anomaly score", "p_value": "p-value", "probability": "probability"}


def series_of(source: Cubes, names: Sequence[str]) -> dict[str, Path]:
    """Return, by the scan that cubes of these names are cut out of, a file of its DICOM series.

    Raises
    ------
    ValueError
        If one is no DICOM series.
    """
    known = by_name(source.survey(existing("path", source.path)).scans)
    found = {}
    for scan in dict.fromkeys(name.rpartition("/")[0] for name in names):
        file = known[scan][0].files[0]
        if suffix_of(file) in FORMATS:
            raise ValueError(f"findings of {file}: expected a DICOM series; where they lie is in the table")
        found[scan] = file
    return found


def write_findings(folder: str | os.PathLike[str], table: Columns, series: Mapping[str, Path]) -> Path:
    """Write ``SERIES.dcm`` for each scan, with the rows of a table that lie in it, all of them or none.

    Parameters
    ----------
    folder : path
        Made if need be. Files of other names in it stay.
    table : dict of str to ndarray
        With name, anomaly_score, x_mm, y_mm and z_mm, and p_value and probability where they are known.
    series : mapping of str to Path
        Of `series_of`.

    Returns
    -------
    Path
        The folder.
    """
    names: NDArray[Any] = np.asarray(table["name"])
    scans = np.array([str(name).rpartition("/")[0] for name in names])
    centres = np.stack([table[axis] for axis in ("x_mm", "y_mm", "z_mm")], axis=1)
    with filling(folder) as draft:
        for scan, file in series.items():
            rows = scans == scan
            measured = {word: table[column][rows] for column, word in MEASURED.items() if column in table}
            save_findings(draft / f"{scan}.dcm", centres[rows], file, measured, names[rows].tolist())
    return Path(folder).absolute()
