"""An encoder that answers the latent search in one pass: f-AnoGAN."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from torch import Tensor, nn
from typing_extensions import override

from unlikelihood.contract.queries import Query, SquaredQuery
from unlikelihood.contract.refusals import NotExportable
from unlikelihood.contract.search import SearchDetector, SearchResult, frozen, search, walk
from unlikelihood.contract.trained import Learner
from unlikelihood.nn.descents import AdamDescent, Descent
from unlikelihood.nn.networks import Encoder
from unlikelihood.parameters import Count, Fraction, NonNegative, Whole
from unlikelihood.training.loop import Objective, adam, one_cycle


class EncoderSearch(SearchDetector, Learner[Encoder]):
    r"""Scores a sample by how near a generator comes to it where an encoder points: f-AnoGAN, with refinement.

    With a fitted generator G and a layer f of its critic, of D and F values, the encoder E minimises the loss izi_f

    .. math:: A(E(x)), \qquad A(z) = \frac{1}{D} \lVert x - G(z) \rVert^2
              + \frac{\kappa}{F} \lVert f(x) - f(G(z)) \rVert^2.

    A descent of k steps follows from E(x); k = 0 is one pass. Descent and score are of AnoGAN's loss, L of
    `LatentSearch`, or of A, which is f-AnoGAN's.

    Parameters
    ----------
    generator : Generator
        `DCGAN`, `WGANGP`, or `VAE` with a kappa and a discrimination of 0.
    refine : int
        k.
    kappa : float
        κ.
    discrimination : float
        λ of L.
    descent : Descent
        The optimiser of the refinement: `MomentumDescent` or `AdamDescent`.
    layer : int
        Which of the critic's layers f is; -1 is the last before its answer.
    width : int
        Channels of the encoder's first map.
    squared : bool
        Descend on A and score by it, as f-AnoGAN does, rather than on L.

    References
    ----------
    Schlegl et al., "f-AnoGAN: Fast unsupervised anomaly detection with generative adversarial networks", 2019,
    equations 4 to 9.

    Examples
    --------
    >>> import numpy as np
    >>> from unlikelihood import DCGAN
    >>> X = np.random.default_rng(0).random((64, 1, 8, 8), dtype=np.float32)
    >>> EncoderSearch(DCGAN(latent=2, width=4, epochs=1), width=4, epochs=1).fit(X).score_samples(X[:3]).shape
    (3,)
    """

    refine: Whole = 0
    kappa: NonNegative = 1.0
    discrimination: Fraction = 0.5
    descent: Descent = AdamDescent()
    layer: int = -1
    width: Count = 32
    squared: bool = False

    def _fit(self, X: np.ndarray) -> None:
        self._fit_generator(X, self.layer, critic=self.kappa > 0 or self.discrimination > 0)
        with frozen(self.generator_.net_):
            super()._fit(X)

    @override
    def build(self, shape: Sequence[int]) -> Encoder:
        return Encoder(shape, self.generator_.draw(1).shape[1], self.width)

    @override
    def objectives(self, net: Encoder) -> list[Objective]:
        return [
            Objective("izi_f", net, partial(self.izi_f, net), optimizer=adam(self.learning_rate), schedule=one_cycle)
        ]

    def izi_f(self, net: nn.Module, x: Tensor) -> Tensor:
        """Return the encoder's loss, the mean of A over the batch."""
        x = x.to(next(self.generator_.net_.parameters()).dtype)
        query = Query(self.generator_, x, self.kappa, self.layer)
        made = self.generator_.decode(net(x.to(next(net.parameters()).dtype)).to(x.dtype))
        missed = (x - made).square().mean()
        return missed + self.kappa * (query.f - query.features(made)).square().mean() if self.kappa else missed

    def _search(self, X: np.ndarray) -> SearchResult:
        return search(self.generator_, X, self._starts, self._query, steps=self.refine, descent=self.descent)

    @override
    def _score_tensor(self, x: Tensor) -> Tensor:
        if self.refine:
            raise NotExportable(
                f"EncoderSearch cannot be exported: refine is {self.refine}, a search that takes gradients, expected 0"
            )
        x = self.cast(x)
        return -self._query(x).losses(self.net_(x))[2]

    def _walk(self, x: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
        return walk(self.generator_, x, self._starts, self._query, steps=self.refine, descent=self.descent)

    def _starts(self, X: np.ndarray, x: Tensor) -> Tensor:
        return self.net_(x)[:, None]

    def _query(self, x: Tensor) -> Query:
        if self.squared:
            return SquaredQuery(self.generator_, x, self.kappa, self.layer)
        return Query(self.generator_, x, self.discrimination, self.layer)
