"""Images in a folder: PNG, JPEG and TIFF, with every bit they have."""

import csv
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from unlikelihood.data.images import Images, windowed
from unlikelihood.data.source import Source, existing
from unlikelihood.data.splits import Split, cut
from unlikelihood.progress import progress


class Entry(NamedTuple):
    """An image file by its path in the folder, with its label and group as far as they are known."""

    file: str
    label: int | None = None
    group: str | None = None


@dataclass(frozen=True, kw_only=True)
class Folder(Source):
    """Images of one size and type in a folder, labelled by its sub-folders or by a table, or not at all.

    8-bit intensities are divided by 255 into [0, 1]. All others (16-bit, floating point) stay as they are in
    the files, unless a `window` maps them to [0, 1]. Colours and an alpha channel become channels.

    Without a table, the sub-folders `normal` and `anomalous` are read, with all folders in them; other
    sub-folders are not. If there are none of them, the images in the folder itself are read, unlabelled.

    Parameters
    ----------
    path : str or Path
        The folder.
    normal : str
        Name of the sub-folder of normals.
    anomalous : str
        Name of the sub-folder of anomalies.
    table : str or Path, optional
        CSV file with the columns file (relative to `path`), label (0 or 1, or the names of the sub-folders)
        and, if patients must not be split, group. Only the files in it are read, in its order.
    window : tuple of float, optional
        The intensities that become 0 and 1, in the unit of the files; what lies outside is clipped.
    spacing : tuple of float, optional
        Height and width of a pixel in mm.
    skip_unreadable : bool
        Leave out images that cannot be read or differ from the first in shape or type, with one warning that
        counts and names them, where otherwise the first of them is an error.
    fractions : tuple of float
        Parts of the normals for train, calibration and test; they sum to 1.
    balanced : bool
        Leave images out of the test, at random, until it holds as many normals as anomalies.
    seed : int
        Seed of the cut into parts.
    """

    path: str | Path
    normal: str = "normal"
    anomalous: str = "anomalous"
    table: str | Path | None = None
    window: tuple[float, float] | None = None
    spacing: tuple[float, float] | None = None
    skip_unreadable: bool = False
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2)
    balanced: bool = False

    def read(self) -> Images:
        """Read the images.

        Returns
        -------
        Images
            Images (C, H, W) in the order of their paths or of the table, named by their paths in the folder.

        Raises
        ------
        ValueError
            If there are no images, the table is wrong, or an image cannot be read or differs from the first.
        """
        folder = existing("path", self.path)
        entries = self._entries(folder)
        pixels, kept = self._pixels(folder, entries)
        label = [entry.label for entry in kept]
        group = [entry.group for entry in kept]
        return Images(
            pixels=pixels,
            label=None if None in label else np.array(label),
            group=None if None in group else np.array(group),
            spacing=self.spacing,
            name=np.array([entry.file for entry in kept]),
        )

    def split(self) -> Split:
        """Read the images and cut them at random, never through a group.

        Returns
        -------
        Split
            The parts; the same for the same seed.
        """
        return cut(self.read(), fractions=self.fractions, seed=self.seed, balanced=self.balanced)

    def _entries(self, folder: Path) -> list[Entry]:
        if self.table is not None:
            return list(tabled(existing("table", self.table), self.normal, self.anomalous))
        classes = [folder / self.normal, folder / self.anomalous]
        if any(place.is_dir() for place in classes):
            entries = [
                Entry(file, label) for label, place in enumerate(classes) for file in _found(folder, place.rglob("*"))
            ]
        else:
            entries = [Entry(file) for file in _found(folder, folder.iterdir())]
        if not entries:
            others = sorted(place.name for place in folder.iterdir() if place.is_dir())
            raise ValueError(
                f"path={str(self.path)!r} holds no {', '.join(READERS)} files, in itself or in "
                f"normal={self.normal!r} and anomalous={self.anomalous!r}; its sub-folders are {others}"
            )
        return entries

    def _pixels(self, folder: Path, entries: list[Entry]) -> tuple[NDArray[np.float32], list[Entry]]:
        kept: list[Entry] = []
        failures: list[str] = []
        first: NDArray[Any] | None = None
        pixels = np.empty(0, dtype=np.float32)
        with progress("Reading images", total=len(entries)) as update:
            for entry in entries:
                try:
                    image = read_image(folder / entry.file)
                    if first is None:
                        first, pixels = image, np.empty((len(entries), *image.shape), dtype=np.float32)
                    _refuse_other(image, first, folder / entry.file)
                except ValueError as error:
                    if not self.skip_unreadable:
                        raise
                    failures.append(str(error))
                else:
                    pixels[len(kept)] = self._scaled(image)
                    kept.append(entry)
                update()
        if failures:
            reasons = "\n".join(failures)
            if not kept:
                raise ValueError(f"path={str(self.path)!r}: none of {len(failures)} images can be read\n{reasons}")
            warnings.warn(f"{len(failures)} of {len(entries)} images skipped\n{reasons}", stacklevel=3)
        return pixels[: len(kept)], kept

    def _scaled(self, image: NDArray[Any]) -> NDArray[np.float32]:
        if self.window is not None:
            return windowed(image, self.window)
        scale = 255 if image.dtype == np.uint8 else 1
        return image.astype(np.float32) / np.float32(scale)


