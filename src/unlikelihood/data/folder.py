"""Images in a folder, in the layouts that people keep them in."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from unlikelihood.data.decoded import Decoded, Row, decode
from unlikelihood.data.image_files import READERS, read_image
from unlikelihood.data.images import Images, windowed
from unlikelihood.data.labelled_folder import LabelledFolder
from unlikelihood.data.labels import Entry
from unlikelihood.data.layouts import Found, found_in
from unlikelihood.data.mapped import Stored
from unlikelihood.data.sizing import Resize, Sizing
from unlikelihood.data.source import existing
from unlikelihood.data.splits import Split, Unlabelled, partition
from unlikelihood.data.tree import tree_of
from unlikelihood.storage.identity import identities
from unlikelihood.storage.reading import Unreadable, naming

GREY = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue (ITU-R BT.601)


@dataclass(frozen=True, kw_only=True)
class Folder(LabelledFolder):
    """Images in a folder: PNG, JPEG, TIFF, WebP, BMP, GIF, JPEG 2000, NPY and single DICOM images.

    The layout is recognised from what is in the folder: a table; published parts (train, test and perhaps valid, with
    class folders and masks, as in MVTec AD, of which `path` is the folder of a category, "mvtec/bottle", and BMAD);
    class folders, such as normal and anomalous; or images alone, without labels.

    8-bit intensities are divided by 255 into [0, 1]; DICOM is in [0, 1] as it is displayed. All others (16-bit,
    floating point) stay as they are in the files, unless a `window` maps them to [0, 1]. Images are turned as their
    EXIF orientation says, lose their alpha channel, and are named by their paths in the folder. A TIFF file of several
    slices is a volume; of a GIF the first frame is read. The same image in both classes is an error.

    Images that take more than 256 MiB in float32 are decoded once into the cache, and mapped.

    Further parameters are those of `LabelledFolder`.

    Parameters
    ----------
    window : tuple of float, optional
        The intensities that become 0 and 1, in the unit of the files; what lies outside is clipped.
    spacing : tuple of float, optional
        Height and width of a pixel in mm, after a change of size.
    size : int or tuple of int, optional
        Height and width that all images are brought to; one number stands for both.
    sizing : Sizing
        How they are brought there: `Resize`, `Letterbox`, `Pad` or `CentreCrop`.
    channels : int, optional
        1 makes all images grey (their luma), 3 makes grey ones red, green and blue.
    background : float, optional
        Intensity of the background where images are transparent, from 0 (black) to 1 (white).
    skip_unreadable : bool
        Leave out images that cannot be read or differ from the first in shape or type, with one warning that
        counts and names them, where otherwise the first of them is an error.
    """

    window: tuple[float, float] | None = None
    spacing: tuple[float, ...] | None = None
    size: int | tuple[int, ...] | None = None
    sizing: Sizing = field(default_factory=Resize)
    channels: int | None = None
    background: float | None = None
    skip_unreadable: bool = False

    @override
    def read(self) -> Images:
        return self._images(self._found())

    @override
    def rows(self) -> "FileRows":
        return FileRows(replace(self, skip_unreadable=False), self._found())

    @override
    def split(self) -> Split:
        found = self._found()
        unknown = [entry.file for entry in found.entries if entry.label is None and entry.part is None]
        if nested := sorted({file.split("/")[0] for file in unknown if "/" in file}):
            raise Unlabelled(
                f"path={str(self.path)!r} has sub-folders {nested[:9]} whose images have no label: expected "
                "anomalous to name those with anomalies; an empty one, (), says that all are normal"
            )
        return partition(self._images(found), fractions=self.fractions, seed=self.seed, balanced=self.balanced)

    def one(self, file: Path) -> NDArray[Any]:
        r"""Return the image (C, \*space) in a file as `read` does, from that file alone and past the cache."""
        row = self._row(file.parent, Entry(file.name), masks=False)
        return np.asarray(Stored(row.pixels, self._window_of(row.pixels.dtype)).read(...), np.float32)

    def _found(self) -> Found:
        self._check()
        folder = existing("path", self.path)
        if not folder.is_dir():
            raise NotADirectoryError(f"path={str(self.path)!r}: expected a folder")
        found = found_in(tree_of(folder), self.names, None if self.table is None else existing("table", self.table))
        if not found.entries:
            others = ", ".join(f"{n} {reason}" for reason, n in found.left_out.items())
            raise ValueError(
                f"path={str(self.path)!r} holds no {', '.join(READERS)} files, but {others or 'nothing'}; "
                "the source Volumes reads CT scans, Arrays .npy and .npz files of many images"
            )
        return found

    def _check(self) -> None:
        if self.channels not in (None, 1, 3):
            raise ValueError(f"channels={self.channels}: expected 1 (grey) or 3 (red, green, blue)")
        if self.size is not None and np.min(self.size) < 1:
            raise ValueError(f"size={self.size}: expected at least 1 pixel along each axis")
        if self.background is not None and not 0 <= self.background <= 1:
            raise ValueError(f"background={self.background}: expected 0 (black) to 1 (white)")

    def _images(self, found: Found) -> Images:
        folder = Path(self.path).expanduser()
        masked = [entry for entry in found.entries if entry.mask]
        bare = [entry.file for entry in found.entries if entry.label == 1 and not entry.mask]
        left_out = dict(found.left_out)
        if masked and bare:
            left_out[f"masks, as some anomalies have none, such as {bare[0]}"] = len(masked)
        decoded = self._decoded(folder, found.entries, masks=bool(masked) and not bare)
        kept = [found.entries[number] for number in decoded.kept]
        if decoded.failures:
            left_out["images that cannot be read, or differ from the first"] = len(decoded.failures)
        failed = np.delete([entry.file for entry in found.entries], decoded.kept)
        images = Images(
            pixels=decoded.pixels,
            label=_column([entry.label for entry in kept]),
            group=_column([entry.group for entry in kept]),
            spacing=self.spacing,
            name=np.array([entry.file for entry in kept]),
            mask=decoded.mask,
            part=_column([entry.part for entry in kept]),
            layout=found.layout,
            left_out=left_out,
            unread=dict(zip(failed.tolist(), decoded.failures, strict=True)),
        )
        _refuse_in_both_classes(images)
        return images

    def _decoded(self, folder: Path, entries: list[Entry], *, masks: bool) -> Decoded:
        decoded = decode(
            [
                tuple(str(folder / name) for name in (entry.file, entry.mask if masks else None) if name)
                for entry in entries
            ],
            lambda number: self._row(folder, entries[number], masks=masks),
            lambda number, kind, first: _differs(folder / entries[number].file, kind, first),
            [self.window, self.size, repr(self.sizing), self.channels, self.background, masks, self.skip_unreadable],
            window_of=self._window_of,
            skip=self.skip_unreadable,
        )
        if failures := decoded.failures:
            reasons = "\n".join(failures)
            if len(failures) == len(entries):
                raise ValueError(f"path={str(self.path)!r}: none of {len(failures)} images can be read\n{reasons}")
            warnings.warn(f"{len(failures)} of {len(entries)} images skipped\n{reasons}", stacklevel=4)
        return decoded

    def _row(self, folder: Path, entry: Entry, *, masks: bool) -> Row:
        """Return an image as it is stored, with its shape and type."""
        file = folder / entry.file
        with naming(file, "an image"):
            image = read_image(file, self.background)
            mask: NDArray[np.bool_] = np.zeros(image.shape[1:], bool)
            if masks and entry.mask:
                mask = (read_image(folder / entry.mask, background=0) != 0).any(0)
                if mask.shape != image.shape[1:]:
                    raise Unreadable(
                        f"{folder / entry.mask}: mask of {mask.shape} pixels, expected {image.shape[1:]} as in {file}"
                    )
            try:
                pixels = image if self._as_stored else self._sized(_coloured(self._scaled(image), self.channels))
                mask = self._sized(mask[None].astype(np.float32))[0] >= 0.5
            except ValueError as error:
                raise Unreadable(f"{file}: {error}") from error
            return Row(pixels, mask if masks else None, (pixels.shape, image.dtype))

    @property
    def _as_stored(self) -> bool:
        """Whether images are kept as they are in their files, and scaled when they are taken."""
        return self.size is None and self.channels is None

    def _window_of(self, dtype: np.dtype[Any]) -> tuple[float, float] | None:
        """Return the intensities of what is kept that become 0 and 1."""
        if not self._as_stored:
            return None
        return self.window or ((0, 255) if dtype == np.uint8 else None)

    def _scaled(self, image: NDArray[Any]) -> NDArray[np.float32]:
        if self.window is not None:
            return windowed(image, self.window)
        scale = 255 if image.dtype == np.uint8 else 1
        return image.astype(np.float32) / np.float32(scale)

    def _sized(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.size is None:
            return image
        axes = image.ndim - 1
        size = (self.size,) * axes if isinstance(self.size, int) else tuple(self.size)
        if len(size) != axes:
            raise ValueError(f"image with {axes} spatial axes, expected {len(size)} as size={self.size} has")
        return self.sizing(image, size)


@dataclass(frozen=True)
class FileRows:
    """Images in files, of which those that are asked for are decoded.

    Parameters
    ----------
    folder : Folder
        Reads them.
    found : Found
        The files.
    """

    folder: Folder
    found: Found

    def __len__(self) -> int:
        return len(self.found.entries)

    def names(self, start: int, stop: int) -> NDArray[np.str_]:  # noqa: D102
        return np.array([entry.file for entry in self.found.entries[start:stop]], dtype=np.str_)

    def read(self, start: int, stop: int) -> Images:  # noqa: D102
        chosen = [entry._replace(mask=None) for entry in self.found.entries[start:stop]]
        return self.folder._images(replace(self.found, entries=chosen))


def _column(values: Sequence[object]) -> NDArray[Any] | None:
    return None if None in values else np.array(values)


def _coloured(image: NDArray[np.float32], channels: int | None) -> NDArray[np.float32]:
    if channels is None or len(image) == channels:
        return image
    if len(image) not in (1, 3):
        raise ValueError(f"image of {len(image)} channels, expected 1 or 3 to make it channels={channels}")
    return np.repeat(image, 3, axis=0) if channels == 3 else np.tensordot(GREY, image, 1)[None]


def _differs(file: Path, kind: tuple[Any, ...], first: tuple[Any, ...]) -> str:
    message = (
        f"{file}: image of shape {kind[0]} and type {kind[1]}, expected {first[0]} and {first[1]} as in the first image"
    )
    if kind[0][0] != first[0][0]:
        return f"{message}; channels=1 or channels=3 makes all grey or coloured"
    return f"{message}; size=(H, W), or --data.size=128, brings all to one size" if kind[0] != first[0] else message


def _refuse_in_both_classes(images: Images) -> None:
    if images.label is None or images.name is None or len(np.unique(images.label)) < 2:
        return
    content = identities(images.pixels)
    both = np.intersect1d(content[images.label == 0], content[images.label == 1])
    if len(both):
        normal, anomalous = (images.name[(content == both[0]) & (images.label == label)][0] for label in (0, 1))
        raise ValueError(
            f"{normal} (normal) and {anomalous} (anomalous) are the same image, and {len(both) - 1} others are in both "
            "classes: expected each in one"
        )
