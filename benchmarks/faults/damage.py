"""How any file is damaged, whatever its format: its bytes, its size, and what lies in its place."""

import gzip
import os
import socket
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

GIANT = 2**33  # bytes, of which a sparse file stores next to none


class Damage(NamedTuple):
    """A kind of damage.

    `where` it changes bytes to others that a whole file of the same format may have; "meant" if they are no damage.
    """

    name: str
    harm: Callable[[Path], object]
    where: str = ""


def changed(change: Callable[[bytes], bytes], file: Path) -> None:
    file.write_bytes(change(file.read_bytes()))


def patched(offset: int, form: str, value: Any, content: bytes) -> bytes:
    packed = struct.pack(form, value)
    return content[:offset] + packed + content[offset + len(packed) :]


def flipped(at: float, bit: int, content: bytes) -> bytes:
    """Flip a bit of the byte at a share of the content, or at an index from its end if that is below 0."""
    found = bytearray(content)
    if found:
        found[int(at * (len(found) - 1)) if at >= 0 else max(0, len(found) + int(at))] ^= 1 << bit
    return bytes(found)


def in_header(at: int, bit: int, content: bytes) -> bytes:
    found = bytearray(content)
    if found:
        found[min(at, len(found) - 1)] ^= 1 << bit
    return bytes(found)


def filled(start: float, fill: Callable[[int], bytes], content: bytes) -> bytes:
    """Fill a tenth of the content, at most 256 bytes of it."""
    n = min(256, max(1, len(content) // 10))
    at = min(int(start * len(content)), len(content) - n)
    return content[:at] + fill(n) + content[at + n :]


def noise(n: int) -> bytes:
    return np.random.default_rng(n).integers(0, 256, n, dtype=np.uint8).tobytes()


def bytes_changed() -> Iterator[Damage]:
    """Yield what changes bytes, or how many there are."""
    yield Damage("empty", lambda file: file.write_bytes(b""))
    for n in (1, 16, 100):
        yield Damage(f"cut after {n} bytes", partial(changed, lambda content, n=n: content[:n]))
    for share in (0.1, 0.5, 0.9, 0.99):
        yield Damage(f"cut at {share:.0%}", partial(changed, lambda content, s=share: content[: int(s * len(content))]))
    yield Damage("last byte lost", partial(changed, lambda content: content[:-2].rstrip(b"\0")[:-1]))
    yield Damage("first byte lost", partial(changed, lambda content: content[1:]))
    for word, lost, more in (("lost", 16, 0), ("more", 0, 16)):
        shift = lambda c, lost=lost, more=more: c[: len(c) // 2] + noise(more) + c[len(c) // 2 + lost :]  # noqa: E731
        yield Damage(f"16 bytes {word} in the middle", partial(changed, shift), "middle")
    for at, bit in ((0, 0), (2, 5), (5, 1), (9, 7), (13, 3), (21, 0), (30, 6), (44, 2), (57, 4), (75, 1), (110, 6)):
        yield Damage(f"bit {bit} of byte {at} flipped", partial(changed, partial(in_header, at, bit)), "header")
    for at, bit in ((0.3, 4), (0.45, 0), (0.5, 6), (0.62, 2), (0.77, 5), (0.88, 1)):
        yield Damage(f"bit {bit} at {at:.0%} flipped", partial(changed, partial(flipped, at, bit)), "middle")
    for at, bit in ((-1, 0), (-2, 5), (-5, 3), (-12, 7)):
        yield Damage(f"bit {bit} of byte {at} flipped", partial(changed, partial(flipped, at, bit)), "end")
    for word, fill in (("zeros", bytes), ("ones", lambda n: b"\xff" * n), ("noise", noise)):
        for at, where in ((0.0, "header"), (0.5, "middle"), (1.0, "end")):
            yield Damage(f"{word} in the {where}", partial(changed, partial(filled, at, fill)), where)
        yield Damage(
            f"{word} throughout", partial(changed, lambda content, fill=fill: fill(len(content))), "throughout"
        )
    yield Damage("1 byte appended", partial(changed, lambda content: content + b"\x07"))
    yield Damage("1000 zeros appended", partial(changed, lambda content: content + bytes(1000)))
    yield Damage("twice", partial(changed, lambda content: content * 2))
    yield Damage(
        "bytes swapped",
        partial(changed, lambda content: b"".join(content[i : i + 2][::-1] for i in range(0, len(content), 2))),
        "throughout",
    )
    yield Damage("reversed", partial(changed, lambda content: content[::-1]), "throughout")
    yield Damage("zipped once more", partial(changed, gzip.compress))
    yield Damage(
        "line ends of Windows", partial(changed, lambda content: content.replace(b"\n", b"\r\n")), "throughout"
    )


def other_content() -> Iterator[Damage]:
    """Yield what else may lie under the name of a file."""
    yield Damage("a text", lambda file: file.write_text("no such thing\n"))
    yield Damage("a page of a server", lambda file: file.write_text("<!DOCTYPE html><html>404 Not Found</html>"))

    def png(file: Path) -> None:
        Image.fromarray(np.eye(24, dtype=np.uint8)).save(file, "PNG")

    yield Damage("PNG under its name", png, "meant for .png")

    def saved(file: Path) -> None:
        with file.open("wb") as content:
            np.save(content, np.eye(24))

    yield Damage("NPY under its name", saved, "meant for .npy")
    yield Damage("a table under its name", lambda file: file.write_text("file,label\na.png,0\n"))
    yield Damage("JSON under its name", lambda file: file.write_text('[{"a": 1}]'))
    yield Damage("deep JSON under its name", lambda file: file.write_text("[" * 100000))


def no_file() -> Iterator[Damage]:
    """Yield what is no file."""

    def instead(make: Callable[[Path], object], file: Path) -> None:
        file.unlink()
        make(file)

    def bound(file: Path) -> None:
        here = os.getcwd()
        os.chdir(file.parent)  # the path of a socket must be short
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(file.name)
        os.chdir(here)

    for name, make in {
        "gone": lambda file: None,
        "a folder": lambda file: file.mkdir(),
        "a FIFO": os.mkfifo,
        "a socket": bound,
        "a link to nothing": lambda file: file.symlink_to("nowhere"),
        "a link to itself": lambda file: file.symlink_to(file.name),
        "a link to its folder": lambda file: file.symlink_to("."),
        "a link to /dev/zero": lambda file: file.symlink_to("/dev/zero"),
        "a link to /dev/tty": lambda file: file.symlink_to("/dev/tty"),
    }.items():
        yield Damage(name, partial(instead, make))
    yield Damage("sparse, 8 GiB of nothing behind it", lambda file: os.truncate(file, GIANT))
    yield Damage("sparse, 8 GiB of nothing", lambda file: (file.write_bytes(b""), os.truncate(file, GIANT)))


def generic() -> list[Damage]:
    """Return what may be done to any file."""
    return [*bytes_changed(), *other_content(), *no_file()]
