"""How images are damaged: headers that lie, values that are none, parts that are not there."""

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from benchmarks.faults.damage import Damage, changed, patched


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


def sizes_at(places: Mapping[str, tuple[int, str, tuple[int, ...]]]) -> Iterator[Damage]:
    for name, (offset, form, values) in places.items():
        for value in values:
            yield Damage(f"{name} of {value}", partial(changed, partial(patched, offset, form, value)))


def sizes_after(mark: bytes, skip: int, form: str, values: tuple[int, ...]) -> Iterator[Damage]:
    for value in values:

        def change(content: bytes, value: int = value) -> bytes:
            return patched(content.index(mark) + skip, form, value, content)

        yield Damage(f"size of {value}", partial(changed, change))


def bitmap(file: Path) -> Iterator[Damage]:
    yield from sizes_at(
        {
            "offset": (10, "<I", (0, 2**31, 10)),
            "header": (14, "<I", (0, 12, 2**31)),
            "width": (18, "<i", (0, -24, 12, 2**31 - 1, 60000)),
            "height": (22, "<i", (0, 25, 2**31 - 1)),
            "bits": (28, "<H", (0, 1, 7, 24, 32)),
            "compression": (30, "<I", (1, 4, 99)),
        }
    )


def gif(file: Path) -> Iterator[Damage]:
    yield from sizes_at({"width": (6, "<H", (0, 25, 65535)), "height": (8, "<H", (0, 25, 65535))})


def webp(file: Path) -> Iterator[Damage]:
    yield from sizes_at({"size": (4, "<I", (0, 2**31, 2**32 - 1)), "packed": (16, "<I", (0, 2**32 - 1))})


def values(file: Path) -> Iterator[Damage]:
    for name, value in {
        "complex numbers": np.ones((24, 24), np.complex64),
        "nan": np.full((24, 24), np.nan),
        "inf": np.full((24, 24), -np.inf),
        "objects": np.full((24, 24), None),
        "beyond float32": np.full((24, 24), 1e300),
        "no values": np.zeros((0, 24)),
        "one row": np.zeros(24),
        "half": np.full((24, 24), np.nan, np.float16),
    }.items():
        yield Damage(name, partial(lambda file, value: np.save(file, value, allow_pickle=True), value=value))
