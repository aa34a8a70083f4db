"""Pictures: each is a `matplotlib.figure.Figure`, and its label is its alternative text."""

from unlikelihood.plots.curves import forest, reliability, roc, rocs, score_densities, training_curve
from unlikelihood.plots.samples import gallery, limits_of, reconstructions
from unlikelihood.plots.style import svg

__all__ = [
    "forest",
    "gallery",
    "limits_of",
    "reconstructions",
    "reliability",
    "roc",
    "rocs",
    "score_densities",
    "svg",
    "training_curve",
]
