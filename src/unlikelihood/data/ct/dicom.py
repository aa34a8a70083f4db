"""The headers of DICOM files: what is a slice of CT, of which series, and where it lies."""

import math
import warnings
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unlikelihood.data.ct.enhanced import TAGS as ENHANCED_TAGS
from unlikelihood.data.ct.enhanced import Frame, frames_of
from unlikelihood.data.ct.foreign import foreign_reason
from unlikelihood.data.ct.formats import UnreadableScan, imported
from unlikelihood.data.ct.phases import TAGS as PHASE_TAGS
from unlikelihood.data.ct.phases import Part, told_apart
from unlikelihood.storage.reading import check_scale, no_file

DICOM = (".dcm", ".dicom", ".ima")  # and files of any other name that begin as DICOM does
NEEDED = (
    "SeriesInstanceUID",
    "Rows",
    "Columns",
    "PixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "RescaleSlope",
    "RescaleIntercept",
)
STORED = ("BitsAllocated", "BitsStored", "PixelRepresentation")  # which are alike in the slices of a scan
TAGS = [
    *NEEDED,
    *STORED,
    *ENHANCED_TAGS,
    *PHASE_TAGS,
    "SOPClassUID",
    "StudyInstanceUID",
    "FrameOfReferenceUID",
    "SeriesDescription",
    "Modality",
    "PatientID",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "RescaleType",
    "ModalityLUTSequence",
]


class Slice(NamedTuple):
    """What the header of a DICOM file says about a CT slice; lengths in mm, (x, y) along a row and a column."""

    file: Path
    frame: int
    study: str
    series: str
    description: str
    patient: str
    shape: tuple[int, int]
    spacing: tuple[float, float]
    position: tuple[float, ...]
    axes: tuple[float, ...]
    slope: float
    intercept: float
    frame_of_reference: str
    stored: tuple[int, ...]
    kinds: tuple[str, ...]

    @property
    def part(self) -> Part:
        """What tells it from slices of another scan of its series."""
        return Part(self.series, tuple(round(value, 2) for value in (*self.position, *self.axes)), self.kinds)

    @property
    def view(self) -> tuple[str, str]:
        """The study, and the directions as far as they matter to tell a scout from an axial slice."""
        return self.study, " ".join(f"{abs(value):.1f}" for value in self.axes)


class Header(NamedTuple):
    """What the header of a DICOM file says: its slices, why it is `foreign` to a scan, or its `damage`.

    `series` is empty where the damage hides it.
    """

    file: Path
    series: str = ""
    slices: tuple[Slice, ...] = ()
    foreign: str = ""
    damage: str = ""


class Series(NamedTuple):
    """The slices of a series, and what damages it: one of its files, or one beside them whose series is unknown."""

    slices: tuple[Slice, ...]
    damage: str = ""


def headers_in(files: Iterable[Path]) -> list[Header]:
    """Return the headers of the DICOM files among files of any kind."""
    return [header for file in files if (header := header_of(file)) is not None]


def series_in(headers: Iterable[Header], *, foreign: bool = False) -> dict[str, Series]:
    """Return the series of CT by their UIDs, in the order of these; with those of `foreign` slices, or without."""
    headers = list(headers)
    known = [one for header in headers if foreign or not header.foreign for one in header.slices]
    slices: dict[str, list[Slice]] = defaultdict(list)
    for one, series in zip(known, told_apart([one.part for one in known]), strict=True):
        slices[series].append(one._replace(series=series))
    damaged = [header for header in headers if header.damage]
    for header in damaged:
        if header.series and header.series not in map(uid_of, slices):
            slices[header.series] = []
    return {uid: Series(tuple(own), _damage_of(uid, own, damaged)) for uid, own in sorted(slices.items())}


def chosen_series(place: Path, headers: list[Header], series: str | None) -> Series:
    """Return the one series, or that which is named, which may be a reformat."""
    found = series_in(headers, foreign=series is not None)
    if series is None:
        for lone in single_images({uid: [part.view for part in one.slices] for uid, one in found.items()}):
            del found[lone]
    if series is None and len(found) > 1:
        listed = "; ".join(
            f"{uid} ({len(one.slices)} slices, {one.slices[0].description if one.slices else 'damaged'})"
            for uid, one in found.items()
        )
        raise UnreadableScan(f"{place}: holds {len(found)} series, expected series= one of {listed}")
    if not found or (series is not None and series not in found):
        if hidden := [one.damage for one in headers if one.damage]:
            raise UnreadableScan(hidden[0])
        others = Counter(one.foreign for one in headers if one.foreign)
        beside = f", but {', '.join(f'{n} {kind}' for kind, n in sorted(others.items()))}" if others else ""
        wanted = f"CT images{beside}" if series is None else f"series {series!r}, but {sorted(found)}"
        raise UnreadableScan(f"{place}: holds no {wanted}")
    return next(iter(found.values())) if series is None else found[series]


def uid_of(series: str) -> str:
    """Return the UID of a series without what tells one scan of it from another."""
    return series.partition("#")[0]


def single_images(views: Mapping[str, Collection[tuple[str, str]]]) -> set[str]:
    """Return the series of one image across the larger ones of their study: such as scouts that do not say so.

    Parameters
    ----------
    views : mapping of str to collection of tuple
        Of each series, the study and the directions of each of its slices.
    """
    larger = {view for own in views.values() if len(own) > 1 for view in own}
    studies = {study for study, _ in larger}
    return {
        uid
        for uid, own in views.items()
        if len(own) == 1 and not larger.issuperset(own) and studies.issuperset(dict(own))
    }


