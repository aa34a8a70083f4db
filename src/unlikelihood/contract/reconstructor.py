"""Detectors that can reconstruct: that say what a sample would look like if it were normal."""

from abc import abstractmethod

import numpy as np
from typing_extensions import override

from unlikelihood.contract import maps
from unlikelihood.contract.detector import Detector


class Reconstructor(Detector):
    """A detector whose map is what its reconstruction leaves over."""

    map_kind = maps.RESIDUAL

    @abstractmethod
    def reconstruct(self, X: np.ndarray) -> np.ndarray:
        r"""Return what the model makes of samples, (n, \*shape)."""

    @override
    def _map(self, X: np.ndarray) -> np.ndarray:
        return maps.residual(X, self.reconstruct(X))
