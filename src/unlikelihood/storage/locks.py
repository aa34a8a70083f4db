"""What one process makes while others wait for it."""

import os
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

SOON, PATIENCE = 2.0, 3600.0  # seconds after which waiting is said, and given up


@contextmanager
def alone(path: Path, patience: float = PATIENCE) -> Iterator[None]:
    """Let one process at a time into the block for a path, which need not exist; others wait, and say for whom.

    Parameters
    ----------
    path : Path
        What is made in the block. A file ``.name.lock`` lies beside it meanwhile.
    patience : float
        Seconds after which waiting is given up.

    Raises
    ------
    TimeoutError
        If another process is still there; the message names its number and machine.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.with_name(f".{path.name}.lock")
    lock = FileLock(file)
    try:
        lock.acquire(timeout=min(SOON, patience))
    except Timeout:
        if patience > SOON:
            warnings.warn(f"waiting for {path}, which is made by {_owner(file)}", stacklevel=4)
        try:
            lock.acquire(timeout=max(0, patience - SOON))
        except Timeout:
            raise TimeoutError(
                f"{path} is held by {_owner(file)}, and was not free within {patience:g} s: wait for that process, or "
                "end it"
            ) from None
    try:
        with suppress(PermissionError):  # Windows locks what is in it too
            file.write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")
        yield
    finally:
        with suppress(OSError):  # who waits sees that the file is gone, and makes another
            file.unlink()
        lock.release()


def _owner(file: Path) -> str:
    with suppress(OSError):
        return file.read_text(encoding="utf-8") or "another process"
    return "another process"
