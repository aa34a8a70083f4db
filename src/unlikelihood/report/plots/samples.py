"""Pictures of samples, whatever their shape."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from unlikelihood.report.plots.frames import fitting, frames_of
from unlikelihood.report.plots.planes import ratio, view
from unlikelihood.report.plots.stills import overlaid
from unlikelihood.report.plots.style import ANOMALOUS, NORMAL, styled

_RESIDUAL = LinearSegmentedColormap.from_list("residual", [NORMAL, "#f7f7f7", ANOMALOUS])


@styled
def gallery(
    pixels: NDArray[Any],
    titles: Sequence[str] | None = None,
    columns: int = 6,
    limits: tuple[float, float] | None = None,
    spacing: Sequence[float] | None = None,
    orientation: str | None = None,
) -> Figure:
    """Draw samples of any shape side by side on one intensity scale.

    Images are drawn whole, volumes by the axial slice in their middle and vectors as bars.

    Parameters
    ----------
    pixels : ndarray, shape (n, C, *space) or (n, F)
        The samples; three channels are red, green and blue, any other number is averaged.
    titles : sequence of str, optional
        What to write over each.
    columns : int
        Number of samples in a row.
    limits : tuple of float, optional
        Intensities of black and white; the 0.5 % and 99.5 % quantiles of the samples otherwise.
    spacing : sequence of float, optional
        Of the spatial axes in mm; pixels are drawn as wide and as high as they are.
    orientation : str, optional
        Where the spatial axes grow to, such as "SPL"; it is written at the edges of the first sample.

    Returns
    -------
    Figure
    """
    frames = frames_of(len(pixels), columns, _height(pixels.shape[1:], spacing), titled=titles is not None)
    for frame, sample in zip(frames.flat, pixels, strict=False):
        frame.draw(view(sample), limits or limits_of(pixels))
    for frame, title in zip(frames.flat, titles or (), strict=False):
        frame.entitle(title, size=fitting(titles or (), columns))
    frames.flat[0].mark(orientation)
    figure = frames.flat[0].axes.figure
    figure.set_label(f"{len(pixels)} samples{', the middle slice of each' if pixels.ndim > 4 else ''}")
    return figure


@styled
def reconstructions(
    x: NDArray[Any],
    x_hat: NDArray[Any],
    limits: tuple[float, float] | None = None,
    scale: float | None = None,
    spacing: Sequence[float] | None = None,
    orientation: str | None = None,
) -> Figure:
    """Draw inputs, their reconstructions, the residuals x − x̂ and their size over the inputs, one below the other.

    Parameters
    ----------
    x, x_hat : ndarray, shape (n, C, *space) or (n, F)
        The samples and what the detector made of them: reconstructions, or the nearest generations. Of volumes the
        axial slice is drawn of which most is left over; its number stands above it.
    limits : tuple of float, optional
        Intensities of black and white; those of `limits_of` the samples otherwise.
    scale : float, optional
        Largest residual of the colours, in the unit of intensity; the 99.5 % quantile otherwise.
    spacing : sequence of float, optional
        Of the spatial axes in mm.
    orientation : str, optional
        As `gallery` has it.

    Returns
    -------
    Figure
        Residuals are blue where the input is darker than its reconstruction and vermilion where it is
        brighter, on one scale symmetric about 0. Vectors have no row of sizes.
    """
    residual = np.asarray(x, np.float64) - x_hat
    limits, scale = limits or limits_of(x), scale or float(np.quantile(np.abs(residual), 0.995)) or 1.0
    at = [int(np.abs(each).mean(axis=(0, 2, 3)).argmax()) if each.ndim == 4 else None for each in residual]
    names = ["input", "reconstruction", f"residual, ±{scale:.2g}"]
    names += [f"size of the residual, up to {scale:.2g}"] if x.ndim > 2 else []
    frames = frames_of(len(names) * len(x), len(x), _height(x.shape[1:], spacing), titled=True)
    for column, (each, number) in enumerate(zip(residual, at, strict=True)):
        left = view(each.mean(axis=0, keepdims=True) if each.ndim > 1 else each, number)
        shown = view(x[column], number)
        frames[0, column].draw(shown, limits)
        frames[1, column].draw(view(x_hat[column], number), limits)
        frames[2, column].draw(left, (-scale, scale), _RESIDUAL)
        if x.ndim > 2:
            frames[3, column].draw(overlaid(shown, np.abs(left), limits, scale), (0, 1))
        if number is not None:
            frames[0, column].entitle(f"slice {number + 1}", "right")
    for row, name in zip(frames, names, strict=True):
        row[0].entitle(name if x.ndim < 5 or name != "input" else "", "left")
    frames[0, 0].mark(orientation)
    figure = frames[0, 0].axes.figure
    figure.set_label(f"{len(x)} inputs, their reconstructions and the residuals")
    return figure


def limits_of(pixels: NDArray[Any]) -> tuple[float, float]:
    """Return the intensities to draw black and white, the 0.5 % and 99.5 % quantiles, or others if these tie."""
    low, high = np.quantile(pixels, [0.005, 0.995])
    return float(low), float(high) if high > low else float(low) + 1.0


def _height(shape: Sequence[int], spacing: Sequence[float] | None) -> float:
    """Return the height of a frame over its width."""
    return 0.75 if len(shape) == 1 else 1 / ratio(shape, spacing)
