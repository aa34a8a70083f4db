"""Any detector on samples of fewer pixels."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.blocks import HELD, like
from unlikelihood.contract.detector import Detector, fitted
from unlikelihood.contract.wrapper import MapOfPart
from unlikelihood.nn.spatial import stretch
from unlikelihood.parameters import Count


class Shrunk(MapOfPart):
    """Fits a detector to samples that are averaged down, and scores by it: what a sample is shows in few pixels.

    What is small is lost; `Tiles` looks for that. Vectors stay as they are.

    Parameters
    ----------
    detector : Detector
        What is fitted to the shrunk samples.
    size : int
        Pixels along the longest axis, at most; the others keep their ratio to it.

    Examples
    --------
    >>> from unlikelihood import KNN
    >>> X = np.random.default_rng(0).random((30, 1, 40, 20), dtype=np.float32)
    >>> Shrunk(KNN(), size=10).fit(X).detector_.shape_
    (1, 10, 5)
    """

    detector: Detector
    size: Count = 64

    def _fit(self, X: np.ndarray) -> None:
        self.detector_ = fitted(self.detector, self._shrunk(X))

    def _score(self, X: np.ndarray) -> np.ndarray:
        return self.detector_.score_samples(self._shrunk(X))

    @override
    def _score_tensor(self, x: Tensor) -> Tensor:
        smaller = self._smaller(x.shape[2:])
        return self.detector_.score_tensor(x if smaller is None else F.interpolate(x.float(), smaller, mode="area"))

    @override
    def _map(self, X: np.ndarray) -> np.ndarray:
        maps = self.detector_.anomaly_map(self._shrunk(X))
        if maps.shape[1:] == X.shape[2:] or X.ndim == 2:
            return maps
        return stretch(torch.from_numpy(maps[:, None]), X.shape[2:])[:, 0].numpy()

    def _shrunk(self, X: np.ndarray) -> np.ndarray:
        smaller = self._smaller(X.shape[2:])
        if smaller is None:
            return X
        shrunk = like(X, (*X.shape[:2], *smaller), np.dtype(np.float32))
        step = max(1, HELD // X[0].size)
        for start in range(0, len(X), step):
            block = torch.from_numpy(np.array(X[start : start + step], np.float32))
            shrunk[start : start + step] = F.interpolate(block, smaller, mode="area").numpy()
        return shrunk

    def _smaller(self, space: Sequence[int]) -> tuple[int, ...] | None:
        """Return what axes of the lengths `space` are averaged down to, None if they stay."""
        if max(space, default=0) <= self.size:
            return None
        return tuple(max(1, round(length * self.size / max(space))) for length in space)
