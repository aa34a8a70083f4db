"""The total intensity of a sample: the ink of a digit, the volume of a mask."""

import numpy as np
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.blocks import blocks
from unlikelihood.contract.detector import Detector


class TotalIntensity(Detector):
    r"""Scores a sample by how far the sum of its values is from what is usual: the baseline to beat first.

    .. math:: -\bigl\lvert \sum_i x_i - \mathrm{median} \bigr\rvert

    It is two-sided because normal samples alone do not tell on which side the anomalies lie.
    """

    def _fit(self, X: np.ndarray) -> None:
        self.median_ = float(np.median(self._total(X)))

    def _score(self, X: np.ndarray) -> np.ndarray:
        return -np.abs(self._total(X) - self.median_)

    @override
    def _score_tensor(self, x: Tensor) -> Tensor:
        return -(x.flatten(1).double().sum(1) - self.median_).abs()

    def _total(self, X: np.ndarray) -> np.ndarray:
        return np.concatenate([x.reshape(len(x), -1).sum(axis=1, dtype=np.float64) for x in blocks(X)])
