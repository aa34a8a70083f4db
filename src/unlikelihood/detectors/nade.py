"""NADE and RNADE: every value predicted from those before it by hidden units that share their weights."""

from collections.abc import Sequence
from dataclasses import KW_ONLY
from typing import ClassVar

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from typing_extensions import override

from unlikelihood.contract.ordered import Ordered
from unlikelihood.nn.conditionals import Binary, Conditional, GaussianMixture
from unlikelihood.nn.nade import Estimator, RectifiedUnits, SharedUnits, SigmoidUnits
from unlikelihood.nn.noise import uniform
from unlikelihood.parameters import Count, Positive
from unlikelihood.training.seeding import seeded


class NADE(Ordered[Estimator]):
    r"""The neural autoregressive distribution estimator, of binary vectors, images and volumes flattened in order.

    .. math:: P(x) = \prod_i \sigma(b_i + V_i^T h_i)^{x_i} \, (1 - \sigma(b_i + V_i^T h_i))^{1 - x_i}, \qquad
              h_i = \sigma\Bigl(c + \sum_{j < i} W_j x_j\Bigr)

    The score is log P(x) in nats. Samples are made binary halfway between 0 and 1, or between their lowest value and
    their highest if those are not within.

    Parameters
    ----------
    conditional : Conditional
        `Binary`; with `LogisticMixture` or `GaussianMixture` the same hidden units predict other values.
    hidden : int
        Hidden units of each value. A batch takes memory for `hidden` times as many numbers as it has.

    References
    ----------
    Larochelle and Murray, "The neural autoregressive distribution estimator", 2011, equations 4 to 7.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).integers(0, 2, (64, 1, 4, 4)).astype(np.float32)
    >>> NADE(hidden=8, epochs=1).fit(X).score_samples(X[:3]).shape
    (3,)
    """

    conditional: Conditional = Binary()
    hidden: Count = 128
    _: KW_ONLY
    epochs: Count = 10
    batch_size: Count = 32
    learning_rate: Positive = 3e-3
    clip: Positive | None = 1.0

    units: ClassVar[type[SharedUnits]] = SigmoidUnits

    @override
    def build(self, shape: Sequence[int]) -> Estimator:
        network = self.units(shape, self.conditional.n_params, self.hidden)
        return Estimator(network, self.conditional, *self._scales(self.conditional))

    @torch.inference_mode()
    def generate(self, n: int) -> np.ndarray:
        r"""Return samples from the model's distribution of normals, drawn value after value.

        Parameters
        ----------
        n : int
            How many.

        Returns
        -------
        ndarray of shape (n, \*shape), float32
            The same at every call.
        """
        check_is_fitted(self, "shape_")
        with seeded(self.seed):
            batches = uniform(n, *self.shape_).to(next(self.net_.parameters())).split(self.batch_size)
        return np.concatenate([self.net_.inverse(u).float().cpu().numpy() for u in batches])


class RNADE(NADE):
    r"""The real-valued NADE: of continuous vectors, images and volumes flattened in order.

    .. math:: p(x) = \prod_i \sum_c \pi_{ic} \, N(x_i; \mu_{ic}, \sigma_{ic}^2), \qquad
              h_i = \max\Bigl(0, \rho_i \Bigl(c + \sum_{j < i} W_j x_j\Bigr)\Bigr)

    Weights π, means μ and standard deviations σ are linear in the hidden units h before softmax and exponential. The
    score is log p(x) in nats, for the unit of the data. Few grey levels are not continuous: their density has no bound.

    Parameters
    ----------
    conditional : Conditional
        `GaussianMixture`; with `LogisticMixture` it is a probability of grey levels.
    hidden : int
        Hidden units of each value. A batch takes memory for `hidden` times as many numbers as it has.

    References
    ----------
    Uria, Murray and Larochelle, "RNADE: the real-valued neural autoregressive density-estimator", 2013, section 2.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(64, 2))
    >>> RNADE(hidden=8, epochs=1).fit(X).score_samples(X[:3]).shape
    (3,)
    """

    conditional: Conditional = GaussianMixture()

    units: ClassVar[type[SharedUnits]] = RectifiedUnits
