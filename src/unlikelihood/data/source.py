"""What knows how to read one kind of data."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from unlikelihood.data.images import Images
from unlikelihood.data.splits import Split, cut


class DataUnavailable(OSError):
    """Raised when a public data set is neither on this machine nor to be had from any of its mirrors."""


@dataclass(frozen=True, kw_only=True)
class Source(ABC):
    """Where images come from and how they are cut into the parts of an experiment.

    A source is configuration alone: it is cheap to make, and reads its files in `read` and `split`. A
    subclass is a dataclass with keyword-only fields of plain types, from which the command line is made.

    Parameters
    ----------
    seed : int
        Seed of the cut into parts.
    """

    seed: int = 0

    @abstractmethod
    def read(self) -> Images:
        """Read all images.

        Returns
        -------
        Images
            All of them, in a fixed order.
        """

    def split(self) -> Split:
        """Read the images and cut them into train, calibration and test.

        Returns
        -------
        Split
            The parts; the same for the same seed.
        """
        return cut(self.read(), seed=self.seed)


def cache() -> Path:
    """Return the folder that downloads are kept in.

    Returns
    -------
    Path
        `$UNLIKELIHOOD_CACHE`, or `unlikelihood` in `$XDG_CACHE_HOME` or `~/.cache`. It need not exist.
    """
    if given := os.environ.get("UNLIKELIHOOD_CACHE"):
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "unlikelihood"


def places(folder: str = "") -> Sequence[Path]:
    """Return the folders in which a public data set is looked for.

    Parameters
    ----------
    folder : str
        Name of the sub-folder of the data set, if it has one.

    Returns
    -------
    sequence of Path
        `folder` in `$UNLIKELIHOOD_DATA`, where that is set, then in the cache.
    """
    roots = [Path(given).expanduser()] if (given := os.environ.get("UNLIKELIHOOD_DATA")) else []
    return [root / folder for root in (*roots, cache())]


def at_hand(folders: Iterable[Path], *names: str) -> Path | None:
    """Return the first file in one of `folders` that has one of the `names`, None where there is none."""
    return next((file for folder in folders for name in names if (file := folder / name).is_file()), None)


def existing(parameter: str, path: str | Path) -> Path:
    """Return the path of a file or folder that must exist.

    Parameters
    ----------
    parameter : str
        Name of the parameter it was given as, for the message.
    path : str or Path
        The path; a leading ~ is expanded.

    Returns
    -------
    Path
        The same, expanded.

    Raises
    ------
    FileNotFoundError
        If nothing is there.
    """
    found = Path(path).expanduser()
    if not found.exists():
        raise FileNotFoundError(f"{parameter}={str(path)!r}: no such file or folder")
    return found
