"""How scans are damaged: headers that lie, values that are none, voxels that are not theirs."""

import gzip
import struct
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom import uid

from benchmarks.faults.damage import Damage, changed, patched


def nifti(file: Path) -> Iterator[Damage]:
    fields: dict[str, tuple[int, str, tuple[Any, ...]]] = {
        "sizeof_hdr": (0, "<i", (0, 540, 349, -1)),
        "dim[0]": (40, "<h", (0, 1, 2, 8, -1, 32767)),
        "dim[1]": (42, "<h", (0, -24, 23, 32767)),
        "dim[4]": (48, "<h", (-1, 2)),
        "datatype": (70, "<h", (0, 1, 32, 1792, 128, 2304, 9999, -1, 1536)),
        "bitpix": (72, "<h", (0, 8, 64, -16)),
        "pixdim[1]": (80, "<f", (0, -0.7, np.nan, np.inf, 1e30, 1e-30)),
        "vox_offset": (108, "<f", (0, 100, -352, np.nan, np.inf, 1e9, 353.5)),
        "scl_slope": (112, "<f", (np.inf, np.nan, 1e38, 1e-45)),
        "scl_inter": (116, "<f", (np.inf, np.nan, 3e38)),
        "xyzt_units": (123, "<b", (1, 3, 127)),
        "qform_code": (252, "<h", (-1, 99)),
        "sform_code": (254, "<h", (-1, 99)),
        "srow_x": (280, "<f", (np.nan, np.inf, 0.0, -1e30)),
        "magic": (344, "<i", (0, 12345)),
    }
    for field, (offset, form, values) in fields.items():
        for value in values:
            change = partial(patched, offset, form, value)
            if file.suffix == ".gz":
                change = lambda c, change=change: gzip.compress(change(gzip.decompress(c)), mtime=0)  # noqa: E731
            # A slope of nan is none to nibabel, and slopes that merely look odd are what the file says.
            yield Damage(f"{field} of {value:g}", partial(changed, change))


def replaced(fields: Mapping[str, str], separator: str, content: bytes) -> bytes:
    """Set fields of a text header, or add them in the second line."""
    for key, value in fields.items():
        name = key.encode()
        lines = content.split(b"\n")
        at = next((k for k, line in enumerate(lines[:40]) if line.split(separator.encode())[0].strip() == name), None)
        line = f"{key}{separator}{value}".encode()
        if at is None:
            lines.insert(1, line)
        else:
            lines[at] = line
        content = b"\n".join(lines)
    return content


METAIMAGE: Mapping[str, tuple[str, ...]] = {
    "NDims": ("0", "-1", "1", "2", "4", "6", "1000000", "99999999999", "x"),
    "DimSize": ("0 0 0", "-24 20 6", "24 20", "24 20 7", "30000 30000 30000", "9999999999999 1 1", "x y z", ""),
    "ElementSpacing": ("0 0 0", "-0.7 0.8 2.5", "nan 0.8 2.5", "inf 1 1", "1e300 1 1", "0.7 0.8", "x"),
    "ElementType": ("MET_FOO", "MET_STRING", "MET_FLOAT_ARRAY", "MET_DOUBLE", "MET_UCHAR", ""),
    "ElementNumberOfChannels": ("0", "-1", "2", "1000000000"),
    "TransformMatrix": ("nan 0 0 0 1 0 0 0 1", "0 0 0 0 0 0 0 0 0", "1 0 0", "1 1 0 0 1 0 0 0 1", "x"),
    "Offset": ("nan 0 0", "1e308 0 0", "1 2", "x"),
    "HeaderSize": ("-5", "1000000000", "-1", "7"),
    "CompressedDataSize": ("-1", "7", "1000000000000"),
    "CompressedData": ("True", "False", "Maybe"),
    "BinaryData": ("False", "Maybe"),
    "ElementToIntensityFunctionSlope": ("0", "nan", "inf", "2", "x"),
    "Modality": ("MET_MOD_MR",),
    "DistanceUnits": ("um", "cm"),
    "ObjectType": ("Mesh", "", "Scene"),
    "ElementDataFile": (
        "%n %n 1 2 1",
        "%s 1 2 1",
        "%n",
        "a%99999999d.raw 1 2 1",
        "a%03d.raw 1 1000000000 1",
        "a%d%d.raw 1 2 1",
        "../others/b.raw",
        "../others/b.mha",
        "/etc/passwd",
        "/dev/zero",
        "nowhere.raw",
        "",
        "LIST",
        "LIST 99",
        ".",
    ),
}
NRRD: Mapping[str, tuple[str, ...]] = {
    "dimension": ("0", "-1", "2", "4", "17", "1000000", "x"),
    "sizes": ("0 0 0", "-24 20 6", "24 20", "24 20 7", "30000 30000 30000", "99999999999999 1 1", "x y z", ""),
    "type": ("block", "foo", "double", "uchar", ""),
    "encoding": ("hex", "ascii", "bz2", "foo", "raw", "gzip", ""),
    "space": ("foo", "scanner-xyz", "3D-right-handed"),
    "space directions": (
        "none none none",
        "(0,0,0) (0,1,0) (0,0,1)",
        "(nan,0,0) (0,1,0) (0,0,1)",
        "(1,0,0)",
        "(1,1,1) (1,1,1) (0,0,1)",
        "x",
        "(1e300,0,0) (0,1,0) (0,0,1)",
    ),
    "space origin": ("(nan,0,0)", "(1,2)", "(inf,0,0)", "x"),
    "space units": ('"m" "m" "m"', '"um" "um" "um"'),
    "byte skip": ("-1", "-5", "7", "1000000000", "x"),
    "line skip": ("1", "-1", "1000000000"),
    "spacings": ("nan nan nan", "-1 1 1"),
    "data file": (
        "%n 1 2 1",
        "%s 1 2 1",
        "a%03d.raw 1 1000000000 1",
        "../others/b.raw",
        "/etc/passwd",
        "/dev/zero",
        "nowhere.raw",
        "LIST",
        ".",
    ),
    "block size": ("8",),
}


