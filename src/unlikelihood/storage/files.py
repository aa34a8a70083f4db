"""Writing that leaves nothing half-written."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; what the block writes there takes the place of `path` when it ends well.

    Parameters
    ----------
    path : path
        The file or folder to write. Its parent folders are made.

    Yields
    ------
    Path
        A name that does not exist yet, for a file or a folder. If the block raises, it is removed and `path`
        stays as it was.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    holder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield holder / target.name
        if target.is_dir() and not target.is_symlink():
            os.replace(target, holder / "old")
        os.replace(holder / target.name, target)
    finally:
        shutil.rmtree(holder)


def leftovers(path: str | os.PathLike[str]) -> list[Path]:
    """Return the temporary folders that processes killed inside `replacing(path)` left beside it."""
    target = Path(path)
    return list(target.parent.glob(f".{target.name}.*/"))
