"""Cubes around what looks like a nodule, in scans that nobody has read."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from typing_extensions import override

from unlikelihood.data.ct.blobs import Candidate, find_blobs
from unlikelihood.data.ct.content import content_hashes
from unlikelihood.data.ct.cropping import hashed
from unlikelihood.data.ct.cubes import Centre, Cubes
from unlikelihood.data.ct.formats import FORMATS, UnreadableScan
from unlikelihood.data.ct.scan_files import ScanFiles
from unlikelihood.data.source import existing
from unlikelihood.parameters import Count
from unlikelihood.progress import progress
from unlikelihood.storage.files import replacing
from unlikelihood.storage.workers import follow_parent

VERSION = 2  # of the finder: what another one found is not taken
NONE = Candidate((0.0, 0.0, 0.0), 0.0, 0.0)
COLUMNS = ("seriesuid", "coordX", "coordY", "coordZ", "diameter_mm", "score")  # the first are LUNA16's


class Found(NamedTuple):
    """What was found in a scan, the most likely first, or why it cannot be read."""

    scan: ScanFiles
    candidates: list[Candidate]
    damage: str = ""


@dataclass(frozen=True, kw_only=True)
class Candidates(Cubes):
    """Cubes (1, D, H, W) around candidates for nodules, which a classical finder finds in CT scans of the chest.

    It marks bright blobs of 4 to 20 mm in the lungs (see `find_blobs`), most of which are vessels: a stand-in for a
    trained finder, or for a reader's table, which `Nodules` takes. Cubes have no labels; each is named by its scan, its
    rank in the scan and its centre in the world (x, y, z) in mm.

    Further parameters are those of `Cubes`.

    Parameters
    ----------
    per_scan : int
        The most candidates of one scan.

    Examples
    --------
    >>> source = Candidates(path="ct/", per_scan=10)  # unlikelihood fit --data Candidates --data.path ct/
    """

    per_scan: Count = 20

    @override
    def centres(self, path: Path, scans: Sequence[ScanFiles]) -> list[Centre]:
        if self.table is not None:
            raise ValueError(f"table={str(self.table)!r}: candidates are found without one; Nodules reads a table")
        if not scans:
            raise ValueError(f"path={str(self.path)!r} holds no {', '.join(FORMATS)} files and no DICOM series of CT")
        # A scan that cannot be read is asked for one cube, so that it is among the rejections.
        marks = [
            (scan.name, rank, one.centre)
            for scan, found, damage in self._found(scans)
            for rank, one in enumerate([NONE] if damage else found, start=1)
        ]
        if not marks:
            raise ValueError(f"path={str(self.path)!r}: nothing like a nodule in {len(scans)} scans")
        names = [f"{scan}/{rank:03d} ({x:.1f}, {y:.1f}, {z:.1f})" for scan, rank, (x, y, z) in marks]
        return [Centre(k, scan, at, name) for k, ((scan, _, at), name) in enumerate(zip(marks, names, strict=True), 1)]

    def found(self) -> list[Found]:
        """Return what is found in each scan of the folder."""
        self.grid((self.size,) * 3)  # which checks the parameters
        return self._found(self.survey(existing("path", self.path)).scans)

    def save_marks(self, path: str | Path) -> None:
        """Write what is found as a CSV table with LUNA16's columns, centres in world coordinates in mm (LPS)."""
        with replacing(path) as file, file.open("w", newline="", encoding="utf-8") as lines:
            table = csv.writer(lines)
            table.writerow(COLUMNS)
            for scan, candidates, _ in self.found():
                for one in candidates:
                    numbers = (*one.centre, one.diameter, one.score)
                    table.writerow([scan.name, *(f"{value:.3f}" for value in numbers)])

    def _found(self, scans: Sequence[ScanFiles]) -> list[Found]:
        from joblib import Parallel, delayed  # which takes long to import

        folder, settings = self.crops_folder, [VERSION, self.resample, self.intercept, self.per_scan]
        folder.mkdir(parents=True, exist_ok=True)
        with content_hashes(folder / "content.json") as content_hash:
            keys = [hashed([*settings, one.series, one.damage, one.content(content_hash)]) for one in scans]
        places = [folder / f"{key}.marks.json" for key in keys]
        waiting = [k for k, place in enumerate(places) if not place.is_file()]
        damage: dict[int, str] = {}
        with progress("Finding candidates", total=len(scans), start=len(scans) - len(waiting)) as update:
            parallel = Parallel(n_jobs=self.jobs or -1, batch_size=1, return_as="generator_unordered")
            for k, wrong in parallel(delayed(self._find)(k, scans[k], places[k]) for k in waiting):
                damage |= {k: wrong} if wrong else {}
                update()
        return [
            Found(scan, [], damage[k]) if k in damage else Found(scan, _kept(places[k])) for k, scan in enumerate(scans)
        ]

    def _find(self, k: int, scan: ScanFiles, place: Path) -> tuple[int, str]:
        follow_parent()
        try:
            found = find_blobs(scan.read(resample=self.resample, intercept=self.intercept), self.per_scan)
        except UnreadableScan as error:
            return k, str(error)
        except MemoryError as error:
            return k, f"{scan.name}: takes more memory than there is ({error})"
        with replacing(place) as part:
            part.write_text(json.dumps(found), encoding="utf-8")
        return k, ""


def _kept(place: Path) -> list[Candidate]:
    marks = json.loads(place.read_text(encoding="utf-8"))
    return [Candidate((x, y, z), diameter, score) for (x, y, z), diameter, score in marks]
