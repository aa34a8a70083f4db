"""The parts of the page on which a decision rests: operating points, p-values and drift."""

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import betabinom

from unlikelihood.decisions.drift import Martingale
from unlikelihood.decisions.pvalues import p_values
from unlikelihood.metrics.ranking import anomaly_score
from unlikelihood.report import plots
from unlikelihood.report.page import THIN, Panel, Plate, Section, Table, percent

if TYPE_CHECKING:
    from unlikelihood.evaluation.evaluation import Evaluation

STEPS = 500  # positions of the slider: more would not be told apart on a screen
SPECIFICITIES = (0.99, 0.95, 0.9, 0.8)
ALPHAS = (0.01, 0.05, 0.1)

Step = tuple[float | None, int, int, float | None]
"""An anomaly score as threshold (None: nothing reaches it), the normals and anomalies that reach it, and its p-value."""


def operating(evaluation: "Evaluation") -> Section:
    """Return the part in which a reader moves along the operating points.

    Parameters
    ----------
    evaluation : Evaluation

    Returns
    -------
    Section
    """
    normal, anomalous = (int(np.sum(evaluation.label == k)) for k in (0, 1))
    every = steps(evaluation)
    chosen = {spec: _at_specificity(every, normal, spec) for spec in SPECIFICITIES}
    kept = sorted({*np.linspace(0, len(every) - 1, min(STEPS, len(every))).astype(int).tolist(), *chosen.values()})
    rows = []
    for spec, index in chosen.items():
        threshold, fp, tp, p = every[index]
        rows.append(
            (
                f"Specificity of at least {100 * spec:g}{THIN}%",
                "above all" if threshold is None else f"{threshold:.4g}",
                "" if p is None else f"{p:.2g}",
                percent(1 - fp / normal),
                percent(tp / anomalous),
                f"{fp:,} of {normal:,}",
                f"{anomalous - tp:,} of {anomalous:,}",
            )
        )
    head = ("", "anomaly score from", "p up to", "specificity", "sensitivity", "false alarms", "missed")
    shown = [column for column in range(len(head)) if column != 2 or evaluation.p_value is not None]
    values = {
        "steps": [every[index] for index in kept],
        "start": kept.index(chosen[0.95]),
        "normal": normal,
        "anomalous": anomalous,
        "prevalence": evaluation.prevalence,
    }
    return Section(
        "Operating points",
        "Where to draw the line is for those who bear the consequences. Move it with the mouse or the arrow keys, and "
        "say how rare anomalies are where the detector will be used. These figures are of the test samples, so a line "
        "chosen here looks a little better than it is; the intervals take samples as independent.",
        panel=Panel("operating.html.j2", values),
        table=Table([head[column] for column in shown], [[row[column] for column in shown] for row in rows]),
    )


def steps(evaluation: "Evaluation") -> list[Step]:
    """Return every threshold that calls other samples anomalous than the one before, the strictest first.

    Parameters
    ----------
    evaluation : Evaluation

    Returns
    -------
    list of Step
    """
    order = np.argsort(evaluation.score, kind="stable")
    score, label = evaluation.score[order], evaluation.label[order]
    last = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)  # of those that tie
    threshold, tp = score[last], np.cumsum(label)[last]
    known = evaluation.calibration
    p = [None] * len(last) if known is None else p_values(known, threshold).tolist()
    reached: list[Step] = [(None, 0, 0, None)]
    return reached + list(zip(anomaly_score(threshold).tolist(), (last + 1 - tp).tolist(), tp.tolist(), p, strict=True))


def _at_specificity(every: list[Step], normal: int, specificity: float) -> int:
    allowed = math.floor((1 - specificity) * normal + 1e-9)
    return max(index for index, (_, fp, _, _) in enumerate(every) if fp <= allowed)


def promised(evaluation: "Evaluation") -> Section | None:
    """Return the part that compares the false alarms promised by the p-values with those that were raised.

    Parameters
    ----------
    evaluation : Evaluation

    Returns
    -------
    Section or None
        None where there were no calibration normals.
    """
    if evaluation.p_value is None or evaluation.calibration is None:
        return None
    p = {k: evaluation.p_value[evaluation.label == k] for k in (0, 1)}
    n, rows = len(evaluation.calibration), []
    for alpha in ALPHAS:
        # The false alarms of m normals with one calibration set are beta-binomial (Vovk, 2012).
        k = math.floor(alpha * (n + 1) + 1e-9)
        usual = "none can be raised"
        if k:
            low, high = betabinom.ppf([0.025, 0.975], len(p[0]), k, n + 1 - k) / len(p[0])
            usual = f"{100 * low:.1f} to {100 * high:.1f}{THIN}%"
        rows.append((f"α = {alpha:g}", percent(np.mean(p[0] <= alpha)), usual, percent(np.mean(p[1] <= alpha))))
    return Section(
        "False alarms promised and kept",
        f"A p-value says how many of {n:,} calibration normals, which training never saw, look at least as anomalous. "
        "If new normals are like them, at most a share α gets a p-value up to α.",
        [Plate("p-values", "Share of each class that is called anomalous", plots.p_value_steps(*_both(evaluation)))],
        Table(("", "normals flagged", f"to be expected, 95{THIN}%", "anomalies found"), rows),
    )


def _both(evaluation: "Evaluation") -> tuple[np.ndarray, np.ndarray]:
    return evaluation.label, np.asarray(evaluation.p_value)


def drift(evaluation: "Evaluation") -> Section | None:
    """Return the part that asks whether the test normals are still what the calibration saw.

    Parameters
    ----------
    evaluation : Evaluation

    Returns
    -------
    Section or None
        None where there were no calibration normals.
    """
    if evaluation.calibration is None:
        return None
    # In a random order: sorted by class or by place, any data would drift.
    new = np.random.default_rng(0).permutation(np.sort(evaluation.score[evaluation.label == 0]))
    verdict = Martingale().test(evaluation.calibration, new)
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
