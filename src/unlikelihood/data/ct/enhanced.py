"""Enhanced CT: many frames in one DICOM object, each with a header of its own."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from unlikelihood.data.ct.formats import imported

SHARED, OWN = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
GROUPS = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing",),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
    "FrameContentSequence": ("StackID", "TemporalPositionIndex"),
    "CTImageFrameTypeSequence": ("FrameType",),
}
TAGS = (SHARED, OWN)
NESTED = {0x52009229, 0x52009230, 0x00280008}  # the tags of these, and that of the number of frames


class Frame(NamedTuple):
    """A frame of a DICOM object: its number, its header, and what tells its stack from others of the object."""

    number: int
    data: Any
    stack: str = ""


def frames_of(data: Any) -> list[Frame]:
    """Return the frames of a DICOM object, each with a header as that of an object of one slice."""
    if not data.get(OWN):
        return [Frame(0, data)]
    frames = [_frame(data, number) for number in range(len(data[OWN].value))]
    several = len({one.stack for one in frames}) > 1
    return [one if several else one._replace(stack="") for one in frames]


def _frame(data: Any, number: int) -> Frame:
    flat = imported("pydicom").Dataset({tag: data[tag] for tag in data.keys() - NESTED})
    for group, tags in GROUPS.items():
        for one in _items(data, number, group):
            for tag in tags:
                if tag in one:
                    flat[tag] = one[tag]
    if "FrameType" in flat:
        flat.ImageType = flat.FrameType
    stack = f"#{flat.get('StackID') or 1}.{flat.get('TemporalPositionIndex') or 1}"
    return Frame(number, flat, stack)


def _items(data: Any, number: int, group: str) -> Iterator[Any]:
    """Yield what all frames share and then what is a frame's own, which overrides it."""
    shared = data.get(SHARED) or ()
    for place in (*shared, data[OWN].value[number]):
        yield from place.get(group) or ()
