"""What sources of encoded images share: how an image is brought to intensities, colours and a size."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlikelihood.data.images import Images, windowed
from unlikelihood.data.sizing import Resize, Sizing
from unlikelihood.data.source import RandomSplitSource
from unlikelihood.storage.identity import identities

GREY = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue (ITU-R BT.601)


@dataclass(frozen=True, kw_only=True)
class PictureSource(RandomSplitSource):
    """A source of encoded images: what is made of each.

    Further parameters are those of `RandomSplitSource`.

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

    def check(self) -> None:
        """Raise a ValueError if a parameter is none that there is."""
        if self.channels not in (None, 1, 3):
            raise ValueError(f"channels={self.channels}: expected 1 (grey) or 3 (red, green, blue)")
        if self.size is not None and np.min(self.size) < 1:
            raise ValueError(f"size={self.size}: expected at least 1 pixel along each axis")
        if self.window is not None:
            windowed(np.empty(0), self.window)
        if self.background is not None and not 0 <= self.background <= 1:
            raise ValueError(f"background={self.background}: expected 0 (black) to 1 (white)")

    def treated(self, image: NDArray[Any]) -> NDArray[Any]:
        r"""Return an image (C, \*space) in its size and colours; as it is stored, if these are not changed."""
        return image if self._as_stored else self.sized(_coloured(self._scaled(image), self.channels))

    def window_of(self, dtype: np.dtype[Any]) -> tuple[float, float] | None:
        """Return the intensities of what is `treated` that become 0 and 1."""
        if not self._as_stored:
            return None
        return self.window or ((0, 255) if dtype == np.uint8 else None)

    def sized(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        r"""Return an image (C, \*space) in its size."""
        if self.size is None:
            return image
        axes = image.ndim - 1
        size = (self.size,) * axes if isinstance(self.size, int) else tuple(self.size)
        if len(size) != axes:
            raise ValueError(f"image with {axes} spatial axes, expected {len(size)} as size={self.size} has")
        return self.sizing(image, size)

    @property
    def _as_stored(self) -> bool:
        """Whether images are kept as they are in their files, and scaled when they are taken."""
        return self.size is None and self.channels is None

    def _scaled(self, image: NDArray[Any]) -> NDArray[np.float32]:
        if self.window is not None:
            return windowed(image, self.window)
        scale = 255 if image.dtype == np.uint8 else 1
        return image.astype(np.float32) / np.float32(scale)


def tell_skipped(failures: Sequence[str], n: int, path: object) -> None:
    """Warn of those of n images that were skipped, and why; a ValueError says that none can be read."""
    if failures:
        reasons = "\n".join(failures)
        if len(failures) == n:
            raise ValueError(f"path={str(path)!r}: none of {n} images can be read\n{reasons}")
        warnings.warn(f"{len(failures)} of {n} images skipped\n{reasons}", stacklevel=5)


def column(values: Sequence[object]) -> NDArray[Any] | None:
    """Return what is known of each image, None if it is not of each."""
    return None if None in values else np.array(values)


def differs(name: object, kind: tuple[Any, ...], first: tuple[Any, ...]) -> str:
    """Return what an image has another shape or type than the first in, and what mends it."""
    message = (
        f"{name}: image of shape {kind[0]} and type {kind[1]}, expected {first[0]} and {first[1]} as in the first image"
    )
    if kind[0][0] != first[0][0]:
        return f"{message}; channels=1 or channels=3 makes all grey or coloured"
    return f"{message}; size=(H, W), or --data.size=128, brings all to one size" if kind[0] != first[0] else message


def refuse_in_both_classes(images: Images) -> None:
    """Raise a ValueError if the same image is normal and anomalous."""
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


def _coloured(image: NDArray[np.float32], channels: int | None) -> NDArray[np.float32]:
    if channels is None or len(image) == channels:
        return image
    if len(image) not in (1, 3):
        raise ValueError(f"image of {len(image)} channels, expected 1 or 3 to make it channels={channels}")
    return np.repeat(image, 3, axis=0) if channels == 3 else np.tensordot(GREY, image, 1)[None]
