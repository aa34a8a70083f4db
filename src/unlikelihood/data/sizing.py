"""Ways to bring images of several sizes to one."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unlikelihood.parameters import Component


class Sizing(Component, ABC):
    r"""Brings an image (C, \*space) to a size."""

    @abstractmethod
    def __call__(self, image: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
        r"""Return an image (C, \*size)."""


@dataclass(frozen=True)
class Resize(Sizing):
    """Scales every axis by itself, so that proportions may change; smooths what it makes smaller (anti-aliasing)."""

    def __call__(self, image: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
        """Return the scaled image."""
        for axis, n in enumerate(size, start=1):
            image = _along(image, axis, n)
        return image


@dataclass(frozen=True)
class Letterbox(Sizing):
    """Scales all axes alike until the image fits in, and pads the rest evenly with `fill`.

    Parameters
    ----------
    fill : float
        Intensity around the image.
    """

    fill: float = 0.0

    def __call__(self, image: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
        """Return the scaled and padded image."""
        scale = min(n / old for n, old in zip(size, image.shape[1:], strict=True))
        scaled = Resize()(image, tuple(max(1, round(old * scale)) for old in image.shape[1:]))
        return Pad(self.fill)(scaled, size)


@dataclass(frozen=True)
class Pad(Sizing):
    """Puts the image in the middle and `fill` around it.

    Parameters
    ----------
    fill : float
        Intensity around the image.
    """

    fill: float = 0.0

    def __call__(self, image: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
        """Return the padded image; a ValueError if it is larger."""
        more = [n - old for n, old in zip(size, image.shape[1:], strict=True)]
        if min(more) < 0:
            raise ValueError(f"image of {image.shape[1:]} pixels, expected at most {size} to pad")
        return np.pad(image, [(0, 0), *((n // 2, n - n // 2) for n in more)], constant_values=self.fill)


@dataclass(frozen=True)
class CentreCrop(Sizing):
    """Cuts the middle out."""

    def __call__(self, image: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
        """Return the middle; a ValueError if the image is smaller."""
        more = [old - n for n, old in zip(size, image.shape[1:], strict=True)]
        if min(more) < 0:
            raise ValueError(f"image of {image.shape[1:]} pixels, expected at least {size} to crop")
        return image[(slice(None), *(slice(m // 2, m // 2 + n) for m, n in zip(more, size, strict=True)))]


def _along(image: NDArray[np.float32], axis: int, n: int) -> NDArray[np.float32]:
    # Pillow widens its filter where an image shrinks; triangles do not overshoot, so [0, 1] stays [0, 1].
    if image.shape[axis] == n:
        return image
    last = np.moveaxis(image, axis, -1)
    rows = np.ascontiguousarray(last.reshape(-1, last.shape[-1]), np.float32)
    scaled = np.asarray(Image.fromarray(rows).resize((n, len(rows)), Image.Resampling.BILINEAR))
    return np.moveaxis(scaled.reshape(*last.shape[:-1], n), -1, axis)
