"""Single pictures of single samples, as PNG files inside the page."""

import base64
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.image import imsave
from numpy.typing import NDArray

from unlikelihood.report.plots.planes import AXIAL, evenly, flat, rows_and_columns, view

HEAT = "inferno"  # brightness rises with the value, so it reads alike with any colour vision, and in print
LARGEST = 320  # pixels along a side
THINNED = 64  # voxels along an axis of a sheet
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


def still(sample: NDArray[Any], limits: tuple[float, float], colours: str = "gray", whole: bool = True) -> str:
    """Return a sample as the address of a picture that holds itself.

    Parameters
    ----------
    sample : ndarray, shape (C, H, W), (C, D, H, W) or (F,)
        An image is drawn as it is, a volume as a montage of up to 25 slices, a vector as a strip. Three channels are
        red, green and blue, any other number is averaged.
    limits : tuple of float
        Values of the first and the last colour.
    colours : str
        Name of a matplotlib colour map.
    whole : bool
        Draw all of a volume; otherwise its middle slice.

    Returns
    -------
    str
        ``data:image/png;base64,…``
    """
    plane = _laid_out(sample) if whole and sample.ndim == 4 else view(sample)
    if plane.ndim == 1:
        plane = np.tile(plane, (max(1, len(plane) // 6), 1))
    step = max(1, -(-max(plane.shape[:2]) // LARGEST))
    shown = _shown(plane[::step, ::step], limits)
    return _address(shown if shown.ndim == 3 else colormaps[colours](shown)[..., :3])


def heat(values: NDArray[Any], scale: float) -> str:
    r"""Return an anomaly map, (\*space) or (F,), as the address of a picture, black at 0."""
    return still(values if values.ndim == 1 else values[None], (0.0, scale), HEAT)


def hot_still(values: NDArray[Any], scale: float) -> str:
    r"""Return an anomaly map (H, W) or (D, H, W) as a picture to lay over `still` of its sample."""
    plane = _laid_out(values[None]) if values.ndim == 3 else np.asarray(values, np.float64)
    step = max(1, -(-max(plane.shape) // LARGEST))
    return _address(glow(plane[::step, ::step], scale))


def laid_over(
    image: NDArray[Any], values: NDArray[Any], limits: tuple[float, float], scale: float
) -> NDArray[np.float64]:
    """Return an image (C, H, W) with its map (H, W) over it, (H, W, 3) in [0, 1]."""
    return overlaid(view(image), values, limits, scale)


def sheet(volume: NDArray[Any], limits: tuple[float, float]) -> Sheet:
    """Return all slices of a volume (C, D, H, W) in one picture, thinned where an axis has more than 64 voxels."""
    thin, step = _thinned(volume)
    shown = _shown(_tiled(thin), limits)
    source = _address(shown if shown.ndim == 3 else np.repeat(shown[..., None], 3, axis=2))
    return Sheet(source, thin.shape[1:], step)


def hot_sheet(values: NDArray[Any], scale: float) -> Sheet:
    """Return an anomaly map (D, H, W) as a sheet to lay over that of the volume: clear where nothing is unusual."""
    thin, step = _thinned(values[None])
    return Sheet(_address(glow(_tiled(thin), scale)), thin.shape[1:], step)


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


def _thinned(volume: NDArray[Any]) -> tuple[NDArray[Any], tuple[int, ...]]:
    step = tuple(-(-size // THINNED) for size in volume.shape[1:])
    return volume[:, :: step[0], :: step[1], :: step[2]], step


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


def _address(colours: NDArray[np.float64]) -> str:
    buffer = BytesIO()
    imsave(buffer, colours, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
