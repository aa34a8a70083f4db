r"""How a sample and its reconstruction differ on their way through the encoder: RaPP.

h₀ is the sample itself, the other h_l are the outputs of the encoder's hidden layers, and x̂ is the decoder's mean at
the mean of q(z|x).
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.blocks import HELD
from unlikelihood.contract.detector import fitted
from unlikelihood.contract.trained import Variational, precise
from unlikelihood.contract.wrapper import MapOfPart

ROUNDING = 1e-6  # of the largest: singular values below it are the arithmetic's noise


class RaPP(MapOfPart):
    """A detector that compares the activations h_l of a sample with those of its reconstruction x̂.

    Parameters
    ----------
    autoencoder : Variational
        What encodes and reconstructs. One that is fitted already is used as it is and not trained again.
    """

    autoencoder: Variational

    mapped = "autoencoder_"

    def _fit(self, X: np.ndarray) -> None:
        self.autoencoder_ = fitted(self.autoencoder, X)

    def _score(self, X: np.ndarray) -> np.ndarray:
        return self._of_differences(self._score_difference, X)

    @override
    def _score_tensor(self, x: Tensor) -> Tensor:
        part = self.autoencoder_  # in its own precision: there are no convolutions in float64 everywhere
        return self._score_difference(differences(part, part.cast(x)).double())

    @abstractmethod
    def _score_difference(self, d: Tensor) -> Tensor:
        """Return the scores (B,) of h(x) - h(x̂), (B, activations)."""

    def _of_differences(self, function: Callable[[Tensor], Tensor], X: np.ndarray) -> np.ndarray:
        """Return what `function` makes of h(x) - h(x̂), the activations of all layers side by side."""
        part = precise(self.autoencoder_)
        return part.map_batches(lambda x: function(differences(part, x)), X, "Comparing activations")


def differences(autoencoder: Variational, x: Tensor) -> Tensor:
    r"""Return h(x) - h(x̂), (B, activations), of samples (B, \*shape)."""
    there = autoencoder.activations(x)
    back = autoencoder.activations(autoencoder.decode(autoencoder.encode(x).loc))
    return torch.cat([(h - k).flatten(1) for h, k in zip(there, back, strict=True)], 1)


class SAP(RaPP):
    r"""Scores by the squared differences of a sample and its reconstruction, summed over an encoder's layers.

    .. math:: -\sum_l \lVert h_l(x) - h_l(\hat{x}) \rVert^2

    RaPP's simple aggregation along pathways.

    References
    ----------
    Kim et al., "RaPP: novelty detection with reconstruction along projection pathway", 2020, section 3.2.
    """

    @override
    def _score_difference(self, d: Tensor) -> Tensor:
        return -d.square().sum(1)


class NAP(RaPP):
    r"""Scores by the differences of a sample and its reconstruction along an encoder's layers, whitened.

    .. math:: -\lVert (d(x) - \bar{d})^\top V \Sigma^{-1} \rVert^2, \qquad d(x) = [h_l(x) - h_l(\hat{x})]_l,
              \qquad D - \bar{d} = U \Sigma V^\top

    RaPP's normalised aggregation along pathways. D holds d of the samples that `fit` is given, its mean is d̄, and
    directions in which these do not vary are left out. So the score is the same after any invertible linear map of d.

    It wants more samples than activations. Memory is that of a square matrix of the activations, or of D where that is
    smaller: of a triangle R with D - d̄ = QR, which has the same Σ and V and takes in D block by block.

    References
    ----------
    Kim et al., "RaPP: novelty detection with reconstruction along projection pathway", 2020, section 3.3.
    """

    def _fit(self, X: np.ndarray) -> None:
        super()._fit(X)
        self.mean_, triangle = mean_and_triangle(self._blocks(X))
        _, sigma, v = np.linalg.svd(triangle, full_matrices=False)
        varied = sigma > ROUNDING * sigma.max()
        self.whitening_ = np.ascontiguousarray(v[varied].T / sigma[varied])

    def _blocks(self, X: np.ndarray) -> Iterator[np.ndarray]:
        """Yield D in blocks of as many rows as columns, and more where these are few."""
        activations = self._of_differences(lambda d: d, X[:1]).shape[1]
        step = max(activations, HELD // activations)
        for start in range(0, len(X), step):
            yield self._of_differences(lambda d: d, X[start : start + step])

    @override
    def _score_difference(self, d: Tensor) -> Tensor:
        mean, whitening = map(torch.from_numpy, (self.mean_, self.whitening_))
        return -((d - mean.to(d)) @ whitening.to(d)).square().sum(1)


def mean_and_triangle(blocks: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean (m,) of rows that come in blocks (n, m), and R of the QR decomposition of rows less their mean.

    References
    ----------
    Ross, Lim, Lin and Yang, "Incremental learning for robust visual tracking", 2008, section 3.1: the row that a mean
    which moves adds. Demmel, Grigori, Hoemmen and Langou, "Communication-optimal parallel and sequential QR and LU
    factorizations", 2012: blocks one after the other.
    """
    n, mean, triangle = 0, np.zeros(()), list[np.ndarray]()
    for block in blocks:
        own, both = block.mean(axis=0), n + len(block)
        moved = math.sqrt(n * len(block) / both) * (own - mean)
        triangle = [np.asarray(np.linalg.qr(np.vstack([*triangle, block - own, moved]), mode="r"))]
        mean, n = mean + len(block) / both * (own - mean), both
    return mean, triangle[0]
