"""An encoder that answers the latent search in one pass: f-AnoGAN."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from unlikelihood.contract.search import Query, SearchDetector, SearchResult, frozen, search
from unlikelihood.contract.trained import Learner
from unlikelihood.nn.descents import AdamDescent, Descent
from unlikelihood.nn.networks import Encoder
from unlikelihood.parameters import Count, Fraction, NonNegative, Whole
from unlikelihood.training.loop import Objective, one_cycle


class EncoderSearch(SearchDetector, Learner[Encoder]):
    r"""Scores a sample by how near a generator comes to it where an encoder points: f-AnoGAN, with refinement.

    With a fitted generator G and a layer f of its critic, of D and F values, the encoder E steps down the loss izi_f

    .. math:: \frac{1}{D} \lVert x - G(E(x)) \rVert^2 + \frac{\kappa}{F} \lVert f(x) - f(G(E(x))) \rVert^2.

    From E(x), k steps down the loss L of `LatentSearch` follow; k = 0 is one pass. The score is -L there.

    Parameters
    ----------
    generator : Generator
        `DCGAN`, `WGANGP`, or `VAE` with a kappa and a discrimination of 0. One that is fitted is kept as it is, by a
        clone of this detector too; of any other, `fit` trains a clone.
    refine : int
        k.
    kappa : float
        κ.
    discrimination : float
        λ of L.
    descent : Descent
        How the refinement steps: `MomentumDescent` or `AdamDescent`.
    layer : int
        Which of the critic's layers f is; -1 is the last before its answer.
    width : int
        Channels of the encoder's first map.

    References
    ----------
    Schlegl et al., "f-AnoGAN: Fast unsupervised anomaly detection with generative adversarial networks", 2019,
    equations 4 to 6.

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

    def _fit(self, X: np.ndarray) -> None:
        self._fit_generator(X, self.layer, judged=self.kappa > 0 or self.discrimination > 0)
        with frozen(self.generator_.net_):
            super()._fit(X)

    def build(self, shape: Sequence[int]) -> Encoder:
        """Return the untrained encoder for samples of `shape`."""
        return Encoder(shape, self.generator_.draw(1).shape[1], self.width)

    def objectives(self, net: Encoder) -> list[Objective]:
        """Return the one turn: the encoder steps down izi_f while the generator stands still."""
        adam = partial(torch.optim.Adam, lr=self.learning_rate)
        return [Objective("izi_f", net, partial(self.izi_f, net), optimizer=adam, schedule=one_cycle)]

    def izi_f(self, net: nn.Module, x: Tensor) -> Tensor:
        """Return the encoder's loss of samples."""
        x = x.to(next(self.generator_.net_.parameters()).dtype)
        query = Query(self.generator_, x, self.kappa, self.layer)
        made = self.generator_.decode(net(x.to(next(net.parameters()).dtype)).to(x.dtype))
        missed = (x - made).square().mean()
        return missed + self.kappa * (query.f - query.features(made)).square().mean() if self.kappa else missed

    def _search(self, X: np.ndarray) -> SearchResult:
        return search(
            self.generator_,
            X,
            lambda _, x: self.net_(x)[:, None],
            steps=self.refine,
            descent=self.descent,
            discrimination=self.discrimination,
            layer=self.layer,
        )
