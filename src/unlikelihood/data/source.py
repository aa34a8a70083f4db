"""What knows how to read one kind of data, and where data lie on this machine."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from unlikelihood.data.images import Images
from unlikelihood.data.rows import Rows, Whole
from unlikelihood.data.splits import Split, partition


class DataUnavailable(OSError):
    """Raised when a public data set is neither on this machine nor to be had from any of its mirrors."""


@dataclass(frozen=True, kw_only=True)
class Source(ABC):
    """Where images come from, and how they are divided into the parts of an experiment.

    A source is configuration alone: it is cheap to make, and reads its files in `read` and `split`. A subclass is a
    dataclass with keyword-only fields of plain types, from which the command line is made; each class documents its
    own fields and has those of its bases too.

    Parameters
    ----------
    seed : int
        Seed of the division into parts.
    """

    seed: int = 0

    @abstractmethod
    def read(self) -> Images:
        """Return all images, in a fixed order.

        Raises
        ------
        ValueError
            If a file is damaged, or a parameter does not go with the files.
        OSError
            If a file is not there; `DataUnavailable` if it cannot be downloaded either.
        """

    def rows(self) -> Rows:
        """Return the samples, in the order of `read`, as what reads some of them at a time.

        A source that need not read all of its files for that overrides this. Files that `read` would refuse are
        refused when they are read, so that one of them does not keep the others from being scored.
        """
        return Whole(self.read())

    @abstractmethod
    def split(self) -> Split:
        """Read the images and divide them into train, calibration and test; equal seeds give equal parts."""


@dataclass(frozen=True, kw_only=True)
class RandomSplitSource(Source):
    """A source whose normals are divided at random unless its files say how; a group (patient) is never in two parts.

    Parameters
    ----------
    fractions : tuple of float, optional
        Shares of the normals for train, calibration and test, which sum to 1; (0.6, 0.2, 0.2) unless given, and
        (0.8, 0.2, 0) where there is no anomaly to test. Some may be 0: (0, 0, 1) tests all.
    balanced : bool
        Leave images out of the test, at random, until it holds as many normals as anomalies.
    """

    fractions: tuple[float, float, float] | None = None
    balanced: bool = False

    @override
    def split(self) -> Split:
        return partition(self.read(), fractions=self.fractions, seed=self.seed, balanced=self.balanced)


def cache() -> Path:
    """Return the folder of downloads and crops: `$UNLIKELIHOOD_CACHE`, or `unlikelihood` in `~/.cache`.

    `$XDG_CACHE_HOME` stands for `~/.cache` where it is set. The folder need not exist.
    """
    if given := os.environ.get("UNLIKELIHOOD_CACHE"):
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "unlikelihood"


def data_folders(name: str = "") -> Sequence[Path]:
    """Return where public data are looked for: `name` in `$UNLIKELIHOOD_DATA`, if that is set, and in the cache."""
    roots = [Path(given).expanduser()] if (given := os.environ.get("UNLIKELIHOOD_DATA")) else []
    return [root / name for root in (*roots, cache())]


def first_file(folders: Iterable[Path], *names: str) -> Path | None:
    """Return the first file in one of `folders` that has one of the `names`, None where there is none."""
    return next((file for folder in folders for name in names if (file := folder / name).is_file()), None)


def existing(parameter: str, path: str | Path) -> Path:
    """Return `path` with its leading ~ expanded; a FileNotFoundError names `parameter` if nothing is there."""
    found = Path(path).expanduser()
    if not found.exists():
        raise FileNotFoundError(f"{parameter}={str(path)!r}: no such file or folder")
    return found
