"""Detectors around another whose map is also theirs."""

from typing import ClassVar

import numpy as np
from sklearn.utils.validation import check_is_fitted
from typing_extensions import override

from unlikelihood.contract.detector import Detector
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
