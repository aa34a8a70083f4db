"""Autoregressive densities: MADE for vectors, gated PixelCNN for images and volumes."""

from collections.abc import Sequence
from dataclasses import KW_ONLY
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from unlikelihood.contract import maps
from unlikelihood.contract.density import Density
from unlikelihood.nn.causal import Causal
from unlikelihood.nn.conditionals import Conditional, GaussianMixture, LogisticMixture
from unlikelihood.nn.levels import Levels, Standardised
from unlikelihood.parameters import Count, Positive
from unlikelihood.training.loop import Objective, one_cycle


class Conditionals(nn.Module):
    r"""The product of every value's distribution given those before it."""

    def __init__(
        self, network: Causal, conditional: Conditional, levels: Levels | None, standardised: Standardised
    ) -> None:
        super().__init__()
        self.network = network
        self.conditional = conditional
        self.levels = levels
        self.standardised = standardised

    def log_prob(self, x: Tensor) -> Tensor:
        r"""Return log p(x) in nats, (B,)."""
        each, log_det = self.log_probs(x)
        return each.flatten(1).sum(1) + log_det

    def log_probs(self, x: Tensor) -> tuple[Tensor, Tensor | float]:
        r"""Return log p of each value given those before it, (B, \*shape), and what the unit adds to their sum."""
        y, log_det = (self.levels.centred(x), 0.0) if self.levels else self.standardised(x)
        return self.conditional(y, self.network(y).to(x.dtype)), log_det


class Autoregressive(Density[Conditionals]):
    r"""Every value predicted from those before it, scored by the log-likelihood.

    .. math:: \log p(x) = \sum_i \log p(x_i \mid x_1, \dots, x_{i-1})

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

    map_kind = maps.MapKind("information in each value, given those before it", "nats a value")

    @override
    def build(self, shape: Sequence[int]) -> Conditionals:
        conditional = self.conditional or (GaussianMixture() if len(shape) == 1 else LogisticMixture())
        levels = None if conditional.levels is None else Levels.of(conditional.levels, self.range_)
        network = Causal(shape, conditional.n_params, self.width, self.layers)
        return Conditionals(network, conditional, levels, self._standardised())

    @override
    def objectives(self, net: Conditionals) -> list[Objective]:
        adam = partial(torch.optim.Adam, lr=self.learning_rate)

        def loss(x: Tensor) -> Tensor:
            return self._bits(net.log_prob(x))

        return [Objective("bits per dimension", net, loss, optimizer=adam, schedule=one_cycle)]

    @override
    def score_batch(self, x: Tensor) -> Tensor:
        return self.net_.log_prob(x)

    @override
    def _map(self, X: np.ndarray) -> np.ndarray:
        return maps.over_channels(self.map_batches(lambda x: -self.net_.log_probs(x)[0], X, "Mapping"))
