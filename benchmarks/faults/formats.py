"""How files of single formats are damaged: headers that lie, values that are none, tables that contradict themselves."""

import gzip
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import tifffile
from pydicom import uid

from benchmarks.faults.damage import Damage, changed

HUGE = 10**9


def patched(offset: int, form: str, value: Any, content: bytes) -> bytes:
    packed = struct.pack(form, value)
    return content[:offset] + packed + content[offset + len(packed) :]


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
    "space directions": ("none none none", "(0,0,0) (0,1,0) (0,0,1)", "(nan,0,0) (0,1,0) (0,0,1)", "(1,0,0)", "(1,1,1) (1,1,1) (0,0,1)", "x", "(1e300,0,0) (0,1,0) (0,0,1)"),
    "space origin": ("(nan,0,0)", "(1,2)", "(inf,0,0)", "x"),
    "space units": ('"m" "m" "m"', '"um" "um" "um"'),
    "byte skip": ("-1", "-5", "7", "1000000000", "x"),
    "line skip": ("1", "-1", "1000000000"),
    "spacings": ("nan nan nan", "-1 1 1"),
    "data file": ("%n 1 2 1", "%s 1 2 1", "a%03d.raw 1 1000000000 1", "../others/b.raw", "/etc/passwd", "/dev/zero", "nowhere.raw", "LIST", "."),
    "block size": ("8",),
}  # fmt: skip


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
}  # fmt: skip
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


def npy(file: Path, values: Mapping[str, Any] | None = None) -> Iterator[Damage]:
    def header(**said: Any) -> Callable[[bytes], bytes]:
        def change(content: bytes) -> bytes:
            start = 10 + struct.unpack_from("<H", content, 8)[0]
            known = {"descr": "|u1", "fortran_order": False, "shape": (8, 1, 9, 9)} | said
            text = repr(known).encode().ljust(117) + b"\n"
            return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + content[start:]

        return change

    for said in (
        {"descr": "|O"}, {"descr": "<c8"}, {"descr": "<U4"}, {"descr": "<M8[s]"}, {"descr": "<f4"}, {"descr": "foo"},
        {"descr": [("a", "|u1"), ("b", "|u1")]}, {"descr": 5}, {"shape": (-8, 1, 9, 9)}, {"shape": (10**12, 1, 9, 9)},
        {"shape": ()}, {"shape": (0, 1, 9, 9)}, {"shape": "x"}, {"shape": (2**62, 2**62)}, {"fortran_order": "x"},
        {"more": 1}, {"shape": (8.0, 1, 9, 9)}, {"shape": (True, 648)},
    ):  # fmt: skip
        yield Damage(f"its header says {said}", partial(changed, header(**said)))
    yield Damage("its header is no literal", partial(changed, lambda c: c.replace(b"{'descr'", b"[({'desc")))
    yield Damage("its header is deep", partial(changed, lambda c: c[:8] + struct.pack("<H", 9000) + b"(" * 9000))
    yield Damage("its version is 9", partial(changed, lambda c: c[:6] + b"\x09" + c[7:]))


def saved_as(value: Callable[[np.ndarray], Any], file: Path) -> None:
    np.save(file, value(np.load(file)), allow_pickle=True)


def npz(key: str, file: Path, change: Callable[[np.ndarray], Any] | None) -> None:
    with np.load(file) as found:
        arrays = dict(found)
    if change is None:
        del arrays[key]
    else:
        arrays[key] = change(arrays[key])
    np.savez_compressed(file, **arrays)


