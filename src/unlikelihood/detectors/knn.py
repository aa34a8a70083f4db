"""Nearest neighbours in pixel space."""

import numpy as np
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.blocks import by_blocks
from unlikelihood.contract.neighbours import NearestSamples
from unlikelihood.parameters import Count


class KNN(NearestSamples):
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

    @property
    @override
    def _compared(self) -> int:
        return self.n_neighbors

    def _score(self, X: np.ndarray) -> np.ndarray:
        return by_blocks(lambda x: -self._neighbours.query(x)[0].mean(axis=1), X)

    @override
    def _score_tensor(self, x: Tensor) -> Tensor:
        return -self._neighbours.query_tensor(x.float())[0].mean(1)
