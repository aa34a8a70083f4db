"""Windows of images and volumes: cut out, and what is found in them put together again."""

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Place = tuple[int, ...]


def part_can(method: str) -> Callable[[Any], bool]:
    """Return what tells whether the part, `detector`, of a wrapper has a method."""
    return lambda wrapper: hasattr(getattr(wrapper, "detector_", wrapper.detector), method)


def room(shape: Sequence[int], size: int) -> list[int]:
    r"""Return how far a window can be moved along each spatial axis of samples (C, \*space)."""
    return [max(0, length - size) for length in shape[1:]]


def cut(X: NDArray[Any], size: int, places: Any) -> NDArray[Any]:
    r"""Return windows of samples (n, C, \*space), (n, C, \*window), whose first voxels are at `places`.

    These are one place for all samples or one for each, (n, axes); an axis shorter than `size` is kept whole, and
    vectors are.
    """
    axes = X.shape[2:]
    if not axes:
        return X
    windows = sliding_window_view(X, [min(size, length) for length in axes], tuple(range(2, X.ndim)))
    first = np.broadcast_to(np.asarray(places, np.float64) // 1, (len(X), len(axes))).astype(np.intp)
    return windows[(np.arange(len(X)), slice(None), *first.T)]


def window(place: Place, size: int) -> tuple[Any, ...]:
    r"""Return the index of the windows, of samples (n, C, \*space), whose first voxels are at a place."""
    return (..., *(slice(start, start + size) for start in place))


def smooth_weights(space: Sequence[int]) -> NDArray[np.float32]:
    r"""Return weights (\*space), above 0, which fall evenly from the middle of a window to its edges."""
    ramps = [1 - np.abs((np.arange(length) + 0.5) * 2 / length - 1) * (1 - 1 / length) for length in space]
    return np.asarray(reduce(np.multiply.outer, ramps), np.float32)


def put_together(maps: Iterable[tuple[Place, NDArray[Any]]], target: NDArray[Any]) -> None:
    r"""Fill a map (\*space) with the mean of the maps of windows, by their places; 0 where there is no window.

    Where windows overlap, one counts the less the nearer its edge is.
    """
    target[...] = 0
    total = np.zeros(target.shape, np.float32)
    for place, window in maps:
        inside = tuple(slice(at, at + length) for at, length in zip(place, window.shape, strict=True))
        weights = smooth_weights(window.shape)
        target[inside] += weights * window
        total[inside] += weights
    np.divide(target, total, out=target, where=total > 0)