ARRAYS: Mapping[str, Callable[[np.ndarray], Any]] = {
    "complex": lambda a: a * 1j,
    "text": lambda a: a.astype(str),
    "objects": lambda a: a.astype(object),
    "dates": lambda a: a.astype("M8[s]"),
    "nan": lambda a: np.where(np.arange(a.size).reshape(a.shape) == 3, np.nan, a),
    "inf": lambda a: np.where(np.arange(a.size).reshape(a.shape) == 3, np.inf, a),
    "beyond float32": lambda a: np.where(np.arange(a.size).reshape(a.shape) == 3, 1e300, a),
    "one too few": lambda a: a[:-1],
    "one too many": lambda a: np.concatenate([a, a[:1]]),
    "none": lambda a: a[:0],
    "a number": lambda a: np.float64(3),
    "an axis more": lambda a: a[..., None],
    "flat": lambda a: a.ravel(),
    "structured": lambda a: np.zeros(len(a), [("a", int)]),
}
LABELS: Mapping[str, Callable[[np.ndarray], Any]] = {
    "7": lambda a: np.full_like(a, 7),
    "-1": lambda a: np.where(np.arange(a.size).reshape(a.shape) == 1, -1, a.astype(int)),
    "255": lambda a: np.where(np.arange(a.size).reshape(a.shape) == 1, 255, a.astype(int)),
    "0.5": lambda a: np.where(np.arange(a.size).reshape(a.shape) == 1, 0.5, a),
    "2**40": lambda a: np.where(np.arange(a.size).reshape(a.shape) == 1, 2**40, a.astype(np.int64)),
    "flags": lambda a: a.astype(bool),
}


def archives(kinds: tuple[str, ...]) -> Iterator[Damage]:
    pixels, label = kinds[1:]
    for key in (pixels, label):
        yield Damage(f"{key} missing", partial(lambda file, key: npz(key, file, None), key=key))
        for name, change in {**ARRAYS, **(LABELS if key == label else {})}.items():
            # False and true are 0 and 1, and what has five axes holds volumes.
            same = (name == "flags" and "label" in label) or (name == "an axis more" and pixels == key == "pixels")
            harm = partial(lambda file, key, change: npz(key, file, change), key=key, change=change)
            yield Damage(f"{key}: {name}", harm, "meant" if same else "")

    def member(name: str, content: bytes, file: Path, packed: int = zipfile.ZIP_DEFLATED) -> None:
        with zipfile.ZipFile(file) as old:
            kept = {one: old.read(one) for one in old.namelist()}
        with zipfile.ZipFile(file, "w", packed) as new:
            for one, own in (kept | {name: content}).items():
                new.writestr(one, own)

    yield Damage("a member that is no array", partial(member, f"{pixels}.npy", b"no array"))
    bomb = io.BytesIO()
    np.lib.format.write_array_header_1_0(bomb, {"descr": "|u1", "fortran_order": False, "shape": (2**31, 1, 9, 9)})
    yield Damage("a member that claims 160 GiB", partial(member, f"{pixels}.npy", bomb.getvalue()))
    yield Damage("a member packed by LZMA", partial(member, "more.npy", b"x", packed=zipfile.ZIP_LZMA), "meant")
    yield Damage("unknown compression", partial(changed, lambda c: c.replace(b"PK\1\2" + c[c.index(b"PK\1\2") + 4 :][:6], b"PK\1\2" + c[c.index(b"PK\1\2") + 4 :][:6])[:8] + b"\x63\0" + c[10:]))  # fmt: skip
    yield Damage("encrypted", partial(changed, lambda c: c[: c.index(b"PK\1\2") + 8] + b"\1" + c[c.index(b"PK\1\2") + 9 :]))  # fmt: skip


