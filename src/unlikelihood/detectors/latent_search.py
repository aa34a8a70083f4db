"""The search of a generator's latent space: the thesis' GAN-AD."""

from collections.abc import Iterator
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from unlikelihood.contract.queries import Query
from unlikelihood.contract.search import SearchDetector, SearchResult, content, search, walk
from unlikelihood.nn.descents import Descent, MomentumDescent
from unlikelihood.parameters import Count, Fraction, Range


class LatentSearch(SearchDetector):
    r"""Scores a sample by how near a generator can come to it: AnoGAN, the thesis' GAN-AD.

    .. math:: L_R(z) = \sum |x - G(z)|, \qquad L_D(z) = \sum |f(x) - f(G(z))|, \qquad
              L(z) = (1 - \lambda) L_R(z) + \lambda L_D(z)

    (equations 13 to 15 of the thesis), with f a layer of the discriminator. The search descends on L from a random z;
    the score is -L after the last step. The starts follow from the seed and the sample's own values, all samples are
    searched at once, and memory is bounded by doing that in chunks. L is in the samples' unit: the default steps and λ
    are for intensities from about 0 to 1, and those of Hounsfield units, for example, should be scaled first.

    Parameters
    ----------
    generator : Generator
        `DCGAN`, `WGANGP`, or `VAE` with a discrimination of 0.
    steps : int
        Steps of the search.
    discrimination : float
        λ.
    descent : Descent
        The optimiser of the search: `MomentumDescent`, equation 15, or `AdamDescent`.
    restarts : int
        Starts for each sample; the end with the least L is kept.
    layer : int
        Which of the discriminator's layers f is; -1 is the last before its answer.

    References
    ----------
    Schlegl et al., "Unsupervised anomaly detection with generative adversarial networks to guide marker discovery",
    2017; Santos Buitrago, 2018, equations 13 to 15.

    Examples
    --------
    >>> import numpy as np
    >>> from unlikelihood import DCGAN
    >>> X = np.random.default_rng(0).random((64, 1, 8, 8), dtype=np.float32)
    >>> detector = LatentSearch(DCGAN(latent=2, width=4, epochs=1), steps=5).fit(X)
    >>> detector.search(X[:3]).residual_map.shape
    (3, 1, 8, 8)
    """

    steps: Annotated[int, Range(0, 10**6)] = 100
    discrimination: Fraction = 0.5
    descent: Descent = MomentumDescent()
    restarts: Count = 1
    layer: int = -1

    unexportable = "its score is a search that takes gradients"

    def _fit(self, X: np.ndarray) -> None:
        self._fit_generator(X, self.layer, critic=self.discrimination > 0)

    def _search(self, X: np.ndarray) -> SearchResult:
        return search(self.generator_, X, self._starts, self._query, steps=self.steps, descent=self.descent)

    def _walk(self, x: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
        return walk(self.generator_, x, self._starts, self._query, steps=self.steps, descent=self.descent)

    def _query(self, x: Tensor) -> Query:
        return Query(self.generator_, x, self.discrimination, self.layer)

    def _starts(self, X: np.ndarray, x: Tensor) -> Tensor:
        return torch.stack([self.generator_.draw(self.restarts, self.seed, content(sample)) for sample in X])
