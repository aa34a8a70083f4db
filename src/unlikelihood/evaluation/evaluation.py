"""What a detector is worth on a split."""

import os
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from unlikelihood.contract.detector import Detector
from unlikelihood.contract.refusals import naming
from unlikelihood.data.splits import Split, Unlabelled
from unlikelihood.decisions.probability import cross_fitted
from unlikelihood.decisions.pvalues import p_values
from unlikelihood.evaluation.places import places_of
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
from unlikelihood.report.record import Record, resolved
from unlikelihood.storage.identity import content_hash, remembers, seen, unseen
from unlikelihood.storage.provenance import display_name, plain, provenance


class Ranks(Protocol):
    """What `evaluate` asks of a detector."""

    def score_samples(self, X: NDArray[Any]) -> NDArray[Any]: ...  # noqa: D102
    def get_params(self, deep: bool = True) -> dict[str, Any]: ...  # noqa: D102


@runtime_checkable
class Decides(Protocol):
    """A detector that gives its own p-values: `Conformal`."""

    def p_value_of(self, score: NDArray[np.float64]) -> NDArray[np.float64]: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class Evaluation(Record):
    """A detector judged on a split; `evaluate` makes it, and its record survives in a file.

    Parameters
    ----------
    detector : detector, optional
        What was judged, for the pictures of the report; None where the evaluation was read from a file.
    split : Split, optional
        What it was judged on, without test samples that were left out.
    """

    detector: Ranks | None = field(default=None, repr=False)
    split: Split | None = field(default=None, repr=False)

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
        from unlikelihood.report.exhibits import choose
        from unlikelihood.report.page import draft
        from unlikelihood.report.single import draw

        shown = None
        if self.detector is not None and self.split is not None:
            shown = choose(self.detector, self.split, self.score)
        with draft(path) as folder:
            draw(self, folder, shown)
            self.write(folder)
        return Path(path)


def evaluate(
    detector: Ranks,
    split: Split,
    *,
    name: str | None = None,
    draws: int = 1000,
    seed: int = 0,
    attributed: int = 24,
) -> Evaluation:
    """Judge a fitted detector on the test part of a split, without the samples that it was trained on.

    The AUROC has DeLong's interval, every other figure a bootstrap's; where a group has several samples, all
    are bootstrapped by group. The probability is the cross-fitted logistic regression's, the p-value conformal:
    among the calibration normals that the detector remembers, or else those of the split. A `Conformal` gives its own.
    Where the test has masks, the detector's maps are judged by them too.

    Parameters
    ----------
    detector : detector
        Anything with ``score_samples(X) -> (n,)``, higher = more normal, and scikit-learn's ``get_params``.
    split : Split
        Its `test` part needs at least two samples, or groups, of each class.
    name : str, optional
        What the report calls the detector; its class otherwise.
    draws : int
        Number of bootstrap samples.
    seed : int
        Seeds the bootstrap and the folds.
    attributed : int
        Test samples with a mask, and calibration normals, that are mapped at most where a detector has no maps of its
        own: each takes about a hundred scores. Of a detector's own maps up to 200 are judged.

    Returns
    -------
    Evaluation

    Raises
    ------
    TypeError
        If `split` is none; the message says what to pass.
    ValueError
        If too few test samples are left of a class, or a score is not finite.
    """
    if not isinstance(split, Split):
        raise TypeError(
            f"split is a {type(split).__name__}, expected a Split: pass source.split(), or Split(train=Images(X), "
            "calibration=Images(Y), test=Images(Z, label=label))"
        )
    arranged = {"layout": split.layout, "parts": dict(split.counts)}
    known = seen(detector, split.test.pixels)
    if known.any():
        split = replace(split, test=split.test[~known])
    test, left_out = split.test, int(known.sum())
    group = test.group if test.group is not None and len(np.unique(test.group)) < len(test) else None
    label = _labels(test.label, group, left_out)
    start = time.perf_counter()
    with naming(test.name):
        more_normal = np.asarray(detector.score_samples(test.pixels), dtype=np.float64)
    timings = {"score_seconds": (time.perf_counter() - start) / len(test)}
    if hasattr(detector, "fit_seconds_"):
        timings["fit_seconds"] = float(detector.fit_seconds_)
    label, score = validate(label, more_normal)
    probability = cross_fitted(score, label, group, seed=seed)
    calibration = _calibration(detector, split)
    places, of_maps = places_of(detector, split, attributed=attributed, draws=draws, seed=seed)
    data = of_maps | {
        "trained_on": getattr(detector, "n_samples_", None),
        "calibrated_on": 0 if calibration is None else len(calibration),
        "left_out": left_out if left_out or remembers(detector) else None,
    }
    return Evaluation(
        name=name or display_name(detector),
        params=plain(detector.get_params(deep=False)),
        data=_facts(split, label) | data | arranged,
        metrics=_metrics(label, anomaly_score(score), probability, group, draws, seed),
        calibration_error=expected_calibration_error(label, probability),
        timings=timings,
        history=plain(getattr(detector, "history_", {})),
        provenance={"seed": seed, "draws": draws, "by_group": group is not None}
        | {f"{part}_hash": content_hash(getattr(split, part).pixels) for part in ("train", "calibration", "test")}
        | provenance(),
        label=label,
        score=score,
        probability=probability,
        sample=None if test.name is None else np.asarray(test.name).tolist(),
        group=None if test.group is None else np.asarray(test.group).tolist(),
        calibration=calibration,
        p_value=_p_value(detector, calibration, score),
        places=places,
        alarms=list(detector.alarms()) if isinstance(detector, Detector) else [],
        detector=detector,
        split=split,
    )


