"""Samples, and below each the same with its anomaly map over it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from unlikelihood.report.plots.frames import fitting, frames_of
from unlikelihood.report.plots.planes import AXIAL, PLANES, Plane, flat
from unlikelihood.report.plots.samples import limits_of
from unlikelihood.report.plots.stills import overlaid
from unlikelihood.report.plots.style import styled
from unlikelihood.report.plots.volumes import busiest


@styled
def mapped(
    pixels: NDArray[Any],
    maps: NDArray[Any],
    titles: Sequence[str],
    scale: float,
    *,
    spacing: Sequence[float] | None = None,
    orientation: str | None = None,
) -> Figure:
    """Draw images, or volumes in three planes, side by side, and below each the same with its map over it.

    Parameters
    ----------
    pixels : ndarray, shape (n, C, H, W) or (n, C, D, H, W)
        Of volumes the slices are drawn that have most of the map.
    maps : ndarray, shape (n, H, W) or (n, D, H, W)
        Higher = more anomalous.
    titles : sequence of str
        What to write over each sample.
    scale : float
        The strongest colour of the maps.
    spacing, orientation : optional
        As `gallery` has them.

    Returns
    -------
    Figure
    """
    limits = limits_of(pixels)
    planes: tuple[Plane, ...] = PLANES
    size = tuple(spacing or np.ones(maps.ndim - 1))
    if maps.ndim == 3:  # an image is a volume of one slice
        pixels, maps, planes, size = pixels[:, :, None], maps[:, None], (AXIAL,), (1.0, *size)
    extent = np.asarray(size) * maps.shape[1:]
    widths = [extent[plane.columns] for plane in planes]
    columns, height = len(pixels) * len(planes), max(extent[plane.rows] for plane in planes) / np.mean(widths)
    shares = [width / sum(widths) for width in widths] * len(pixels)
    frames = frames_of(2 * columns, columns, float(height), titled=True, shares=shares)
    for number, (sample, heat) in enumerate(zip(pixels, maps, strict=True)):
        at, first = busiest(heat), number * len(planes)
        for (above, below), plane in zip(frames.T[first : first + len(planes)], planes, strict=True):
            shown = flat(plane.slices(sample)[at[plane.across]])
            over = plane.slices(heat[None])[at[plane.across], 0]
            above.draw(shown, limits, aspect=plane.aspect(size))
            below.draw(overlaid(shown, over, limits, scale), (0, 1), aspect=plane.aspect(size))
        frames[0, first].entitle(titles[number], "left", fitting(titles, len(pixels)))
    for frame, plane in zip(frames[0], planes, strict=False):
        frame.mark(orientation, plane)
    figure = frames[0, 0].axes.figure
    figure.set_label(f"{len(pixels)} samples{' in three planes' if len(planes) > 1 else ''}, and their maps over them")
    return figure