def idx_files(file: Path) -> Iterator[Damage]:
    packed = file.suffix == ".gz"
    for name, offset, form, value in (
        ("images of -1", 4, ">i", -1), ("one image more", 4, ">i", 31), ("height of 2^31", 8, ">I", 2**31),
        ("size of 0", 8, ">I", 0), ("16-bit numbers", 2, ">B", 11), ("4 axes", 3, ">B", 4), ("1 axis", 3, ">B", 1),
        ("axes of the other order", 4, "<I", 30),
    ):  # fmt: skip
        change = partial(patched, offset, form, value)
        if packed:
            change = lambda c, change=change: gzip.compress(change(gzip.decompress(c)), mtime=0)  # noqa: E731
        yield Damage(name, partial(changed, change))
    fewer = lambda c: gzip.compress(c) if packed else c  # noqa: E731
    one = struct.pack(">4I", 0x803, 29, 8, 8) + bytes(29 * 64)
    yield Damage("an image less, whole", partial(changed, lambda c: fewer(one)))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(file: Path) -> Iterator[Damage]:
    def size(width: int, height: int, depth: int = 8, colour: int = 0) -> Callable[[bytes], bytes]:
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
        return lambda content: content[:8] + head + content[33:]

    for width, height in ((2**31 - 1, 2**31 - 1), (60000, 60000), (0, 24), (24, 25), (23, 24)):
        yield Damage(f"size of {width} x {height}", partial(changed, size(width, height)))
    for depth, colour in ((3, 0), (8, 5), (8, 3), (16, 0), (8, 2)):
        yield Damage(f"depth {depth}, colour {colour}", partial(changed, size(24, 24, depth, colour)))
    bomb = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8)))
    # Text beside the image is nothing to do with its intensities.
    yield Damage("text of 100 MB", partial(changed, lambda c: c[:33] + bomb + c[33:]), "meant")
    yield Damage("wrong sum of a chunk", partial(changed, lambda c: c[:29] + b"\0\0\0\0" + c[33:]))
    yield Damage("end missing", partial(changed, lambda c: c[:-12]))
    yield Damage("no data", partial(changed, lambda c: c[:33] + chunk(b"IEND", b"")))


def tiff(file: Path) -> Iterator[Damage]:
    def overwritten(file: Path, **tags: Any) -> None:
        with tifffile.TiffFile(file, mode="r+") as content:
            for name, value in tags.items():
                tag = content.pages.first.tags[name]
                tag.overwrite(value)

    for name, values in {
        "StripByteCounts": (0, 1, 2**31, 100),
        "StripOffsets": (0, 2**31, 10**6),
        "ImageWidth": (0, 23, 60000, 2**31 - 1),
        "ImageLength": (0, 25, 60000, 2**31 - 1),
        "BitsPerSample": (0, 1, 7, 16, 64),
        "SamplesPerPixel": (0, 3, 60000),
        "Compression": (2, 5, 7, 8, 34887, 60001),
        "PhotometricInterpretation": (2, 3, 5, 6, 8, 32803),
        "RowsPerStrip": (0, 1, 7),
    }.items():
        for value in values:
            yield Damage(f"{name} of {value}", partial(overwritten, **{name: value}))
    for name, value in {
        "complex numbers": np.ones((24, 24), np.complex64),
        "nan": np.full((24, 24), np.nan, np.float32),
        "inf": np.full((24, 24), np.inf, np.float32),
        "beyond float32": np.full((24, 24), 1e300),
        "five axes": np.ones((2, 3, 2, 8, 8), np.uint8),
    }.items():
        yield Damage(name, partial(lambda file, value: tifffile.imwrite(file, value), value=value))

    def round_and_round(content: bytes) -> bytes:
        start = struct.unpack_from("<I", content, 4)[0]
        after = start + 2 + 12 * struct.unpack_from("<H", content, start)[0]
        return content[:after] + struct.pack("<I", start) + content[after + 4 :]

    yield Damage("its page follows itself", partial(changed, round_and_round))


def sizes_at(places: Mapping[str, tuple[int, str, tuple[int, ...]]]) -> Callable[[Path], Iterator[Damage]]:
    def damages(file: Path) -> Iterator[Damage]:
        for name, (offset, form, values) in places.items():
            for value in values:
                yield Damage(f"{name} of {value}", partial(changed, partial(patched, offset, form, value)))

    return damages


