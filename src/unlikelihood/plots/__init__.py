"""Pictures: each is a `matplotlib.figure.Figure`, and its label is its alternative text."""

from unlikelihood.plots.curves import forest, reliability, roc, rocs, score_densities, training_curve
from unlikelihood.plots.decisions import evidence, p_value_steps
from unlikelihood.plots.samples import gallery, limits_of, reconstructions
from unlikelihood.plots.stills import heat, still
from unlikelihood.plots.style import svg

__all__ = [
    "evidence",
    "forest",
    "gallery",
    "heat",
    "limits_of",
    "p_value_steps",
    "reconstructions",
    "reliability",
    "roc",
    "rocs",
    "score_densities",
    "still",
    "svg",
    "training_curve",
]
