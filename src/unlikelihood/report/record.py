"""The record of an evaluation: figures with intervals, scores, and where they came from."""

import json
import math
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from unlikelihood.metrics.intervals import Interval
from unlikelihood.metrics.ranking import allowed_false_alarms, anomaly_score, auroc
from unlikelihood.storage.files import recover, replacing
from unlikelihood.storage.provenance import plain
from unlikelihood.storage.records import read_sealed, seal

RECORD, PAGE = "evaluation.json", "report.html"
CLASSES = {0: "normal", 1: "anomalous"}
MEANINGS = {
    "sample": "where it came from",
    "group": "what belongs together, usually a patient",
    "label": "normal or anomalous",
    "score": "the detector's, higher = more normal",
    "probability": "of being anomalous, cross-fitted at the prevalence of these samples",
    "p_value": "conformal, among the calibration scores; lower = more anomalous",
}


def resolved(share: float, count: int) -> bool:
    """Return whether at least one of `count` samples lies beyond a share of them: fewer cannot show that share."""
    return allowed_false_alarms(share, count) > 0


@dataclass(frozen=True, eq=False)
class Record:
    """What was found about a detector on a split; `unlikelihood.evaluate` makes it.

    Parameters
    ----------
    name : str
        What the report calls the detector.
    params : dict
        Its parameters, as plain values.
    data : dict
        How the data are arranged, how many samples went into which part and how many into none, shape of a sample,
        spacing in mm, orientation and range of intensities.
    metrics : dict of str to Interval
        Figures with their confidence intervals.
    calibration_error : float
        Expected calibration error of `probability`, in [0, 1].
    timings : dict of str to float
        ``score_seconds`` a sample, and ``fit_seconds`` where the detector knows it.
    history : dict of str to list of float
        Mean of each loss in each epoch; empty for detectors without a network.
    provenance : dict
        Versions, machine, date, seed, and the command if there was one.
    label : ndarray of int64, shape (n,)
        0 normal, 1 anomalous.
    score : ndarray of float64, shape (n,)
        The detector's, higher = more normal.
    probability : ndarray of float64, shape (n,)
        Cross-fitted probability of being anomalous, at the prevalence of the test samples.
    sample, group : list, optional
        Name and patient of each test sample.
    calibration : ndarray of float64, shape (m,), optional
        Scores of the calibration normals in increasing order; None where there are none.
    p_value : ndarray of float64, shape (n,), optional
        How probable so low a score would be, were the sample normal: the conformal p-value among those.
    places : dict of str to Interval
        Figures of the maps, where the test has masks.
    alarms : list of str
        What was found wrong with the detector after its training, a collapsed generator for example.
    """

    name: str
    params: dict[str, Any]
    data: dict[str, Any]
    metrics: dict[str, Interval]
    calibration_error: float
    timings: dict[str, float]
    history: dict[str, list[float]]
    provenance: dict[str, Any]
    label: NDArray[np.int64]
    score: NDArray[np.float64]
    probability: NDArray[np.float64]
    sample: list[str] | None = None
    group: list[Any] | None = None
    calibration: NDArray[np.float64] | None = None
    p_value: NDArray[np.float64] | None = None
    places: dict[str, Interval] = field(default_factory=dict)
    alarms: list[str] = field(default_factory=list)

    @property
    def prevalence(self) -> float:
        """Share of anomalies in the test samples: what the AUPRC of a useless score is."""
        return float(self.label.mean())

    @property
    def geometry(self) -> dict[str, Any]:
        """How samples lie in space, as plots take it: spacing in mm, and orientation."""
        return {"spacing": self.data["spacing_mm"], "orientation": self.data["orientation"]}

    @property
    def tested(self) -> str:
        """On how many samples of each class the figures are, in words."""
        normal, anomalous = self.data["test_normal"], self.data["test_anomalous"]
        # Of a detector that does not remember what it was fitted to, nobody knows what it has seen.
        unseen = "" if self.data["left_out"] is None else "unseen "
        return f"{normal:,} {unseen}normals and {anomalous:,} anomalies"

    @property
    def left_out(self) -> str:
        """How many test samples the figures are not on, as a sentence; empty where there are none."""
        count = self.data["left_out"] or 0
        return f"{count:,} test samples on which the detector was trained are left out." if count else ""

    def summary(self) -> str:
        """Return the figures as a small plain-text table."""
        rows = {key.replace("_", " "): str(interval) for key, interval in (self.metrics | self.places).items()}
        rows["calibration error"] = f"{self.calibration_error:.3f}"
        rows["scoring"] = f"{1e3 * self.timings['score_seconds']:.3g} ms a sample"
        width = max(map(len, rows))
        table = [f"  {key:<{width}}  {value}" for key, value in rows.items()]
        return "\n".join([f"{self.name} on {self.tested}", *filter(None, [self.left_out]), *table])

    def __str__(self) -> str:
        return self.summary()

    def write(self, folder: str | os.PathLike[str]) -> Path:
        """Write ``evaluation.json`` into a folder, which is made if need be, and return the folder."""
        table = {name: getattr(self, name) for name in MEANINGS}
        table["label"] = [CLASSES[label] for label in self.label.tolist()]
        saved = {f.name: plain(getattr(self, f.name)) for f in fields(Record) if f.name not in MEANINGS}
        for name in ("metrics", "places"):
            saved[name] = {key: asdict(interval) for key, interval in getattr(self, name).items()}
        known = {name: plain(values) for name, values in table.items() if values is not None}
        saved["columns"] = {name: MEANINGS[name] for name in known}
        # One line a field: figures stay readable above the thousands of scores.
        lines = [
            f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in seal(saved | known).items()
        ]
        with replacing(Path(folder) / RECORD) as file:
            file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
        return Path(folder)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Read what `write` wrote; the detector and its data are not part of it.

        Raises
        ------
        ValueError
            If it is damaged, or holds what no evaluation finds; the message names the file.
        OSError
            If there is none.
        """
        path = Path(folder) / RECORD
        recover(Path(folder) / PAGE)
        recover(path)
        saved = read_sealed(path)
        saved.pop("columns", None)
        try:
            for name in ("metrics", "places"):
                saved[name] = {key: Interval(**value) for key, value in saved.get(name, {}).items()}
            known = {word: number for number, word in CLASSES.items()}
            saved["label"] = np.array([known[word] for word in saved["label"]], np.int64)
            for key in ("score", "probability", "calibration", "p_value"):
                if saved.get(key) is not None:
                    saved[key] = np.asarray(saved[key], np.float64)
            record = cls(**saved)
            check(record)
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise ValueError(f"{path} holds what no evaluation finds: {error}") from error
        return record


def check(record: Record) -> None:
    """Raise a ValueError if a record holds figures or columns that no evaluation could have."""
    n = len(record.label)
    for name in ("score", "probability", "sample", "group", "p_value"):
        column = getattr(record, name)
        if column is not None and len(column) != n:
            raise ValueError(f"{name} has {len(column)} rows, expected {n}, one for each label")
    for name, low, high in (
        ("score", -np.inf, np.inf),
        ("calibration", -np.inf, np.inf),
        ("probability", 0, 1),
        ("p_value", 0, 1),
    ):
        column = getattr(record, name)
        if column is not None and not (np.isfinite(column) & (column >= low) & (column <= high)).all():
            raise ValueError(f"{name} holds values that are not finite" + f" from {low} to {high}" * np.isfinite(low))
    if record.calibration is not None and (np.diff(record.calibration) < 0).any():
        raise ValueError("calibration is not in increasing order")
    for name, found in (record.metrics | record.places).items():
        if not 0 <= found.low <= found.high <= 1 or not 0 <= found.value <= 1:
            raise ValueError(f"{name} is {found}, expected a share from 0 to 1 and the ends of its interval")
    if not np.isclose(record.metrics["auroc"].value, auroc(record.label, anomaly_score(record.score)), atol=1e-6):
        raise ValueError(f"auroc is {record.metrics['auroc'].value:.6f}, which is not that of its labels and scores")
    if not all(math.isfinite(seconds) and seconds >= 0 for seconds in record.timings.values()):
        raise ValueError(f"timings are {record.timings}, expected seconds of 0 and more")
