"""The figure of the surface: AUROC against what is open, with the scale of errors below it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unlikelihood.report.plots.style import INK, MUTED, PALETTE, styled

Found = Mapping[str, Any]

AXES = {"latent": "latent size", "width": "width", "epochs": "epochs"}
FORMS = {
    "VAE": "convolutions",
    "FullyConnected": "fully connected",
    "BatchNormalised": "batch norm",
    "SigmoidOutput": "sigmoid",
    "ConstantRate": "constant rate",
    "RMSprop": "RMSprop",
}
PIXELS = {1.0: "[0, 1]", 4.0: "[-1, 1]", 10.5: "standardised"}
MARKS = "os^DvPX"  # more than colours, so that a sixth line has its own look


@styled
def draw(found: Sequence[Found], nines: Sequence[Found], beyond: float, published: float) -> Figure:
    """Draw the mean AUROC over the stand-ins, and the median and 95 % quantile of unseen normals' errors.

    A line joins cells that differ in the axis alone; nines are dotted.

    Parameters
    ----------
    found, nines : sequence of mapping
        Cells, measured on the stand-ins and on nines.
    beyond : float
        The error above which the thesis saw anomalies.
    published : float
        The thesis' AUROC.
    """
    figure = Figure(figsize=(12, 6), layout="constrained")
    above, below = figure.subplots(2, 4, sharey="row")
    for column, (key, title) in enumerate(AXES.items()):
        drawn = lines(found, key)
        for number, line in enumerate(drawn):
            style: dict[str, Any] = {"color": PALETTE[number % len(PALETTE)], "marker": MARKS[number % len(MARKS)]}
            x = [cell["setting"][key] for cell in line]
            same = [cell for cell in nines if any(cell["setting"] == other["setting"] for other in line)]
            above[column].plot(x, [mean(cell) for cell in line], markersize=4, **style)
            above[column].plot([c["setting"][key] for c in same], [mean(c) for c in same], ":", color=style["color"])
            below[column].plot([], [], label=label(line[0], key), **style)
            errors(below[column], x, line, style)
        below[column].set(xscale="log", yscale="log", xlabel=title)
        above[column].set(xscale="log")
        ticks = sorted({cell["setting"][key] for line in drawn for cell in line})
        for axes in (above[column], below[column]):
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.minorticks_off()
        if drawn:
            below[column].legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.22))
    others = [cell for cell in found if all(cell["setting"][key] == value for key, value in usual(found).items())]
    names = [FORMS[cell["setting"]["form"]] + rate(cell) for cell in others]
    x = list(range(len(others)))
    above[3].plot(x, [mean(cell) for cell in others], "o", color=INK, markersize=4)
    errors(below[3], x, others, {"color": INK, "marker": "o", "linestyle": ""})
    above[3].set_xticks(x, [])
    below[3].set_xticks(x, names, rotation=60, ha="right", fontsize=7)
    for axes in above:
        axes.axhline(published, color=MUTED, linewidth=0.8)
        axes.axhline(0.5, color=MUTED, linewidth=0.4)
    for axes in below:
        axes.axhline(beyond, color=MUTED, linewidth=0.8)
    above[0].set_ylabel("AUROC, mean of the stand-ins\n(nines dotted)")
    below[0].set_ylabel("error of unseen normals\nmedian, and 95 % quantile (dashed)")
    above[3].set_title(f"else, at {usual(found)['latent']} latents", fontsize=8)
    figure.set_label("AUROC, and errors of unseen normals, against latent size, width, epochs and other choices")
    return figure


def lines(found: Sequence[Found], key: str) -> list[list[Found]]:
    """Return the groups of cells that differ in one axis alone, in its order, those of one cell left out."""
    groups: dict[str, list[Found]] = {}
    for cell in found:
        groups.setdefault(str({k: value for k, value in cell["setting"].items() if k != key}), []).append(cell)
    return [sorted(group, key=lambda cell: cell["setting"][key]) for group in groups.values() if len(group) > 1]


def usual(found: Sequence[Found]) -> dict[str, Any]:
    """Return the setting around which form and learning rate are varied: the first cells' with most of them."""
    settings = [{k: cell["setting"][k] for k in ("latent", "width", "epochs", "scale")} for cell in found]
    return max(settings, key=settings.count)


def label(cell: Found, key: str) -> str:
    """Return what a line's cells have in common, in words."""
    setting = cell["setting"]
    words = {
        "form": FORMS[setting["form"]],
        "latent": f"{setting['latent']} latents",
        "width": f"width {setting['width']}",
        "epochs": f"{setting['epochs']} epochs",
        "scale": PIXELS[setting["scale"]],
    }
    return ", ".join(value for name, value in words.items() if name != key)


def rate(cell: Found) -> str:
    """Return the learning rate, where it is not the usual one."""
    return "" if cell["setting"]["learning_rate"] == 1e-3 else f", rate {cell['setting']['learning_rate']:g}"


def mean(cell: Found) -> float:
    """Return the mean AUROC over the held-out digits."""
    return float(np.mean([area["value"] for area in cell["auroc"].values()]))


def errors(axes: Axes, x: Any, line: Sequence[Found], style: Mapping[str, Any]) -> None:
    """Draw medians and 95 % quantiles of unseen normals' errors."""
    for key, dash in (("median", "-"), ("95 % quantile", "--")):
        axes.plot(x, [cell["unseen normals"][key] for cell in line], **{"linestyle": dash, "markersize": 3, **style})
