"""The parts of the page on which a decision rests: operating points, p-values and drift."""

import math

import numpy as np
from scipy.stats import betabinom

from unlikelihood.decisions.drift import Martingale
from unlikelihood.decisions.pvalues import p_values
from unlikelihood.metrics.ranking import allowed_false_alarms, anomaly_score
from unlikelihood.report import plots
from unlikelihood.report.page import THIN, Panel, Plate, Section, Table, apart, percent
from unlikelihood.report.record import Record, resolved

STEPS = 500  # positions of the slider: more would not be told apart on a screen
SPECIFICITIES = (0.99, 0.95, 0.9, 0.8)
ALPHAS = (0.01, 0.05, 0.1)

Step = tuple[float | None, int, int, float | None]
"""A threshold of the anomaly score (None: nothing reaches it), the normals and anomalies there, and its p-value."""


def operating(record: Record) -> Section:
    """Return the part in which a reader moves along the operating points."""
    normal, anomalous = (int(np.sum(record.label == k)) for k in (0, 1))
    every = steps(record)
    start = _at_specificity(every, normal, 0.95)
    chosen = {spec: _at_specificity(every, normal, spec) for spec in SPECIFICITIES if resolved(spec, normal)}
    picked = np.linspace(0, len(every) - 1, min(STEPS, len(every))).astype(int).tolist()
    kept = sorted({*picked, *chosen.values(), start})
    rows = [
        (
            f"Specificity of at least {100 * spec:g}{THIN}%",
            threshold,
            "" if every[index][3] is None else f"{every[index][3]:.2g}",
            percent(1 - every[index][1] / normal),
            percent(every[index][2] / anomalous),
            f"{every[index][1]:,} of {normal:,}",
            f"{anomalous - every[index][2]:,} of {anomalous:,}",
        )
        for (spec, index), threshold in zip(chosen.items(), _thresholds(every, list(chosen.values())), strict=True)
    ]
    head = ("", "anomaly score from", "p up to", "specificity", "sensitivity", "false alarms", "missed")
    shown = [column for column in range(len(head)) if column != 2 or record.p_value is not None]
    values = {
        "steps": [(text, *every[index][1:]) for index, text in zip(kept, _thresholds(every, kept), strict=True)],
        "start": kept.index(start),
        "normal": normal,
        "anomalous": anomalous,
        "prevalence": record.prevalence,
    }
    text = (
        "Where to draw the line is for those who bear the consequences. Move it with the mouse or the arrow keys, and "
        "say how rare anomalies are where the detector will be used. These figures are of the test samples, so a line "
        "chosen here looks a little better than it is; the intervals take samples as independent."
    )
    if not rows:
        text += f" {normal} normals are too few to tell a specificity of 80{THIN}% from a higher one."
    table = Table([head[column] for column in shown], [[row[column] for column in shown] for row in rows])
    return Section("Operating points", text, panel=Panel("operating.html.j2", values), table=table if rows else None)


def steps(record: Record) -> list[Step]:
    """Return every threshold that calls other samples anomalous than the one before, the strictest first."""
    order = np.argsort(record.score, kind="stable")
    score, label = record.score[order], record.label[order]
    last = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)  # of those that tie
    threshold, tp = score[last], np.cumsum(label)[last]
    p = [None] * len(last) if record.p_value is None else record.p_value[order][last].tolist()
    reached: list[Step] = [(None, 0, 0, None)]
    of_each = zip(anomaly_score(threshold).tolist(), (last + 1 - tp).tolist(), tp.tolist(), p, strict=True)
    return reached + list(of_each)


def _thresholds(every: list[Step], chosen: list[int]) -> list[str]:
    """Return the thresholds of some steps with as many digits as tell them apart."""
    known = {index: threshold for index in chosen if (threshold := every[index][0]) is not None}
    texts = dict(zip(known, apart(list(known.values())), strict=True))
    return [texts.get(index, "above all") for index in chosen]


def _at_specificity(every: list[Step], normal: int, specificity: float) -> int:
    allowed = allowed_false_alarms(specificity, normal)
    return max(index for index, (_, fp, _, _) in enumerate(every) if fp <= allowed)


def promised(record: Record) -> Section | None:
    """Return the part that compares the false alarms promised by the p-values with those that were raised.

    None where there were no calibration normals.
    """
    if record.p_value is None or record.calibration is None:
        return None
    p = {k: record.p_value[record.label == k] for k in (0, 1)}
    n, rows = len(record.calibration), []
    # A `Conformal` may promise more than the average, or for each kind.
    marginal = np.allclose(record.p_value, p_values(record.calibration, record.score))
    meaning = f"A p-value says how many of {n:,} calibration normals{_unseen(record)} look at least as anomalous."
    if not marginal:
        meaning = f"A p-value rests on {n:,} calibration normals{_unseen(record)}, with the detector's own guarantee."
    for alpha in ALPHAS:
        # The false alarms of m normals with one calibration set are beta-binomial (Vovk, 2012).
        k = math.floor(alpha * (n + 1) + 1e-9)
        usual = "none can be raised"
        if k:
            low, high = betabinom.ppf([0.025, 0.975], len(p[0]), k, n + 1 - k) / len(p[0])
            usual = f"{100 * low:.1f} to {100 * high:.1f}{THIN}%"
        expected = (usual,) if marginal else ()
        rows.append((f"α = {alpha:g}", percent(np.mean(p[0] <= alpha)), *expected, percent(np.mean(p[1] <= alpha))))
    shares = plots.p_value_steps(record.label, record.p_value)
    return Section(
        "False alarms promised and kept",
        f"{meaning} If new normals are like them, at most a share α gets a p-value up to α."
        + (f" With {n:,} of them no alarm is possible at an α below {1 / (n + 1):.2g}." if marginal else ""),
        [Plate("p-values", "Share of each class that is called anomalous", shares)],
        Table(
            ("", "normals flagged", *((f"to be expected, 95{THIN}%",) if marginal else ()), "anomalies found"),
            rows,
        ),
    )


def _unseen(record: Record) -> str:
    # Of a detector that does not remember what it was fitted to, nobody knows what it has seen.
    return "" if record.data["left_out"] is None else ", which training never saw,"


def drift(record: Record) -> Section | None:
    """Return the part that asks whether the test normals are still what the calibration saw.

    None where there were no calibration normals.
    """
    if record.calibration is None:
        return None
    # In a random order: sorted by class or by place, any data would drift.
    new = np.random.default_rng(0).permutation(np.sort(record.score[record.label == 0]))
    verdict = Martingale().test(record.calibration, new)
    return Section(
        "Drift",
        f"Are the test normals still what the calibration saw? {verdict}",
        [
            Plate(
                "drift",
                f"Evidence against it; without drift it reaches the dashed line with probability {verdict.rate:g} at "
                "most",
                plots.evidence(verdict.evidence, verdict.rate),
            )
        ],
    )
