"""Pictures: each is a `matplotlib.figure.Figure`, and its label is its alternative text."""

from unlikelihood.plots.curves import forest, reliability, roc, rocs, score_densities, training_curve
from unlikelihood.plots.decisions import evidence, p_value_steps
from unlikelihood.plots.planes import AXIAL, CORONAL, MONTAGE, SAGITTAL, Plane, ratio
from unlikelihood.plots.samples import gallery, limits_of, reconstructions
from unlikelihood.plots.stills import Sheet, heat, hot_sheet, sheet, still
from unlikelihood.plots.style import svg
from unlikelihood.plots.volumes import busiest, montage, triptych

__all__ = [
    "AXIAL",
    "CORONAL",
    "MONTAGE",
    "SAGITTAL",
    "Plane",
    "Sheet",
    "busiest",
    "evidence",
    "forest",
    "gallery",
    "heat",
    "hot_sheet",
    "limits_of",
    "montage",
    "p_value_steps",
    "ratio",
    "reconstructions",
    "reliability",
    "roc",
    "rocs",
    "score_densities",
    "sheet",
    "still",
    "svg",
    "training_curve",
    "triptych",
]
