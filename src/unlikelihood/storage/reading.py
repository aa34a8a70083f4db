"""The boundary that files are read behind: what is no file is not opened, and any failure is one line that names it."""

import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

GIANT = 2**30  # bytes from which on a file that stores next to none of them is refused
STORED = 1000  # the bytes that a file may hold for each one that it stores
PACKED = 2000  # the bytes that a decoder may make of each one of a file: twice the most of deflate
LINE = 800  # characters of a line of a message
SLOPES = (1e-6, 1e6)  # intensity for each number stored
KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


_most: ContextVar[float] = ContextVar("_most", default=math.inf)  # bytes that a file may claim


class Unreadable(ValueError):
    """Raised when a file is damaged, or none; the message is one line that names it, or a line for each of several.

    What it quotes of a file moves no cursor of a terminal, and is not endless.
    """

    def __init__(self, message: str) -> None:
        super().__init__("\n".join(printable(line)[:LINE] for line in message.split("\n")))


@contextmanager
def naming(file: Path, what: str, raised: type[Unreadable] = Unreadable) -> Iterator[None]:
    """Refuse what is no file, and make one error that names it of whatever is raised while it is read.

    Parameters
    ----------
    file : Path
        The file. If it is a pipe, a device, a folder, a link to nothing or a giant without content, nothing is read.
    what : str
        What it is read as, such as "an image".
    raised : type of Unreadable
        The error. One that is raised in the block already, and that of a missing package, stay as they are.
    """
    with calling(file, what, raised):
        if reason := no_file(file):
            raise ValueError(reason)
        yield


@contextmanager
def calling(name: object, what: str, raised: type[Unreadable] = Unreadable) -> Iterator[None]:
    """Make one error, as `naming` does, that names what is read in the block where it is no file of its own."""
    try:
        yield
    except (raised, ImportError):
        raise
    except Exception as error:  # the decoders of damaged files raise all kinds
        kind = "" if type(error) in (ValueError, Unreadable) else f"{type(error).__name__}: "
        message = " ".join(str(error).split())
        raise raised(f"{printable(name)}: cannot be read as {what} ({kind}{message[-300:]})") from error


def printable(name: object) -> str:
    """Return a name as it is, or escaped where it holds what ends a line or moves the cursor of a terminal."""
    text = str(name)
    return text if text.isprintable() else ascii(text)[1:-1]


def no_file(file: Path) -> str:
    """Return why a path is not opened; empty if it is a file, which may be opened without waiting."""
    try:
        at = file.stat()
    except FileNotFoundError:
        return f"is a link to {file.readlink()}, which is not there" if file.is_symlink() else "is not there"
    except OSError as error:
        return f"cannot be opened: {error.strerror}"
    kind = next((word for is_one, word in KINDS if is_one(at.st_mode)), "")
    if kind:
        return f"is {kind}, expected a file"
    blocks = getattr(at, "st_blocks", at.st_size)  # of 512 bytes, which Windows does not say
    if at.st_size > GIANT and blocks * 512 * STORED < at.st_size and _stored(file) * STORED < at.st_size:
        return f"is sparse: next to none of its {at.st_size} bytes are stored"
    return ""


def _stored(file: Path) -> int:
    """Return the bytes that a file stores, which some file systems know only after a while."""
    with file.open("rb") as content:
        total = end = 0
        while True:
            try:
                start = os.lseek(content.fileno(), end, os.SEEK_DATA)
            except OSError:  # nothing is stored after the end
                return total
            end = os.lseek(content.fileno(), start, os.SEEK_HOLE)
            total += end - start


@contextmanager
def unpacking(most: int) -> Iterator[None]:
    """Let `check_claim` in the block refuse more than so many bytes: of files that strangers send."""
    before = _most.set(most)
    try:
        yield
    finally:
        _most.reset(before)


def check_claim(stored: int, claimed: int) -> None:
    """Raise if so many bytes as a header claims cannot be packed in those that are stored; small ones always can."""
    if claimed > _most.get():
        raise ValueError(f"its header claims {claimed} bytes, expected at most {_most.get()}")
    if claimed > GIANT // 4 and claimed > PACKED * stored:
        raise ValueError(f"its header claims {claimed} bytes, more than {stored} can be unpacked to")


def check_scale(slope: float, intercept: float) -> None:
    """Raise unless a slope and an intercept may make intensities of numbers: finite, not next to nothing, not huge."""
    if not SLOPES[0] <= abs(slope) <= SLOPES[1] or not abs(intercept) <= SLOPES[1]:
        raise ValueError(
            f"its intensities are scaled by {slope:g} and {intercept:g}, expected a slope of {SLOPES[0]:g} to "
            f"{SLOPES[1]:g} and an intercept up to that"
        )
