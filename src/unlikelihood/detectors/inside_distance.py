"""The distance to the surface from inside, as an image or volume of its own."""

import numpy as np
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.blocks import like
from unlikelihood.contract.embedder import NearestEmbeddings
from unlikelihood.nn.statistics import inside_distance, squared_inside_distance
from unlikelihood.parameters import Positive


class InsideDistance(NearestEmbeddings):
    r"""Embeds a mask by how far each pixel of it is from the outside, so that thickness becomes brightness.

    .. math:: e_i(x) = \Bigl( \min_{j :\, x_j \le t} \lVert i - j \rVert_2 \Bigr)^p \text{ where } x_i > t,
              \text{ else } 0

    t is the middle of the range of the normals' values, and what lies beyond the frame is outside. Distances are in
    pixels or voxels, whatever their spacing; the representation has the shape of the sample, so that
    ``FeatureSpace(InsideDistance(), VAE())`` is a variational autoencoder of thickness. A vector, which has no
    inside, is left as it is.

    Parameters
    ----------
    power : float
        p: the greater, the more the thickest places count.

    References
    ----------
    Maurer, Qi and Raghavan, "A linear time algorithm for computing exact Euclidean distance transforms of binary
    images in arbitrary dimensions", 2003.
    """

    power: Positive = 2.0

    def _embed(self, X: np.ndarray) -> np.ndarray:
        if len(self.shape_) == 1:
            return np.asarray(X, np.float64)
        middle = sum(self.range_) / 2
        distances = like(X, X.shape, np.dtype(np.float32))
        for x, distance in zip(X, distances, strict=True):
            for channel, slot in zip(x, distance, strict=True):
                slot[...] = inside_distance(channel > middle) ** self.power
        return distances

    @override
    def _embed_tensor(self, x: Tensor) -> Tensor:
        if len(self.shape_) == 1:
            return x.double()
        x = x if x.is_floating_point() else x.double()
        return (squared_inside_distance(x > sum(self.range_) / 2).sqrt() ** self.power).float()