def marked(mark: bytes, skip: int, form: str, values: tuple[int, ...]) -> Callable[[Path], Iterator[Damage]]:
    def damages(file: Path) -> Iterator[Damage]:
        for value in values:

            def change(content: bytes, value: int = value) -> bytes:
                return patched(content.index(mark) + skip, form, value, content)

            yield Damage(f"size of {value}", partial(changed, change))

    return damages


def image_values(file: Path) -> Iterator[Damage]:
    for name, value in {
        "complex numbers": np.ones((24, 24), np.complex64), "nan": np.full((24, 24), np.nan),
        "inf": np.full((24, 24), -np.inf), "objects": np.full((24, 24), None), "beyond float32": np.full((24, 24), 1e300),
        "no values": np.zeros((0, 24)), "one row": np.zeros(24), "half": np.full((24, 24), np.nan, np.float16),
    }.items():  # fmt: skip
        yield Damage(name, partial(lambda file, value: np.save(file, value, allow_pickle=True), value=value))


def rows(change: Callable[[list[str]], list[str]], file: Path) -> None:
    file.write_text("\n".join(change(file.read_text().splitlines())) + "\n", encoding="utf-8")


def csv_tables(kinds: tuple[str, ...], file: Path) -> Iterator[Damage]:
    first = lambda name: lambda lines: [lines[0], name + lines[1][lines[1].index(",") :], *lines[2:]]  # noqa: E731
    last = lambda cell: lambda lines: [*lines[:2], lines[2].rpartition(",")[0] + f",{cell}", *lines[3:]]  # noqa: E731
    second = lambda cell: (
        lambda lines: [*lines[:2], ",".join([(p := lines[2].split(","))[0], cell, *p[2:]]), *lines[3:]]
    )  # noqa: E731
    for name, change in {
        "a row twice": lambda lines: [*lines, lines[1]],
        "a column twice": lambda lines: [f"{line},{line.split(',')[1]}" for line in lines],
        "no rows": lambda lines: lines[:1],
        "no head": lambda lines: lines[1:],
        "a cell too few": lambda lines: [*lines[:2], lines[2].rpartition(",")[0], *lines[3:]],
        "a cell too many": lambda lines: [*lines[:2], f"{lines[2]},more", *lines[3:]],
        "a cell of 200 kB": first("x" * 200_000),
        "a quote that never ends": first('"x'),
        "a name of nothing": first(""),
        "a name that is not there": first("nowhere"),
        "a name of a folder": first("."),
        "a name above the folder": first("../in/../../etc/passwd"),
        "a name of the system": first("/etc/passwd"),
        "a name with NUL": first("a\0b"),
        "semicolons": lambda lines: [line.replace(",", ";") for line in lines],
        "tabs": lambda lines: [line.replace(",", "\t") for line in lines],
        "an empty line": lambda lines: [lines[0], ",".join([""] * len(lines[0].split(","))), *lines[1:]],
    }.items():
        yield Damage(name, partial(rows, change), "meant" if name == "an empty line" else "")
    for cell in ("nan", "inf", "-1", "7", "", "x", "1e400"):
        where = "header" if cell == "-1" and "places" in kinds else ""  # which is a place too
        yield Damage(f"second cell {cell!r}", partial(rows, second(cell)), where)
    if "places" in kinds:
        both = lambda lines: [*lines, lines[1][:-1] + str(1 - int(lines[1][-1]))]  # noqa: E731
        yield Damage("two labels of one place", partial(rows, both)) if lines_end_in_label(file) else Damage("twice more", partial(rows, lambda lines: [*lines, *lines[1:]]))  # fmt: skip
        yield Damage("a place far away", partial(rows, second("99999")))
    else:
        yield Damage("contradiction by another name", partial(rows, lambda lines: [*lines, "./" + lines[1].replace(",0", ",1")]))  # fmt: skip
        yield Damage("an unknown label", partial(rows, second("perhaps")))
        yield Damage("an unknown last cell", partial(rows, last("perhaps")))
    for encoding in ("utf-16", "utf-32", "cp1252"):
        recoded = lambda c, to=encoding: c.replace(b"\n", "é\n".encode(), 1).decode().encode(to)  # noqa: E731
        yield Damage(f"in {encoding}", partial(changed, recoded))
        yield Damage(
            f"in {encoding}, as it is", partial(changed, lambda c, to=encoding: c.decode().encode(to)), "meant"
        )
    yield Damage("bytes of no encoding", partial(changed, lambda c: c.replace(b"0", b"\xff\xfe\x80", 1)))


