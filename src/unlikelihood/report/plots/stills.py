"""Single pictures of single samples, as files inside the page: PNG, or JPEG where that must be smaller."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from unlikelihood.report.plots.planes import AXIAL, evenly, flat, rows_and_columns, view

HEAT = "inferno"  # brightness rises with the value, so it reads alike with any colour vision, and in print
LARGEST = 320  # pixels along a side
THINNED = 64  # voxels along an axis of a sheet
QUALITIES = (90, 75, 60, 40)  # of JPEG, until a picture is small enough
LEVELS = (256, 32, 16, 8)  # colours of a map, until it is small enough
DIMMED = 0.6  # brightness of what a map is laid over, so that white is not taken for its strongest colour


@dataclass(frozen=True)
class Sheet:
    """All axial slices of a volume in one picture, row by row, from which a page can cut any slice of three planes.

    Parameters
    ----------
    source : str
        Its address: ``data:image/png;base64,…``.
    size : tuple of int
        Voxels along D, H and W that it holds.
    step : tuple of int
        Of how many voxels of the volume each is one.
    """

    source: str
    size: tuple[int, ...]
    step: tuple[int, ...]

    @property
    def columns(self) -> int:
        """Slices in a row."""
        return rows_and_columns(self.size[0])[1]


def still(
    sample: NDArray[Any],
    limits: tuple[float, float],
    *,
    whole: bool = True,
    largest: int = LARGEST,
    most: int | None = None,
) -> str:
    """Return a sample as the address of a picture that holds itself.

    Parameters
    ----------
    sample : ndarray, shape (C, H, W), (C, D, H, W) or (F,)
        An image is drawn as it is, a volume as a montage of up to 25 slices, a vector as a strip. Three channels are
        red, green and blue, any other number is averaged.
    limits : tuple of float
        Values of black and white.
    whole : bool
        Draw all of a volume; otherwise its middle slice.
    largest : int
        Pixels along a side, at most.
    most : int, optional
        Bytes of the file, which loses as little as it must for that; nothing unless given.

    Returns
    -------
    str
        ``data:image/png;base64,…``
    """
    plane = _laid_out(sample) if whole and sample.ndim == 4 else view(sample)
    return _fitting(_reduced(_shown(_strip(plane), limits), largest), most, _address)


def heat(values: NDArray[Any], scale: float, most: int | None = None) -> str:
    r"""Return an anomaly map, (\*space) or (F,), as the address of a picture, black at 0."""
    plane = view(values if values.ndim == 1 else values[None])
    return _fitting(_reduced(_shown(_strip(plane), (0.0, scale)), LARGEST), most, partial(_heated, clear=False))


def hot_still(values: NDArray[Any], scale: float, most: int | None = None) -> str:
    r"""Return an anomaly map (H, W) or (D, H, W) as a picture to lay over `still` of its sample."""
    plane = _laid_out(values[None]) if values.ndim == 3 else np.asarray(values, np.float64)
    return _fitting(_reduced(_shown(plane, (0.0, scale)), LARGEST), most, _heated)


def laid_over(
    image: NDArray[Any], values: NDArray[Any], limits: tuple[float, float], scale: float
) -> NDArray[np.float64]:
    """Return an image (C, H, W) with its map (H, W) over it, (H, W, 3) in [0, 1]."""
    return overlaid(view(image), values, limits, scale)


def sheet(volume: NDArray[Any], limits: tuple[float, float], *, along: int = THINNED, most: int | None = None) -> Sheet:
    """Return all slices of a volume (C, D, H, W) in one picture, of `most` bytes if that is given.

    It is thinned where an axis has more voxels than `along`.
    """
    thin, step = _thinned(volume, along)
    return Sheet(_address(_reduced(_shown(_tiled(thin), limits)), most), thin.shape[1:], step)


def hot_sheet(values: NDArray[Any], scale: float, *, along: int = THINNED, most: int | None = None) -> Sheet:
    """Return an anomaly map (D, H, W) as a sheet to lay over that of the volume: clear where nothing is unusual."""
    thin, step = _thinned(values[None], along)
    return Sheet(_heated(_reduced(_shown(_tiled(thin), (0.0, scale))), most), thin.shape[1:], step)


def glow(values: NDArray[Any], scale: float) -> NDArray[np.float64]:
    r"""Return red, green, blue and opacity, (\*space, 4) in [0, 1], of a map that is laid over a picture.

    From the half of `scale` on the picture below is covered, at 0 it is bare.
    """
    share = _shown(np.asarray(values, np.float64), (0.0, scale))
    colours = colormaps[HEAT](share)
    colours[..., 3] = np.minimum(1.0, 2 * share)
    return colours


def overlaid(
    plane: NDArray[np.float64], values: NDArray[Any], limits: tuple[float, float], scale: float
) -> NDArray[np.float64]:
    """Return a flat view, (H, W) or (H, W, 3), dimmed, with an anomaly map (H, W) over it: (H, W, 3) in [0, 1]."""
    below = DIMMED * _shown(plane, limits)
    above = glow(values, scale)
    opacity = above[..., 3:]
    return opacity * above[..., :3] + (1 - opacity) * (below if below.ndim == 3 else below[..., None])


def _thinned(volume: NDArray[Any], along: int) -> tuple[NDArray[Any], tuple[int, ...]]:
    step = tuple(-(-size // along) for size in volume.shape[1:])
    return volume[:, :: step[0], :: step[1], :: step[2]], step


def _strip(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.tile(plane, (max(1, len(plane) // 6), 1)) if plane.ndim == 1 else plane


def _laid_out(volume: NDArray[Any]) -> NDArray[np.float64]:
    return _tiled(volume[:, evenly(volume.shape[1])])


def _tiled(volume: NDArray[Any]) -> NDArray[np.float64]:
    """Return the axial slices of a volume side by side, row by row, the rest of the last row at the lowest value."""
    planes = [flat(plane) for plane in AXIAL.slices(volume)]
    _, columns = rows_and_columns(len(planes))
    planes += [np.full_like(planes[0], min(float(plane.min()) for plane in planes))] * (-len(planes) % columns)
    return np.vstack([np.hstack(planes[row : row + columns]) for row in range(0, len(planes), columns)])


def _shown(plane: NDArray[np.float64], limits: tuple[float, float]) -> NDArray[np.float64]:
    low, high = limits
    return np.clip((plane - low) / ((high - low) or 1.0), 0, 1)


def _reduced(shown: NDArray[np.float64], largest: int | None = None) -> Image.Image:
    """Return what is drawn, (H, W) or (H, W, 3) in [0, 1], in 8 bits and with so many pixels along a side at most."""
    image = Image.fromarray(np.round(255 * shown).astype(np.uint8))
    step = 1 if largest is None else max(1, -(-max(image.size) // largest))
    return image if step == 1 else image.reduce(step)


def _fitting(image: Image.Image, most: int | None, address_of: Callable[[Image.Image, int | None], str]) -> str:
    """Return the address of a picture, which is halved until it is of `most` bytes if it cannot lose enough."""
    address = address_of(image, most)
    while most is not None and weight(address) > most and max(image.size) > 1:
        image = image.reduce(2)
        address = address_of(image, most)
    return address


def weight(address: str) -> int:
    """Return the bytes of a picture that its address holds, to about two."""
    return 3 * (len(address) - address.index(",")) // 4


def _address(image: Image.Image, most: int | None) -> str:
    """Return a grey or coloured picture as it is, or of `most` bytes, as far as JPEG goes."""
    kind, content = "png", _file(image, "png")
    for quality in QUALITIES:
        if most is None or len(content) <= most:
            break
        kind, content = "jpeg", _file(image, "jpeg", quality=quality)
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _heated(share: Image.Image, most: int | None, *, clear: bool = True) -> str:
    """Return a map, whose grey levels are shares of its scale, in colours, if `clear` with the opacity of `glow`."""
    for levels in LEVELS:
        steps = np.linspace(0, 1, levels)
        colours = colormaps[HEAT](steps)[:, :3]
        opacity = np.minimum(1.0, 2 * steps) if clear else np.ones(levels)
        table = np.round(np.arange(256) * (levels - 1) / 255).astype(np.uint8)
        image = Image.frombytes("P", share.size, table[np.asarray(share)].tobytes())
        image.putpalette(np.round(255 * colours).astype(np.uint8).tobytes())
        content = _file(image, "png", transparency=np.round(255 * opacity).astype(np.uint8).tobytes())
        if most is None or len(content) <= most:
            break
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def _file(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, optimize=True, **options)
    return buffer.getvalue()
