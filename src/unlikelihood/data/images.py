"""What every source reads and every detector is shown: images with what is known about them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unlikelihood.data.mapped import Mapped, held, lazily
from unlikelihood.data.mapped import windowed as windowed

LAYOUTS = "(N, C, H, W) for images, (N, C, D, H, W) for volumes or (N, F) for vectors"
MAX_CHANNELS = 4  # beyond which an axis is likelier one of space
AXIS_OF = {"L": 0, "R": 0, "P": 1, "A": 1, "S": 2, "I": 2}  # left, right; posterior, anterior; superior, inferior


@dataclass(frozen=True, eq=False, repr=False)
class Images:
    r"""Images or volumes of one shape, with what is known about each of them.

    Parameters
    ----------
    pixels : ndarray of shape (N, C, H, W), (N, C, D, H, W) or (N, F)
        Intensities, in the unit that the source documents. A memory map stays one, in the type of its file, and so does
        `Mapped`, out of which an index reads; anything else is held as float32.
    label : ndarray of int of shape (N,), optional
        0 normal, 1 anomalous.
    group : ndarray of int or str of shape (N,), optional
        What must not be split, usually the patient.
    spacing : tuple of float, optional
        Size of a voxel in mm along each spatial axis, in the order of the axes of `pixels`.
    orientation : str, optional
        The direction in the patient in which each spatial axis increases, a letter an axis: L or R (left, right), P or
        A (posterior, anterior), S or I (superior, inferior). "SPL" is what the CT sources have: axial slices from the
        feet to the head, rows from front to back, columns from the patient's right to left.
    name : ndarray of str of shape (N,), optional
        Where each image came from.
    mask : ndarray of bool of shape (N, \*space), optional
        Where each image is anomalous.
    part : ndarray of str of shape (N,), optional
        The part of an experiment that its publisher put each image in: train, calibration or test.
    layout : str
        How the files are arranged that these were read from.
    left_out : dict of str to int
        What the source did not read: how many for each reason.
    unread : dict of str to str
        By name, why a sample was not read that the source was to leave out if it could not be.
    centre : ndarray of shape (N, 3), optional
        Where in its patient the middle of each volume is: world coordinates (x, y, z) in mm, as in `Scan`.

    Examples
    --------
    >>> images = Images(np.zeros((3, 1, 8, 8)), label=np.array([0, 0, 1]), spacing=(0.5, 0.5))
    >>> images
    Images(3 of shape (1, 8, 8), 1 anomalous)
    >>> images.normal.pixels.shape
    (2, 1, 8, 8)
    """

    pixels: NDArray[Any]  # or Mapped, which is passed where arrays are
    label: NDArray[np.int64] | None = None
    group: NDArray[Any] | None = None
    spacing: tuple[float, ...] | None = None
    orientation: str | None = None
    name: NDArray[np.str_] | None = None
    mask: NDArray[np.bool_] | None = None
    part: NDArray[np.str_] | None = None
    layout: str = ""
    left_out: Mapping[str, int] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)
    centre: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        pixels = _pixels(self.pixels)
        checked = {
            "pixels": pixels,
            "label": None if self.label is None else _label(self.label, len(pixels)),
            "group": None if self.group is None else _identity("group", self.group, len(pixels)),
            "spacing": None if self.spacing is None else _spacing(self.spacing, pixels.ndim - 2),
            "orientation": None if self.orientation is None else _orientation(self.orientation, pixels.ndim - 2),
            "name": None if self.name is None else _identity("name", self.name, len(pixels)).astype(str),
            "mask": None if self.mask is None else _mask(self.mask, pixels),
            "part": None if self.part is None else _part(self.part, len(pixels)),
            "centre": None if self.centre is None else _centre(self.centre, len(pixels)),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # the dataclass is frozen for everyone else

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int | slice | ArrayLike) -> Self:
        """Return the chosen images; those of a memory map stay in it if they take more than 256 MiB as float32."""
        chosen = index if isinstance(index, slice) else np.atleast_1d(np.asarray(index))
        if isinstance(chosen, np.ndarray) and not len(chosen):
            chosen = chosen.astype(np.intp)  # NumPy takes an empty list for floats
        columns = {name: getattr(self, name) for name in ("label", "group", "name", "mask", "part", "centre")}
        known = {name: value[chosen] for name, value in columns.items() if value is not None}
        if lazily(self.pixels) or (isinstance(self.pixels, np.memmap) and not isinstance(index, slice)):
            known["pixels"] = held(Mapped.of(self.pixels).choose(chosen))
        else:
            known["pixels"] = self.pixels[chosen]
        return replace(self, **known)

    def __repr__(self) -> str:
        known = "no label" if self.label is None else f"{int(self.label.sum())} anomalous"
        return f"Images({len(self)} of shape {self.shape}, {known})"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one image: (C, H, W), (C, D, H, W) or (F,)."""
        return self.pixels.shape[1:]

    @property
    def normal(self) -> Self:
        """The normal images alone."""
        return self[self._labelled() == 0]

    @property
    def anomalous(self) -> Self:
        """The anomalous images alone."""
        return self[self._labelled() == 1]

    @property
    def counts(self) -> dict[str, int]:
        """How many images there are of what, and how many the source left out for which reason."""
        if self.label is None:
            read = {"without labels": len(self)}
        else:
            read = {"normal": int((self.label == 0).sum()), "anomalous": int((self.label == 1).sum())}
        return read | {f"left out: {reason}": n for reason, n in self.left_out.items()}

    def summary(self) -> str:
        """Return how the data are arranged, and how many there are, in lines."""
        return in_lines([self.layout], self.counts)

    def _labelled(self) -> NDArray[np.int64]:
        if self.label is None:
            raise ValueError("label=None: expected 0 (normal) or 1 (anomalous) for every image")
        return self.label


