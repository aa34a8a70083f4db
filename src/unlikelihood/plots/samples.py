"""Pictures of samples, whatever their shape."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from numpy.typing import NDArray

from unlikelihood.plots.style import ANOMALOUS, INK, MUTED, NORMAL, WIDTH, styled

_RESIDUAL = LinearSegmentedColormap.from_list("residual", [NORMAL, "#f7f7f7", ANOMALOUS])


@styled
def gallery(
    pixels: NDArray[Any],
    titles: Sequence[str] | None = None,
    columns: int = 6,
    limits: tuple[float, float] | None = None,
) -> Figure:
    """Draw samples of any shape side by side on one intensity scale.

    Images are drawn whole, volumes by the slice in their middle, one volume alone by 25 slices through it,
    and vectors as bars.

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

    Returns
    -------
    Figure
    """
    samples, columns = (_slices(pixels[0]), 5) if len(pixels) == 1 and pixels.ndim > 4 else (pixels, columns)
    planes = [_plane(sample) for sample in samples]
    frames = _frames(planes, columns, titled=titles is not None)
    for axes, plane in zip(frames.flat, planes, strict=False):
        _draw(axes, plane, limits or limits_of(pixels))
    for axes, title in zip(frames.flat, titles or (), strict=False):
        axes.set_title(title, size=8, color=MUTED, pad=2)
    figure = frames.flat[0].figure
    figure.set_label(f"{len(planes)} {'slices of a sample' if samples is not pixels else 'samples'}")
    return figure


@styled
def reconstructions(
    x: NDArray[Any],
    x_hat: NDArray[Any],
    limits: tuple[float, float] | None = None,
    scale: float | None = None,
) -> Figure:
    """Draw inputs, their reconstructions and the residuals x − x̂, one below the other.

    Parameters
    ----------
    x, x_hat : ndarray, shape (n, C, *space) or (n, F)
        The samples and what the detector made of them.
    limits : tuple of float, optional
        Intensities of black and white; those of `limits_of` the samples otherwise.
    scale : float, optional
        Largest residual of the colours, in the unit of intensity; the 99.5 % quantile otherwise.

    Returns
    -------
    Figure
        Residuals are blue where the input is darker than its reconstruction and vermilion where it is
        brighter, on one scale symmetric about 0.
    """
    residual = np.asarray(x, np.float64) - x_hat
    rows = [[_plane(sample) for sample in part] for part in (x, x_hat)]
    rows.append([_plane(sample.mean(axis=0, keepdims=True) if sample.ndim > 1 else sample) for sample in residual])
    frames = _frames([plane for row in rows for plane in row], len(x), titled=True)
    limits, scale = limits or limits_of(x), scale or float(np.quantile(np.abs(residual), 0.995)) or 1.0
    styles = [(limits, "gray"), (limits, "gray"), ((-scale, scale), _RESIDUAL)]
    for row, planes, style in zip(frames, rows, styles, strict=True):
        for axes, plane in zip(row, planes, strict=True):
            _draw(axes, plane, *style)
    for row, name in zip(frames, ("input", "reconstruction", f"residual, ±{scale:.2g}"), strict=True):
        row[0].set_title(name, size=8, color=MUTED, pad=2, loc="left")
    figure = frames[0, 0].figure
    figure.set_label(f"{len(x)} inputs, their reconstructions and the residuals")
    return figure


def limits_of(pixels: NDArray[Any]) -> tuple[float, float]:
    """Return the intensities to draw black and white: the 0.5 % and 99.5 % quantiles.

    Parameters
    ----------
    pixels : ndarray, shape (n, C, *space) or (n, F)
        Samples that shall be drawn alike.

    Returns
    -------
    low, high : float
        Different, even where all intensities are equal.
    """
    low, high = np.quantile(pixels, [0.005, 0.995])
    return float(low), float(high) if high > low else float(low) + 1.0


def _slices(volume: NDArray[Any]) -> NDArray[Any]:
    depth = volume.shape[1]
    return volume[:, np.linspace(0, depth - 1, min(depth, 25)).round().astype(int)].swapaxes(0, 1)


def _plane(sample: NDArray[Any]) -> NDArray[np.float64]:
    """Return what is drawn of a sample: (H, W), (H, W, 3) or (F,)."""
    plane = np.asarray(sample, np.float64)
    while plane.ndim > 3:
        plane = plane[:, plane.shape[1] // 2]
    if plane.ndim == 1:
        return plane
    plane = plane.transpose(1, 2, 0) if plane.ndim == 3 and len(plane) == 3 else plane.mean(axis=0)
    # A picture is about a hundred points wide on the page, and a larger one would only weigh it down.
    step = max(1, max(plane.shape[:2]) // 160)
    return plane[::step, ::step] if plane.ndim > 1 else plane


def _frames(planes: Sequence[NDArray[Any]], columns: int, titled: bool) -> NDArray[Any]:
    """Return a grid of bare axes in the shape of the planes, with lengths in inches."""
    rows, gap = -(-len(planes) // columns), 0.03
    head = 0.17 if titled else gap
    width = (WIDTH - gap * (columns - 1)) / columns
    height = width * (planes[0].shape[0] / planes[0].shape[1] if planes[0].ndim > 1 else 0.75)
    top = head if titled else 0.0
    total = top + rows * height + (rows - 1) * head
    grid = GridSpec(
        rows,
        columns,
        left=0,
        right=1,
        bottom=0,
        top=1 - top / total,
        wspace=gap / width,
        hspace=head / height,
    )
    figure = Figure(figsize=(WIDTH, total))
    cells = [[figure.add_subplot(grid[row, column]) for column in range(columns)] for row in range(rows)]
    for axes in figure.axes:
        axes.set_axis_off()
    return np.array(cells)


def _draw(axes: Axes, plane: NDArray[Any], limits: tuple[float, float], colours: Any = "gray") -> None:
    low, high = limits
    if plane.ndim == 1:
        axes.fill_between(np.arange(len(plane)), plane, step="mid", color=INK, linewidth=0)
        axes.set_ylim(min(low, 0.0), max(high, 0.0))
    elif plane.ndim == 3:
        axes.imshow(np.clip((plane - low) / (high - low), 0, 1), interpolation="none")
    else:
        axes.imshow(plane, vmin=low, vmax=high, cmap=colours, interpolation="none")
