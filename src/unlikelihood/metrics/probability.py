"""How honest a probability of being anomalous is.

Functions of labels (n,), 0 for normal and 1 for anomalous, and of probabilities (n,). They lie in [0, 1], lower is
better, and raise a ValueError where `ranking.validate` does or something is out of its bounds.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unlikelihood.metrics.ranking import validate


def brier(label: ArrayLike, probability: ArrayLike) -> float:
    """Return the mean squared error (1/n) Σ (p − y)² (Brier, 1950); always saying the prevalence π gives π(1 − π)."""
    labels, probabilities = _validate(label, probability)
    return float(np.mean((probabilities - labels) ** 2))


def expected_calibration_error(label: ArrayLike, probability: ArrayLike, bins: int = 10) -> float:
    """Return how far a probability is from the frequency it promises, on average over `bins` of equal width.

    Σ_b (|B_b| / n) · |mean of y in B_b − mean of p in B_b| (Guo et al., 2017, eq. 3), biased upwards for few samples a
    bin.
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    labels, probabilities = _validate(label, probability)
    bin_of = np.minimum((probabilities * bins).astype(int), bins - 1)
    # |B| · |mean y − mean p| = |Σ (y − p)|, which an empty bin leaves at 0.
    return float(np.abs(np.bincount(bin_of, weights=labels - probabilities)).sum() / len(labels))


def _validate(label: ArrayLike, probability: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    labels, probabilities = validate(label, probability)
    if probabilities.min() < 0 or probabilities.max() > 1:
        raise ValueError(
            f"probability must lie in [0, 1], got values from {probabilities.min()} to {probabilities.max()}"
        )
    return labels, probabilities
