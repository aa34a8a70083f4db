"""Any detector on what an embedder makes of the samples."""

import numpy as np
from sklearn.base import clone

from unlikelihood.contract.detector import Detector, fitted
from unlikelihood.contract.embedder import Embedder


class FeatureSpace(Detector):
    """Fits a detector to the embeddings of normal samples instead of to their pixels.

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