def in_lines(layouts: Iterable[str], counts: Mapping[str, int]) -> str:
    """Return the layouts that are known and the counts, a line each."""
    return "\n".join([*dict.fromkeys(filter(None, layouts)), *(f"{n:8,} {what}" for what, n in counts.items())])


def refuse_channels_last(name: str, shape: tuple[int, ...]) -> None:
    """Raise a ValueError, with the line that mends it, if the last axis of an array looks like colours."""
    if len(shape) in (4, 5) and shape[-1] in (1, 3, 4) and min(shape[1:-1]) > MAX_CHANNELS:
        raise ValueError(
            f"{name} has shape {shape}, whose last axis looks like channels: expected {LAYOUTS}; "
            f"np.moveaxis({name}, -1, 1) puts them there"
        )


def numbered(prefix: str, n: int, start: int = 0) -> NDArray[np.str_]:
    """Return the names of `n` rows of a file, or of a part of it, from the row `start` on.

    Examples
    --------
    >>> numbered("train", 2)
    array(['train/00000', 'train/00001'], dtype='<U11')
    """
    return np.array([f"{prefix}/{i:05d}" for i in range(start, start + n)], dtype=np.str_)


def _pixels(value: Any) -> Any:
    pixels = value if isinstance(value, (np.ndarray, Mapped)) else np.asarray(value)
    if pixels.dtype.kind not in "buif":
        raise TypeError(f"pixels of type {pixels.dtype}: expected real numbers")
    if pixels.ndim not in (2, 4, 5):
        hint = "; grey images lack their channel axis, pixels[:, None] has it" if pixels.ndim == 3 else ""
        raise ValueError(f"pixels of shape {pixels.shape}: expected {LAYOUTS}{hint}")
    refuse_channels_last("pixels", pixels.shape)
    if isinstance(pixels, (np.memmap, Mapped)):
        return pixels
    try:
        with np.errstate(over="raise"):
            return np.asarray(pixels, dtype=np.float32)
    except FloatingPointError as error:
        raise ValueError("pixels hold intensities that are not finite in 32 bits") from error


def column_of(parameter: str, value: ArrayLike, n: int) -> NDArray[Any]:
    """Return what a parameter gives of each of n images; a ValueError says that it does not of each."""
    column = np.asarray(value)
    if column.shape != (n,):
        raise ValueError(f"{parameter} of shape {column.shape}: expected ({n},), one for each image in pixels")
    return column


def _label(value: ArrayLike, n: int) -> NDArray[np.int64]:
    label = column_of("label", value, n)
    other = np.unique(label[~np.isin(label, (0, 1))])
    if len(other):
        raise ValueError(f"label holds {other[:5].tolist()}: expected 0 (normal) or 1 (anomalous)")
    return label.astype(np.int64)


def _identity(parameter: str, value: ArrayLike, n: int) -> NDArray[Any]:
    column = column_of(parameter, value, n)
    if column.dtype.kind == "O" and all(isinstance(entry, str) for entry in column):
        column = column.astype(str)  # how pandas holds text
    if n and column.dtype.kind not in "iuU":
        raise TypeError(f"{parameter} of type {column.dtype}: expected integers or text without gaps")
    return column


def _mask(value: ArrayLike, pixels: NDArray[Any]) -> NDArray[np.bool_]:
    mask = np.asarray(value)
    expected = (len(pixels), *pixels.shape[2:])
    if mask.dtype != bool or mask.shape != expected or pixels.ndim < 4:
        raise ValueError(f"mask of shape {mask.shape} and type {mask.dtype}: expected {expected} and bool")
    return mask


def _part(value: ArrayLike, n: int) -> NDArray[np.str_]:
    part = column_of("part", value, n).astype(str)
    if other := sorted(set(part.tolist()) - {"train", "calibration", "test"}):
        raise ValueError(f"part holds {other[0]!r}: expected train, calibration or test")
    return part


def _centre(value: ArrayLike, n: int) -> NDArray[np.float64]:
    centre = np.asarray(value, np.float64)
    if centre.shape != (n, 3) or not np.isfinite(centre).all():
        raise ValueError(f"centre of shape {centre.shape}: expected ({n}, 3), finite x, y and z in mm of each volume")
    return centre


def _spacing(value: tuple[float, ...], axes: int) -> tuple[float, ...]:
    spacing = tuple(float(step) for step in value)
    if axes < 1 or len(spacing) != axes or not all(0 < step < np.inf for step in spacing):
        raise ValueError(f"spacing={value!r}: expected a positive size in mm for each of {max(axes, 0)} spatial axes")
    return spacing


def _orientation(value: str, axes: int) -> str:
    along = [AXIS_OF.get(letter, letter) for letter in value]
    if axes < 1 or len(value) != axes or len(set(along)) != axes or not set(value) <= set(AXIS_OF):
        raise ValueError(
            f"orientation={value!r}: expected a letter for each of {max(axes, 0)} spatial axes, one of L and R, "
            "P and A, S and I, such as 'SPL'"
        )
    return value
