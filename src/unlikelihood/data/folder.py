"""Images in a folder, in the layouts that people keep them in."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from unlikelihood.data.decoded import Decoded, Row, decode
from unlikelihood.data.image_files import READERS, read_image
from unlikelihood.data.images import Images
from unlikelihood.data.labelled_folder import LabelledFolder
from unlikelihood.data.labels import Entry
from unlikelihood.data.layouts import Found, found_in
from unlikelihood.data.mapped import Stored
from unlikelihood.data.picture_source import PictureSource, column, differs, refuse_in_both_classes, tell_skipped
from unlikelihood.data.source import existing
from unlikelihood.data.splits import Split, Unlabelled, partition
from unlikelihood.data.tree import tree_of
from unlikelihood.storage.reading import Unreadable, calling


@dataclass(frozen=True, kw_only=True)
class Folder(LabelledFolder, PictureSource):
    """Images in a folder: PNG, JPEG, TIFF, WebP, BMP, GIF, JPEG 2000, NPY and single DICOM images.

    The layout is recognised from what is in the folder: a table; published parts (train, test and perhaps valid, with
    class folders and masks, as in MVTec AD, of which `path` is the folder of a category, "mvtec/bottle", and BMAD);
    class folders, such as normal and anomalous; or images alone, without labels.

    8-bit intensities are divided by 255 into [0, 1]; DICOM is in [0, 1] as it is displayed. All others (16-bit,
    floating point) stay as they are in the files, unless a `window` maps them to [0, 1]. Images are turned as their
    EXIF orientation says, lose their alpha channel, and are named by their paths in the folder. A TIFF file of several
    slices is a volume; of a GIF the first frame is read. The same image in both classes is an error.

    Images that take more than 256 MiB in float32 are decoded once into the cache, and mapped.

    Further parameters are those of `LabelledFolder` and `PictureSource`.
    """

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
        return np.asarray(Stored(row.pixels, self.window_of(row.pixels.dtype)).read(...), np.float32)

    def _found(self) -> Found:
        self.check()
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
            label=column([entry.label for entry in kept]),
            group=column([entry.group for entry in kept]),
            spacing=self.spacing,
            name=np.array([entry.file for entry in kept]),
            mask=decoded.mask,
            part=column([entry.part for entry in kept]),
            layout=found.layout,
            left_out=left_out,
            unread=dict(zip(failed.tolist(), decoded.failures, strict=True)),
        )
        refuse_in_both_classes(images)
        return images

    def _decoded(self, folder: Path, entries: list[Entry], *, masks: bool) -> Decoded:
        decoded = decode(
            len(entries),
            lambda number: self._row(folder, entries[number], masks=masks),
            lambda number, kind, first: differs(folder / entries[number].file, kind, first),
            [
                tuple(str(folder / name) for name in (entry.file, entry.mask if masks else None) if name)
                for entry in entries
            ],
            [self.window, self.size, repr(self.sizing), self.channels, self.background, masks, self.skip_unreadable],
            window_of=self.window_of,
            skip=self.skip_unreadable,
        )
        tell_skipped(decoded.failures, len(entries), self.path)
        return decoded

    def _row(self, folder: Path, entry: Entry, *, masks: bool) -> Row:
        """Return an image as it is stored, with its shape and type."""
        file = folder / entry.file
        with calling(file, "an image"):
            image = read_image(file, self.background)
            try:
                pixels = self.treated(image)
            except ValueError as error:
                raise Unreadable(f"{file}: {error}") from error
            mask = self._mask(folder, entry, image.shape[1:]) if masks else None
            return Row(pixels, mask, (pixels.shape, image.dtype))

    def _mask(self, folder: Path, entry: Entry, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """Return what of an image of so many pixels is anomalous, sized as the image is: nothing without a mask."""
        mask: NDArray[np.bool_] = np.zeros(shape, bool)
        if entry.mask:
            mask = (read_image(folder / entry.mask, background=0) != 0).any(0)
            if mask.shape != shape:
                raise Unreadable(
                    f"{folder / entry.mask}: mask of {mask.shape} pixels, expected {shape} as in {folder / entry.file}"
                )
        return self.sized(mask[None].astype(np.float32))[0] >= 0.5


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
