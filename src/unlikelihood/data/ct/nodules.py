"""Nodules: cubes around known places in CT scans."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from unlikelihood.data.ct.cubes import Centre, Cubes, Rejection
from unlikelihood.data.ct.scan_files import ScanFiles
from unlikelihood.data.labelled_folder import read_table
from unlikelihood.data.source import existing

__all__ = ["Nodules", "Rejection"]

TABLE = "annotations.csv"
CLASS = "class"  # the label's column in LUNA16's candidates.csv


@dataclass(frozen=True, kw_only=True)
class Nodules(Cubes):
    """Cubes (1, D, H, W) around the centres that a table lists, in its order, each out of its CT scan.

    The table is one as LUNA16's annotations.csv or candidates.csv: a row names a scan (by its series instance UID, or
    the name of its file without the suffix, or its path in the folder) and the world coordinates of a centre in mm, as
    in DICOM (LPS), which is the middle of the cube. Cubes are named by scan and line.

    Further parameters are those of `Cubes`.

    Parameters
    ----------
    table : str or Path, optional
        CSV file of the centres; annotations.csv in `path` unless given.
    scan : str
        Column of the scans.
    centre : tuple of str
        Columns of the centres' x, y and z.
    label : str, optional
        Column of the labels: 0 or 1, or `normal` or `anomalous`. Unless given, "class" where there is one; a table
        without has no labels.
    group : str, optional
        Column of the patients. Unless given, the patient ID of a DICOM series, and else each scan is a patient.
    """

    scan: str = "seriesuid"
    centre: tuple[str, str, str] = ("coordX", "coordY", "coordZ")
    label: str | None = None
    group: str | None = None

    @property
    @override
    def columns(self) -> tuple[str, ...]:
        return (self.scan, *self.centre)

    @override
    def centres(self, path: Path, scans: Sequence[ScanFiles]) -> list[Centre]:
        return list(self._centres(path))

    def _centres(self, path: Path) -> Iterator[Centre]:
        beside = (path if path.is_dir() else path.parent) / TABLE
        if self.table is None and not beside.is_file():
            raise FileNotFoundError(
                f"table=None and there is no {beside}: expected a CSV file with the columns {self.scan}, "
                f"{', '.join(self.centre)}; the source Volumes reads whole scans, without a table"
            )
        table = beside if self.table is None else existing("table", self.table)
        named = [self.scan, *filter(None, [self.group])]
        columns, rows = read_table(table, [*named, *self.centre, *filter(None, [self.label])])
        label = self.label or (CLASS if CLASS in columns else None)
        places: dict[tuple[str, tuple[float, float, float]], int] = {}
        for line, row in rows:
            where = f"table={table}, line {line}"
            for column in named:
                if not row[column]:
                    raise ValueError(f"{where}: {column}={row[column]!r}, expected a name")
            at = self._place(row, where)
            if (first := places.setdefault((row[self.scan], at), line)) != line:
                raise ValueError(f"{where}: the place of line {first} once more, expected it once")
            yield Centre(
                line,
                row[self.scan],
                at,
                f"{row[self.scan]}/{line:05d}",
                self.label_in(row, label, where) if label else None,
                row[self.group] if self.group else None,
            )

    def _place(self, row: Mapping[str, str], where: str) -> tuple[float, float, float]:
        at = [row[column] for column in self.centre]
        try:
            x, y, z = map(float, at)
        except (TypeError, ValueError):
            x = y = z = math.nan
        if not all(map(math.isfinite, (x, y, z))):
            raise ValueError(f"{where}: {', '.join(self.centre)}={at}, expected three numbers in mm")
        return x, y, z
