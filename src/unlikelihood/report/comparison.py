"""The page about several detectors on the same data."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unlikelihood.metrics.intervals import Interval, paired_delong
from unlikelihood.metrics.power import cases_needed
from unlikelihood.metrics.ranking import anomaly_score
from unlikelihood.report import plots
from unlikelihood.report.page import THIN, Plate, Section, Table, draft, duration, span, write_page
from unlikelihood.report.record import Record


@dataclass(frozen=True)
class Row:
    """A line of the comparison.

    Parameters
    ----------
    name : str
        Of the detector; finds its evaluation, if there is one.
    auroc : Interval
        Mean over the seeds, and an interval that holds the sampling of the test.
    spread : float, optional
        Standard deviation over the seeds.
    seeds : int
        How many fits the mean is over.
    reference : float, optional
        Published AUROC to compare with.
    fit_seconds, score_seconds : float, optional
        Time to fit, and to score a sample.
    flagged : int
        Of how many fits something was found wrong after training: a generator that collapsed, for example.
    provenance : dict
        Commit, time, machine and versions of the fits, as `origin` gives them.
    """

    name: str
    auroc: Interval
    spread: float | None = None
    seeds: int = 1
    reference: float | None = None
    fit_seconds: float | None = None
    score_seconds: float | None = None
    flagged: int = 0
    provenance: dict[str, Any] = field(default_factory=dict)


def origin(records: Sequence[Record]) -> dict[str, Any]:
    """Return where the fits of a row came from: by part of provenance, what all share or else all there is."""
    parts = ("commit", "date", "machine", "processor", "python", "torch", "numpy", "scikit-learn")
    found = {part: sorted({str(record.provenance.get(part)) for record in records}) for part in parts}
    return {part: values[0] if len(values) == 1 else values for part, values in found.items()}


def save_comparison(
    path: str | os.PathLike[str],
    title: str,
    text: str,
    rows: Sequence[Row],
    evaluations: Mapping[str, Record] | None = None,
) -> Path:
    """Write ``comparison.json``, ``report.html`` and ``figures/*.png`` into a folder, all of them or none.

    `rows` are in the order of the table, with different names, by which `evaluations` finds the records whose curves
    are drawn; a ValueError says where that is not so.
    """
    evaluations = evaluations or {}
    names = [row.name for row in rows]
    if not rows or len(set(names)) < len(names):
        raise ValueError(f"rows must have at least one row and no name twice, got {names}")
    if unknown := [name for name in evaluations if name not in names]:
        raise ValueError(f"evaluations must have names of rows, {names}, got {unknown}")
    drawn = {name: evaluations[name] for name in names if name in evaluations}
    with draft(path) as folder:
        write_page(
            folder,
            kind="Comparison of anomaly detectors",
            title=title,
            lede=text,
            sections=[ranking(rows, drawn), *_differences(drawn), *_scores(drawn)],
            provenance=next((evaluation.provenance for evaluation in drawn.values()), {}),
        )
        record = {"title": title, "text": text, "rows": [asdict(row) for row in rows]}
        (folder / "comparison.json").write_text(json.dumps(record, indent=1, allow_nan=False), encoding="utf-8")
    return Path(path)


def ranking(rows: Sequence[Row], evaluations: Mapping[str, Record]) -> Section:
    """Return the table of AUROCs, beside the published ones, and the curves of the evaluations that there are."""
    columns = {
        "AUROC": [f"{row.auroc.value:.3f}" for row in rows],
        f"{100 * rows[0].auroc.level:g}{THIN}% interval": [span(row.auroc) for row in rows],
        "± over seeds": ["" if row.spread is None else f"{row.spread:.3f} ({row.seeds})" for row in rows],
        "flagged": [f"{row.flagged} of {row.seeds}" if row.flagged else "" for row in rows],
        "published": ["" if row.reference is None else f"{row.reference:.3g}" for row in rows],
        "to fit": ["" if row.fit_seconds is None else duration(row.fit_seconds) for row in rows],
        "to score one": ["" if row.score_seconds is None else duration(row.score_seconds) for row in rows],
    }
    # A column that nobody fills would only widen the table.
    columns = {head: cells for head, cells in columns.items() if any(cells)}
    cells = [(row.name, *line) for row, line in zip(rows, zip(*columns.values(), strict=True), strict=True)]
    references = {row.name: row.reference for row in rows if row.reference is not None}
    forest = plots.forest({row.name: row.auroc for row in rows}, references)
    plates = [Plate("auroc", "AUROC with its interval", forest)]
    if evaluations:
        curves = plots.rocs({name: (each.label, each.score) for name, each in evaluations.items()})
        plates.append(Plate("rocs", "Anomalies found against false alarms", curves))
    return Section(
        "Which ranks best",
        "AUROC: how often a random anomaly outranks a random normal. Half is chance.",
        table=Table(("", *columns), cells),
        plates=plates,
    )


def _differences(evaluations: Mapping[str, Record]) -> list[Section]:
    """Return the paired comparison of the best with every other that judged the same samples."""
    if len(evaluations) < 2:
        return []
    best = max(evaluations, key=lambda name: evaluations[name].metrics["auroc"].value)
    first, rows = evaluations[best], []
    for name, other in evaluations.items():
        if name == best or not np.array_equal(first.label, other.label) or first.sample != other.sample:
            continue
        found = paired_delong(first.label, anomaly_score(first.score), anomaly_score(other.score))
        areas = first.metrics["auroc"].value, other.metrics["auroc"].value
        needed = ""
        if areas[0] != areas[1] and all(0 < area < 1 for area in areas) and found.correlation < 1:
            cases = cases_needed(*areas, found.correlation)
            needed = f"{cases.anomalous:,} and {cases.normal:,}"
        rows.append((name, f"{found.interval.value:+.3f}", span(found.interval), f"{found.p_value:.2g}", needed))
    if not rows:
        return []
    head = ("", "AUROC behind", f"{100 * found.interval.level:g}{THIN}% interval", "p", "cases to separate them")
    text = (
        f"How far {best} is ahead of the others on the very same samples, by DeLong's paired test, and how many "
        f"anomalies and normals would show that difference with a power of 80{THIN}%."
    )
    if first.provenance.get("by_group"):
        text += " The test takes samples as independent; with patients of several it is too sure."
    return [Section("Is the difference real", text, table=Table(head, rows))]


def _scores(evaluations: Mapping[str, Record]) -> list[Section]:
    plates = [
        Plate(f"densities-{number}", name, plots.score_densities(evaluation.label, evaluation.score))
        for number, (name, evaluation) in enumerate(evaluations.items())
    ]
    return [Section("Scores", "How far apart the hills are. Each is in its own unit.", plates)] if plates else []
