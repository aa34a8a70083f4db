"""Samples block by block, so that what is computed on the way does not grow with their number or their size."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import numpy as np
import sklearn

HELD = 2**23  # values that are converted at once
MOST, FEWEST = 256, 20  # samples that scikit-learn compares at once, as it comes and at least


def comparing(size: int) -> AbstractContextManager[None]:
    """Bound what scikit-learn copies of samples with `size` values to compare them: two blocks for every thread."""
    return sklearn.config_context(pairwise_dist_chunk_size=together(size))


def together(size: int) -> int:
    """Return how many samples with `size` values are compared at once."""
    return max(FEWEST, min(MOST, HELD // max(1, size)))


def flat_blocks(X: np.ndarray, dtype: type = np.float32) -> Iterator[np.ndarray]:
    """Yield the samples as vectors, (m, D), in blocks."""
    size = X[:1].size
    # Whole multiples of what is compared together: where blocks end decides nothing then, not even rounding.
    step = together(size) * max(1, HELD // max(1, size * together(size)))
    for start in range(0, len(X), step):
        block = X[start : start + step]
        yield np.ascontiguousarray(block.reshape(len(block), -1), dtype)


def by_blocks(function: Callable[[np.ndarray], np.ndarray], X: np.ndarray, dtype: type = np.float32) -> np.ndarray:
    """Return what `function` makes of the samples as vectors, (n, ...), from one block of them after the other."""
    with comparing(X[:1].size):
        return np.concatenate([function(block) for block in flat_blocks(X, dtype)])