def tabled(table: Path, normal: str, anomalous: str) -> Iterator[Entry]:
    """Read the table of a folder.

    Parameters
    ----------
    table : Path
        CSV file with the columns file, label and, maybe, group.
    normal, anomalous : str
        What the labels may be called beside 0 and 1.

    Yields
    ------
    Entry
        One for each row.

    Raises
    ------
    ValueError
        If a column, a label or a group is missing, or a file is there twice.
    """
    labels = {"0": 0, "1": 1, normal: 0, anomalous: 1}
    seen: set[str] = set()
    with table.open(newline="", encoding="utf-8-sig") as lines:  # Excel begins its CSV files with a mark
        rows = csv.DictReader(lines)
        columns = rows.fieldnames or []
        if not {"file", "label"} <= set(columns):
            raise ValueError(f"table={table} has the columns {columns}: expected file, label and maybe group")
        for row in rows:
            where = f"table={table}, line {rows.line_num}"
            file = row["file"]
            if row["label"] not in labels:
                raise ValueError(f"{where}: label={row['label']!r}, expected one of {', '.join(labels)}")
            if file in seen:
                raise ValueError(f"{where}: file={file!r} for the second time, expected it once")
            if "group" in columns and not row["group"]:
                raise ValueError(f"{where}: group={row['group']!r}, expected one for every file")
            seen.add(file)
            yield Entry(file, labels[row["label"]], row.get("group"))
    if not seen:
        raise ValueError(f"table={table} lists no files")


def read_image(file: Path) -> NDArray[Any]:
    """Read a PNG, JPEG or TIFF image as it is stored.

    Parameters
    ----------
    file : Path
        The file.

    Returns
    -------
    ndarray of shape (C, H, W)
        Intensities in the type of the file.

    Raises
    ------
    ValueError
        If it is not a whole image of these kinds, or holds more than one; the message names the file.
    """
    try:
        image = READERS[file.suffix.lower()](file)
    except Exception as error:  # the decoders of damaged files raise all kinds
        raise ValueError(f"{file}: cannot be read as an image ({type(error).__name__}: {error})") from error
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise ValueError(f"{file}: holds intensities that are not finite")
    return image.astype(image.dtype.newbyteorder("="), copy=False)


def _png(file: Path) -> NDArray[Any]:
    return _channels_first(imagecodecs.png_decode(file.read_bytes()))


def _jpeg(file: Path) -> NDArray[Any]:
    content = file.read_bytes()
    # The decoder fills what is missing with grey; so look for the end mark after the last start of a scan.
    if content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda"):
        raise ValueError("it ends before its end mark")
    return _channels_first(imagecodecs.jpeg_decode(content))


def _tiff(file: Path) -> NDArray[Any]:
    with tifffile.TiffFile(file) as content:
        page = content.pages.first
        axes = content.series[0].axes
        if len(content.series) > 1 or axes not in ("YX", "YXS", "SYX", "CYX"):
            raise ValueError(f"{len(content.series)} image(s) with axes {axes}, expected one, grey or in colour")
        if page.photometric in (tifffile.PHOTOMETRIC.PALETTE, tifffile.PHOTOMETRIC.MINISWHITE):
            raise ValueError(f"its intensities are coded ({page.photometric!r}), expected plain ones")
        image = content.asarray()
    return image if axes in ("SYX", "CYX") else _channels_first(image)


def _channels_first(image: NDArray[Any]) -> NDArray[Any]:
    return image[None] if image.ndim == 2 else np.moveaxis(image, -1, 0)


READERS = {".png": _png, ".jpg": _jpeg, ".jpeg": _jpeg, ".tif": _tiff, ".tiff": _tiff}


def _found(folder: Path, files: Iterable[Path]) -> list[str]:
    # Dot files are what a file system left behind, such as the ._ files of macOS.
    return sorted(
        file.relative_to(folder).as_posix()
        for file in files
        if file.suffix.lower() in READERS and not file.name.startswith(".") and file.is_file()
    )


def _refuse_other(image: NDArray[Any], first: NDArray[Any], file: Path) -> None:
    if (image.shape, image.dtype) != (first.shape, first.dtype):
        raise ValueError(
            f"{file}: image of shape {image.shape} and type {image.dtype}, "
            f"expected {first.shape} and {first.dtype} as in the first image"
        )
