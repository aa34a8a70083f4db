"""Whole CT volumes in a folder."""

import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from typing_extensions import override

from unlikelihood.data.ct.cropping import Cropped, Request
from unlikelihood.data.ct.ct_folder import CTFolder
from unlikelihood.data.ct.formats import FORMATS, suffix_of
from unlikelihood.data.ct.scan_files import ScanFiles, by_name
from unlikelihood.data.images import Images
from unlikelihood.data.kept import sealed
from unlikelihood.data.labelled_folder import Entry
from unlikelihood.data.labels import refuse_nested
from unlikelihood.data.source import existing
from unlikelihood.data.walk import files_in, real_paths


@dataclass(frozen=True, kw_only=True)
class Volumes(CTFolder):
    """Whole CT volumes (1, D, H, W) in a folder, labelled by its sub-folders or by a table, or not at all.

    In a table, a file may also be the folder of a DICOM series or a series instance UID. Volumes are named by their
    paths in the folder; groups are those of the table, else the patient IDs of DICOM series, else each volume is one.

    Further parameters are those of `CTFolder`.

    Parameters
    ----------
    shape : tuple of float, optional
        Size along z, y and x in mm that all volumes are cropped or padded to, about their middle. Unless given, they
        must have one size already.
    skip_unreadable : bool
        Leave out volumes that cannot be read, with one warning that counts and names them, where otherwise they are
        an error.
    """

    shape: tuple[float, float, float] | None = None
    skip_unreadable: bool = False

    @override
    def read(self) -> Images:
        grid = self.grid(self.shape)
        entries, left_out = self._entries(existing("path", self.path))
        cropped = self.crop([Request(scan) for _, scan in entries], grid)
        failures = [one.damage for one in cropped if one.damage]
        reasons = "\n".join(failures)
        if failures and (not self.skip_unreadable or len(failures) == len(cropped)):
            raise ValueError(f"{len(failures)} of {len(cropped)} volumes cannot be read\n{reasons}")
        if failures:
            warnings.warn(f"{len(failures)} of {len(cropped)} volumes skipped\n{reasons}", stacklevel=2)
        kept = [(entry, one) for (entry, _), one in zip(entries, cropped, strict=True) if not one.damage]
        self._refuse_in_both_classes(entries, cropped)
        first, like = kept[0]
        for entry, one in kept:
            if one.shape != like.shape:
                raise ValueError(
                    f"shape=None: {entry.file} has {one.shape} voxels of {self.spacing:g} mm, {first.file} "
                    f"{like.shape}; expected one size, or the shape in mm that all are cropped or padded to"
                )
        return self.images(
            [one for _, one in kept],
            [[i] for i in range(len(kept))],
            label=[entry.label for entry, _ in kept],
            group=[entry.group or one.patient or entry.file for entry, one in kept],
            name=[entry.file for entry, _ in kept],
            left_out=left_out + Counter({"volumes that cannot be read": len(failures)}),
            unread={entry.file: one.damage for (entry, _), one in zip(entries, cropped, strict=True) if one.damage},
        )

    def _entries(self, path: Path) -> tuple[list[tuple[Entry, ScanFiles]], Counter[str]]:
        """Return the scans to read with what is known of them, and counts of what else is there."""
        if self.table is not None:
            whole = self.survey(path)
            known = by_name(whole.scans)
            listed = [(entry, self._named(entry, known)) for entry in self.table_entries()]
            self._refuse_twice(listed)
            unlisted = len(whole.scans) - len(listed)
            return listed, whole.left_out + Counter({"scans that the table does not list": unlisted})
        found, left_out = [], Counter[str]()
        places = self.labelled_folders(path)
        for place, label in places:
            here = self.survey(place)
            left_out += here.left_out
            for one in here.scans:
                found.append((Entry(one.name if label is None else f"{place.name}/{one.name}", label), one))
        self._refuse_twice(found)
        labels = {place.name: label for place, label in places if label is not None}
        refuse_nested(((entry.file, PurePosixPath(entry.file).parts) for entry, _ in found), labels)
        if places[0][0] != path:
            read = {place.name for place, _ in places}
            beside = [file for file in files_in(path) if file.relative_to(path).parts[0] not in read]
            left_out["files in no folder that is normal or anomalous"] += len(beside)
        if not found:
            others = "".join(f"; {n} {reason}" for reason, n in left_out.items())
            raise ValueError(
                f"path={str(self.path)!r} holds no {', '.join(FORMATS)} files and no DICOM series of CT{others}"
            )
        return found, left_out

    def _refuse_in_both_classes(self, entries: list[tuple[Entry, ScanFiles]], cropped: list[Cropped]) -> None:
        """Raise if two volumes of different labels are the same to the byte, and of one series where they have one."""
        own: dict[tuple[str, str], Entry] = {}
        for (entry, scan), one in zip(entries, cropped, strict=True):
            if one.file is None:
                continue
            series = "" if suffix_of(scan.files[0]) in FORMATS else scan.series
            first = own.setdefault((series, sealed(one.file)), entry)
            if first.label != entry.label:
                raise ValueError(
                    f"path={str(self.path)!r}: {first.file} and {entry.file} are the same volume, one of them "
                    "normal and one anomalous: expected each in one class"
                )

    def _refuse_twice(self, found: list[tuple[Entry, ScanFiles]]) -> None:
        """Raise if links lead to one scan from two classes, or a table names it twice."""
        own: dict[tuple[str, str], Entry] = {}
        for entry, scan in found:
            for real in real_paths(scan.files[:1]):
                first = own.setdefault((scan.series, real), entry)
                if first is not entry:
                    raise ValueError(
                        f"path={str(self.path)!r}: {first.file} and {entry.file} are one scan, expected it once"
                    )

    def _named(self, entry: Entry, known: dict[str, list[ScanFiles]]) -> ScanFiles:
        there = known.get(entry.file, [])
        if len(there) != 1:
            many = "no volume" if not there else f"the name of {', '.join(one.name for one in there)}"
            raise ValueError(f"table={str(self.table)!r}: file={entry.file!r} is {many} in {self.path}")
        return there[0]
