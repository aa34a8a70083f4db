"""Pictures of whole volumes: all through one plane, and cut in three."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from unlikelihood.report.plots.planes import AXIAL, MONTAGE, PLANES, Plane, evenly, flat, rows_and_columns
from unlikelihood.report.plots.samples import draw, frames_of, limits_of
from unlikelihood.report.plots.stills import overlaid
from unlikelihood.report.plots.style import MUTED, styled


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
    limits = limits or limits_of(volume)
    slices = plane.slices(volume)
    hot = None if values is None else plane.slices(values[None])[:, 0]
    picked = evenly(len(slices), count)
    _, columns = rows_and_columns(len(picked))
    height = slices.shape[2] * plane.aspect(spacing) / slices.shape[3]
    frames = frames_of(len(picked), columns, height, titled=False)
    for axes, number in zip(frames.flat, picked, strict=False):
        shown = flat(slices[number])
        if hot is not None:
            shown = overlaid(shown, hot[number], limits, scale)
        draw(axes, shown, limits if hot is None else (0, 1))
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
    """Draw an axial, a coronal and a sagittal slice of each volume, a row each.

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
        Anomaly maps to lay over them. The slices are then those with most of it, otherwise those in the middle.
    scale : float
        Value of the maps' strongest colour.

    Returns
    -------
    Figure
    """
    limits = limits or limits_of(pixels)
    middle = tuple(size // 2 for size in pixels.shape[2:])
    points = [middle] * len(pixels) if values is None else [busiest(each) for each in values]
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
            shown = flat(plane.slices(volume)[at])
            if values is not None:
                shown = overlaid(shown, plane.slices(values[row][None])[at, 0], limits, scale)
            draw(axes, shown, limits if values is None else (0, 1), aspect=plane.aspect(spacing))
            axes.set_title(f"{plane.name} {at + 1}", size=8, color=MUTED, pad=2, loc="right")
            if row == 0:
                _mark(axes, plane, orientation)
        if titles is not None:
            frames[row, 0].set_title(titles[row], size=8, color=MUTED, pad=2, loc="left")
    figure = frames[0, 0].figure
    which = "middle" if values is None else "most anomalous"
    figure.set_label(f"The {which} axial, coronal and sagittal slices of {len(pixels)} volumes")
    return figure


def busiest(values: NDArray[Any]) -> tuple[int, ...]:
    """Return, for each axis of an anomaly map, the slice across it that has most of it."""
    axes = range(values.ndim)
    return tuple(int(values.mean(axis=tuple(set(axes) - {axis})).argmax()) for axis in axes)


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
