"""Detectors that can embed: that map samples to a representation in which another detector may do better."""

import math
from abc import abstractmethod
from dataclasses import KW_ONLY

import numpy as np
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.blocks import by_blocks
from unlikelihood.contract.detector import Detector
from unlikelihood.contract.neighbours import Neighbours, cells_of
from unlikelihood.contract.refusals import NotExportable
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

    def embed_tensor(self, x: Tensor) -> Tensor:
        r"""Return the embeddings of raw samples (B, \*shape), by operations of torch that a file can hold.

        They are nan where nothing can be said of a sample.
        """
        return self._or_nan(x, self._embed_tensor(x))

    def _embed_tensor(self, x: Tensor) -> Tensor:
        raise NotExportable(f"{type(self).__name__} cannot be exported: {self.unexportable}")

    def _or_nan(self, x: Tensor, found: Tensor) -> Tensor:
        return found.where(self._known(x).view(-1, *[1] * (found.ndim - 1)), math.nan)


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

    def feature_maps_tensor(self, x: Tensor) -> Tensor:
        r"""Return the feature maps of raw samples (B, \*shape), as `embed_tensor` does."""
        return self._or_nan(x, self._feature_maps_tensor(x))

    def _feature_maps_tensor(self, x: Tensor) -> Tensor:
        raise NotExportable(f"{type(self).__name__} cannot be exported: {self.unexportable}")


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
        self._remember(self._embed(X))

    def _remember(self, embeddings: np.ndarray) -> None:
        """Keep the embeddings of the training samples."""
        self.embeddings_ = embeddings.reshape(len(embeddings), -1)
        self.cells_ = cells_of(self.embeddings_, self.seed)

    def _restore(self) -> None:
        self._neighbours = Neighbours(self.embeddings_, self.n_neighbors, getattr(self, "cells_", {}))

    def _score(self, X: np.ndarray) -> np.ndarray:
        return self._nearness(self._embed(X))

    @override
    def _score_tensor(self, x: Tensor) -> Tensor:
        return -self._neighbours.query_tensor(self._embed_tensor(x))[0].mean(1)

    def _nearness(self, embeddings: np.ndarray) -> np.ndarray:
        return by_blocks(lambda e: -self._neighbours.query(e)[0].mean(axis=1), embeddings, embeddings.dtype)
