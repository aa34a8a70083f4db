"""The scans on a disk."""

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from unlikelihood.data.ct.dicom import dicom_series, header_of
from unlikelihood.data.ct.formats import FORMATS, UnreadableScan, files_in, image_suffix, suffix_of
from unlikelihood.data.ct.scan import Scan
from unlikelihood.progress import progress
from unlikelihood.storage.files import replacing


class Found(NamedTuple):
    """A scan on the disk.

    Its series (or the name of its file), its path in the folder, its files, and why it cannot be read, where that is
    known already.
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


def find(path: Path, index: Path | None = None) -> list[Found]:
    """Return the scans in a folder and all folders in it, in the order of their names.

    Parameters
    ----------
    path : Path
        A folder, the file of one scan, or one slice of a DICOM series.
    index : Path, optional
        JSON file that remembers which series each DICOM file belongs to, for as long as its size and time of change
        stay the same: so the headers of a large folder are read once.

    Returns
    -------
    list of Found
        Image files by their suffix, and each DICOM series of CT images. A DICOM file that cannot be read damages all
        series of its folder, as one of them lacks it.
    """
    if path.is_file() and not image_suffix(path):
        slice_ = header_of(path)
        return [one for one in find(path.parent) if slice_ and one.series == slice_.series]
    root = path if path.is_dir() else path.parent
    files = files_in(path) if path.is_dir() else [path]
    found = [
        Found(file.name[: -len(suffix)], file.relative_to(root).as_posix(), (file,))
        for file in files
        if (suffix := image_suffix(file))
    ]
    slices: dict[str, list[Path]] = defaultdict(list)
    damage: dict[Path, str] = {}
    for file, series, wrong in _series([file for file in files if not image_suffix(file)], index):
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
        found.append(Found(series, name, tuple(own), wrong))
    for place in damage.keys() - {file.parent for own in slices.values() for file in own}:
        found.append(Found(place.name, place.relative_to(root).as_posix(), (), damage[place]))
    return sorted(found, key=lambda one: (one.name, one.series))


def _series(files: list[Path], index: Path | None) -> list[tuple[Path, str, str]]:
    """Return the series of each file (empty if it is no CT slice), and what is wrong with it."""
    known: dict[str, list[Any]] = {}
    if index is not None and index.is_file():
        known = json.loads(index.read_text(encoding="utf-8"))
    found, seen = [], {}
    with progress("Looking for scans", total=len(files)) as update:
        for file in files:
            state = file.stat()
            entry = known.get(str(file), [])
            try:
                if entry[:2] != [state.st_size, state.st_mtime_ns]:
                    header = header_of(file)
                    entry = [state.st_size, state.st_mtime_ns, header.series if header else ""]
                seen[str(file)] = entry
                found.append((file, entry[2], ""))
            except UnreadableScan as error:
                found.append((file, "", str(error)))
            update()
    if index is not None and seen != known:
        with replacing(index) as part:
            part.write_text(json.dumps(seen), encoding="utf-8")
    return found
