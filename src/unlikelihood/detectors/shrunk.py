"""Any detector on samples of fewer pixels."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.wrapper import Preprocessed
from unlikelihood.nn.spatial import stretch
from unlikelihood.parameters import Count


class Shrunk(Preprocessed):
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

    size: Count = 64

    @override
    def preprocess(self, x: Tensor) -> Tensor:
        space = x.shape[2:]
        if max(space, default=0) <= self.size:
            return x
        smaller = [max(1, round(length * self.size / max(space))) for length in space]
        return F.interpolate(x.float(), smaller, mode="area")

    @override
    def _map(self, X: np.ndarray) -> np.ndarray:
        maps = super()._map(X)
        if maps.shape[1:] == X.shape[2:] or X.ndim == 2:
            return maps
        return stretch(torch.from_numpy(maps[:, None]), X.shape[2:])[:, 0].numpy()
