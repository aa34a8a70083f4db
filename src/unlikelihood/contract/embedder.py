"""Detectors that can embed: that map samples to a representation in which another detector may do better."""

from abc import abstractmethod
from dataclasses import KW_ONLY

import numpy as np
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.validation import check_is_fitted

from unlikelihood.contract.blocks import by_blocks
from unlikelihood.contract.detector import Detector
from unlikelihood.parameters import Count


class Embedder(Detector):
    """A detector that also embeds samples, as vectors, images or volumes; `FeatureSpace` fits another to those."""

    @abstractmethod
    def _embed(self, X: np.ndarray) -> np.ndarray:
        r"""Return the embeddings of checked samples (n, \*shape): vectors, images or volumes."""

    def embed(self, X: np.ndarray) -> np.ndarray:
        r"""Return the embedding of each sample, from that sample alone.

        Parameters
        ----------
        X : ndarray
            Samples of the shape that `fit` saw.

        Returns
        -------
        ndarray of shape (n, features), (n, C, H, W) or (n, C, D, H, W)
        """
        check_is_fitted(self, "shape_")
        return self._embed(self._checked(X, reset=False))


class DenseEmbedder(Embedder):
    """An embedder that also describes every part of a sample, by its feature maps."""

    @abstractmethod
    def _feature_maps(self, X: np.ndarray) -> np.ndarray:
        r"""Return the feature maps of checked samples (n, \*shape)."""

    def feature_maps(self, X: np.ndarray) -> np.ndarray:
        r"""Return the feature maps of each sample, from that sample alone.

        Parameters
        ----------
        X : ndarray
            Samples of the shape that `fit` saw.

        Returns
        -------
        ndarray of shape (n, channels, \*space), float32
            A coarser space than the sample's; none for vectors.
        """
        check_is_fitted(self, "shape_")
        return self._feature_maps(self._checked(X, reset=False))


class NearestEmbeddings(Embedder):
    r"""An embedder that scores by the mean distance to the nearest of the training embeddings.

    .. math:: -\frac{1}{k} \sum_{j=1}^{k} \lVert e(x) - e(x_{(j)}) \rVert_2

    Parameters
    ----------
    n_neighbors : int
        k; fewer if there are fewer training samples.
    """

    _: KW_ONLY
    n_neighbors: Count = 5

    def _fit(self, X: np.ndarray) -> None:
        self._remember(X)

    def _remember(self, X: np.ndarray) -> None:
        """Embed the training samples; whatever `_embed` needs has to be known by now."""
        self.embeddings_ = self._embed(X).reshape(len(X), -1)

    def _restore(self) -> None:
        self._index = NearestNeighbors(n_neighbors=min(self.n_neighbors, len(self.embeddings_))).fit(self.embeddings_)

    def _score(self, X: np.ndarray) -> np.ndarray:
        return self._nearness(self._embed(X))

    def _nearness(self, embeddings: np.ndarray) -> np.ndarray:
        return by_blocks(lambda e: -self._index.kneighbors(e)[0].mean(axis=1), embeddings, embeddings.dtype)
