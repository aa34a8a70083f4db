"""Nearest neighbours in pixel space."""

from typing import Any

import numpy as np
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.blocks import by_blocks
from unlikelihood.contract.detector import Detector
from unlikelihood.contract.neighbours import Neighbours, cells_of, remembered, restored, stored
from unlikelihood.parameters import Count


class KNN(Detector):
    r"""Scores a sample by its mean Euclidean distance to the nearest training samples.

    .. math:: -\frac{1}{k} \sum_{j=1}^{k} \lVert x - x_{(j)} \rVert_2

    Past 256 MiB of training samples in float32, 85,000 images of 28x28 pixels, neighbours are approximate; see
    `unlikelihood.contract.neighbours.Neighbours`.

    Parameters
    ----------
    n_neighbors : int
        k; fewer if there are fewer training samples.

    References
    ----------
    Ramaswamy, Rastogi and Shim, "Efficient algorithms for mining outliers from large data sets", 2000.
    """

    n_neighbors: Count = 5

    def _fit(self, X: np.ndarray) -> None:
        self.train_ = remembered(X)
        self.cells_ = cells_of(X, self.seed)

    @override
    def state(self) -> dict[str, Any]:
        return stored(super().state(), vars(self), "train_")

    def _restore(self) -> None:
        self.train_ = restored(vars(self), "train_")
        self._neighbours = Neighbours(self.train_, self._compared, getattr(self, "cells_", {}))

    @property
    def _compared(self) -> int:
        """Neighbours that are looked for."""
        return self.n_neighbors

    def _score(self, X: np.ndarray) -> np.ndarray:
        return by_blocks(lambda x: -self._neighbours.query(x)[0].mean(axis=1), X)

    @override
    def _score_tensor(self, x: Tensor) -> Tensor:
        return -self._neighbours.query_tensor(x.float())[0].mean(1)
