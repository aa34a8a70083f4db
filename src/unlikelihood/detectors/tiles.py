"""Any detector in windows over large images and whole scans, in bounded memory."""

import math
from collections.abc import Iterator
from itertools import product

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.blocks import HELD, like
from unlikelihood.contract.detector import Detector, fitted
from unlikelihood.contract.windows import Place, cut, put_together, room, window
from unlikelihood.contract.wrapper import MapOfPart
from unlikelihood.parameters import Count, Fraction

AT_ONCE = HELD // 4  # values of windows that the part looks at together


class Tiles(MapOfPart):
    r"""Fits a detector to windows of large images or scans, and scores by the most anomalous of all windows.

    .. math:: \frac{1}{k} \sum_{j=1}^{k} s_{(j)}, \qquad s_{(1)} \le s_{(2)} \le \ldots, \qquad k = \lceil qT \rceil

    over the scores of the T windows of a sample, which are `stride` apart and reach to its ends. The score of a window
    does not depend on what lies around it. The map is that of the windows: where they overlap, each counts the less the
    nearer its edge is. Windows are cut and scored some at a time, so that memory holds a sample or two besides these,
    whatever the size; samples may be a memory map.

    Training sees `drawn` windows of every sample at places that follow from the seed. Vectors have one window.

    Parameters
    ----------
    detector : Detector
        What is fitted to windows.
    size : int
        Length of a window along every spatial axis, in pixels; a shorter axis is kept whole.
    stride : int or None
        Distance of windows along every axis, at most `size`; None is half of `size`.
    drawn : int
        Random windows of each training sample.
    share : float
        q: of the windows, the most anomalous, that the score is the mean of; the least share is one window.

    Examples
    --------
    >>> from unlikelihood import PCAResidual
    >>> X = np.random.default_rng(0).random((4, 1, 40, 50), dtype=np.float32)
    >>> tiles = Tiles(PCAResidual(5), size=16, stride=8).fit(X)
    >>> tiles.tile_scores(X[:2]).shape
    (2, 4, 6)
    """

    detector: Detector
    size: Count = 64
    stride: Count | None = None
    drawn: Count = 16
    share: Fraction = 0.02

    def _fit(self, X: np.ndarray) -> None:
        if self.stride is not None and self.stride > self.size:
            raise ValueError(
                f"Tiles: stride is {self.stride}, expected at most size, {self.size}: windows would leave gaps"
            )
        rng = np.random.default_rng(self.seed)
        free = room(X.shape[1:], self.size)
        drawn = self.drawn if any(free) else 1
        windows = like(X, (drawn * len(X), *cut(X[:1], self.size, 0).shape[1:]))
        for start in range(0, len(windows), len(X)):
            places = rng.integers(0, np.add(free, 1), (len(X), len(free)))
            for row, place in enumerate(places):
                windows[start + row] = cut(X[row : row + 1], self.size, place)[0]
        self.detector_ = fitted(self.detector, windows)

    def _score(self, X: np.ndarray) -> np.ndarray:
        found = []
        for x in X:
            scores = np.sort(self._of_tiles(x))
            found.append(scores[: max(1, math.ceil(self.share * len(scores)))].mean())
        return np.array(found)

    @override
    def _score_tensor(self, x: Tensor) -> Tensor:
        places = list(product(*self._along()))
        windows = torch.cat([x[window(place, self.size)] for place in places])
        scores = self.detector_.score_tensor(windows).unflatten(0, (len(places), -1))
        lowest = scores.topk(max(1, math.ceil(self.share * len(places))), 0, largest=False).values.mean(0)
        return lowest.where(scores.isfinite().all(0), math.nan)

    def tile_scores(self, X: np.ndarray) -> np.ndarray:
        r"""Return the score of every window, (n, \*windows along each axis), higher = more normal."""
        X = self._checked(X, reset=False)
        counts = [len(along) for along in self._along()]
        return np.stack([self._of_tiles(x).reshape(counts) for x in X])

    @override
    def _map(self, X: np.ndarray) -> np.ndarray:
        if X.ndim == 2:
            return super()._map(X)
        whole = like(X, (len(X), *X.shape[2:]), np.dtype(np.float32))
        for x, slot in zip(X, whole, strict=True):
            put_together(self._maps_of_tiles(x), slot)
        return whole

    def _of_tiles(self, x: np.ndarray) -> np.ndarray:
        return np.concatenate([self.detector_.score_samples(windows) for _, windows in self._windows(x)])

    def _maps_of_tiles(self, x: np.ndarray) -> Iterator[tuple[Place, np.ndarray]]:
        for places, windows in self._windows(x):
            yield from zip(places, self.detector_.anomaly_map(windows), strict=True)

    def _windows(self, x: np.ndarray) -> Iterator[tuple[list[Place], np.ndarray]]:
        """Yield the windows of a sample and their places, some at a time."""
        places = list(product(*self._along()))
        at_once = max(1, AT_ONCE // math.prod(self.detector_.shape_))
        for start in range(0, len(places), at_once):
            some = places[start : start + at_once]
            yield some, np.concatenate([cut(x[None], self.size, place) for place in some])

    def _along(self) -> list[list[int]]:
        """Return where windows begin along each spatial axis: every `stride` pixels, and at the end."""
        step = self.stride or max(1, self.size // 2)
        return [[*range(0, free, step), free] for free in room(self.shape_, self.size)]
