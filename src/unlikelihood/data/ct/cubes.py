"""Cubes around places in CT scans, whoever names them."""

import csv
import warnings
from abc import abstractmethod
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from typing_extensions import override

from unlikelihood.data.ct.cropping import Cropped, Request
from unlikelihood.data.ct.ct_folder import CTFolder
from unlikelihood.data.ct.scan_files import ScanFiles, by_name
from unlikelihood.data.images import Images
from unlikelihood.data.source import existing
from unlikelihood.parameters import Positive
from unlikelihood.storage.files import replacing

LISTED = 5  # rejections that a message lists


class Centre(NamedTuple):
    """A place to make a cube of: its line in a table or its number, its scan, (x, y, z) in mm, and the cube's name."""

    line: int
    scan: str
    centre: tuple[float, float, float]
    name: str
    label: int | None = None
    group: str | None = None


class Rejection(NamedTuple):
    """A place that gave no cube, and why."""

    line: int
    scan: str
    centre: tuple[float, float, float]
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}, scan {self.scan}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Cubes(CTFolder):
    """Cubes (1, D, H, W) around centres in CT scans, of which a subclass says where they are.

    Whatever gives no cube (a scan that is missing or cannot be read, a centre outside its scan) is a line of a CSV
    file in the cache, which the message names.

    Further parameters are those of `CTFolder`.

    Parameters
    ----------
    size : float
        Side of a cube in mm.
    skip_rejected : bool
        Leave out what gives no cube, with one warning that counts it, where otherwise it is an error.
    """

    size: Positive = 32.0
    skip_rejected: bool = False

    @abstractmethod
    def centres(self, path: Path, scans: Sequence[ScanFiles]) -> list[Centre]:
        """Return the centres of the cubes in the scans of a folder."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the scan's, x's, y's and z's columns in the table of rejections."""
        return ("seriesuid", "coordX", "coordY", "coordZ")

    @override
    def read(self) -> Images:
        found = self.survey(existing("path", self.path))
        centres, made, rejections = self._cropped(found.scans)
        reasons = {one.line: one.reason for one in rejections}
        kept = [one for one in centres if one.line not in reasons]
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
            name=[one.name for one in kept],
            left_out=found.left_out + Counter({"centres that give no cube": len(rejections)}),
            unread={one.name: reasons[one.line] for one in centres if one.line in reasons},
        )

    def rejections(self) -> list[Rejection]:
        """Return the centres that give no cube, in their order, after the cubes are made."""
        return self._cropped(self.survey(existing("path", self.path)).scans)[2]

    def _cropped(
        self, scans: list[ScanFiles]
    ) -> tuple[list[Centre], list[tuple[Cropped, list[Centre]]], list[Rejection]]:
        """Return the centres, the crops of each scan with the centres in it, and what gave nothing."""
        grid = self.grid((self.size,) * 3)
        path = existing("path", self.path)
        centres = self.centres(path, scans)
        by_scan: dict[str, list[Centre]] = defaultdict(list)
        for one in centres:
            by_scan[one.scan].append(one)
        known = by_name(scans)
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

    def _report(self, rejections: Sequence[Rejection], total: int) -> None:
        """Write the table of rejections, and raise or warn if there are any."""
        source = blake2b(f"{Path(self.path).resolve()}\n{self.table}".encode(), digest_size=4).hexdigest()
        target = self.crops_folder / f"rejected-{source}.csv"
        with replacing(target) as file, file.open("w", newline="", encoding="utf-8") as lines:
            table = csv.writer(lines)
            table.writerow(["line", *self.columns, "reason"])
            table.writerows([one.line, one.scan, *one.centre, one.reason] for one in rejections)
        if not rejections:
            return
        of = "" if self.table is None else f", of table={self.table}"
        few = "\n".join(map(str, rejections[:LISTED])) + ("\n…" if len(rejections) > LISTED else "")
        if len(rejections) == total:
            raise ValueError(f"none of {total} centres gives a cube, all are in {target}{of}\n{few}")
        if not self.skip_rejected:
            raise ValueError(
                f"{len(rejections)} of {total} centres give no cube, all are in {target}{of}; "
                f"skip_rejected=True leaves them out\n{few}"
            )
        warnings.warn(f"{len(rejections)} of {total} centres skipped, all are in {target}\n{few}", stacklevel=3)
