"""Nodules: cubes around known places in CT scans."""

import csv
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np

from unlikelihood.data.ct.cuts import HU, Box, Cuts, Order, cut, gather, kept_in, scans
from unlikelihood.data.ct.find import Found
from unlikelihood.data.ct.formats import AIR
from unlikelihood.data.images import Images
from unlikelihood.data.source import Source, existing
from unlikelihood.data.splits import Split
from unlikelihood.data.splits import cut as cut_parts
from unlikelihood.parameters import Count, Positive, check_parameters
from unlikelihood.storage.files import replacing

TABLE = "annotations.csv"
CLASS = "class"  # the label's column in LUNA16's candidates.csv
FEW = 5


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
class Nodules(Source):
    """Cubes around the centres that a table lists, each cut out of its CT scan with one interpolation.

    The scans are .mha, .mhd, .nii, .nii.gz, .nrrd files and DICOM series, in any folder of `path`. The table is one
    as LUNA16's annotations.csv or candidates.csv: a row names a scan (by its series instance UID, or the name of its
    file without the suffix, or its path in the folder) and the world coordinates of a centre in mm, as in DICOM (LPS).

    The axes of a cube are the world axes z, y and x, whatever the direction of the scan, and its centre is the middle
    of the cube. Where the scan's voxels are smaller than the cube's they are averaged, not picked from; see
    `Scan.cut`. The cubes are kept in HU in the cache, rounded to 1 HU where the scan holds integers. The window is
    not part of what is kept, so it may change at no cost. Paths, sizes and times of change stand for the content of
    the files; a run that was killed goes on where it was.

    Whatever a row gives no cube for (a scan that is missing or cannot be read, a centre outside its scan) is a line
    of a CSV file in the cache, which the message names.

    Parameters
    ----------
    path : str or Path
        The folder of the scans, or the file of one.
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
    normal : str
        What normals are called in the table, beside 0.
    anomalous : str
        What anomalies are called in the table, beside 1.
    size : float
        Side of a cube in mm.
    spacing : float
        Size of its voxels in mm.
    outside : float
        Intensity in HU of what lies outside the scan; -1000 is air.
    window : tuple of float, optional
        The intensities in HU that become 0 and 1, what lies outside is clipped; all cubes are then held in memory.
        None keeps HU, in a memory map.
    resample : bool
        Put slices that are missing, uneven or displaced by a gantry tilt on an even grid, where otherwise such a
        scan is rejected. This is a second interpolation.
    skip_rejected : bool
        Leave out what gives no cube, with one warning that counts it, where otherwise it is an error.
    cache : str or Path, optional
        Folder of the cubes; "cuts" in `$UNLIKELIHOOD_CACHE` or `~/.cache/unlikelihood` unless given.
    jobs : int, optional
        Number of processes, each of which holds one scan; one a core unless given.
    fractions : tuple of float
        Parts of the normals for train, calibration and test; they sum to 1.
    balanced : bool
        Leave images out of the test, at random, until it holds as many normals as anomalies.
    seed : int
        Seed of the cut into parts.
    """

    path: str | Path
    table: str | Path | None = None
    scan: str = "seriesuid"
    centre: tuple[str, str, str] = ("coordX", "coordY", "coordZ")
    label: str | None = None
    group: str | None = None
    normal: str = "normal"
    anomalous: str = "anomalous"
    size: Positive = 32.0
    spacing: Positive = 1.0
    outside: HU = AIR
    window: tuple[float, float] | None = (-1000.0, 400.0)
    resample: bool = False
    skip_rejected: bool = False
    cache: str | Path | None = None
    jobs: Count | None = None
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2)
    balanced: bool = False

    def read(self) -> Images:
        """Cut the cubes that are not in the cache yet, and read all.

        Returns
        -------
        Images
            Cubes (1, D, H, W) in the order of the table, named by scan and line; groups are the patients.

        Raises
        ------
        ValueError
            If the table is wrong, or a row of it gives no cube and `skip_rejected` is not set.
        """
        centres, made, rejections = self._cut()
        wrong = {one.line for one in rejections}
        kept = [one for one in centres if one.line not in wrong]
        self._report(rejections, len(centres))
        place = {one.line: i for i, one in enumerate(kept)}
        whole = [(cuts, [place[one.line] for one in own if one.line in place]) for cuts, own in made]
        whole = [(cuts, rows) for cuts, rows in whole if rows]
        patient = {row: cuts.patient for cuts, rows in whole for row in rows}
        label = [one.label for one in kept]
        return Images(
            pixels=gather([cuts for cuts, _ in whole], [rows for _, rows in whole], self.window, kept_in(self.cache)),
            label=None if None in label else np.array(label),
            group=np.array([one.group or patient[row] or one.scan for row, one in enumerate(kept)]),
            spacing=(self.spacing,) * 3,
            name=np.array([f"{one.scan}/{one.line:05d}" for one in kept]),
        )

    def split(self) -> Split:
        """Read the cubes and cut them into parts at random, never through a patient.

        Returns
        -------
        Split
            The parts; the same for the same seed.
        """
        return cut_parts(self.read(), fractions=self.fractions, seed=self.seed, balanced=self.balanced)

    def rejections(self) -> list[Rejection]:
        """Cut the cubes that are not in the cache yet, and say which rows of the table give none.

        Returns
        -------
        list of Rejection
            In the order of the table.
        """
        return self._cut()[2]

    def _cut(self) -> tuple[list[Centre], list[tuple[Cuts, list[Centre]]], list[Rejection]]:
        """Return the rows of the table, what was cut out of each scan with the rows of it, and what gave nothing."""
        check_parameters(self)
        path = existing("path", self.path)
        box = Box((self.size,) * 3, self.spacing, self.outside, self.resample)
        box.shape(())
        centres = list(self._centres(path))
        by_scan: dict[str, list[Centre]] = defaultdict(list)
        for one in centres:
            by_scan[one.scan].append(one)
        known = _by_name(scans(path, kept_in(self.cache)))
        reasons: dict[int, str] = {}
        for name, own in by_scan.items():
            there = known.get(name, [])
            if len(there) != 1:
                places = "".join(f", {one.name}" for one in there)
                reasons |= {one.line: f"{len(there) or 'no'} scans of this name in {path}{places}" for one in own}
        rows = [own for name, own in by_scan.items() if own[0].line not in reasons]
        orders = [Order(known[own[0].scan][0], tuple(one.centre for one in own)) for own in rows]
        cuts = cut(orders, box, kept_in(self.cache), self.jobs)
        whole = list(zip(cuts, rows, strict=True))
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
        labels = {"0": 0, "1": 1, self.normal: 0, self.anomalous: 1}
        with table.open(newline="", encoding="utf-8-sig") as lines:  # Excel begins its CSV files with a mark
            rows = csv.DictReader(lines)
            columns = rows.fieldnames or []
            label = self.label or (CLASS if CLASS in columns else None)
            needed = [self.scan, *self.centre, *filter(None, (label, self.group))]
            if missing := [column for column in needed if column not in columns]:
                raise ValueError(f"table={table} has the columns {list(columns)}, expected {missing} too")
            empty = True
            for row in rows:
                where = f"table={table}, line {rows.line_num}"
                empty = False
                try:
                    x, y, z = (float(row[column]) for column in self.centre)
                except (TypeError, ValueError):
                    x = y = z = np.nan
                if not np.isfinite([x, y, z]).all():
                    at = [row[column] for column in self.centre]
                    raise ValueError(f"{where}: {', '.join(self.centre)}={at}, expected three numbers in mm")
                if label and row[label] not in labels:
                    raise ValueError(f"{where}: {label}={row[label]!r}, expected one of {', '.join(labels)}")
                for column in filter(None, (self.scan, self.group)):
                    if not row[column]:
                        raise ValueError(f"{where}: {column}={row[column]!r}, expected a name")
                yield Centre(
                    rows.line_num,
                    row[self.scan],
                    (x, y, z),
                    labels[row[label]] if label else None,
                    row[self.group] if self.group else None,
                )
        if empty:
            raise ValueError(f"table={table} lists no centres")

    def _report(self, rejections: Sequence[Rejection], total: int) -> None:
        """Write the table of rejections, and raise or warn if there are any."""
        source = blake2b(f"{Path(self.path).resolve()}\n{self.table}".encode(), digest_size=4).hexdigest()
        target = kept_in(self.cache) / f"rejected-{source}.csv"
        with replacing(target) as file, file.open("w", newline="", encoding="utf-8") as lines:
            table = csv.writer(lines)
            table.writerow(["line", self.scan, *self.centre, "reason"])
            table.writerows([one.line, one.scan, *one.centre, one.reason] for one in rejections)
        if not rejections:
            return
        few = "\n".join(map(str, rejections[:FEW])) + ("\n…" if len(rejections) > FEW else "")
        if len(rejections) == total:
            raise ValueError(f"none of {total} centres gives a cube, all are in {target}\n{few}")
        if not self.skip_rejected:
            raise ValueError(
                f"{len(rejections)} of {total} centres give no cube, all are in {target}; "
                f"skip_rejected=True leaves them out\n{few}"
            )
        warnings.warn(f"{len(rejections)} of {total} centres skipped, all are in {target}\n{few}", stacklevel=3)


def _by_name(scans: Sequence[Found]) -> dict[str, list[Found]]:
    """Return the scans under each of the names that a table may call them by."""
    known: dict[str, list[Found]] = defaultdict(list)
    for one in scans:
        for name in {one.series, one.name}:
            known[name].append(one)
    return known
