"""Any detector on what an embedder makes of the samples."""

import numpy as np
from sklearn.base import clone
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.detector import Detector, fitted
from unlikelihood.contract.embedder import Embedder
from unlikelihood.contract.maps import MapKind


class FeatureSpace(Detector):
    """Fits a detector to the embeddings of normal samples instead of to their pixels.

    Where the embedding has a value for each place of the sample, its map is the detector's.

    Parameters
    ----------
    encoder : Embedder
        What maps samples to vectors, images or volumes.
    detector : Detector
        A clone of it is fitted to the embeddings, and scores.

    References
    ----------
    Sohn, Li, Yoon, Jin and Pfister, "Learning and evaluating representations for deep one-class classification", 2021.
    """

    encoder: Embedder
    detector: Detector

    def _fit(self, X: np.ndarray) -> None:
        self.encoder_ = fitted(self.encoder, X)
        self.detector_ = clone(self.detector).fit(self.encoder_.embed(X))

    def _score(self, X: np.ndarray) -> np.ndarray:
        return self.detector_.score_samples(self.encoder_.embed(X))

    @override
    def _score_tensor(self, x: Tensor) -> Tensor:
        return self.detector_.score_tensor(self.encoder_.embed_tensor(x))

    def _in_place(self) -> bool:
        """Return whether the embedding is an image or volume of the sample's own size."""
        return len(self.shape_) > 1 and self.detector_.shape_[1:] == self.shape_[1:]

    @property
    @override
    def map_kind(self) -> MapKind:
        return self.detector_.map_kind if self._in_place() else super().map_kind

    @override
    def _map(self, X: np.ndarray) -> np.ndarray:
        return self.detector_.anomaly_map(self.encoder_.embed(X)) if self._in_place() else super()._map(X)
