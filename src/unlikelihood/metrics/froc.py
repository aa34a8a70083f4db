"""How many lesions a finder finds, at how many false marks a scan."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def froc(
    lesion: ArrayLike, score: ArrayLike, lesions: int, scans: int, false_positives: Sequence[float] = (1, 4, 8)
) -> dict[float, float]:
    """Return the sensitivity at rates of false positives a scan: points of the FROC curve [1]_.

    Marks are taken from the highest score down for as long as no more of them than the rate allows hit no lesion; marks
    of one score are taken together. A lesion counts once, and more marks on it count neither as hits nor as false.

    Parameters
    ----------
    lesion : array_like of int, shape (n,)
        The number of the lesion, from 0, that each mark hits, or -1.
    score : array_like, shape (n,)
        Of the marks, higher = more likely a lesion.
    lesions, scans : int
        How many there are, found or not, and in how many scans.
    false_positives : sequence of float
        Rates, a scan.

    Returns
    -------
    dict of float to float
        Rate to share of the lesions that are found.

    Raises
    ------
    ValueError
        If shapes differ, a score is not finite, or there are no lesions or no scans.

    References
    ----------
    .. [1] D. P. Chakraborty, "Maximum likelihood analysis of free-response receiver operating characteristic (FROC)
       data", Medical Physics 16, 1989.
    """
    hit, scores = np.asarray(lesion, np.int64), np.asarray(score, np.float64)
    if hit.ndim != 1 or hit.shape != scores.shape:
        raise ValueError(f"lesion has shape {hit.shape} and score {scores.shape}, expected (n,) of both")
    if not np.isfinite(scores).all():
        raise ValueError("score holds numbers that are not finite")
    if lesions < 1 or scans < 1 or hit.max(initial=-1) >= lesions:
        raise ValueError(f"lesions={lesions}, scans={scans}: expected at least 1, and as many lesions as are hit")
    order = np.argsort(-scores, kind="stable")
    hit, scores = hit[order], scores[order]
    new = np.zeros(len(hit), bool)
    new[np.unique(hit, return_index=True)[1]] = True
    found, false = np.cumsum(new & (hit >= 0)), np.cumsum(hit < 0)
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1) if len(scores) else np.array([], int)
    return {rate: float(found[last][false[last] <= rate * scans].max(initial=0)) / lesions for rate in false_positives}
