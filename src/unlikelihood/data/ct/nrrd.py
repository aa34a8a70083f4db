"""NRRD: .nrrd, and .nhdr with its voxels in other files."""

import math
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

BYTES = {
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"), 1),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), 2),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), 2),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t"), 4),
    **dict.fromkeys(("longlong", "long long", "int64", "int64_t", "ulonglong", "uint64", "uint64_t", "double"), 8),
    "float": 4,
}
METHODS = {"gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}
SPACES = ("left-posterior-superior", "right-anterior-superior", "left-anterior-superior", "lps", "ras", "las")


def header_of(file: Path) -> TextHeader:
    """Read the header of an NRRD file."""
    fields: dict[str, str] = {}
    with file.open("rb") as content:
        if not content.readline(64).startswith(b"NRRD"):
            raise UnreadableScan(f"{file}: cannot be read as a scan (it has no header of an NRRD file)")
        while line := content.readline(2**16).decode("latin-1").strip():
            key, _, value = line.partition(":")
            key = key.strip().lower().replace("datafile", "data file")
            if not line.startswith("#") and not value.startswith("="):  # a comment, and what anyone may add
                check_once(file, fields, key)
                fields[key] = value.strip()
            if key == "data file" and value.strip().startswith("LIST"):
                return TextHeader(fields, content.read().decode("latin-1").splitlines(), content.tell())
        return TextHeader(fields, [], content.tell())


def voxel_files(file: Path) -> list[Path]:
    """Return the other files that hold voxels of an NRRD file."""
    fields, following, _ = header_of(file)
    return listed_files(file, fields["data file"], following) if "data file" in fields else []


def check(file: Path) -> None:
    """Raise unless an NRRD file is whole, undamaged, in mm, and says how it lies in the patient."""
    header = header_of(file)
    for one in (_check_axes, _check_place, _check_units, _check_voxels):
        one(file, header)


def _check_axes(file: Path, header: TextHeader) -> None:
    check_axes(file, header.fields["dimension"], [int(size) for size in header.fields["sizes"].split()])


def _check_place(file: Path, header: TextHeader) -> None:
    # ITK takes any other space for LPS, and an axis without a direction for one of the patient's.
    space = header.fields.get("space", "unknown")
    of_itk = header.fields.get("space dimension") == "4"  # which writes four axes without a space
    if not of_itk and space.lower().removesuffix("-time") not in SPACES:
        raise UnreadableScan(f"{file}: its space is {space}, expected one of {', '.join(SPACES[:3])}")
    for field in ("space directions", "space origin"):
        if field not in header.fields:
            raise UnreadableScan(f"{file}: does not say how it lies in the patient ({field})")
        text = header.fields[field].replace("none", "")
        vectors, expected = text.count("("), 3 if field == "space directions" else 1
        if vectors < expected:
            raise UnreadableScan(f"{file}: its {field} has {vectors} vectors, expected {expected}")
        numbers_in(file, field, text, text.count(",") + vectors)


def _check_units(file: Path, header: TextHeader) -> None:
    for key in ("space units", "units"):  # which ITK passes over
        units = header.fields.get(key, "")
        if units.replace('"mm"', "").replace('""', "").replace("???", "").strip():
            raise UnreadableScan(f"{file}: its lengths are in {units}, expected mm")


def _check_voxels(file: Path, header: TextHeader) -> None:
    fields = header.fields
    shape = [int(size) for size in fields["sizes"].split()]
    item, encoding = BYTES[fields["type"].lower()], fields["encoding"].lower()
    files = voxel_files(file)
    check_files(file, files)
    parts, start = (files, 0) if files else ([file], header.end)
    expected = math.prod(shape) * item
    skipped = {key: int(fields.get(key, fields.get(key.replace(" ", ""), 0))) for key in ("line skip", "byte skip")}
    if skipped["line skip"] or (skipped["byte skip"] and encoding != "raw"):
        raise UnreadableScan(f"{file}: cannot be read as a scan (it skips lines, or bytes of what is compressed)")
    if encoding in METHODS:
        check_size(file, sum(unpacked_size(part, start, METHODS[encoding], expected) for part in parts), shape, item)
    elif encoding == "raw":
        if (skip := skipped["byte skip"]) < -1:
            raise UnreadableScan(f"{file}: its byte skip is {skip}, expected -1 or more")
        if skip >= 0:  # else the voxels are what is at the end
            check_size(file, raw_size(parts, start + skip), shape, item)
    else:
        text = b" ".join(part.read_bytes()[start:] for part in parts)
        found = len(b"".join(text.split())) // 2 if encoding == "hex" else len(text.replace(b",", b" ").split()) * item
        check_size(file, found, shape, item)
