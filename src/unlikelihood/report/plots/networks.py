"""Pictures of networks, and of searches through their latents."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from unlikelihood.report.plots.style import ANOMALOUS, FAINT, INK, MUTED, NORMAL, WIDTH, styled

SMALL = 7.0  # points
MOST = 26  # layers drawn one by one


@styled
def architecture(layers: Sequence[tuple[str, Sequence[int], int]]) -> Figure:
    """Draw the layers of a network from its input at the top to its output.

    Each is a bar, the wider the more values it puts out, on a logarithmic scale; beside it stand the shape of that
    output for one sample and how many parameters it has.

    Parameters
    ----------
    layers : sequence of (str, sequence of int, int)
        Name, shape and parameters. Where there are very many, those in the middle are drawn as one.
    """
    rows = [
        (name, "×".join(map(str, size)) or "1", f"{count:,}" if count else "", size) for name, size, count in layers
    ]
    if len(rows) > MOST:
        first, last = MOST // 2, len(rows) - MOST // 2
        hidden = sum(count for _, _, count in layers[first:last])
        rows[first:last] = [(f"… {last - first} more layers", "", f"{hidden:,}", layers[last][1])]
    figure = Figure(figsize=(WIDTH, 0.3 + 0.23 * len(rows)))
    axes = figure.add_axes((0, 0, 1, 1))
    widths = np.array([np.log2(1 + np.prod(size, dtype=float)) for *_, size in rows])
    half = 0.11 * widths / widths.max()
    size = min(SMALL, 190 / max(len(name) for name, *_ in rows))
    for y, ((name, shape, count, _), reach) in enumerate(zip(rows, half, strict=True)):
        axes.barh(y, 2 * reach, 0.72, left=0.55 - reach, color=INK if count else MUTED, alpha=0.75, linewidth=0)
        axes.text(0.0, y, name, size=size, color=INK, va="center")
        axes.text(0.83, y, shape, size=SMALL, color=MUTED, va="center", ha="right")
        axes.text(1.0, y, count, size=SMALL, color=MUTED, va="center", ha="right")
    for y, (before, after) in enumerate(pairwise(half)):
        axes.plot([0.55 - before, 0.55 - after], [y + 0.36, y + 0.64], color=FAINT, linewidth=0.6)
        axes.plot([0.55 + before, 0.55 + after], [y + 0.36, y + 0.64], color=FAINT, linewidth=0.6)
    for x, text in ((0.83, "output"), (1.0, "parameters")):
        axes.text(x, -0.95, text, size=SMALL, color=MUTED, va="center", ha="right")
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -1.4))
    axes.set_axis_off()
    total = sum(count for _, _, count in layers)
    figure.set_label(f"{len(layers)} layers with {total:,} parameters: " + "; ".join(f"{n} {s}" for n, s, *_ in rows))
    return figure


@styled
def search_losses(losses: Mapping[str, NDArray[np.float64]]) -> Figure:
    """Draw the loss of a latent search at its start and after each step, for a normal and an anomalous sample."""
    figure = Figure(figsize=(WIDTH, 2.4), layout="constrained")
    axes = figure.subplots()
    highest = max(loss[-1] for loss in losses.values())
    for (name, loss), colour in zip(losses.items(), (NORMAL, ANOMALOUS), strict=False):
        axes.plot(np.arange(len(loss)), loss, color=colour)
        side = "bottom" if loss[-1] == highest else "top"  # so that two that end alike are not written over each other
        axes.annotate(name, (len(loss) - 1, loss[-1]), (4, 0), textcoords="offset points", color=colour, va=side)
    axes.set(xlabel="step of the search", ylabel="loss")
    ends = "; ".join(f"{name} from {loss[0]:.4g} to {loss[-1]:.4g}" for name, loss in losses.items())
    figure.set_label(f"Loss over the search: {ends}")
    return figure
