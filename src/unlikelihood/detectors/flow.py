"""Normalising flows: Real NVP, neural splines, MAF."""

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY
from typing import Annotated

import torch
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.density import Density
from unlikelihood.contract.trained import Generator
from unlikelihood.nn.draws import over_draws
from unlikelihood.nn.flows import FlowStep, NormalisingFlow, SplineCoupling
from unlikelihood.nn.levels import log_mean_exp
from unlikelihood.nn.noise import normal, uniform_like
from unlikelihood.parameters import Count, Positive, Range
from unlikelihood.training.loop import Objective, adam, one_cycle
from unlikelihood.training.seeding import seeded


class Flow(Density[NormalisingFlow], Generator[NormalisingFlow]):
    r"""An invertible map f to a standard normal, scored by the log-likelihood that follows from it.

    .. math:: \log p(x) = \log N(f(x); 0, I) + \log \left| \det \frac{\partial f(x)}{\partial x} \right|

    Grey levels are dequantised: with uniform noise u of L draws, the score is

    .. math:: \log \frac{1}{L} \sum_l p(k + u^{(l)}),

    in expectation a bound of log P(k) in nats. Of continuous data it is the log-density in their unit.

    Parameters
    ----------
    step : FlowStep
        `AffineCoupling` (with `Multiscale` masks Real NVP), `SplineCoupling` (neural spline flow) or
        `AffineAutoregressive` (MAF).
    steps : int
        How many follow one another.
    width : int
        Channels of the steps' convolutions, or an eighth of their hidden units for vectors.
    levels : int or None
        Grey levels of images and volumes, from 0 to 1; from their lowest value to their highest if they are not
        within. None: they are continuous. Vectors always are.
    draws : int
        L, draws of the noise at scoring.
    antithetic : bool
        Make the draws in pairs u and 1 - u, in which what is linear in u cancels.

    References
    ----------
    Papamakarios et al., "Normalizing flows for probabilistic modeling and inference", 2021.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(64, 2))
    >>> Flow(steps=2, epochs=1, width=2).fit(X).score_samples(X[:3]).shape
    (3,)
    """

    step: FlowStep = SplineCoupling()
    steps: Count = 6
    width: Count = 24
    levels: Annotated[int, Range(2)] | None = 256
    draws: Count = 2
    antithetic: bool = True
    _: KW_ONLY
    epochs: Count = 5
    batch_size: Count = 32
    learning_rate: Positive = 2e-3
    clip: Positive | None = 1.0

    @override
    def build(self, shape: Sequence[int]) -> NormalisingFlow:
        steps = [self.step(shape, index, self.width) for index in range(self.steps)]
        return NormalisingFlow(steps, self._levels(self.levels), self._standardised())

    @override
    def objectives(self, net: NormalisingFlow) -> list[Objective]:

        def loss(x: Tensor) -> Tensor:
            return self._bits(net.log_prob(x, uniform_like(x)))

        return [Objective("bits per dimension", net, loss, optimizer=adam(self.learning_rate), schedule=one_cycle)]

    @override
    def _to_standardise(self, x: Tensor) -> Tensor:
        levels = self._levels(self.levels)
        return levels.opened(x, uniform_like(x))[0] if levels else x

    @override
    def score_batch(self, x: Tensor) -> Tensor:
        if self.net_.levels is None:
            return self.net_.log_prob(x, torch.zeros_like(x))
        noise = torch.special.ndtr(self.draws_of_noise(self.draws, *self.shape_, antithetic=self.antithetic))
        return log_mean_exp(over_draws(self.net_.log_prob, x, noise[:, None]))

    @override
    def decode(self, z: Tensor) -> Tensor:
        return self.net_.inverse(z, self.shape_)

    @override
    def draw(self, n: int, *key: int) -> Tensor:
        with seeded(self.seed, *key):
            z = normal(n, math.prod(self.shape_))
        return z.to(next(self.net_.parameters()))
