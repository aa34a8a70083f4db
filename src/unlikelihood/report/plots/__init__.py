"""Pictures: each is a `matplotlib.figure.Figure`, and its label is its alternative text."""

from unlikelihood.report.plots.curves import forest, reliability, roc, rocs, score_densities, training_curve
from unlikelihood.report.plots.mapped import mapped
from unlikelihood.report.plots.networks import architecture, search_losses
from unlikelihood.report.plots.p_values import evidence, p_value_steps
from unlikelihood.report.plots.planes import AXIAL, CORONAL, MONTAGE, SAGITTAL, Plane, ratio
from unlikelihood.report.plots.samples import gallery, limits_of, reconstructions
from unlikelihood.report.plots.stills import THINNED, Sheet, heat, hot_sheet, hot_still, laid_over, sheet, still, weight
from unlikelihood.report.plots.style import svg
from unlikelihood.report.plots.volumes import busiest, montage, triptych

__all__ = [
    "AXIAL",
    "CORONAL",
    "MONTAGE",
    "SAGITTAL",
    "THINNED",
    "Plane",
    "Sheet",
    "architecture",
    "busiest",
    "evidence",
    "forest",
    "gallery",
    "heat",
    "hot_sheet",
    "hot_still",
    "laid_over",
    "limits_of",
    "mapped",
    "montage",
    "p_value_steps",
    "ratio",
    "reconstructions",
    "reliability",
    "roc",
    "rocs",
    "score_densities",
    "search_losses",
    "sheet",
    "still",
    "svg",
    "training_curve",
    "triptych",
    "weight",
]
