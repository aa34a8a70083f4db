"""Pictures of what a decision rests on: p-values, and evidence of drift."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from unlikelihood.report.plots.style import ANOMALOUS, FAINT, INK, NORMAL, WIDTH, styled


@styled
def p_value_steps(label: ArrayLike, p_value: ArrayLike) -> Figure:
    """Draw the share of each class, label (n,) 0 or 1, whose p-value is at most α, against α.

    Normals on the diagonal raise as many false alarms as was promised, below it fewer.
    """
    labels, p = np.asarray(label), np.asarray(p_value)
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
    shares = {}
    for k, name, colour, line in ((0, "normal", NORMAL, "-"), (1, "anomalous", ANOMALOUS, "--")):
        own = np.sort(p[labels == k])
        axes.step(
            [0, *own, 1],
            [0, *np.arange(1, len(own) + 1) / len(own), 1],
            color=colour,
            linestyle=line,
            where="post",
            label=name,
        )
        shares[name] = float(np.mean(own <= 0.05))
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    axes.set(xlim=(0, 1), ylim=(0, 1.01), aspect="equal", xlabel="α: false alarms allowed", ylabel="share with p ≤ α")
    shown = ", ".join(f"{100 * share:.1f} % of the {name}" for name, share in shares.items())
    figure.set_label(f"Share of each class with a p-value of at most α. At α = 0.05: {shown}")
    return figure


@styled
def evidence(log10: ArrayLike, rate: float) -> Figure:
    """Draw how log₁₀ of the evidence of drift grew from sample to sample, and the alarm at 1/rate."""
    values = np.asarray(log10, np.float64)
    figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.axhline(-np.log10(rate), color=ANOMALOUS, linewidth=1, linestyle="--")
    # At the left, where the evidence has not grown yet.
    axes.annotate("alarm", (1, -np.log10(rate)), (3, 3), textcoords="offset points", color=ANOMALOUS, weight="bold")
    axes.axhline(0, color=FAINT, linewidth=1)
    axes.plot(np.arange(1, len(values) + 1), values, color=INK)
    axes.set(xlabel="samples seen", ylabel="evidence of drift, log₁₀", xlim=(1, max(len(values), 2)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(min(-1.0, values.min()), max(-np.log10(rate) + 0.6, values.max() + 0.3))
    figure.set_label(f"Evidence of drift after each of {len(values)} samples; at most 10 to the {values.max():.2g}")
    return figure
