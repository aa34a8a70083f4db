"""MetaImage: .mha, and .mhd with its voxels in other files."""

import math
from collections.abc import Mapping
from pathlib import Path

from unlikelihood.data.ct.formats import TextHeader, UnreadableScan
from unlikelihood.data.ct.voxel_bytes import (
    check_axes,
    check_files,
    check_once,
    check_size,
    listed_files,
    numbers_in,
    raw_size,
    unpacked_size,
)

BYTES = {"CHAR": 1, "SHORT": 2, "INT": 4, "LONG": 4, "LONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8}
LINES = 200  # more than a header has
PLACE = {  # the names of what says where it lies
    "ElementSpacing": ("elementspacing", "elementsize"),
    "TransformMatrix": ("transformmatrix", "rotation", "orientation"),
    "Offset": ("offset", "position", "origin"),
}


def header_of(file: Path) -> TextHeader:
    """Read the header of a MetaImage."""
    fields: dict[str, str] = {}
    with file.open("rb") as content:
        for _ in range(LINES):
            key, equals, value = content.readline(2**16).decode("latin-1").partition("=")
            if equals:
                check_once(file, fields, key.strip().lower())
            fields[key.strip().lower()] = value.strip()
            if key.strip().lower() == "elementdatafile" and equals:
                end = content.tell()
                local = value.strip().upper() == "LOCAL"
                return TextHeader(fields, [] if local else content.read(2**20).decode("latin-1").splitlines(), end)
    raise UnreadableScan(f"{file}: cannot be read as a scan (it has no header of a MetaImage)")


def voxel_files(file: Path) -> list[Path]:
    """Return the other files that hold voxels of a MetaImage."""
    fields, following, _ = header_of(file)
    entry = fields["elementdatafile"]
    return [] if entry.upper() == "LOCAL" else listed_files(file, entry, following)


def check(file: Path) -> None:
    """Raise unless a MetaImage is whole, undamaged, in mm, and says how it lies in the patient."""
    header = header_of(file)
    for one in (_check_axes, _check_place, _check_unit, _check_meaning, _check_voxels):
        one(file, header)


def _check_axes(file: Path, header: TextHeader) -> None:
    shape = [int(size) for size in header.fields["dimsize"].split()]
    check_axes(file, header.fields["ndims"], shape)
    if (kind := header.fields.get("objecttype", "Image")).lower() != "image":
        raise UnreadableScan(f"{file}: is a {kind}, expected an image")
    if (channels := header.fields.get("elementnumberofchannels", "1")) != "1":
        raise UnreadableScan(f"{file}: has {channels[:20]} values a voxel, expected one")


def _check_place(file: Path, header: TextHeader) -> None:
    axes = len(header.fields["dimsize"].split())
    for name, names in PLACE.items():
        if not any(one in header.fields for one in names):
            raise UnreadableScan(f"{file}: does not say how it lies in the patient ({name})")
        for one in header.fields.keys() & set(names):
            numbers = numbers_in(file, name, header.fields[one], axes**2 if name == "TransformMatrix" else axes)
            if name == "ElementSpacing" and min(numbers) <= 0:
                raise UnreadableScan(f"{file}: its {name} is {header.fields[one]}, expected lengths above 0")


def _check_unit(file: Path, header: TextHeader) -> None:
    unit = header.fields.get("distanceunits", "mm")  # which ITK passes over
    if unit.lower() not in ("mm", "?"):
        raise UnreadableScan(f"{file}: its lengths are in {unit}, expected mm")


def _check_meaning(file: Path, header: TextHeader) -> None:
    # ITK passes over both: what the image is of, and how its values are scaled.
    kind = header.fields.get("modality", "MET_MOD_CT").upper()
    if kind not in ("MET_MOD_CT", "MET_MOD_OTHER", "MET_MOD_UNKNOWN"):
        raise UnreadableScan(f"{file}: its modality is {kind}, expected CT")
    slope, offset = (header.fields.get(f"elementtointensityfunction{name}") for name in ("slope", "offset"))
    if float(slope or 1) != 1 or float(offset or 0) != 0:
        raise UnreadableScan(
            f"{file}: its values are scaled by {slope or 1} and {offset or 0}, expected HU as they are"
        )


def _check_voxels(file: Path, header: TextHeader) -> None:
    fields = header.fields
    shape = [int(size) for size in fields["dimsize"].split()]
    item = BYTES[fields["elementtype"].removeprefix("MET_").removeprefix("U")]
    packed, binary = _flag(file, fields, "compresseddata", "False"), _flag(file, fields, "binarydata", "True")
    files = voxel_files(file)
    check_files(file, files)
    expected = math.prod(shape) * item
    skipped = int(fields.get("headersize", 0)) if files else header.end
    if (said := int(fields.get("headersize", 0))) < -1 or (said > 0 and not files):
        raise UnreadableScan(f"{file}: its HeaderSize is {said}, expected the bytes before the voxels, in their file")
    if not binary:
        values = (files[0] if files else file).read_bytes()[skipped:]
        check_size(file, len(values.split()) * item, shape, item)
    elif packed:
        parts = files or [file]
        check_size(file, sum(unpacked_size(part, max(skipped, 0), "zlib", expected) for part in parts), shape, item)
        said, held = int(fields.get("compresseddatasize", 0)), raw_size(parts, max(skipped, 0))
        if len(parts) == 1 and said and said != held:
            raise UnreadableScan(f"{file}: holds {held} bytes of compressed voxels, its header says {said}")
    elif skipped >= 0:  # else the voxels are what is at the end
        check_size(file, raw_size(files or [file], skipped), shape, item)


def _flag(file: Path, fields: Mapping[str, str], name: str, usual: str) -> bool:
    if (said := fields.get(name, usual)).lower() not in ("true", "false", "t", "f", "1", "0"):
        raise UnreadableScan(f"{file}: its {name} is {said[:20]!r}, expected True or False")
    return said.lower() in ("true", "t", "1")
