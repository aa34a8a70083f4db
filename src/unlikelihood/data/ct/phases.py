"""Several scans of one place under one series UID, such as the phases of a contrast agent or of a heartbeat."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

TAGS = (  # what may tell one from another, the most certain first
    "TemporalPositionIdentifier",
    "AcquisitionNumber",
    "NominalPercentageOfCardiacPhase",
    "TriggerTime",
    "ConvolutionKernel",
    "KVP",
    "ImageType",
)


class Part(NamedTuple):
    """A slice by its series, where it lies, rounded to 0.01 mm, and the values of `TAGS`."""

    series: str
    place: tuple[float, ...]
    kinds: tuple[str, ...]


def told_apart(parts: Sequence[Part]) -> list[str]:
    """Return the series of each slice, with what tells its scan from others of this UID if they share their places.

    That is the first of `TAGS` by which no two slices of a scan lie in one place, and of which every scan has at least
    two, such as `1.2.3#AcquisitionNumber=2`. Where no tag does, the series stays one, whose slices then are duplicate.
    """
    names = [part.series for part in parts]
    for own in _grouped(names):
        if not _distinct(parts[i].place for i in own):
            for k, tag in enumerate(TAGS):
                values = [parts[i].kinds[k] for i in own]
                scans = [[own[j] for j in scan] for scan in _grouped(values)]
                if all(len(scan) > 1 and _distinct(parts[i].place for i in scan) for scan in scans):
                    for i, value in zip(own, values, strict=True):
                        names[i] = f"{parts[i].series}#{tag}={value}"
                    break
    return names


def _grouped(values: Sequence[str]) -> list[list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for i, value in enumerate(values):
        groups[value].append(i)
    return list(groups.values())


def _distinct(places: Iterable[tuple[float, ...]]) -> bool:
    listed = list(places)
    return len(set(listed)) == len(listed)
