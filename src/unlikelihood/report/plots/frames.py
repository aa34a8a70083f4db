"""Frames without axes, and what is drawn and written in them."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from numpy.typing import NDArray

from unlikelihood.report.plots.planes import AXIAL, Plane
from unlikelihood.report.plots.style import INK, MUTED, WIDTH

TITLE = 8.0  # points


def frames_of(
    count: int, columns: int, ratio: float, titled: bool, shares: Sequence[float] | None = None
) -> NDArray[Any]:
    """Return a grid of bare axes, (rows, columns).

    Parameters
    ----------
    count, columns : int
        How many pictures there are, and how many in a row.
    ratio : float
        Height of a picture over its mean width.
    titled : bool
        Leave room for a title over each.
    shares : sequence of float, optional
        Of each column in the width.
    """
    rows, gap = -(-count // columns), 0.03
    # Lengths are in inches.
    head = 0.17 if titled else gap
    width = (WIDTH - gap * (columns - 1)) / columns
    height = width * ratio
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
        width_ratios=shares,
    )
    figure = Figure(figsize=(WIDTH, total))
    cells = [[figure.add_subplot(grid[row, column]) for column in range(columns)] for row in range(rows)]
    for axes in figure.axes:
        axes.set_axis_off()
    return np.array(cells)


def draw(
    axes: Axes,
    plane: NDArray[Any],
    limits: tuple[float, float],
    colours: Any = "gray",
    aspect: float | Literal["auto"] = "auto",
) -> None:
    """Draw a flat view, (H, W), (H, W, 3) or (F,), so that it fills its frame, or with pixels of one aspect."""
    low, high = limits
    if plane.ndim == 1:
        axes.fill_between(np.arange(len(plane)), plane, step="mid", color=INK, linewidth=0)
        axes.set_ylim(min(low, 0.0), max(high, 0.0))
        return
    # A picture is about a hundred points wide on the page, and a larger one would only weigh it down.
    step = max(1, max(plane.shape[:2]) // 160)
    plane = plane[::step, ::step]
    if plane.ndim == 3:
        axes.imshow(np.clip((plane - low) / (high - low), 0, 1), interpolation="none", aspect=aspect)
    else:
        axes.imshow(plane, vmin=low, vmax=high, cmap=colours, interpolation="none", aspect=aspect)


def entitle(axes: Axes, text: str, place: Literal["left", "center", "right"] = "center", size: float = TITLE) -> None:
    """Write over a frame."""
    axes.set_title(text, y=1.0, size=size, color=MUTED, pad=2, loc=place)  # without y, all ticks are measured for one


def fitting(titles: Sequence[str], columns: int) -> float:
    """Return the size in points at which titles side by side do not touch."""
    # A character is about 0.6 of its size wide, and one of them is left free between two titles.
    room = 72 * WIDTH / columns
    return min(TITLE, room / (0.6 * (max(map(len, titles), default=0) + 1)))


def mark(axes: Axes, orientation: str | None, plane: Plane = AXIAL) -> None:
    """Write at the edges of a slice where they lie in the body, if that is known.

    Of an image the orientation has two letters, of a volume three.
    """
    known = None if orientation is None else orientation.rjust(3)
    left, right, top, bottom = plane.edges(known)
    write(axes, left, (0.03, 0.5), "left", "center")
    write(axes, right, (0.97, 0.5), "right", "center")
    write(axes, top, (0.5, 0.97), "center", "top")
    write(axes, bottom, (0.5, 0.03), "center", "bottom")


def write(axes: Axes, text: str, at: tuple[float, float], across: str, up: str) -> None:
    """Write on a picture, where it is dark and where it is bright."""
    style: dict[str, Any] = {"ha": across, "va": up, "size": 6.5, "color": "white", "transform": axes.transAxes}
    style["bbox"] = {"facecolor": "black", "alpha": 0.6, "linewidth": 0, "boxstyle": "round,pad=0.12"}
    if text:
        axes.text(*at, text, **style)
