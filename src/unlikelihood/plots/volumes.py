"""Pictures of whole volumes: all through one plane, and cut in three."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from unlikelihood.plots.planes import AXIAL, MONTAGE, PLANES, Plane, evenly, flat
from unlikelihood.plots.samples import draw, frames_of, limits_of
from unlikelihood.plots.stills import glow
from unlikelihood.plots.style import MUTED, styled


@styled
def montage(
    volume: NDArray[Any],
    limits: tuple[float, float] | None = None,
    *,
    plane: Plane = AXIAL,
    count: int = MONTAGE,
    spacing: Sequence[float] | None = None,
    orientation: str | None = None,
    values: NDArray[Any] | None = None,
    scale: float = 1.0,
) -> Figure:
    """Draw evenly spaced slices of one volume, each with its number, row by row.

    Parameters
    ----------
    volume : ndarray, shape (C, D, H, W)
        Three channels are red, green and blue, any other number is averaged.
    limits : tuple of float, optional
        Intensities of black and white; those of `limits_of` the volume otherwise.
    plane : Plane
        `AXIAL`, `CORONAL` or `SAGITTAL`.
    count : int
        At most how many slices, the first and the last among them.
    spacing : sequence of float, optional
        Of D, H and W in mm.
    orientation : str, optional
        Where D, H and W grow to, such as "SPL"; it is written at the edges of the first slice.
    values : ndarray, shape (D, H, W), optional
        An anomaly map to lay over it.
    scale : float
        Value of the map's strongest colour.

    Returns
    -------
    Figure
    """
    slices = plane.slices(volume)
    hot = None if values is None else plane.slices(values[None])[:, 0]
    picked = evenly(len(slices), count)
    columns = int(np.ceil(np.sqrt(len(picked))))
    height = slices.shape[2] * plane.aspect(spacing) / slices.shape[3]
    frames = frames_of(len(picked), columns, height, titled=False)
    for axes, number in zip(frames.flat, picked, strict=False):
        draw(axes, flat(slices[number]), limits or limits_of(volume))
        if hot is not None:
            _lay(axes, hot[number], scale)
        _write(axes, str(number + 1), (0.03, 0.03), "left", "bottom")
    _mark(frames.flat[0], plane, orientation)
    figure = frames.flat[0].figure
    numbers = ", ".join(str(number + 1) for number in picked)
    apart = "" if spacing is None else f", {spacing[plane.across]:.3g} mm from one to the next"
    figure.set_label(f"{plane.name.capitalize()} slices of a volume, {numbers} of {len(slices)}{apart}")
    return figure


@styled
def triptych(
    pixels: NDArray[Any],
    titles: Sequence[str] | None = None,
    limits: tuple[float, float] | None = None,
    *,
    spacing: Sequence[float] | None = None,
    orientation: str | None = None,
    values: NDArray[Any] | None = None,
    scale: float = 1.0,
) -> Figure:
    """Draw an axial, a coronal and a sagittal slice through one point of each volume, a row each.

    Parameters
    ----------
    pixels : ndarray, shape (n, C, D, H, W)
        The volumes, on one intensity scale.
    titles : sequence of str, optional
        What to write over each row.
    limits : tuple of float, optional
        Intensities of black and white; those of `limits_of` the volumes otherwise.
    spacing : sequence of float, optional
        Of D, H and W in mm.
    orientation : str, optional
        Where D, H and W grow to, such as "SPL"; it is written at the edges of the first row.
    values : ndarray, shape (n, D, H, W), optional
        Anomaly maps to lay over them. The slices then go through the strongest voxel, otherwise through the middle.
    scale : float
        Value of the maps' strongest colour.

    Returns
    -------
    Figure
    """
    middle = tuple(size // 2 for size in pixels.shape[2:])
    points = [middle] * len(pixels) if values is None else [strongest(each) for each in values]
    step = np.asarray(spacing or (1.0, 1.0, 1.0))
    extent = step * pixels.shape[2:]
    # Each plane is as wide and as high as it is in mm, all three on one scale.
    widths = [extent[plane.columns] for plane in PLANES]
    tallest = max(extent[plane.rows] for plane in PLANES)
    frames = frames_of(
        3 * len(pixels), 3, tallest / np.mean(widths), titled=True, shares=[width / sum(widths) for width in widths]
    )
    for row, (volume, point) in enumerate(zip(pixels, points, strict=True)):
        for axes, plane in zip(frames[row], PLANES, strict=True):
            at = point[plane.across]
            draw(axes, flat(plane.slices(volume)[at]), limits or limits_of(pixels), aspect=plane.aspect(spacing))
            if values is not None:
                _lay(axes, plane.slices(values[row][None])[at, 0], scale, aspect=plane.aspect(spacing))
            axes.set_title(f"{plane.name} {at + 1}", size=8, color=MUTED, pad=2, loc="right")
            if row == 0:
                _mark(axes, plane, orientation)
        if titles is not None:
            frames[row, 0].set_title(titles[row], size=8, color=MUTED, pad=2, loc="left")
    figure = frames[0, 0].figure
    through = "the middle" if values is None else "the strongest voxel of the map"
    figure.set_label(f"Axial, coronal and sagittal slices through {through} of {len(pixels)} volumes")
    return figure


def strongest(values: NDArray[Any]) -> tuple[int, ...]:
    """Return the place of the largest value of a map."""
    return tuple(int(at) for at in np.unravel_index(int(np.argmax(values)), values.shape))


def _lay(axes: Axes, values: NDArray[Any], scale: float, aspect: float | str = "auto") -> None:
    axes.imshow(glow(values, scale), interpolation="none", aspect=aspect)


def _mark(axes: Axes, plane: Plane, orientation: str | None) -> None:
    left, right, top, bottom = plane.edges(orientation)
    _write(axes, left, (0.03, 0.5), "left", "center")
    _write(axes, right, (0.97, 0.5), "right", "center")
    _write(axes, top, (0.5, 0.97), "center", "top")
    _write(axes, bottom, (0.5, 0.03), "center", "bottom")


def _write(axes: Axes, text: str, at: tuple[float, float], across: str, up: str) -> None:
    """Write on a picture, where it is dark and where it is bright."""
    style: dict[str, Any] = {"ha": across, "va": up, "size": 6.5, "color": "white", "transform": axes.transAxes}
    style["bbox"] = {"facecolor": "black", "alpha": 0.6, "linewidth": 0, "boxstyle": "round,pad=0.12"}
    if text:
        axes.text(*at, text, **style)
