"""The scans in a folder, each of one file or of many slices, and what lies beside them."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from unlikelihood.data.ct.content import identity, remembered
from unlikelihood.data.ct.dicom import Header, header_of, headers_in, series_in, single_images, uid_of
from unlikelihood.data.ct.formats import FORMATS, UnreadableScan, naming, suffix_of
from unlikelihood.data.ct.image_scans import voxel_files
from unlikelihood.data.ct.phases import Part, told_apart
from unlikelihood.data.ct.scan import Scan
from unlikelihood.data.walk import files_in, real_paths
from unlikelihood.progress import progress
from unlikelihood.storage.files import replacing
from unlikelihood.storage.reading import no_file

VERSION = 4  # of what is remembered of headers: with another one they are read again


class ScanFiles(NamedTuple):
    """The files of a scan.

    `series` is its UID, or the name of its file without the suffix, `name` its path in the folder, and `damage` why it
    cannot be read, where that is known already.
    """

    series: str
    name: str
    files: tuple[Path, ...]
    damage: str = ""

    def read(self, *, resample: bool = False, intercept: float | None = None) -> Scan:
        """Read the scan; see `Scan.read`."""
        if self.damage:
            raise UnreadableScan(self.damage)
        with naming(self.files[0]):
            if suffix_of(self.files[0]) in FORMATS:
                return Scan.read(self.files[0], intercept=intercept)
            found = series_in(headers_in(self.files))
            # Without the files of others of its UID, nothing needs to tell it from them.
            own = found.get(self.series) or found.get(uid_of(self.series))
            if own is None:
                raise UnreadableScan(f"{self.files[0].parent}: series {self.series} is no longer there")
            if own.damage:
                raise UnreadableScan(own.damage)
            return Scan.stack([one._replace(series=self.series) for one in own.slices], resample=resample)

    def content(self, content_hash: Callable[[Path], str]) -> list[str]:
        """Return the hashes of all files that bytes of the scan come from, wherever its voxels lie."""
        files = sorted(self.files)
        if files and suffix_of(files[0]) in FORMATS:
            with suppress(UnreadableScan):  # as `read` will say
                files += voxel_files(files[0])
        return [content_hash(file) for file in files]


class Survey(NamedTuple):
    """What is in a folder: its scans, and how many files of each series, and others, are left out for which reason."""

    scans: list[ScanFiles]
    foreign: Counter[tuple[str, str, str]]
    others: Counter[str]

    @property
    def left_out(self) -> Counter[str]:
        """How many files are left out for which reason."""
        counts = Counter[str]()
        for (_, _, reason), files in self.foreign.items():
            counts[f"DICOM files: {reason}"] += files
        return counts + self.others

    def contents(self, *, resample: bool = False, intercept: float | None = None) -> list[tuple[str, str, int, str]]:
        """Read all, and return the folder, the series, the number of files and what it is of each series.

        That is the size of a scan, why it is refused, or what else it is.
        """
        rows = []
        for scan in self.scans:
            try:
                size = " x ".join(map(str, scan.read(resample=resample, intercept=intercept).hu.shape))
                rows.append((scan.name, scan.series, len(scan.files), f"scan of {size} voxels (z, y, x)"))
            except UnreadableScan as error:
                rows.append((scan.name, scan.series, len(scan.files), f"refused: {error}"))
        others = [(folder, series, n, f"foreign: {reason}") for (folder, series, reason), n in self.foreign.items()]
        return [*rows, *sorted(others)]


def find_scans(path: Path, memory: Path | None = None) -> list[ScanFiles]:
    """Return the scans in a folder and all folders in it, in the order of their names; see `survey`."""
    return survey(path, memory).scans


def survey(path: Path, memory: Path | None = None) -> Survey:
    """Find out what is in a folder and all folders in it.

    Parameters
    ----------
    path : Path
        A folder, the file of one scan, or one slice of a DICOM series.
    memory : Path, optional
        Folder in which to remember the series of each DICOM file, for as long as its size and times of change stay the
        same: so the headers of a large folder are read once.

    Returns
    -------
    Survey
        Image files by their suffix, and each DICOM series of CT images. A DICOM file that cannot be read damages its
        series, and if that is not known either all series of its folder, as one of them lacks it.
    """
    if path.is_file() and suffix_of(path) not in FORMATS:
        whole = survey(path.parent, memory)
        return whole._replace(scans=[one for one in whole.scans if path in one.files])
    root = path if path.is_dir() else path.parent
    left_out = Counter[str]()
    files = files_in(path, left_out) if path.is_dir() else [path]
    scans = [_image_file(file, root) for file in files if suffix_of(file) in FORMATS]
    index = None if memory is None else memory / f"index-{_short_hash(path)}.json"
    known = _known([file for file in files if suffix_of(file) not in FORMATS], index)
    others = left_out + _others([one.file for one in known if not one.says], scans, root)
    known = _without_single_images(_told_apart([one for one in known if one.says]))
    foreign = Counter((_name(one.file.parent, root), one.series, one.foreign) for one in known if one.foreign)
    return Survey(sorted([*scans, *_dicom(known, root)], key=lambda one: (one.name, one.series)), foreign, others)


def by_name(scans: Sequence[ScanFiles]) -> dict[str, list[ScanFiles]]:
    """Return the scans under each of the names that a table may call them by."""
    known: dict[str, list[ScanFiles]] = defaultdict(list)
    for one in scans:
        for name in {one.series, one.name}:
            known[name].append(one)
    return known


class _Known(NamedTuple):
    """What is remembered of a header."""

    file: Path
    view: tuple[str, str]
    series: str
    slices: tuple[Part, ...]
    foreign: str
    damage: str

    @property
    def says(self) -> bool:
        """Whether it is of DICOM."""
        return bool(self.slices or self.foreign or self.damage)


def _others(files: list[Path], scans: list[ScanFiles], root: Path) -> Counter[str]:
    """Count the files that no scan is in, by their suffix, without tables in the folder itself."""
    voxels: set[str] = set()
    for one in scans if files else ():
        with suppress(UnreadableScan):  # as `read` will say
            voxels.update(real for part in one.files for real in real_paths(voxel_files(part)))
    left = (file for file, real in zip(files, real_paths(files), strict=True) if real not in voxels)
    left = (file for file in left if file.suffix.lower() != ".csv" or file.parent != root)
    return Counter(f"files that are no scans ({file.suffix.lower() or 'no suffix'})" for file in left)


def _dicom(known: list[_Known], root: Path) -> list[ScanFiles]:
    files: dict[str, list[Path]] = defaultdict(list)
    damage: dict[str, str] = {}  # by UID, and by folder where the UID is hidden
    for one in known:
        for series in {part.series for part in one.slices} if not one.foreign else ():
            files[series].append(one.file)
    for one in known:
        if one.damage:
            damage.setdefault(one.series or str(one.file.parent), one.damage)
            hit_by_it = [series for series in files if uid_of(series) == one.series] or [one.series]
            for series in hit_by_it if one.series else ():
                files[series].append(one.file)
    alone = Counter(own[0].parent for own in files.values())
    found, hit = [], set()
    for series, own in files.items():
        places = [uid_of(series), *(str(file.parent) for file in own)]
        wrong = next((damage[place] for place in places if place in damage), "")
        hit.update(places)
        name = _name(own[0].parent, root)
        name = name if alone[own[0].parent] == 1 else f"{name}/{series}"
        found.append(ScanFiles(series, name, tuple(own), wrong))
    lost = [Path(place) for place in damage.keys() - hit]
    return found + [ScanFiles(place.name, _name(place, root), (), damage[str(place)]) for place in lost]


def _told_apart(known: list[_Known]) -> list[_Known]:
    """Return the same with the series of slices as `told_apart` names them."""
    own = [one.slices if not one.foreign else () for one in known]
    names = iter(told_apart([part for parts in own for part in parts]))
    named = [tuple(part._replace(series=next(names)) for part in parts) for parts in own]
    return [one if one.foreign else one._replace(slices=parts) for one, parts in zip(known, named, strict=True)]


def _without_single_images(known: list[_Known]) -> list[_Known]:
    views: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for one in known:
        for part in one.slices if not one.foreign else ():
            views[part.series].append((one.view[0], one.view[1]))
        if one.damage and one.series:
            views[one.series] += [("", "")] * 2  # which is not known to be one
    lone = single_images(views)
    return [
        one._replace(foreign="single image") if lone.intersection(part.series for part in one.slices) else one
        for one in known
    ]


def _name(place: Path, root: Path) -> str:
    return place.relative_to(root).as_posix()


def _image_file(file: Path, root: Path) -> ScanFiles:
    series, name = file.name[: -len(suffix_of(file))], _name(file, root)
    if reason := no_file(file):
        return ScanFiles(series, name, (), f"{file}: {reason}")
    return ScanFiles(series, name, (file,))


def _known(files: Iterable[Path], index: Path | None) -> list[_Known]:
    """Return what the headers of DICOM files say, out of the index where they have not changed, nothing of others."""
    before = {} if index is None else remembered(index)
    files, found, seen = list(files), [], {}
    with progress("Looking for scans", total=len(files)) as update:
        for file in files:
            stamp = [VERSION, *identity(file)] if file.exists() else []
            entry = before.get(str(file), [])
            if not stamp or entry[:-1] != stamp:
                entry = [*stamp, _facts(header_of(file))]
            one = _Known(file, *entry[-1])  # type: ignore[misc]
            one = one._replace(slices=tuple(Part(uid, tuple(at), tuple(kinds)) for uid, at, kinds in one.slices))
            if stamp and not one.damage:
                seen[str(file)] = entry
            found.append(one)
            update()
    if index is not None and seen != before:
        with replacing(index) as part:
            part.write_text(json.dumps(seen), encoding="utf-8")
    return found


def _facts(header: Header | None) -> list[object]:
    if header is None:
        return [["", ""], "", [], "", ""]
    view = header.slices[0].view if header.slices else ("", "")
    return [view, header.series, [one.part for one in header.slices], header.foreign, header.damage]


def _short_hash(path: Path) -> str:
    return blake2b(str(path.resolve()).encode(), digest_size=4).hexdigest()
