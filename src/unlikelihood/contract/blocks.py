"""Samples block by block, so that what is computed on the way does not grow with their number or their size."""

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import sklearn
from numpy.typing import DTypeLike
from threadpoolctl import ThreadpoolController

from unlikelihood.data.mapped import Mapped
from unlikelihood.training.batches import is_mapped

HELD = 2**23  # values that are converted at once
IN_MEMORY = 2**28  # bytes made of a memory map that need no file
MOST, FEWEST = 256, 20  # samples that scikit-learn compares at once, as it comes and at least


@contextmanager
def comparing(size: int) -> Iterator[None]:
    """Bound what scikit-learn copies of samples with `size` values to compare them: two blocks for every thread."""
    pools = _pools()
    allowed = max(1, 2 * HELD // max(1, size * together(size)))
    threads = min([allowed, *(pool["num_threads"] for pool in pools.info())])
    with sklearn.config_context(pairwise_dist_chunk_size=together(size)), pools.limit(limits=threads):
        yield


@cache  # it takes longer to find them than to compare hundreds of samples
def _pools() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="openmp")


def together(size: int) -> int:
    """Return how many samples with `size` values are compared at once."""
    return max(FEWEST, min(MOST, HELD // max(1, size)))


def blocks(X: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the samples in blocks."""
    size = X[:1].size
    # Whole multiples of what is compared together: where blocks end decides nothing then, not even rounding.
    step = together(size) * max(1, HELD // max(1, size * together(size)))
    for start in range(0, len(X), step):
        yield np.asarray(X[start : start + step])


def flat_blocks(X: np.ndarray, dtype: DTypeLike = np.float32) -> Iterator[np.ndarray]:
    """Yield the samples as vectors, (m, D), in blocks."""
    for block in blocks(X):
        yield np.ascontiguousarray(block.reshape(len(block), -1), dtype)


def by_blocks(function: Callable[[np.ndarray], np.ndarray], X: np.ndarray, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Return what `function` makes of the samples as vectors, (n, ...), from one block of them after the other."""
    with comparing(X[:1].size):
        return np.concatenate([function(block) for block in flat_blocks(X, dtype)])


def like(X: np.ndarray, shape: Sequence[int], dtype: "np.dtype | None" = None) -> np.ndarray:
    """Return an array to be filled from X: in memory, or if X is mapped and it is large, in a temporary file."""
    dtype = X.dtype if dtype is None else dtype
    if not is_mapped(X) or math.prod(shape) * dtype.itemsize <= IN_MEMORY:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile() as file:  # without a name, so that it is gone with the array
        return np.memmap(file, dtype, "w+", shape=tuple(shape))


def rows(X: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Return the samples at `index`: in memory, or if X is mapped and they are large, where they are."""
    if not is_mapped(X):
        return X[index]
    chosen: Any = Mapped.of(X).choose(index)
    return chosen if chosen.nbytes > IN_MEMORY else np.asarray(chosen)


def drawn(X: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Return at most so many of the samples, drawn at random, in their order, as `rows` does."""
    return X if len(X) <= most else rows(X, np.sort(np.random.default_rng(seed).permutation(len(X))[:most]))
