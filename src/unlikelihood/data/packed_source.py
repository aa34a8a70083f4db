"""Samples that lie many to a file, of which those that are asked for are read."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from unlikelihood.data.decoded import Decoded, Row, decode
from unlikelihood.data.image_files import image_in
from unlikelihood.data.images import Images
from unlikelihood.data.labels import Names
from unlikelihood.data.picture_source import PictureSource, differs, refuse_in_both_classes, tell_skipped
from unlikelihood.data.source import existing


@dataclass(frozen=True, kw_only=True)
class PackedSource(PictureSource):
    """Samples in a file that holds many, or in a folder of such files, which are read in the order of their names.

    Further parameters are those of `PictureSource`.

    Parameters
    ----------
    path : str or Path
        The file or the folder; of its files, those that begin with an underscore or a dot are not read.
    normal : tuple of str
        What normals are called in the labels. 0 is normal and 1 anomalous too, unless some of the names are numbers.
    anomalous : tuple of str, optional
        What anomalies are called in the labels; "anomalous" unless given.
    """

    suffix: ClassVar[str]
    path: str | Path = field(kw_only=False)
    normal: tuple[str, ...] | str = ("normal", "good")
    anomalous: tuple[str, ...] | str | None = None

    @abstractmethod
    def opened(self) -> "PackedRows":
        """Return where every sample lies."""

    @override
    def rows(self) -> "PackedRows":
        return self.opened()

    @override
    def read(self) -> Images:
        rows = self.opened()
        if not len(rows):
            raise ValueError(f"path={str(self.path)!r} holds no samples")
        return rows.images(0, len(rows), skip=self.skip_unreadable)

    @property
    def names(self) -> Names:
        """What the classes are called."""
        return Names.of(self.normal, self.anomalous)

    def files(self) -> list[Path]:
        """Return the files, in their order."""
        self.check()
        path = existing("path", self.path)
        if not path.is_dir():
            return [path]
        found = sorted(file for file in path.glob(f"*{self.suffix}") if not file.name.startswith(("_", ".")))
        if not found:
            raise ValueError(f"path={str(self.path)!r} holds no *{self.suffix} files")
        return found


class PackedRows(ABC):
    """Samples in files that hold many.

    Parameters
    ----------
    source : PackedSource
        What else is known of them.
    files : sequence of Path
        The files.
    counts : sequence of int
        How many samples each holds.
    left_out : dict of str to int
        What is in the files and is no sample: how many for each reason.
    """

    def __init__(
        self, source: PackedSource, files: Sequence[Path], counts: Sequence[int], left_out: Mapping[str, int]
    ) -> None:
        self.files = files
        self.left_out = left_out
        self.starts = np.cumsum([0, *counts])
        self._source = source

    def __len__(self) -> int:
        return int(self.starts[-1])

    @abstractmethod
    def names(self, start: int, stop: int) -> NDArray[np.str_]:
        """Return what the samples from `start` to before `stop` are called: file/sample."""

    @abstractmethod
    def sample(self, number: int) -> Row:
        """Read a sample; a ValueError says that it cannot be read."""

    @abstractmethod
    def labels(self, start: int, stop: int) -> list[int] | None:
        """Return the labels of the samples from `start` to before `stop`, if they have any."""

    def groups(self, start: int, stop: int) -> list[Any] | None:
        """Return the groups of the samples from `start` to before `stop`, if they have any."""
        return None

    def image(self, content: bytes, suffix: str) -> Row:
        """Return an encoded image as its source treats it; a ValueError says that it cannot be read."""
        image = image_in(BytesIO(content), suffix, self._source.background)
        pixels = self._source.treated(image)
        return Row(pixels, None, (pixels.shape, image.dtype))

    def window_of(self, dtype: np.dtype[Any]) -> tuple[float, float] | None:
        """Return the intensities that become 0 and 1, in samples of a type."""
        return self._source.window_of(dtype)

    def read(self, start: int, stop: int) -> Images:
        """Return the samples from `start` to before `stop`."""
        return self.images(start, stop, skip=False)

    def images(self, start: int, stop: int, *, skip: bool) -> Images:
        """Return the samples from `start` to before `stop`, but those that cannot be read if these are to `skip`."""
        source = self._source
        decoded = self.decoded(start, stop, skip=skip)
        tell_skipped(decoded.failures, stop - start, source.path)
        names, labels, groups = self.names(start, stop), self.labels(start, stop), self.groups(start, stop)
        left_out = dict(self.left_out)
        if decoded.failures:
            left_out["images that cannot be read, or differ from the first"] = len(decoded.failures)
        images = Images(
            pixels=decoded.pixels,
            label=None if labels is None else np.array(labels)[decoded.kept],
            group=None if groups is None else np.array(groups)[decoded.kept],
            spacing=source.spacing,
            name=names[decoded.kept],
            left_out=left_out,
            unread=dict(zip(np.delete(names, decoded.kept).tolist(), decoded.failures, strict=True)),
        )
        refuse_in_both_classes(images)
        return images

    def decoded(self, start: int, stop: int, *, skip: bool) -> Decoded:
        """Return the pixels of some samples, and why others of them cannot be read."""
        return decode(
            stop - start,
            lambda k: self.sample(start + k),
            lambda k, kind, first: differs(self.where(start + k), kind, first),
            [(str(self.files[k]),) for k, *_ in among(self.starts, start, stop)],
            [repr(replace(self._source, path="", seed=0, fractions=None, balanced=False)), start, stop, skip],
            window_of=self.window_of,
            skip=skip,
        )

    def where(self, number: int) -> str:
        """Return the path of the file that holds a sample, and what it is called there."""
        return f"{self.file_of(number)}/{str(self.names(number, number + 1)[0]).partition('/')[2]}"

    def file_of(self, number: int) -> Path:
        """Return the file that holds a sample."""
        return self.files[int(np.searchsorted(self.starts, number, side="right")) - 1]


def among(starts: NDArray[np.int_], start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Yield in which of several ranges the rows from `start` to before `stop` lie, and from and to where in each.

    Examples
    --------
    >>> list(among(np.array([0, 10, 10, 14]), 8, 12))
    [(0, 8, 10), (2, 0, 2)]
    """
    for k in range(int(np.searchsorted(starts, start, side="right")) - 1, len(starts) - 1):
        if starts[k] >= stop:
            return
        first, last = max(start, int(starts[k])), min(stop, int(starts[k + 1]))
        if first < last:
            yield k, first - int(starts[k]), last - int(starts[k])
