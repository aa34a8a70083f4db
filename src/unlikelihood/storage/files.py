"""Writing that leaves nothing half-written, whatever ends the process: an error, a signal, or a full disk."""

import errno
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

# In the folder beside the target: what is being written, and what is complete and only has to be moved into place.
NEW, READY, LOCK = "new", "ready", "lock"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
IN_THE_WAY = (errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR, errno.ENOTDIR)


@contextmanager
def replacing(path: str | os.PathLike[str], *, lasting: bool = True) -> Iterator[Path]:
    """Yield a temporary path; what the block writes there takes the place of `path` when it ends well.

    So does whatever else the block writes beside it, under its own name: all of it together. What was there is removed
    when all of the new is in place. If the process is killed, `path` is as it was, or the next `replacing` or `recover`
    finishes what was complete.

    Parameters
    ----------
    path : path
        The file or folder to write. Its parent folders are made.
    lasting : bool
        Wait until the disk holds all of it, for what could not be made again after a power failure.

    Yields
    ------
    Path
        A name that does not exist yet, for a file or a folder. If the block raises, it is removed and `path`
        stays as it was.

    Raises
    ------
    OSError
        If the disk is full; the message names `path`.
    """
    target = Path(path)
    missing = [folder for folder in (target.parent, *target.parent.parents) if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    recover(target)
    holder, lock = _holder(target)
    try:
        try:
            yield holder / NEW / target.name
            if lasting:
                _settle(holder / NEW)
        except OSError as error:
            if error.errno in FULL and error.filename is None:
                raise OSError(error.errno, error.strerror, str(target)) from error
            raise
        os.replace(holder / NEW, holder / READY)
        _move_in(holder, target.name)
        if lasting:
            _sync(target.parent)
    except BaseException:
        with suppress(OSError):
            _move_in(holder, target.name)  # if all is complete, an interruption does not keep it from its place
        raise
    finally:
        lock.release()
        _clear(holder)
        for folder in missing:  # that are still empty, after an error
            with suppress(OSError):
                folder.rmdir()


def recover(path: str | os.PathLike[str]) -> None:
    """Finish what processes that were killed inside ``replacing(path)`` had completed, and remove what they had not.

    Parameters
    ----------
    path : path
        The file or folder; what a living process writes there is left alone.
    """
    target = Path(path)
    for holder in target.parent.glob(f".{glob.escape(target.name)}.*.part/"):
        lock = FileLock(holder / LOCK)
        with suppress(OSError):  # another process may have done it, or may do it
            lock.acquire(timeout=0)  # a Timeout is an OSError
            try:
                _move_in(holder, target.name)
                _clear(holder)  # before the release: after it, the one who made this folder a moment ago may fill it
            finally:
                lock.release()


def allocate(file: Path) -> None:
    """Take the room on the disk that a file with holes claims: writing to a map of it would crash on a full disk.

    Raises
    ------
    OSError
        If there is not enough.
    """
    if hasattr(os, "posix_fallocate"):
        with file.open("r+b") as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)


def _holder(target: Path) -> tuple[Path, FileLock]:
    """Return a new folder beside the target and the lock on it, which this process holds while it lives."""
    while True:
        holder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
        lock = FileLock(holder / LOCK)
        # Another process may take it for one that was left, hold it and remove it, meanwhile.
        with suppress(Timeout, FileNotFoundError, FileExistsError):
            lock.acquire(timeout=0)
            (holder / NEW).mkdir()
            return holder, lock


def _move_in(holder: Path, name: str) -> None:
    """Move what is ready in a holder beside it, the entry `name` last: until then nothing has that name."""
    if not (holder / READY).is_dir():
        return
    entries = sorted((holder / READY).iterdir(), key=lambda entry: entry.name == name)
    if len(entries) > 1:
        _move_out(holder, holder.parent / name)
    for entry in entries:
        place = holder.parent / entry.name
        while True:
            if place.is_dir() or (entry.is_dir() and os.path.lexists(place)):
                _move_out(holder, place)
            try:
                os.replace(entry, place)
                break
            except OSError as error:
                if error.errno not in IN_THE_WAY:
                    raise
                # Another process put a folder there meanwhile.
    (holder / READY).rmdir()


def _move_out(holder: Path, place: Path) -> None:
    with suppress(FileNotFoundError):
        os.replace(place, Path(tempfile.mkdtemp(prefix="old.", dir=holder)) / place.name)


def _clear(holder: Path) -> None:
    """Remove a holder unless something in it is complete and not yet in its place."""
    if not (holder / READY).is_dir():
        shutil.rmtree(holder, ignore_errors=True)


def _settle(folder: Path) -> None:
    for place in folder.rglob("*"):
        _sync(place)
    _sync(folder)


def _sync(place: Path) -> None:
    """Wait until the disk holds a file or the entries of a folder, where the system can say so."""
    with suppress(PermissionError):  # folders on Windows
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a file system that cannot
                raise
        finally:
            os.close(descriptor)


@contextmanager
def filling(folder: str | os.PathLike[str], last: str = "") -> Iterator[Path]:
    """Yield an empty folder whose files move into `folder`, made if need be, when the block ends well.

    Files of other names stay. Where there is a file called `last`, all others are.
    """
    target = Path(folder).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as temporary:
        draft = Path(temporary)
        yield draft
        files = sorted((file for file in draft.rglob("*") if file.is_file()), key=lambda file: file == draft / last)
        target.mkdir(exist_ok=True)
        for file in files:
            place = target / file.relative_to(draft)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, place)
