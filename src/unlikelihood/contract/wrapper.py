"""Detectors around another whose map is also theirs."""

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.blocks import HELD, like
from unlikelihood.contract.detector import Detector, fitted
from unlikelihood.contract.maps import MapKind


class MapOfPart(Detector):
    """A detector that shows where its fitted part finds a sample anomalous; the score may be another."""

    mapped: ClassVar[str] = "detector_"

    def _mapping(self) -> Detector | None:
        """Return the part, or None where it has no maps, and the score is attributed instead."""
        check_is_fitted(self, "shape_")
        part = getattr(self, self.mapped)
        return part if isinstance(part, Detector) else None

    @property
    @override
    def map_kind(self) -> MapKind:
        part = self._mapping()
        return super().map_kind if part is None else part.map_kind

    @override
    def _map(self, X: np.ndarray) -> np.ndarray:
        part = self._mapping()
        return super()._map(X) if part is None else part.anomaly_map(X)


class Preprocessed(MapOfPart):
    """A detector whose part is fitted to changed samples, and scores those."""

    detector: Detector

    @abstractmethod
    def preprocess(self, x: Tensor) -> Tensor:
        r"""Return samples (n, \*shape) as the part sees them, float32, or `x` itself where it sees them as they are."""

    def _fit(self, X: np.ndarray) -> None:
        self.detector_ = fitted(self.detector, self._preprocessed(X))

    def _score(self, X: np.ndarray) -> np.ndarray:
        return self.detector_.score_samples(self._preprocessed(X))

    @override
    def _score_tensor(self, x: Tensor) -> Tensor:
        return self.detector_.score_tensor(self.preprocess(x))

    @override
    def _map(self, X: np.ndarray) -> np.ndarray:
        return self.detector_.anomaly_map(self._preprocessed(X))

    def _preprocessed(self, X: np.ndarray) -> np.ndarray:
        """Return the samples as the part sees them, a block at a time, in a file where they are one."""
        dtype = X.dtype if X.dtype == np.float64 else np.float32  # large numbers that differ by little, such as times
        one = torch.from_numpy(np.array(X[:1], dtype))
        seen = self.preprocess(one)
        if seen is one:
            return X
        changed = like(X, (len(X), *seen.shape[1:]), np.dtype(np.float32))
        step = max(1, HELD // X[0].size)
        for start in range(0, len(X), step):
            block = torch.from_numpy(np.array(X[start : start + step], dtype))
            changed[start : start + step] = self.preprocess(block).numpy()
        return changed
