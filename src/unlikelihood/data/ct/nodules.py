"""Nodules: cubes around known places in CT scans."""

import csv
import math
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from typing_extensions import override

from unlikelihood.data.ct.cropping import Cropped, Request
from unlikelihood.data.ct.ct_folder import CTFolder
from unlikelihood.data.ct.scan_files import ScanFiles
from unlikelihood.data.images import Images
from unlikelihood.data.labelled_folder import read_table
from unlikelihood.data.source import existing
from unlikelihood.parameters import Positive
from unlikelihood.storage.files import replacing

TABLE = "annotations.csv"
CLASS = "class"  # the label's column in LUNA16's candidates.csv
LISTED = 5  # rejections that a message lists


class Centre(NamedTuple):
    """A row of the table."""

    line: int
    scan: str
    centre: tuple[float, float, float]
    label: int | None
    group: str | None


class Rejection(NamedTuple):
    """A row of the table that gave no cube, and why."""

    line: int
    scan: str
    centre: tuple[float, float, float]
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}, scan {self.scan}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Nodules(CTFolder):
    """Cubes (1, D, H, W) around the centres that a table lists, in its order, each out of its CT scan.

    The table is one as LUNA16's annotations.csv or candidates.csv: a row names a scan (by its series instance UID, or
    the name of its file without the suffix, or its path in the folder) and the world coordinates of a centre in mm, as
    in DICOM (LPS), which is the middle of the cube. Cubes are named by scan and line.

    Whatever a row gives no cube for (a scan that is missing or cannot be read, a centre outside its scan) is a line
    of a CSV file in the cache, which the message names.

    Further parameters are those of `CTFolder`.

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
    size : float
        Side of a cube in mm.
    skip_rejected : bool
        Leave out what gives no cube, with one warning that counts it, where otherwise it is an error.
    """

    scan: str = "seriesuid"
    centre: tuple[str, str, str] = ("coordX", "coordY", "coordZ")
    label: str | None = None
    group: str | None = None
    size: Positive = 32.0
    skip_rejected: bool = False

    @override
    def read(self) -> Images:
        centres, made, rejections = self._cropped()
        wrong = {one.line for one in rejections}
        kept = [one for one in centres if one.line not in wrong]
        self._report(rejections, len(centres))
        place = {one.line: i for i, one in enumerate(kept)}
        whole = [(crops, [place[one.line] for one in own if one.line in place]) for crops, own in made]
        whole = [(crops, rows) for crops, rows in whole if rows]
        patient = {row: crops.patient for crops, rows in whole for row in rows}
        return self.images(
            [crops for crops, _ in whole],
            [rows for _, rows in whole],
            label=[one.label for one in kept],
            group=[one.group or patient[row] or one.scan for row, one in enumerate(kept)],
            name=[f"{one.scan}/{one.line:05d}" for one in kept],
        )

    def rejections(self) -> list[Rejection]:
        """Return the rows of the table that give no cube, in its order, after the cubes are made."""
        return self._cropped()[2]

    def _cropped(self) -> tuple[list[Centre], list[tuple[Cropped, list[Centre]]], list[Rejection]]:
        """Return the rows of the table, the crops of each scan with the rows of it, and what gave nothing."""
        grid = self.grid((self.size,) * 3)
        path = existing("path", self.path)
        centres = list(self._centres(path))
        by_scan: dict[str, list[Centre]] = defaultdict(list)
        for one in centres:
            by_scan[one.scan].append(one)
        known = _by_name(self.scans(path))
        reasons: dict[int, str] = {}
        for name, own in by_scan.items():
            there = known.get(name, [])
            if len(there) != 1:
                places = "".join(f", {one.name}" for one in there)
                reasons |= {one.line: f"{len(there) or 'no'} scans of this name in {path}{places}" for one in own}
        rows = [own for own in by_scan.values() if own[0].line not in reasons]
        requests = [Request(known[own[0].scan][0], tuple(one.centre for one in own)) for own in rows]
        whole = list(zip(self.crop(requests, grid), rows, strict=True))
        for made, own in whole:
            reasons |= {one.line: made.damage for one in own} if made.damage else {}
            reasons |= {own[k].line: reason for k, reason in made.rejected.items()}
        rejections = [Rejection(*one[:3], reasons[one.line]) for one in centres if one.line in reasons]
        return centres, [(made, own) for made, own in whole if not made.damage], rejections

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
        for line, row in rows:
            where = f"table={table}, line {line}"
            for column in named:
                if not row[column]:
                    raise ValueError(f"{where}: {column}={row[column]!r}, expected a name")
            yield Centre(
                line,
                row[self.scan],
                self._place(row, where),
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

    def _report(self, rejections: Sequence[Rejection], total: int) -> None:
        """Write the table of rejections, and raise or warn if there are any."""
        source = blake2b(f"{Path(self.path).resolve()}\n{self.table}".encode(), digest_size=4).hexdigest()
        target = self.crops_folder / f"rejected-{source}.csv"
        with replacing(target) as file, file.open("w", newline="", encoding="utf-8") as lines:
            table = csv.writer(lines)
            table.writerow(["line", self.scan, *self.centre, "reason"])
            table.writerows([one.line, one.scan, *one.centre, one.reason] for one in rejections)
        if not rejections:
            return
        few = "\n".join(map(str, rejections[:LISTED])) + ("\n…" if len(rejections) > LISTED else "")
        if len(rejections) == total:
            raise ValueError(f"none of {total} centres gives a cube, all are in {target}\n{few}")
        if not self.skip_rejected:
            raise ValueError(
                f"{len(rejections)} of {total} centres give no cube, all are in {target}; "
                f"skip_rejected=True leaves them out\n{few}"
            )
        warnings.warn(f"{len(rejections)} of {total} centres skipped, all are in {target}\n{few}", stacklevel=3)


def _by_name(scans: Sequence[ScanFiles]) -> dict[str, list[ScanFiles]]:
    """Return the scans under each of the names that a table may call them by."""
    known: dict[str, list[ScanFiles]] = defaultdict(list)
    for one in scans:
        for name in {one.series, one.name}:
            known[name].append(one)
    return known
