"""How arrays, tables and records are damaged: headers that lie, labels that are none, contradictions."""

import gzip
import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faults.damage import Damage, changed, patched


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


def archives(pixels: str, label: str) -> Iterator[Damage]:
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
    for name, offset, value in (("unknown compression", 10, 0x63), ("encrypted", 8, 1)):

        def flagged(content: bytes, offset: int = offset, value: int = value) -> bytes:
            at = content.index(b"PK\1\2") + offset
            return content[:at] + bytes([value]) + content[at + 1 :]

        yield Damage(name, partial(changed, flagged))


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


def tar(file: Path) -> Iterator[Damage]:
    def header(field: str, value: Any) -> Callable[[bytes], bytes]:
        def change(content: bytes) -> bytes:
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                member = archive.getmembers()[2]
            setattr(member, field, value)
            return content[: member.offset] + member.tobuf(tarfile.GNU_FORMAT) + content[member.offset + 512 :]

        return change

    for field, value in (
        ("type", tarfile.SYMTYPE), ("type", tarfile.LNKTYPE), ("type", tarfile.CHRTYPE), ("type", tarfile.FIFOTYPE),
        ("type", tarfile.XHDTYPE), ("type", tarfile.GNUTYPE_LONGNAME), ("type", tarfile.GNUTYPE_SPARSE),
        ("size", 2**40), ("size", 2**33 - 1), ("size", -1), ("size", -512), ("name", "0.png"), ("name", "1.jpg"),
        ("name", "0.bmp"),
    ):  # fmt: skip
        yield Damage(f"the third header has a {field} of {value!r}", partial(changed, header(field, value)))
    yield Damage("two archives, one after the other", partial(changed, lambda c: c + c))
    yield Damage("no end", partial(changed, lambda c: c.rstrip(b"\0")))
    yield Damage("its first header is zeros", partial(changed, lambda c: bytes(512) + c[512:]))


def rows(change: Callable[[list[str]], list[str]], file: Path) -> None:
    file.write_text("\n".join(change(file.read_text().splitlines())) + "\n", encoding="utf-8")


def cell(column: int, value: str) -> Callable[[list[str]], list[str]]:
    """Change a cell of the second row."""

    def change(lines: list[str]) -> list[str]:
        cells = lines[2].split(",")
        cells[column] = value
        return [*lines[:2], ",".join(cells), *lines[3:]]

    return change


ROWS: Mapping[str, Callable[[list[str]], list[str]]] = {
    "a row twice": lambda lines: [*lines, lines[1]],
    "a column twice": lambda lines: [f"{line},{line.split(',')[1]}" for line in lines],
    "no rows": lambda lines: lines[:1],
    "no head": lambda lines: lines[1:],
    "a cell too few": lambda lines: [*lines[:2], lines[2].rpartition(",")[0], *lines[3:]],
    "a cell too many": lambda lines: [*lines[:2], f"{lines[2]},more", *lines[3:]],
    "a cell of 200 kB": cell(0, "x" * 200_000),
    "a quote that never ends": cell(0, '"x'),
    "a name of nothing": cell(0, ""),
    "a name that is not there": cell(0, "nowhere"),
    "a name of a folder": cell(0, "."),
    "a name above the folder": cell(0, "../in/../../etc/passwd"),
    "a name of the system": cell(0, "/etc/passwd"),
    "a name with NUL": cell(0, "a\0b"),
    "semicolons": lambda lines: [line.replace(",", ";") for line in lines],
    "tabs": lambda lines: [line.replace(",", "\t") for line in lines],
}
FILES: Mapping[str, Callable[[list[str]], list[str]]] = {
    "another label by another name": lambda lines: [*lines, "./" + lines[1].replace(",0", ",1")],
    "an unknown label": cell(1, "perhaps"),
    "an unknown last cell": cell(-1, "perhaps"),
    "a label of -1": cell(1, "-1"),
}
PLACES: Mapping[str, Callable[[list[str]], list[str]]] = {
    "two last cells of one place": lambda lines: [*lines, lines[1][:-1] + str(1 - int(lines[1][-1] == "1"))],
    "a place far away": cell(1, "99999"),
}


def tables(file: Path, of_files: bool) -> Iterator[Damage]:
    for name, change in {**ROWS, **(FILES if of_files else PLACES)}.items():
        # Another last number is another place, where it is no label.
        other = "header" if name.startswith("two last") and "class" not in file.read_text() else ""
        yield Damage(name, partial(rows, change), other)
    yield Damage(
        "an empty line", partial(rows, lambda lines: [lines[0], "," * lines[0].count(","), *lines[1:]]), "meant"
    )
    for value in ("nan", "inf", "7", "", "x", "1e400"):
        yield Damage(f"second cell {value!r}", partial(rows, cell(1, value)))
    for encoding in ("utf-16", "utf-32", "cp1252"):
        recoded = partial(lambda c, to: c.replace(b"\n", "é\n".encode(), 1).decode().encode(to), to=encoding)
        yield Damage(f"with an accent, in {encoding}", partial(changed, recoded))
        plain = partial(lambda c, to: c.decode().encode(to), to=encoding)
        yield Damage(f"in {encoding}", partial(changed, plain), "meant")
    yield Damage("bytes of no encoding", partial(changed, lambda c: c.replace(b"0", b"\xff\xfe\x80", 1)))


def records(*keys: str) -> Iterator[Damage]:
    def put(key: str, value: Any, file: Path) -> None:
        file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))

    def taken(key: str, file: Path) -> None:
        record = json.loads(file.read_text())
        del record[key]
        file.write_text(json.dumps(record))

    for key in keys:
        yield Damage(f"{key} missing", partial(taken, key))
        for value in (None, 7, -1, [], {}, "x", [float("nan")], 10**400, True):
            yield Damage(f"{key} of {str(value)[:9]}", partial(put, key, value))
    yield Damage("not an object", lambda file: file.write_text("[]"))
    if "metrics" in keys:
        yield Damage("AUROC of 7", partial(put, "metrics", {"auroc": {"value": 7, "low": 6, "high": 8}}))


def tensors(file: Path) -> Iterator[Damage]:
    for n in (0, 10**12, 2**63):
        yield Damage(f"header of {n} bytes", partial(changed, lambda c, n=n: struct.pack("<Q", n) + c[8:]))
    yield Damage("header that is no JSON", partial(changed, lambda c: c[:8] + b"x" + c[9:]))
