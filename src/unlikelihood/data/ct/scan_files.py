"""The scans in a folder, each of one file or of many slices."""

import json
from collections import Counter, defaultdict
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from unlikelihood.data.ct.dicom import dicom_series, header_of
from unlikelihood.data.ct.formats import FORMATS, UnreadableScan, files_in, suffix_of
from unlikelihood.data.ct.scan import Scan
from unlikelihood.progress import progress
from unlikelihood.storage.files import replacing


class ScanFiles(NamedTuple):
    """The files of a scan.

    `series` is its UID, or the name of its file without the suffix, `name` its path in the folder, and `damage` why it
    cannot be read, where that is known already.
    """

    series: str
    name: str
    files: tuple[Path, ...]
    damage: str = ""

    def read(self, *, resample: bool = False) -> Scan:
        """Read the scan; see `Scan.read`."""
        if self.damage:
            raise UnreadableScan(self.damage)
        if suffix_of(self.files[0]) in FORMATS:
            return Scan.read(self.files[0])
        return Scan.stack(dicom_series(self.files)[self.series], resample=resample)

    @property
    def stamp(self) -> list[tuple[str, int, int]]:
        """Path, size in bytes and time of change in ns of each file, which stand for its content."""
        files = list(self.files)
        if files and suffix_of(files[0]) == ".mhd":  # which has its voxels in a file beside it
            files += files[0].parent.glob(f"{files[0].stem}.*raw")
        return sorted((str(file.resolve()), (at := file.stat()).st_size, at.st_mtime_ns) for file in files)


def find_scans(path: Path, memory: Path | None = None) -> list[ScanFiles]:
    """Return the scans in a folder and all folders in it, in the order of their names.

    Parameters
    ----------
    path : Path
        A folder, the file of one scan, or one slice of a DICOM series.
    memory : Path, optional
        Folder in which to remember the series of each DICOM file, for as long as its size and time of change stay the
        same: so the headers of a large folder are read once.

    Returns
    -------
    list of ScanFiles
        Image files by their suffix, and each DICOM series of CT images. A DICOM file that cannot be read damages all
        series of its folder, as one of them lacks it.
    """
    if path.is_file() and suffix_of(path) not in FORMATS:
        slice_ = header_of(path)
        return [one for one in find_scans(path.parent) if slice_ and one.series == slice_.series]
    root = path if path.is_dir() else path.parent
    files = list(files_in(path)) if path.is_dir() else [path]
    found = [_image_file(file, root) for file in files if suffix_of(file) in FORMATS]
    slices: dict[str, list[Path]] = defaultdict(list)
    damage: dict[Path, str] = {}
    index = None if memory is None else memory / f"index-{_short_hash(path)}.json"
    for file, series, wrong in _series([file for file in files if suffix_of(file) not in FORMATS], index):
        if wrong:
            damage[file.parent] = wrong
        elif series:
            slices[series].append(file)
    first = {series: own[0].parent for series, own in slices.items()}
    alone = Counter(first.values())
    for series, own in slices.items():
        folder = first[series].relative_to(root).as_posix()
        name = folder if alone[first[series]] == 1 else f"{folder}/{series}"
        wrong = next((damage[file.parent] for file in own if file.parent in damage), "")
        found.append(ScanFiles(series, name, tuple(own), wrong))
    for place in damage.keys() - {file.parent for own in slices.values() for file in own}:
        found.append(ScanFiles(place.name, place.relative_to(root).as_posix(), (), damage[place]))
    return sorted(found, key=lambda one: (one.name, one.series))


def _image_file(file: Path, root: Path) -> ScanFiles:
    series, name = file.name[: -len(suffix_of(file))], file.relative_to(root).as_posix()
    if not file.exists():
        return ScanFiles(series, name, (), f"{file}: is a link to {file.readlink()}, which is not there")
    return ScanFiles(series, name, (file,))


def _series(files: list[Path], index: Path | None) -> list[tuple[Path, str, str]]:
    """Return the series of each file (empty if it is no CT slice), and what is wrong with it."""
    known: dict[str, list[Any]] = {}
    if index is not None and index.is_file():
        known = json.loads(index.read_text(encoding="utf-8"))
    found, seen = [], {}
    with progress("Looking for scans", total=len(files)) as update:
        for file in files:
            try:
                stamp = [(at := file.stat()).st_size, at.st_mtime_ns] if file.exists() else []
                entry = known.get(str(file), [])
                if not stamp or entry[:2] != stamp:
                    header = header_of(file)
                    entry = [*(stamp or (0, 0)), header.series if header else ""]
                seen[str(file)] = entry
                found.append((file, entry[2], ""))
            except UnreadableScan as error:
                found.append((file, "", str(error)))
            update()
    if index is not None and seen != known:
        with replacing(index) as part:
            part.write_text(json.dumps(seen), encoding="utf-8")
    return found


def _short_hash(path: Path) -> str:
    return blake2b(str(path.resolve()).encode(), digest_size=4).hexdigest()