def text_header(fields: Mapping[str, tuple[str, ...]], separator: str) -> Iterator[Damage]:
    for key, values in fields.items():
        for value in values:
            yield Damage(f"{key} of {value!r}", partial(changed, partial(replaced, {key: value}, separator)))


def metaimage(file: Path) -> Iterator[Damage]:
    yield from text_header(METAIMAGE, " = ")
    # Nothing in the file says in which order the bytes of its numbers really are.
    order = {"BinaryDataByteOrderMSB": "True", "ElementByteOrderMSB": "True"}
    yield Damage("byte order of the other kind", partial(changed, partial(replaced, order, " = ")), "throughout")
    million = {"NDims": "1000000", "DimSize": " ".join(["1"] * 1000000)}
    yield Damage("a million sizes", partial(changed, partial(replaced, million, " = ")))


def nrrd(file: Path) -> Iterator[Damage]:
    yield from text_header(NRRD, ": ")
    order = {"endian": "big"}
    yield Damage("byte order of the other kind", partial(changed, partial(replaced, order, ": ")), "throughout")


def tagged(file: Path, **tags: Any) -> None:
    """Set tags of a DICOM object, or delete those of None."""
    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
    data = pydicom.dcmread(file)
    for tag, value in tags.items():
        if value is None:
            delattr(data, tag)
        elif tag == "PixelData" and data.file_meta.TransferSyntaxUID.is_compressed:
            data.PixelData = pydicom.encaps.encapsulate([value])
        else:
            setattr(data, tag, value)
    data.save_as(file, enforce_file_format=False)


def as_syntax(value: str, content: bytes) -> bytes:
    """Say that the pixels of a DICOM file are written in another way."""
    start = content.index(b"\x02\0\x10\0UI")
    end = start + 8 + struct.unpack_from("<H", content, start + 6)[0]
    new = value.encode() + b"\0" * (len(value) % 2)
    length = struct.unpack_from("<I", content, 140)[0] + len(new) - (end - start - 8)
    element = content[start : start + 6] + struct.pack("<H", len(new)) + new
    return content[:140] + struct.pack("<I", length) + content[144:start] + element + content[end:]


DICOM: Mapping[str, tuple[Any, ...]] = {
    "Rows": (0, 1, 19, 65535, None),
    "Columns": (0, 23, 65535, None),
    "BitsAllocated": (0, 1, 8, 12, 32, 64, None),
    "BitsStored": (0, 1, 8, 17, None),
    "HighBit": (0, 14, 200),
    "PixelRepresentation": (2, 7, None),
    "SamplesPerPixel": (0, 2, 3, None),
    "PhotometricInterpretation": ("RGB", "PALETTE COLOR", "YBR_FULL", "FOO", None),
    "NumberOfFrames": (2, 5, -1, 10**9),
    "PixelData": (b"\0\0", bytes(10**6), None),
}
X_RAY: Mapping[str, tuple[Any, ...]] = {
    "RescaleSlope": ("0", "1e39", "1e308", "-1e300"),
    "RescaleIntercept": ("1e308",),
    "WindowWidth": ("0", "-5", "1e-300"),
    "WindowCenter": ("1e308",),
    "VOILUTFunction": ("SIGMOID", "FOO"),
    "Modality": ("CT",),
}
MEANT = ("SIGMOID",)  # values that a header may well have
CT: Mapping[str, tuple[Any, ...]] = {
    "RescaleSlope": ("0", "1e39", "1e308", None),
    "RescaleIntercept": ("1e39", "1e308", None),
    "RescaleType": ("OD",),
    "PixelSpacing": (["0", "0"], ["-0.8", "0.7"], ["0.8"], ["1e300", "1"], ["0.9", "0.7"], None),
    "ImagePositionPatient": (["1", "2"], ["0", "0", "1e300"], ["-10", "20", "30"], ["500", "20", "35"], None),
    "ImageOrientationPatient": (["1", "0", "0", "1", "0", "0"], ["0"] * 6, ["2", "0", "0", "0", "1", "0"], None),
    "PixelRepresentation": (1 - 1, 1),
    "Modality": ("MR", "PT"),
    "SeriesInstanceUID": ("1.2.99", "", None),
    "PatientID": ("another",),
}


def dicom_tags(fields: Mapping[str, tuple[Any, ...]]) -> Iterator[Damage]:
    for tag, values in fields.items():
        for value in values:
            shown = f"{len(value)} bytes" if isinstance(value, bytes) else str(value)
            where = "meant" if value in MEANT else ""
            yield Damage(f"{tag} of {shown}", partial(tagged, **{tag: value}), where)


def dicom(file: Path) -> Iterator[Damage]:
    yield from dicom_tags(DICOM)
    own = pydicom.dcmread(file).file_meta.TransferSyntaxUID
    for value in (uid.JPEG2000Lossless, uid.JPEGBaseline8Bit, uid.RLELossless, uid.JPEGLSLossless, "1.2.3"):
        if value != own:
            yield Damage(f"TransferSyntaxUID of {value}", partial(changed, partial(as_syntax, value)))
