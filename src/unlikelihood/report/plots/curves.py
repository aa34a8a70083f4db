"""Pictures of scores and of what they are worth.

Labels (n,) are 0 for normal and 1 for anomalous. Scores (n,) are the detector's, higher = more normal, in any unit;
what is drawn is the anomaly score.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest, gaussian_kde
from sklearn.metrics import roc_curve

from unlikelihood.metrics.intervals import Interval
from unlikelihood.metrics.ranking import anomaly_score
from unlikelihood.report.plots.style import ANOMALOUS, FAINT, INK, MUTED, NORMAL, PALETTE, WIDTH, styled

FEWEST = 5  # samples in a bin: of a single one the share is 0 or 1
_CLASSES = ((0, "normal", NORMAL), (1, "anomalous", ANOMALOUS))


@styled
def score_densities(label: ArrayLike, score: ArrayLike) -> Figure:
    """Draw the Gaussian kernel density of the scores of each class, over a rug of the scores themselves.

    The bandwidth is 0.9 min(s, IQR / 1.34) n^(−1/5) (Silverman, 1986, eq. 3.31).
    """
    labels, scores = np.asarray(label), anomaly_score(score)
    # A few far outliers would flatten everything else, so the axis ends a little beyond 99 % of the scores.
    inner = np.quantile(scores, [0.005, 0.995])
    margin = 0.08 * (np.ptp(inner) or 1.0)
    low, high = max(inner[0] - margin, scores.min() - margin), min(inner[1] + margin, scores.max() + margin)
    beyond = int(np.sum((scores < low) | (scores > high)))
    figure, axes = _canvas("anomaly score", "", height=2.9)
    peaks = []
    for k, _name, colour in _CLASSES:
        x, density = _density(scores[labels == k], low, high)
        axes.fill_between(x, density, color=colour, alpha=0.16, linewidth=0)
        axes.plot(x, density, color=colour)
        peaks.append(float(x[np.argmax(density)]))
    top = axes.get_ylim()[1]
    _name_hills(axes, labels, scores, peaks, (low, high, top))
    for k, _name, colour in _CLASSES:
        own = np.sort(scores[labels == k])
        own = own[np.linspace(0, len(own) - 1, min(len(own), 500)).astype(int)]
        own = own[(own >= low) & (own <= high)]
        foot = -top * (0.03 + 0.06 * k)
        _ticks(axes, own, foot - 0.05 * top, foot, colour)
    axes.set(xlim=(low, high), ylim=(-0.16 * top, 1.1 * top), yticks=[])
    axes.spines["left"].set_visible(False)
    if beyond:
        axes.set_xlabel(f"anomaly score ({beyond:,} of {len(scores):,} lie beyond the axis)")
    medians = [f"{name} {np.median(scores[labels == k]):.4g}" for k, name, _ in _CLASSES]
    figure.set_label(f"Densities of the anomaly scores; medians: {', '.join(medians)}")
    return figure


@styled
def roc(label: ArrayLike, score: ArrayLike, interval: Interval | None = None) -> Figure:
    """Draw the ROC curve of a score, with its AUROC beside it if that is given."""
    figure, axes = _roc_canvas()
    fpr, tpr, _ = roc_curve(label, anomaly_score(score))
    axes.fill_between(fpr, tpr, color=INK, alpha=0.05, linewidth=0)
    axes.plot(fpr, tpr, color=INK)
    text = "ROC curve"
    if interval:
        text = f"AUROC {interval.value:.3f}"
        span = f"{100 * interval.level:g} % CI {interval.low:.3f} to {interval.high:.3f}"
        # On the side of the diagonal on which the curve is not.
        x, y, side = (0.97, 0.09, "right") if interval.value >= 0.5 else (0.03, 0.85, "left")
        axes.text(x, y + 0.08, text, ha=side, size=13, weight="bold", color=INK)
        axes.text(x, y, span, ha=side, color=MUTED)
        text = f"ROC curve, {text}, {span}"
    figure.set_label(text)
    return figure


@styled
def rocs(curves: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> Figure:
    """Draw the ROC curves of several detectors in one frame, from their names, labels and scores."""
    figure, axes = _roc_canvas()
    # Where there are more curves than colours, the next round is dashed.
    strokes = [(colour, line) for line in ("-", "--", ":") for colour in PALETTE]
    for (name, (label, score)), (colour, line) in zip(curves.items(), cycle(strokes), strict=False):
        fpr, tpr, _ = roc_curve(label, anomaly_score(score))
        axes.plot(fpr, tpr, color=colour, linestyle=line, label=name)
    columns = 2 if max(map(len, curves)) <= 26 else 1  # longer names would not fit beside each other
    figure.set_figheight(3.4 + 0.24 / columns * len(curves))
    figure.legend(loc="outside lower center", ncols=columns, frameon=False, handlelength=1.4)
    figure.set_label(f"ROC curves of {', '.join(curves)}")
    return figure


@styled
def forest(intervals: Mapping[str, Interval], references: Mapping[str, float] | None = None) -> Figure:
    """Draw the AUROC of several detectors as points with intervals, one below the other, beside published ones."""
    known = {} if references is None else references
    figure = Figure(figsize=(WIDTH, 0.75 + 0.3 * len(intervals)), layout="constrained")
    axes = figure.subplots()
    low = min([0.5, *(i.low for i in intervals.values()), *known.values()])
    axes.axvline(0.5, color=FAINT, linewidth=1)
    for row, (name, interval) in enumerate(intervals.items()):
        axes.plot([interval.low, interval.high], [row, row], color=INK, linewidth=1.6)
        axes.plot(interval.value, row, "o", color=INK, markersize=5)
        if name in known:
            axes.plot(known[name], row, "D", color=MUTED, markersize=5, markerfacecolor="none")
    axes.set(xlim=(low - 0.02, 1), ylim=(len(intervals) - 0.5, -0.5), xlabel="AUROC")
    axes.set_yticks(range(len(intervals)), list(intervals), color=INK)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    if known:
        axes.set_xlabel("AUROC (diamonds: published)")
    figure.set_label("AUROC: " + "; ".join(f"{name} {interval}" for name, interval in intervals.items()))
    return figure


@styled
def reliability(label: ArrayLike, probability: ArrayLike, bins: int = 10) -> Figure:
    """Draw how often samples were anomalous against the probability, in [0, 1], that was predicted.

    In bins of equal count, fewer where there are few samples; their 95 % intervals are Wilson's.
    """
    labels, probabilities = np.asarray(label), np.asarray(probability)
    figure, axes = _canvas("predicted probability", "share anomalous", height=3.4)
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
    bins = max(1, min(bins, len(labels) // FEWEST))
    for part in np.array_split(np.argsort(probabilities, kind="stable"), bins):
        share = binomtest(int(labels[part].sum()), len(part)).proportion_ci(method="wilson")
        x = float(probabilities[part].mean())
        axes.plot([x, x], [share.low, share.high], color=INK, linewidth=1, clip_on=False)
        axes.plot(x, labels[part].mean(), "o", color=INK, markersize=4.5, clip_on=False)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), aspect="equal")
    figure.set_label(f"Reliability of the probabilities, in {bins} bins; the diagonal is perfect")
    return figure


@styled
def training_curve(history: Mapping[str, Sequence[float]]) -> Figure:
    """Draw the mean of each loss in each epoch, a frame for each."""
    figure = Figure(figsize=(WIDTH, 1.3 + 1.6 * len(history)), layout="constrained")
    frames = figure.subplots(len(history), sharex=True, squeeze=False)[:, 0]
    for axes, (name, losses) in zip(frames, history.items(), strict=True):
        epoch = np.arange(1, len(losses) + 1)
        axes.plot(epoch, losses, color=INK)
        axes.plot(epoch[-1:], losses[-1:], "o", color=INK, markersize=4)
        axes.set_ylabel(name)
        axes.annotate(f"{losses[-1]:.4g}", (epoch[-1], losses[-1]), (6, 0), textcoords="offset points", va="center")
    frames[-1].set_xlabel("epoch")
    frames[-1].xaxis.get_major_locator().set_params(integer=True)
    ends = [f"{name} from {losses[0]:.4g} to {losses[-1]:.4g}" for name, losses in history.items()]
    figure.set_label(f"Losses over the epochs: {', '.join(ends)}")
    return figure


def _canvas(x: str, y: str, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=x, ylabel=y)
    return figure, axes


def _roc_canvas() -> tuple[Figure, Axes]:
    figure, axes = _canvas("false positive rate (1 − specificity)", "true positive rate (sensitivity)", height=3.4)
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
    axes.set(xlim=(-0.005, 1), ylim=(0, 1.01), aspect="equal")
    return figure, axes


def _name_hills(
    axes: Axes,
    labels: NDArray[Any],
    scores: NDArray[np.float64],
    peaks: Sequence[float],
    frame: tuple[float, float, float],
) -> None:
    """Write the name of each class above its hill, the left one's to the left of its peak."""
    low, high, top = frame
    left = 0 if np.median(scores[labels == 0]) <= np.median(scores[labels == 1]) else 1
    room = 0.3 * (high - low)
    ends = [max(peaks[left], low + room), min(peaks[1 - left], high - room)]
    if ends[0] > ends[1]:
        ends = [float(np.mean(ends))] * 2
    for k, name, colour in _CLASSES:
        x, side, gap = (ends[0], "right", -4) if k == left else (ends[1], "left", 4)
        style: dict[str, Any] = {"color": colour, "weight": "bold", "ha": side, "va": "bottom"}
        text = f"{int(np.sum(labels == k)):,} {name}"
        axes.annotate(text, (x, top), (gap, 0), textcoords="offset points", **style)


def _density(scores: NDArray[np.float64], low: float, high: float) -> tuple[NDArray[Any], NDArray[Any]]:
    x = np.linspace(low, high, 400)
    deviation = scores.std(ddof=1) if len(scores) > 1 else 0.0
    if deviation == 0:
        return x, np.zeros_like(x)  # a point has no density; the rug shows it
    spread = min(deviation, np.subtract(*np.quantile(scores, [0.75, 0.25])) / 1.34) or deviation
    return x, gaussian_kde(scores, bw_method=0.9 * spread / deviation * len(scores) ** -0.2)(x)


def _ticks(axes: Axes, x: NDArray[np.float64], low: float, high: float, colour: str) -> None:
    gap = np.full(len(x), np.nan)
    y = np.stack([gap + low, gap + high, gap], axis=1)
    # One broken line, not a line a sample: a thousand elements less in the page.
    y[:, 0], y[:, 1] = low, high
    axes.plot(np.repeat(x, 3), y.ravel(), color=colour, linewidth=0.5, alpha=0.6)
