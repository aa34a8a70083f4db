"""Frames side by side, and what is drawn and written in them.

All of a picture's frames share its only axes, which are in inches: axes of their own would take ten times as long.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from unlikelihood.report.plots.planes import AXIAL, Plane
from unlikelihood.report.plots.style import INK, MUTED, WIDTH

TITLE = 8.0  # points
PAD = 2 / 72  # inches between a frame and its title


@dataclass
class Frame:
    """A box in axes; lengths are in inches. Once something is drawn in it, it is as wide and as high as that."""

    axes: Axes
    left: float
    bottom: float
    width: float
    height: float

    def draw(
        self,
        plane: NDArray[Any],
        limits: tuple[float, float],
        colours: Any = "gray",
        aspect: float | None = None,
    ) -> None:
        """Draw a flat view, (H, W), (H, W, 3) or (F,), so that it fills the frame, or with pixels of one aspect."""
        low, high = limits
        if plane.ndim == 1:
            low, high = min(low, 0.0), max(high, 0.0)
            heights = self.height * (np.clip([0.0, *plane], low, high) - low) / (high - low)
            edges = self.left + self.width * np.linspace(0.04, 0.96, len(plane) + 1)
            bars, foot = self.bottom + heights[1:], self.bottom + heights[0]
            self.axes.stairs(bars, edges, baseline=foot, fill=True, color=INK, linewidth=0)
            return
        if aspect is not None:
            self._shrink(aspect * plane.shape[0] / plane.shape[1])
        # A picture is about a hundred points wide on the page, and a larger one would only weigh it down.
        step = max(1, max(plane.shape[:2]) // 160)
        plane = plane[::step, ::step]
        style: dict[str, Any] = {"vmin": low, "vmax": high, "cmap": colours}
        if plane.ndim == 3:
            plane, style = np.clip((plane - low) / (high - low), 0, 1), {}
        extent = (self.left, self.left + self.width, self.bottom, self.bottom + self.height)
        self.axes.imshow(plane, interpolation="none", aspect="auto", extent=extent, **style)

    def entitle(self, text: str, place: Literal["left", "center", "right"] = "center", size: float = TITLE) -> None:
        """Write over the frame."""
        x = self.left + self.width * {"left": 0, "center": 0.5, "right": 1}[place]
        self.axes.text(x, self.bottom + self.height + PAD, text, ha=place, size=size, color=MUTED)

    def mark(self, orientation: str | None, plane: Plane = AXIAL) -> None:
        """Write at the edges of a slice where they lie in the body, if that is known.

        Of an image the orientation has two letters, of a volume three.
        """
        known = None if orientation is None else orientation.rjust(3)
        left, right, top, bottom = plane.edges(known)
        self.write(left, (0.03, 0.5), "left", "center")
        self.write(right, (0.97, 0.5), "right", "center")
        self.write(top, (0.5, 0.97), "center", "top")
        self.write(bottom, (0.5, 0.03), "center", "bottom")

    def write(self, text: str, at: tuple[float, float], across: str, up: str) -> None:
        """Write on a picture, at shares of its width and height, where it is dark and where it is bright."""
        style: dict[str, Any] = {"ha": across, "va": up, "size": 6.5, "color": "white"}
        style["bbox"] = {"facecolor": "black", "alpha": 0.6, "linewidth": 0, "boxstyle": "round,pad=0.12"}
        if text:
            self.axes.text(self.left + at[0] * self.width, self.bottom + at[1] * self.height, text, **style)

    def _shrink(self, ratio: float) -> None:
        """Make the frame so many times as high as wide, around its middle."""
        width, height = min(self.width, self.height / ratio), min(self.height, self.width * ratio)
        self.left += (self.width - width) / 2
        self.bottom += (self.height - height) / 2
        self.width, self.height = width, height


def frames_of(
    count: int, columns: int, ratio: float, titled: bool, shares: Sequence[float] | None = None
) -> NDArray[Any]:
    """Return a grid of frames on a new figure, (rows, columns).

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
    mean = (WIDTH - gap * (columns - 1)) / columns
    widths = mean * columns * np.array(shares or [1] * columns) / sum(shares or [1] * columns)
    lefts = np.cumsum([0, *widths[:-1] + gap])
    height = mean * ratio
    total = (head if titled else 0.0) + rows * height + (rows - 1) * head
    axes = Figure(figsize=(WIDTH, total)).add_axes((0, 0, 1, 1), autoscale_on=False, xlim=(0, WIDTH), ylim=(0, total))
    axes.set_axis_off()
    bottoms = [(rows - 1 - row) * (height + head) for row in range(rows)]
    cells = [
        [Frame(axes, left, bottom, width, height) for left, width in zip(lefts, widths, strict=True)]
        for bottom in bottoms
    ]
    return np.array(cells, object)


def fitting(titles: Sequence[str], columns: int) -> float:
    """Return the size in points at which titles side by side do not touch."""
    # A character is about 0.6 of its size wide, and one of them is left free between two titles.
    room = 72 * WIDTH / columns
    return min(TITLE, room / (0.6 * (max(map(len, titles), default=0) + 1)))
