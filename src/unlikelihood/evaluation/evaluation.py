"""What a detector is worth on a split: a frozen record of scores, figures with intervals, and provenance."""

import json
import os
import time
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from unlikelihood.data.splits import Split
from unlikelihood.decisions.probability import cross_fitted
from unlikelihood.decisions.pvalues import p_values
from unlikelihood.metrics.intervals import Interval, bootstrap, delong
from unlikelihood.metrics.probability import brier, expected_calibration_error
from unlikelihood.metrics.ranking import (
    anomaly_score,
    auprc,
    auroc,
    fpr_at_tpr,
    sensitivity_at_specificity,
    validate,
)
from unlikelihood.report.cases import Cases, choose_cases
from unlikelihood.report.pictures import Pictures, choose
from unlikelihood.storage.files import replacing
from unlikelihood.storage.identity import content_hash, unseen
from unlikelihood.storage.provenance import display_name, plain, provenance

RECORD = "evaluation.json"
DRAWN = ("pictures", "cases")


class Ranks(Protocol):
    """What `evaluate` asks of a detector."""

    def score_samples(self, X: NDArray[Any]) -> NDArray[Any]: ...  # noqa: D102
    def get_params(self, deep: bool = True) -> dict[str, Any]: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A detector judged on a split; `evaluate` makes it.

    Parameters
    ----------
    name : str
        What the report calls the detector.
    params : dict
        Its parameters, as plain values.
    data : dict
        Counts, shape of a sample, spacing in mm and range of intensities.
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
        The detector's scores, higher = more normal.
    probability : ndarray of float64, shape (n,)
        Cross-fitted probability of being anomalous, at the prevalence of the test samples.
    sample, group : list, optional
        Name and patient of each test sample.
    calibration : ndarray of float64, shape (m,), optional
        Scores of the calibration normals in increasing order; None where the split holds none.
    p_value : ndarray of float64, shape (n,), optional
        How probable so low a score would be, were the sample normal: the conformal p-value among those.
    pictures : Pictures, optional
        What the report shows; not part of the saved record.
    cases : Cases, optional
        What a reader can look through in it; not part of the saved record.
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
    pictures: Pictures | None = field(default=None, repr=False)
    cases: Cases | None = field(default=None, repr=False)

    @property
    def prevalence(self) -> float:
        """Share of anomalies in the test samples: what the AUPRC of a useless score is."""
        return float(self.label.mean())

    def summary(self) -> str:
        """Return the figures as a small plain-text table."""
        normal, anomalous = self.data["test_normal"], self.data["test_anomalous"]
        rows = {key.replace("_", " "): str(interval) for key, interval in self.metrics.items()}
        rows["calibration error"] = f"{self.calibration_error:.3f}"
        rows["scoring"] = f"{1e3 * self.timings['score_seconds']:.3g} ms a sample"
        width = max(map(len, rows))
        table = [f"  {key:<{width}}  {value}" for key, value in rows.items()]
        return "\n".join([f"{self.name} on {normal:,} unseen normals and {anomalous:,} anomalies", *table])

    def __str__(self) -> str:
        return self.summary()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write ``evaluation.json``, ``report.html`` and ``figures/*.png`` into a folder.

        Everything is drawn in a temporary folder beside it first: if that fails, nothing is changed. Files of
        other names in the folder stay.

        Parameters
        ----------
        path : path
            The folder; made if need be.

        Returns
        -------
        Path
            The folder.
        """
        # Drawing needs matplotlib, which judging does not.
        from unlikelihood.report.page import draft
        from unlikelihood.report.single import draw

        with draft(path) as folder:
            draw(self, folder)
            (folder / RECORD).write_text(self._json(), encoding="utf-8")
        return Path(path)

    def save_record(self, path: str | os.PathLike[str]) -> Path:
        """Write ``evaluation.json`` alone into a folder, as `save` does.

        Parameters
        ----------
        path : path
            The folder; made if need be.

        Returns
        -------
        Path
            The folder.
        """
        with replacing(Path(path) / RECORD) as file:
            file.write_text(self._json(), encoding="utf-8")
        return Path(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote, except the pictures.

        Parameters
        ----------
        path : path
            The folder.

        Returns
        -------
        Evaluation
        """
        record = json.loads((Path(path) / RECORD).read_text(encoding="utf-8"))
        record["metrics"] = {key: Interval(**value) for key, value in record["metrics"].items()}
        record["label"] = np.asarray(record["label"], np.int64)
        for key in ("score", "probability", "calibration", "p_value"):
            if record.get(key) is not None:
                record[key] = np.asarray(record[key], np.float64)
        return cls(**record)

    def _json(self) -> str:
        record = {f.name: plain(getattr(self, f.name)) for f in fields(self) if f.name not in DRAWN}
        record["metrics"] = {key: asdict(interval) for key, interval in self.metrics.items()}
        # One line a field: figures stay readable above the thousands of scores.
        lines = [f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in record.items()]
        return "{\n" + ",\n".join(lines) + "\n}\n"


def evaluate(detector: Ranks, split: Split, *, name: str | None = None, draws: int = 1000, seed: int = 0) -> Evaluation:
    """Judge a fitted detector on the test part of a split.

    The AUROC has DeLong's interval, every other figure a bootstrap's; where a group has several samples, all
    are bootstrapped by group. The probability is the cross-fitted logistic regression's, the p-value conformal:
    among the calibration normals that the detector remembers, or else those of the split.

    Parameters
    ----------
    detector : detector
        Anything with ``score_samples(X) -> (n,)``, higher = more normal, and scikit-learn's ``get_params``.
    split : Split
        Its `test` part needs labels and at least two samples, or groups, of each class.
    name : str, optional
        What the report calls the detector; its class otherwise.
    draws : int
        Number of bootstrap samples.
    seed : int
        Of the bootstrap and of the folds.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        If the test part lacks labels or a class, or a score is not finite.
    """
    test = split.test
    label = np.empty(0) if test.label is None else np.asarray(test.label)
    if not 0 < np.sum(label == 1) < len(label):
        counts = f"{np.sum(label == 0)} labelled normal and {np.sum(label == 1)} anomalous of {len(test)}"
        raise ValueError(f"split.test must hold normal and anomalous samples, got {counts}")
    start = time.perf_counter()
    more_normal = np.asarray(detector.score_samples(test.pixels), dtype=np.float64)
    timings = {"score_seconds": (time.perf_counter() - start) / len(test)}
    if hasattr(detector, "fit_seconds_"):
        timings["fit_seconds"] = float(detector.fit_seconds_)
    labels, score = validate(label, more_normal)
    group = test.group if test.group is not None and len(np.unique(test.group)) < len(test) else None
    probability = cross_fitted(score, labels, group, seed=seed)
    calibration = _calibration(detector, split)
    return Evaluation(
        name=name or display_name(detector),
        params=plain(detector.get_params(deep=False)),
        data=_data(split, labels, 0 if calibration is None else len(calibration)),
        metrics=_metrics(labels, anomaly_score(score), probability, group, draws, seed),
        calibration_error=expected_calibration_error(labels, probability),
        timings=timings,
        history=plain(getattr(detector, "history_", {})),
        provenance={"seed": seed, "draws": draws, "by_group": group is not None}
        | {f"{part}_hash": content_hash(getattr(split, part).pixels) for part in ("train", "calibration", "test")}
        | provenance(),
        label=labels,
        score=score,
        probability=probability,
        sample=None if test.name is None else np.asarray(test.name).tolist(),
        group=None if test.group is None else np.asarray(test.group).tolist(),
        calibration=calibration,
        p_value=None if calibration is None else p_values(calibration, score),
        pictures=choose(detector, split, labels, score),
        cases=choose_cases(detector, split, score),
    )


def _calibration(detector: Ranks, split: Split) -> NDArray[np.float64] | None:
    """Return the scores of the calibration normals, as remembered or of those that training did not see."""
    remembered = getattr(detector, "calibration_", None)
    if remembered is None and len(held_out := unseen(detector, split.calibration.pixels)):
        remembered = detector.score_samples(held_out)
    return None if remembered is None else np.sort(np.asarray(remembered, dtype=np.float64))


def _metrics(
    label: NDArray[np.int64],
    score: NDArray[np.float64],
    probability: NDArray[np.float64],
    group: NDArray[Any] | None,
    draws: int,
    seed: int,
) -> dict[str, Interval]:
    interval = partial(bootstrap, label=label, group=group, draws=draws, seed=seed)
    area = partial(delong, label) if group is None else partial(interval, auroc)
    return {
        "auroc": area(score=score),
        "auroc_of_probability": area(score=probability),
        "auprc": interval(auprc, score=score),
        **{
            f"sensitivity_at_{percent}_specificity": interval(
                partial(sensitivity_at_specificity, specificity=percent / 100), score=score
            )
            for percent in (90, 95, 99)
        },
        "fpr_at_95_tpr": interval(fpr_at_tpr, score=score),
        "brier": interval(brier, score=probability),
    }


def _data(split: Split, label: NDArray[np.int64], calibrated: int) -> dict[str, Any]:
    test = split.test
    return {
        "shape": list(test.pixels.shape[1:]),
        "spacing_mm": plain(test.spacing),
        "intensity": [float(np.min(test.pixels)), float(np.max(test.pixels))],
        "train": len(split.train),
        "calibration": len(split.calibration),
        "calibrated_on": calibrated,
        "test_normal": int(np.sum(label == 0)),
        "test_anomalous": int(np.sum(label == 1)),
        "test_groups": None if test.group is None else len(np.unique(test.group)),
    }
