"""Autoregressive densities: MADE for vectors, gated PixelCNN for images and volumes."""

from collections.abc import Sequence
from dataclasses import KW_ONLY

from typing_extensions import override

from unlikelihood.contract.ordered import Ordered
from unlikelihood.nn.causal import Causal
from unlikelihood.nn.conditionals import Conditional, GaussianMixture, LogisticMixture
from unlikelihood.nn.ordered import Conditionals
from unlikelihood.parameters import Count, Positive


class Autoregressive(Ordered[Conditionals]):
    r"""Every value predicted from those before it, scored by the log-likelihood.

    .. math:: \log p(x) = \sum_i \log p(x_i \mid x_1, \ldots, x_{i-1})

    in nats: of the levels' probability where the conditional has levels, else of the density in the data's unit.
    For vectors this is MADE, for images and volumes gated PixelCNN; their conditionals are parts.

    Parameters
    ----------
    conditional : Conditional or None
        `LogisticMixture` for grey levels, `Binary` for masks or `GaussianMixture` for continuous values. Levels reach
        from 0 to 1, or from the lowest value to the highest if those are not within. None: `GaussianMixture` for
        vectors, else `LogisticMixture`.
    width : int
        Channels of the convolutions, or an eighth of the hidden units for vectors.
    layers : int
        Layers of convolutions; each but the first looks one position further in every earlier direction.

    References
    ----------
    Germain et al., "MADE", 2015; van den Oord et al., "Conditional image generation with PixelCNN decoders", 2016;
    Uria et al., "Neural autoregressive distribution estimation", 2016.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(64, 2))
    >>> Autoregressive(epochs=1, width=2).fit(X).score_samples(X[:3]).shape
    (3,)
    """

    conditional: Conditional | None = None
    width: Count = 16
    layers: Count = 6
    _: KW_ONLY
    epochs: Count = 5
    batch_size: Count = 32
    learning_rate: Positive = 3e-3
    clip: Positive | None = 1.0

    @override
    def build(self, shape: Sequence[int]) -> Conditionals:
        conditional = self.conditional or (GaussianMixture() if len(shape) == 1 else LogisticMixture())
        network = Causal(shape, conditional.n_params, self.width, self.layers)
        return Conditionals(network, conditional, *self._scales(conditional))
