"""How the pictures of the gallery look: C0 is normal and C1 anomalous, as in reports."""

from typing import Any

from matplotlib import rcParams
from matplotlib.pyplot import cycler

from unlikelihood import progress
from unlikelihood.report.plots.style import ANOMALOUS, NORMAL, PALETTE


def look(gallery: dict[str, Any], name: str) -> None:
    """Set it, before each example."""
    progress.LINE_SECONDS = float("inf")  # how far a fit is, on a slow machine, is not what an example prints
    rcParams.update(
        {
            "axes.prop_cycle": cycler(color=[NORMAL, ANOMALOUS, *PALETTE]),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.linewidth": 0.6,
            "figure.constrained_layout.use": True,
            "figure.dpi": 100,
            "savefig.dpi": 150,
            "font.size": 9,
            "axes.titlesize": 9,
            "image.interpolation": "nearest",
        }
    )
