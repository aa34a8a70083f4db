"""Pictures: each is a `matplotlib.figure.Figure`, and its label is its alternative text."""

from unlikelihood.plots.curves import forest, reliability, roc, rocs, score_densities, training_curve
from unlikelihood.plots.samples import gallery, reconstructions

__all__ = [
    "forest",
    "gallery",
    "reconstructions",
    "reliability",
    "roc",
    "rocs",
    "score_densities",
    "training_curve",
]
