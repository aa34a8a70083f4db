"""Images in a folder: PNG, JPEG and TIFF."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from unlikelihood.data.image_files import READERS, read_image
from unlikelihood.data.images import Images, windowed
from unlikelihood.data.labelled_folder import Entry, LabelledFolder
from unlikelihood.data.source import existing
from unlikelihood.progress import progress


@dataclass(frozen=True, kw_only=True)
class Folder(LabelledFolder):
    """Images of one size and type in a folder, labelled by its sub-folders or by a table, or not at all.

    8-bit intensities are divided by 255 into [0, 1]. All others (16-bit, floating point) stay as they are in
    the files, unless a `window` maps them to [0, 1]. Colours and an alpha channel become channels. Images are turned
    as their EXIF orientation says, and named by their paths in the folder.

    Further parameters are those of `LabelledFolder`.

    Parameters
    ----------
    window : tuple of float, optional
        The intensities that become 0 and 1, in the unit of the files; what lies outside is clipped.
    spacing : tuple of float, optional
        Height and width of a pixel in mm.
    skip_unreadable : bool
        Leave out images that cannot be read or differ from the first in shape or type, with one warning that
        counts and names them, where otherwise the first of them is an error.
    """

    window: tuple[float, float] | None = None
    spacing: tuple[float, float] | None = None
    skip_unreadable: bool = False

    @override
    def read(self) -> Images:
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

    def _entries(self, folder: Path) -> list[Entry]:
        if self.table is not None:
            return self.table_entries()
        entries = [
            Entry(file, label)
            for place, label in self.labelled_folders(folder)
            for file in _images_in(place.iterdir() if label is None else place.rglob("*"), folder)
        ]
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


def _images_in(files: Iterable[Path], folder: Path) -> list[str]:
    # Dot files are what a file system left behind, such as the ._ files of macOS. A link to nothing is an image that
    # cannot be read, not one that is not there.
    return sorted(
        file.relative_to(folder).as_posix()
        for file in files
        if file.suffix.lower() in READERS and not file.name.startswith(".") and not file.is_dir()
    )


def _refuse_other(image: NDArray[Any], first: NDArray[Any], file: Path) -> None:
    if (image.shape, image.dtype) != (first.shape, first.dtype):
        raise ValueError(
            f"{file}: image of shape {image.shape} and type {image.dtype}, "
            f"expected {first.shape} and {first.dtype} as in the first image"
        )