def lines_end_in_label(file: Path) -> bool:
    return file.read_text().startswith("seriesuid,coordX,coordY,coordZ,class")


def records(kinds: tuple[str, ...]) -> Iterator[Damage]:
    def put(key: str, value: Any, file: Path) -> None:
        record = json.loads(file.read_text())
        record[key] = value
        file.write_text(json.dumps(record))

    def taken(key: str, file: Path) -> None:
        record = json.loads(file.read_text())
        del record[key]
        file.write_text(json.dumps(record))

    keys = ("label", "score", "metrics", "calibration", "name") if "evaluation" in kinds else ("format", "detector", "weights", "checksum")  # fmt: skip
    for key in keys:
        yield Damage(f"{key} missing", partial(taken, key))
        for value in (None, 7, -1, [], {}, "x", [float("nan")], 10**400, True):
            yield Damage(f"{key} of {str(value)[:9]}", partial(put, key, value))
    if "evaluation" in kinds:
        yield Damage("AUROC of 7", partial(put, "metrics", {"auroc": {"value": 7, "low": 6, "high": 8}}))
    yield Damage("not an object", lambda file: file.write_text("[]"))


def tensors(file: Path) -> Iterator[Damage]:
    for n in (0, 10**12, 2**63):
        yield Damage(f"header of {n} bytes", partial(changed, lambda c, n=n: struct.pack("<Q", n) + c[8:]))
    yield Damage("header that is no JSON", partial(changed, lambda c: c[:8] + b"x" + c[9:]))


def special(kinds: tuple[str, ...], file: Path) -> list[Damage]:
    """Return what may be done to a file of some kinds."""
    by_kind: Mapping[str, Callable[[Path], Iterator[Damage]]] = {
        "nii": nifti,
        "mha": metaimage,
        "nrrd": nrrd,
        "dcm": dicom,
        "x-ray": lambda file: dicom_tags(X_RAY),
        "ct": lambda file: dicom_tags(CT),
        "npy": npy,
        "image": image_values,
        "npz": lambda file: archives(kinds),
        "idx": idx_files,
        "png": png,
        "tif": tiff,
        "bmp": sizes_at({
            "offset": (10, "<I", (0, 2**31, 10)), "header": (14, "<I", (0, 12, 2**31)),
            "width": (18, "<i", (0, -24, 12, 2**31 - 1, 60000)), "height": (22, "<i", (0, 25, 2**31 - 1)),
            "bits": (28, "<H", (0, 1, 7, 24, 32)), "compression": (30, "<I", (1, 4, 99)),
        }),
        "gif": sizes_at({"width": (6, "<H", (0, 25, 65535)), "height": (8, "<H", (0, 25, 65535))}),
        "webp": sizes_at({"size": (4, "<I", (0, 2**31, 2**32 - 1)), "packed": (16, "<I", (0, 2**32 - 1))}),
        "jpg": marked(b"\xff\xc0", 5, ">H", (0, 1, 25, 65535)),
        "jp2": marked(b"\xff\x51", 6, ">I", (0, 1, 25, 2**32 - 1)),
        "csv": lambda file: csv_tables(kinds, file),
        "json": lambda file: records(kinds),
        "safetensors": tensors,
    }  # fmt: skip
    return [damage for kind in kinds if kind in by_kind for damage in by_kind[kind](file)]
