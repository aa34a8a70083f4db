"""NumPy arrays in files."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from unlikelihood.data.images import LAYOUTS, MAX_CHANNELS, Images, column_of, numbered
from unlikelihood.data.mapped import WHOLE, Mapped, Stored, held, windowed
from unlikelihood.data.npy import check_member, npy_map
from unlikelihood.data.source import RandomSplitSource, existing
from unlikelihood.data.unpacked import unpacked
from unlikelihood.storage.reading import naming


@dataclass(frozen=True, kw_only=True)
class ArraySource(RandomSplitSource):
    """A source of arrays, in which samples lie along the first axis.

    Intensities are those of the file, whatever their type, unless a `window` maps them to [0, 1]. Images are named
    after the file.

    Further parameters are those of `RandomSplitSource`.

    Parameters
    ----------
    path : str or Path
        The file, or the folder of a store.
    label : str or Path, optional
        Name of the labels (0 normal, 1 anomalous) beside the samples, or path of a .npy file with them.
    group : str or Path, optional
        Name of the groups (patients) beside the samples, or path of a .npy file with them.
    channel_axis : int, optional
        Axis of the channels in the file, -1 being the last; None if it has no such axis, as (N, H, W) and
        (N, D, H, W) have not. Vectors (N, F) have none either way.
    spacing : tuple of float, optional
        Size of a voxel in mm along each spatial axis.
    orientation : str, optional
        The direction in the patient in which each spatial axis increases, such as "SPL"; see `Images`.
    window : tuple of float, optional
        The intensities that become 0 and 1, in the unit of the file; what lies outside is clipped.
    """

    path: str | Path = field(kw_only=False)
    label: str | Path | None = None
    group: str | Path | None = None
    channel_axis: int | None = 1
    spacing: tuple[float, ...] | None = None
    orientation: str | None = None
    window: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Arrays(ArraySource):
    """Images, volumes or vectors in a .npy or .npz file, labelled or not.

    A .npy file is memory-mapped, so that data may be larger than the memory; out of an .npz file, what is larger than
    64 MiB is unpacked once into the cache, and mapped there.

    Further parameters are those of `ArraySource`.

    Parameters
    ----------
    pixels : str
        Name of the images in an .npz file.
    """

    pixels: str = "pixels"

    @override
    def read(self) -> Images:
        rows = self.rows()
        with naming(rows.path, "samples"):
            stored = rows.pixels
            if stored.dtype.kind == "f" and stored.nbytes <= WHOLE and not np.isfinite(stored).all():
                raise ValueError("it holds intensities that are not finite")
            return rows.read(0, len(rows))

    @override
    def rows(self) -> "ArrayRows":
        path = existing("path", self.path)
        if self.window is not None:
            windowed(np.empty(0), self.window)
        stored = _pixels(path, self.pixels)
        label, group = _column("label", path, self.label), _column("group", path, self.group)
        with naming(path, "samples"):
            pixels = channels_first(stored, self.channel_axis)
            # Here, for parts of them that are read would be of one length.
            return ArrayRows(
                self, path, pixels, of_each("label", label, len(pixels)), of_each("group", group, len(pixels))
            )


@dataclass(frozen=True)
class ArrayRows:
    r"""Samples in an array.

    Parameters
    ----------
    source : ArraySource
        What else is known of them.
    path : Path
        The file.
    pixels : ndarray, shape (n, \*shape)
        All of them, or what a slice reads them out of.
    label, group : ndarray, shape (n,), optional
        Their labels and groups.
    """

    source: ArraySource
    path: Path
    pixels: NDArray[Any]
    label: NDArray[Any] | None
    group: NDArray[Any] | None

    def __len__(self) -> int:
        return len(self.pixels)

    def names(self, start: int, stop: int) -> NDArray[np.str_]:  # noqa: D102
        return numbered(self.path.name, stop - start, start)

    def read(self, start: int, stop: int) -> Images:  # noqa: D102
        pixels, window = self.pixels[start:stop], self.source.window
        return Images(
            pixels=pixels if window is None else held(Mapped([Stored(pixels, window)])),
            label=None if self.label is None else self.label[start:stop],
            group=None if self.group is None else self.group[start:stop],
            spacing=self.source.spacing,
            orientation=self.source.orientation,
            name=self.names(start, stop),
        )


def numpy_file(path: Path) -> Any:
    """Open a .npy file as a memory map, or an .npz file, whose arrays are read by name.

    Raises
    ------
    ValueError
        If the file is damaged, or holds Python objects, which are never unpickled.
    """
    with naming(path, "a .npy or .npz file"):
        if path.suffix != ".npz":
            return npy_map(path)
        if not is_zipfile(path):  # which np.load would leave open
            raise ValueError("it is no whole .npz file")
        return np.load(path, allow_pickle=False)


def npz_array(path: Path, arrays: Any, key: str) -> NDArray[Any]:
    """Return an array of an open .npz file; what is larger than 64 MiB is unpacked once into the cache, and mapped.

    Raises
    ------
    ValueError
        If the array is damaged, holds Python objects, or is not there.
    """
    member = f"{key}.npy"
    with naming(path, f"an archive of the array {key}"):
        if 4 * check_member(arrays, member) > WHOLE:
            return npy_map(unpacked(path, member, lambda: arrays.zip.open(member)))
        return np.asarray(arrays[key])


def _array(parameter: str, path: Path, key: str | Path) -> NDArray[Any]:
    opened = numpy_file(path)
    if isinstance(opened, np.ndarray):
        raise ValueError(f"{parameter}={key!r}: expected the path of a .npy file, as {path.name} is no .npz file")
    with opened as arrays:
        if key not in arrays:
            raise ValueError(f"{parameter}={key!r}: expected one of {arrays.files}, the names in {path.name}")
        return npz_array(path, arrays, str(key))


def _pixels(path: Path, key: str) -> NDArray[Any]:
    return numpy_file(path) if path.suffix == ".npy" else _array("pixels", path, key)


def of_each(parameter: str, column: NDArray[Any] | None, n: int) -> NDArray[Any] | None:
    """Return a column, if there is one; a ValueError says that it is not of each of n samples."""
    return None if column is None else column_of(parameter, column, n)


def _column(parameter: str, path: Path, key: str | Path | None) -> NDArray[Any] | None:
    if key is None:
        return None
    if Path(key).suffix == ".npy":
        return np.asarray(numpy_file(existing(parameter, key)))
    return _array(parameter, path, key)


def channels_first(pixels: NDArray[Any], channel_axis: int | None) -> NDArray[Any]:
    """Return pixels (n, …) as (n, C, H, W) or (n, C, D, H, W); a ValueError says that `channel_axis` does not fit."""
    if pixels.ndim == 2:
        return pixels
    message = f"channel_axis={channel_axis} for an array of shape {pixels.shape}"
    if channel_axis is None:
        if pixels.ndim not in (3, 4):
            raise ValueError(f"{message}: expected (N, H, W) or (N, D, H, W), or the axis of the channels")
        return pixels[:, None]
    if pixels.ndim not in (4, 5) or channel_axis % pixels.ndim == 0 or not -5 < channel_axis < pixels.ndim:
        raise ValueError(f"{message}: expected {LAYOUTS}, or None if it has no channels")
    if channel_axis == 1 and pixels.ndim == 4 and pixels.shape[1] > MAX_CHANNELS:
        raise ValueError(
            f"{message}: expected None if these are volumes (N, D, H, W), -1 if the channels come last, "
            f"or -3 if there really are {pixels.shape[1]} channels"
        )
    if channel_axis == 1 and pixels.ndim == 5 and pixels.shape[-1] <= MAX_CHANNELS < pixels.shape[1]:
        raise ValueError(f"{message}: expected -1, for the last axis looks like channels, or -4 if it does not")
    return np.moveaxis(pixels, channel_axis, 1)
