"""The columns of a table of samples, in words: ``anomaly_score`` rises with the anomaly, ``p_value`` falls."""

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unlikelihood.contract.detector import Detector
from unlikelihood.data.images import Images
from unlikelihood.data.reviews import LABELS, read_reviews
from unlikelihood.decisions.conformal import Conformal
from unlikelihood.decisions.prevalence import at_prevalence
from unlikelihood.decisions.probability import Logistic
from unlikelihood.decisions.pvalues import checked_scores, discoveries, p_values
from unlikelihood.evaluation.evaluation import Evaluation
from unlikelihood.metrics.ranking import anomaly_score
from unlikelihood.storage.tables import Columns

ColumnsOf = Callable[[NDArray[np.float64]], Columns]
"""From a detector's scores (n,), higher = more normal, to columns (n,)."""


def in_words(anomalous: NDArray[np.bool_]) -> NDArray[np.str_]:
    """Return ``anomalous`` where it is true, else ``normal``."""
    return np.where(anomalous, "anomalous", "normal")


def decider(detector: Detector, alpha: float | None) -> ColumnsOf:
    """Return what gives scores their ``p_value``, ``decision`` and ``alpha``, by the calibration a detector remembers.

    Without a calibration there are no columns, without an α no decision. A ValueError says that α, the share of normals
    that may be called anomalous, needs a calibration, or a larger one.
    """
    if not hasattr(detector, "calibration_"):
        if alpha is not None:
            raise ValueError(
                f"alpha is {alpha:g}, but the model holds no calibration scores to decide by: "
                "fit it again on data with calibration normals"
            )
        return lambda scores: {}
    # A `Conformal` keeps its guarantee and its kinds.
    own = copy.copy(detector) if isinstance(detector, Conformal) else None
    p_value = partial(p_values, detector.calibration_) if own is None else own.p_value_of
    if alpha is None:
        return lambda scores: {"p_value": p_value(scores)}
    offset = (Conformal(detector, alpha=alpha).fit() if own is None else own.set_params(alpha=alpha)).offset_
    return lambda scores: {
        "p_value": p_value(scores),
        "decision": in_words(scores < offset),
        "alpha": np.full(len(scores), alpha),
    }


def discovered(detector: Detector, rate: float) -> ColumnsOf:
    """Return what gives the scores of a batch their ``discovery``: anomalies, of which a share `rate` may be normal.

    A ValueError says that the detector remembers no calibration, or that the rate is none.
    """
    discoveries([], rate)
    p_value = decider(detector, None)
    if not hasattr(detector, "calibration_"):
        raise ValueError(
            f"discoveries is {rate:g}, but the model holds no calibration scores to find any by: "
            "fit it again on data with calibration normals"
        )
    return lambda scores: {
        "discovery": in_words(discoveries(p_value(scores)["p_value"], rate)),
        "false_discovery_rate": np.full(len(scores), rate),
    }


def learnt_probability(detector: Detector, path: Path, prevalence: float | None) -> ColumnsOf:
    """Return what gives scores their ``probability`` at a ``prevalence``, by an evaluation of the same model.

    A logistic regression is fitted to the labels of the evaluation in folder `path`; one of another model is a
    ValueError. Without a prevalence, the share of anomalies where the model is used, it is that of the evaluation.
    """
    record = Evaluation.load(path)
    known = getattr(detector, "calibration_", None)
    if known is not None and record.calibration is not None and not np.array_equal(known, record.calibration):
        raise ValueError(f"evaluation is {str(path)!r}, expected one of this model: their calibration scores differ")
    fitted = Logistic().fit(record.score, record.label)
    deployed = fitted.prevalence_ if prevalence is None else prevalence
    return lambda scores: {
        "probability": at_prevalence(fitted.predict_proba(scores)[:, 1], fitted.prevalence_, deployed),
        "prevalence": np.full(len(scores), deployed),
    }


def reviewed_probability(detector: Detector, path: Path, prevalence: float | None) -> ColumnsOf:
    """Return what gives scores their ``probability`` at a ``prevalence``, by the reviews of a triage of the same model.

    A logistic regression is fitted to what was reviewed as normal and as anomalous in the table `path`. That mostly the
    most anomalous were reviewed does not bend it: given the score, they are like the others. The share of anomalies
    where the reviews come from is the mean of the probability over the whole table, and that without a prevalence.
    """
    reviews = read_reviews(path)
    score, label = -reviews.anomaly_score, reviews.label
    known = np.isfinite(score)
    counts = {word: int(np.sum(label[known] == place)) for word, place in LABELS.items()}
    if not all(counts.values()):
        raise ValueError(
            f"reviews={path}: {' and '.join(f'{count} {word}' for word, count in counts.items())} samples with an "
            "anomaly_score, expected at least 1 of each to learn probabilities from"
        )
    judged = known & np.isfinite(reviews.p_value)
    own = decider(detector, None)(score[judged]).get("p_value") if judged.any() else None
    if own is not None and not np.allclose(own, reviews.p_value[judged], rtol=1e-6):
        raise ValueError(f"reviews is {str(path)!r}, expected those of this model: their p-values differ")
    fitted = Logistic().fit(score[known & (label >= 0)], label[known & (label >= 0)])
    source = float(fitted.predict_proba(score[known])[:, 1].mean())
    deployed = source if prevalence is None else prevalence
    return lambda scores: {
        "probability": at_prevalence(fitted.predict_proba(scores)[:, 1], source, deployed),
        "prevalence": np.full(len(scores), deployed),
    }


def table_of(images: Images, scores: NDArray[np.float64], *others: ColumnsOf) -> Columns:
    """Return the columns of a table of samples and their scores (n,), without those of which nothing is known.

    `others` are a `decider` and `learnt_probability`. A score that is nan or +∞ is a ValueError.
    """
    columns: dict[str, np.ndarray] = {
        "name": np.arange(len(images)).astype(str) if images.name is None else images.name,
        "anomaly_score": anomaly_score(checked_scores(scores)),
    }
    for columns_of in others:
        columns |= columns_of(scores)
    if images.label is not None:
        columns["label"] = in_words(images.label == 1)
    if images.group is not None:
        columns["group"] = images.group
    if images.centre is not None:  # in the patient, towards left, back and head, as DICOM has it
        columns |= dict(zip(("x_mm", "y_mm", "z_mm"), np.asarray(images.centre, np.float64).T, strict=True))
    return columns
