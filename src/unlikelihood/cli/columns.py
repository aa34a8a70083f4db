"""What a table says about each sample beside its score: probability, p-value and decision."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unlikelihood.contract.detector import Detector
from unlikelihood.data.images import Images
from unlikelihood.decisions.conformal import Conformal
from unlikelihood.decisions.prevalence import at_prevalence
from unlikelihood.decisions.probability import Logistic, cross_fitted
from unlikelihood.decisions.pvalues import p_values
from unlikelihood.evaluation.evaluation import Evaluation

Scores = NDArray[np.float64]
Decide = Callable[[Scores], tuple[Scores | None, NDArray[np.int64] | None]]


def decider(detector: Detector, alpha: float | None) -> Decide:
    """Return what gives scores their p-values and decisions, after checking that α can be promised.

    Parameters
    ----------
    detector : Detector
        Fitted; it decides by the calibration scores that it remembers.
    alpha : float, optional
        Share of normals that may be called anomalous; no decision without it.

    Returns
    -------
    callable
        From scores (n,), higher = more normal, to p-values (n,), or None without a calibration, and decisions (n,),
        −1 anomalous and +1 normal, or None without an α.

    Raises
    ------
    ValueError
        If there is an α, but no calibration or too small a one for it.
    """
    if not hasattr(detector, "calibration_"):
        if alpha is not None:
            raise ValueError(
                f"alpha is {alpha:g}, but the model holds no calibration scores to decide by: "
                "fit it again on data with calibration normals"
            )
        return lambda scores: (None, None)
    known = detector.calibration_
    offset = None if alpha is None else Conformal(detector, alpha=alpha).fit().offset_
    return lambda scores: (
        p_values(known, scores),
        None if offset is None else np.where(scores < offset, -1, 1),
    )


def learnt_probability(detector: Detector, path: Path, prevalence: float | None) -> Callable[[Scores], Scores]:
    """Return what gives scores their probabilities, learnt from the labels of an evaluation of the same model.

    Parameters
    ----------
    detector : Detector
        The model.
    path : Path
        Folder of its evaluation.
    prevalence : float, optional
        Share of anomalies where the model is used; that of the evaluation otherwise.

    Returns
    -------
    callable
        From scores (n,), higher = more normal, to probabilities (n,) of being anomalous.

    Raises
    ------
    ValueError
        If the evaluation is of another model.
    """
    record = Evaluation.load(path)
    known = getattr(detector, "calibration_", None)
    if known is not None and record.calibration is not None and not np.array_equal(known, record.calibration):
        raise ValueError(f"evaluation is {str(path)!r}, expected one of this model: their calibration scores differ")
    fitted = Logistic().fit(record.score, record.label)
    deployed = fitted.prevalence_ if prevalence is None else prevalence
    return lambda scores: at_prevalence(fitted.predict_proba(scores)[:, 1], fitted.prevalence_, deployed)


def own_probability(images: Images, scores: Scores, prevalence: float | None) -> Scores | None:
    """Return probabilities of being anomalous that samples get from one another's labels, cross-fitted.

    Parameters
    ----------
    images : Images
        The samples.
    scores : ndarray of float64, shape (n,)
        Higher = more normal.
    prevalence : float, optional
        Share of anomalies where the model is used; that among the samples otherwise.

    Returns
    -------
    ndarray of float64, shape (n,), or None
        None where there are no labels of both classes, or too few, to learn from.
    """
    if images.label is None:
        return None
    units = images.group if images.group is not None else np.arange(len(images))
    if min(len(np.unique(units[images.label == k])) for k in (0, 1)) < 2:
        return None
    probability = cross_fitted(scores, images.label, images.group)
    share = float(images.label.mean())
    return at_prevalence(probability, share, share if prevalence is None else prevalence)


def table_of(
    images: Images,
    scores: Scores,
    probability: Scores | None,
    p_value: Scores | None,
    decision: NDArray[np.int64] | None,
) -> dict[str, np.ndarray]:
    """Return the columns of a table of samples, without those of which nothing is known.

    Parameters
    ----------
    images : Images
        The samples.
    scores : ndarray of float64, shape (n,)
        Higher = more normal.
    probability, p_value, decision : ndarray, shape (n,), optional
        As `tables.MEANINGS` has it.

    Returns
    -------
    dict of str to ndarray, shape (n,)
    """
    every = {
        "name": np.arange(len(images)).astype(str) if images.name is None else images.name,
        "score": scores,
        "probability": probability,
        "p_value": p_value,
        "decision": decision,
        "label": images.label,
        "group": images.group,
    }
    return {name: column for name, column in every.items() if column is not None}


def facts(alpha: float | None, prevalence: float | None) -> dict[str, str]:
    """Return what a table says about itself.

    Parameters
    ----------
    alpha, prevalence : float, optional
        Of its decisions and of its probabilities.

    Returns
    -------
    dict of str to str
    """
    known = {"alpha": alpha, "prevalence": prevalence}
    return {name: f"{value:g}" for name, value in known.items() if value is not None}