def _damage_of(uid: str, slices: list[Slice], damaged: list[Header]) -> str:
    folders = {one.file.parent for one in slices}
    hits = (one for one in damaged if (one.series == uid_of(uid) if one.series else one.file.parent in folders))
    return next((one.damage for one in hits), "")


def header_of(file: Path) -> Header | None:
    """Return what the header of a file says, None if it is not of DICOM."""
    named = file.suffix.lower() in DICOM
    if reason := no_file(file):
        meant = named or not file.suffix or file.suffix[1:].isdigit()
        return Header(file, damage=f"{file}: {reason}") if meant else None
    marked = False
    try:
        marked, bare = _marks(file)
        if not marked and not bare:
            return Header(file, damage=f"{file}: cannot be read as DICOM, it lacks the mark of one") if named else None
        with warnings.catch_warnings(), file.open("rb") as content:
            warnings.simplefilter("ignore")  # at what does not matter here; what does is checked
            # A map gives no more than there is, whatever length an element claims.
            with mmap(content.fileno(), 0, access=ACCESS_READ) as mapped:
                data = imported("pydicom").dcmread(mapped, stop_before_pixels=True, specific_tags=TAGS, force=True)
            return _header(file, data)
    except ImportError:
        raise
    except Exception as error:  # damaged headers raise all kinds
        if not named and not marked and not isinstance(error, OSError):
            return None  # noise that begins as DICOM does
        message = " ".join(str(error).split())
        return Header(file, damage=f"{file}: cannot be read as DICOM ({type(error).__name__}: {message})")


def _marks(file: Path) -> tuple[bool, bool]:
    """Return whether a file has the mark of DICOM, and whether it begins as one of an old tool, which has none."""
    with file.open("rb") as content:
        start = content.read(132)
    # Such a file begins with its first tag, of group 8 (or 2), in either order of bytes.
    little = start[:2] in (b"\x08\0", b"\x02\0") and start[3:4] == b"\0"
    big = start[:2] == b"\0\x08" and start[2:3] == b"\0" and start[4:6].isalpha()
    return start[128:] == b"DICM", little or big


def _header(file: Path, data: Any) -> Header:
    series, frames = str(data.get("SeriesInstanceUID") or ""), frames_of(data)
    reasons = [foreign_reason(frame.data) for frame in frames]
    own = [frame for frame, reason in zip(frames, reasons, strict=True) if not reason]
    try:
        return Header(file, series, tuple(_slice(file, frame) for frame in own or frames), "" if own else reasons[0])
    except (UnreadableScan, TypeError, ValueError, AttributeError) as error:
        if not own:  # which is no slice, so it need not be a whole one
            return Header(file, series, foreign=reasons[0])
        message = str(error) if isinstance(error, UnreadableScan) else f"{file}: cannot be read as DICOM ({error})"
        whole = data.get("Rows") is not None  # else it may end in the middle of what names its series
        return Header(file, series if whole else "", damage=message)


def _slice(file: Path, frame: Frame) -> Slice:
    data = frame.data
    for check in CHECKS:
        check(file, data)
    return Slice(
        file,
        frame.number,
        str(data.get("StudyInstanceUID") or ""),
        f"{data.SeriesInstanceUID}{frame.stack}",
        str(data.get("SeriesDescription") or "no description"),
        str(data.get("PatientID") or ""),
        (int(data.Rows), int(data.Columns)),
        (float(data.PixelSpacing[1]), float(data.PixelSpacing[0])),  # DICOM says rows first
        tuple(map(float, data.ImagePositionPatient)),
        tuple(map(float, data.ImageOrientationPatient)),
        float(data.RescaleSlope),
        float(data.RescaleIntercept),
        str(data.get("FrameOfReferenceUID") or ""),
        tuple(int(data.get(tag, -1)) for tag in STORED),
        tuple(_text(data.get(tag)) for tag in PHASE_TAGS),
    )


def _text(value: Any) -> str:
    return "" if value is None else str(value) if isinstance(value, str) else "-".join(map(str, np.atleast_1d(value)))


def _check_frames(file: Path, data: Any) -> None:
    if int(data.get("NumberOfFrames") or 1) > 1:
        raise UnreadableScan(f"{file}: holds many frames and does not say where each lies, as enhanced CT does")


def _check_needed(file: Path, data: Any) -> None:
    if missing := [tag for tag in NEEDED if data.get(tag) is None]:
        raise UnreadableScan(f"{file}: its header lacks {', '.join(missing)}")


def _check_numbers(file: Path, data: Any) -> None:
    for tag, count in (("PixelSpacing", 2), ("ImagePositionPatient", 3), ("ImageOrientationPatient", 6)):
        numbers = [float(value) for value in data[tag].value]
        if len(numbers) != count or not all(map(math.isfinite, numbers)):
            raise UnreadableScan(f"{file}: {tag} is {numbers}, expected {count} finite numbers")
    if min(map(float, data.PixelSpacing)) <= 0:
        raise UnreadableScan(f"{file}: PixelSpacing is {list(data.PixelSpacing)}, expected mm above 0")


def _check_scale(file: Path, data: Any) -> None:
    check_scale(float(data.RescaleSlope), float(data.RescaleIntercept))
    if data.get("ModalityLUTSequence"):
        raise UnreadableScan(f"{file}: maps its values by a table, expected a slope and an intercept")
    if (unit := str(data.get("RescaleType") or "HU").strip().upper()) != "HU":
        raise UnreadableScan(f"{file}: its values are in {unit} (RescaleType), expected HU")


CHECKS = (_check_frames, _check_needed, _check_numbers, _check_scale)
