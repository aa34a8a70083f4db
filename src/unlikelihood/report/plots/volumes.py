"""Pictures of whole volumes: all through one plane, and cut in three."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from unlikelihood.report.plots.frames import frames_of
from unlikelihood.report.plots.planes import AXIAL, PLANES, evenly, flat, rows_and_columns
from unlikelihood.report.plots.samples import limits_of
from unlikelihood.report.plots.style import styled


@styled
def montage(
    volume: NDArray[Any],
    limits: tuple[float, float] | None = None,
    *,
    spacing: Sequence[float] | None = None,
    orientation: str | None = None,
) -> Figure:
    """Draw evenly spaced axial slices of one volume (C, D, H, W), each with its number, row by row.

    Its other parameters are those of `triptych`; the orientation is written on the first slice.
    """
    limits = limits or limits_of(volume)
    slices = AXIAL.slices(volume)
    picked = evenly(len(slices))
    _, columns = rows_and_columns(len(picked))
    height = slices.shape[2] * AXIAL.aspect(spacing) / slices.shape[3]
    frames = frames_of(len(picked), columns, height, titled=False)
    for frame, number in zip(frames.flat, picked, strict=False):
        frame.draw(flat(slices[number]), limits)
        frame.write(str(number + 1), (0.03, 0.03), "left", "bottom")
    frames.flat[0].mark(orientation)
    figure = frames.flat[0].axes.figure
    numbers = ", ".join(str(number + 1) for number in picked)
    apart = "" if spacing is None else f", {spacing[0]:.3g} mm from one to the next"
    figure.set_label(f"Axial slices of a volume, {numbers} of {len(slices)}{apart}")
    return figure


@styled
def triptych(
    pixels: NDArray[Any],
    limits: tuple[float, float] | None = None,
    *,
    spacing: Sequence[float] | None = None,
    orientation: str | None = None,
) -> Figure:
    """Draw the axial, coronal and sagittal slice in the middle of each volume, a row each.

    Parameters
    ----------
    pixels : ndarray, shape (n, C, D, H, W)
        Three channels are red, green and blue, any other number is averaged.
    limits : tuple of float, optional
        Intensities of black and white; those of `limits_of` the volumes otherwise.
    spacing : sequence of float, optional
        Of D, H and W in mm.
    orientation : str, optional
        Where D, H and W grow to, such as "SPL"; it is written at the edges of the first row.

    Returns
    -------
    Figure
    """
    limits = limits or limits_of(pixels)
    extent = np.asarray(spacing or (1.0, 1.0, 1.0)) * pixels.shape[2:]
    # Each plane is as wide and as high as it is in mm, all three on one scale.
    widths = [extent[plane.columns] for plane in PLANES]
    tallest = max(extent[plane.rows] for plane in PLANES)
    shares = [width / sum(widths) for width in widths]
    frames = frames_of(3 * len(pixels), 3, tallest / np.mean(widths), titled=True, shares=shares)
    for row, volume in zip(frames, pixels, strict=True):
        for frame, plane in zip(row, PLANES, strict=True):
            at = volume.shape[1 + plane.across] // 2
            frame.draw(flat(plane.slices(volume)[at]), limits, aspect=plane.aspect(spacing))
            frame.entitle(f"{plane.name} {at + 1}", "right")
    for frame, plane in zip(frames[0], PLANES, strict=True):
        frame.mark(orientation, plane)
    figure = frames[0, 0].axes.figure
    figure.set_label(f"The middle axial, coronal and sagittal slices of {len(pixels)} volumes")
    return figure


def busiest(values: NDArray[Any]) -> tuple[int, ...]:
    """Return, for each axis of an anomaly map, the slice across it that has most of it."""
    axes = range(values.ndim)
    return tuple(int(values.mean(axis=tuple(set(axes) - {axis})).argmax()) for axis in axes)