def _labels(label: NDArray[np.int64] | None, group: NDArray[Any] | None, left_out: int) -> NDArray[np.int64]:
    """Return the labels, which `Split` has checked, if there are enough of each class to judge by."""
    labels = np.asarray(label)
    units = np.arange(len(labels)) if group is None else group
    normal, anomalous = (len(np.unique(units[labels == k])) for k in (0, 1))
    if min(normal, anomalous) < 2:
        kind = "samples" if group is None else "groups"
        without = f" after the {left_out} on which the detector was trained were left out" if left_out else ""
        raise (ValueError if normal and anomalous else Unlabelled)(
            f"split.test holds {normal} normal and {anomalous} anomalous {kind}{without}, expected at least 2 of each"
        )
    return labels


def _calibration(detector: Ranks, split: Split) -> NDArray[np.float64] | None:
    """Return the scores of the calibration normals, as remembered or of those that training did not see."""
    remembered = getattr(detector, "calibration_", None)
    if remembered is None and len(held_out := unseen(detector, split.calibration.pixels)):
        remembered = detector.score_samples(held_out)
    return None if remembered is None else np.sort(np.asarray(remembered, dtype=np.float64))


def _p_value(
    detector: Ranks, calibration: NDArray[np.float64] | None, score: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Return the p-values of scores: those of a `Conformal` itself, with its guarantee and kinds, or marginal ones."""
    if isinstance(detector, Decides):
        return detector.p_value_of(score)
    return None if calibration is None else p_values(calibration, score)


def _metrics(
    label: NDArray[np.int64],
    score: NDArray[np.float64],
    probability: NDArray[np.float64],
    group: NDArray[Any] | None,
    draws: int,
    seed: int,
) -> dict[str, Interval]:
    """Return the figures of anomaly scores; a rate that the samples are too few to resolve is absent."""
    interval = partial(bootstrap, label=label, group=group, draws=draws, seed=seed)
    normal, anomalous = np.bincount(label, minlength=2)
    metrics = {
        "auroc": delong(label, score) if group is None else interval(auroc, score=score),
        "auprc": interval(auprc, score=score),
    }
    for percent in (90, 95, 99):
        if resolved(percent / 100, normal):
            metric = partial(sensitivity_at_specificity, specificity=percent / 100)
            metrics[f"sensitivity_at_{percent}_specificity"] = interval(metric, score=score)
    if resolved(0.95, anomalous):
        metrics["fpr_at_95_tpr"] = interval(fpr_at_tpr, score=score)
    return metrics | {"brier": interval(brier, score=probability)}


def _facts(split: Split, label: NDArray[np.int64]) -> dict[str, Any]:
    test = split.test
    return {
        "shape": list(test.pixels.shape[1:]),
        "spacing_mm": plain(test.spacing),
        "orientation": test.orientation,
        "intensity": [float(np.min(test.pixels)), float(np.max(test.pixels))],
        "test_normal": int(np.sum(label == 0)),
        "test_anomalous": int(np.sum(label == 1)),
        "test_groups": None if test.group is None else len(np.unique(test.group)),
    }
