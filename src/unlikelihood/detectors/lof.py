"""Local outlier factor in pixel space."""

from typing import Any

import numpy as np
import torch
from sklearn.neighbors import LocalOutlierFactor
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.blocks import by_blocks, comparing, flat_blocks, rows
from unlikelihood.contract.detector import Detector
from unlikelihood.contract.neighbours import AT_ONCE, Neighbours, cells_of, remembered, restored, stored
from unlikelihood.parameters import Count
from unlikelihood.storage.identity import identities

LEAST = 1e-10  # of a mean distance, as scikit-learn has it, so that equal samples have a finite density


class LOF(Detector):
    """Scores a sample by how much sparser its neighbourhood is than those of its neighbours.

    Samples that repeat count once, for the density among equal ones would be infinite. Past 256 MiB of training samples
    in float32, 85,000 images of 28x28 pixels, neighbours are approximate; see
    `unlikelihood.contract.neighbours.Neighbours`.

    Parameters
    ----------
    n_neighbors : int
        k, the size of a neighbourhood; fewer if there are fewer training samples.

    References
    ----------
    Breunig, Kriegel, Ng and Sander, "LOF: identifying density-based local outliers", 2000, definition 7, with
    neighbours that differ, as the remark on its definition 6 has it.
    """

    n_neighbors: Count = 20

    def _fit(self, X: np.ndarray) -> None:
        _, first = np.unique(identities(X), return_index=True)
        if len(first) < 2:
            raise ValueError(
                f"LOF compares a sample with its neighbours: X has n_samples={len(X)}, expected at least 2 that differ"
            )
        some = X if len(first) == len(X) else rows(X, np.sort(first))
        self.train_ = remembered(some)
        self.cells_ = cells_of(some, self.seed)
        self.reach_ = self.density_ = np.empty(0)
        if self.cells_:
            self.reach_, self.density_ = self._weights()

    @override
    def state(self) -> dict[str, Any]:
        return stored(super().state(), vars(self), "train_")

    def _restore(self) -> None:
        self.train_ = restored(vars(self), "train_")
        n_neighbors = min(self.n_neighbors, len(self.train_) - 1)
        if cells := getattr(self, "cells_", {}):
            neighbours = Neighbours(self.train_, n_neighbors, cells)
            self._score_flat = lambda x: self._factor(*neighbours.query(x))
            return
        with comparing(self.train_.shape[1]):
            self._score_flat = LocalOutlierFactor(n_neighbors=n_neighbors, novelty=True).fit(self.train_).score_samples

    def _score(self, X: np.ndarray) -> np.ndarray:
        return by_blocks(self._score_flat, X)

    @override
    def _score_tensor(self, x: Tensor) -> Tensor:
        neighbours = Neighbours(self.train_, min(self.n_neighbors, len(self.train_) - 1), getattr(self, "cells_", {}))
        distance, index = neighbours.query_tensor(x.float())
        reach, density = map(torch.from_numpy, self._weights())
        return -density[index].mean(1) * (torch.maximum(distance, reach[index]).mean(1) + LEAST)

    def _weights(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the k-distance and the local reachability density of each training sample, (n,) each."""
        n_neighbors = min(self.n_neighbors, len(self.train_) - 1)
        neighbours = Neighbours(self.train_, n_neighbors + 1, self.cells_)
        distance = np.empty((len(self.train_), n_neighbors), np.float32)
        index = np.empty(distance.shape, np.int32)
        start = 0
        for x in flat_blocks(self.train_):
            block = slice(start, start := start + len(x))
            # The first is the sample itself, for none repeats.
            distance[block], index[block] = (found[:, 1:] for found in neighbours.query(x))
        reach, density = distance[:, -1].astype(np.float64), np.empty(len(index))
        for start in range(0, len(index), AT_ONCE):
            block = slice(start, start + AT_ONCE)
            density[block] = reachability_density(distance[block], reach[index[block]])
        return reach, density

    def _factor(self, distance: np.ndarray, index: np.ndarray) -> np.ndarray:
        return -self.density_[index].mean(axis=1) / reachability_density(distance, self.reach_[index])


def reachability_density(distance: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Return local reachability densities (m,), of distances of neighbours (m, k) and their k-distances."""
    return 1 / (np.maximum(distance, reach).mean(axis=1) + LEAST)
