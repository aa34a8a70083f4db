"""A log-likelihood less that of a background model: the likelihood ratio."""

import numpy as np
from sklearn.base import clone
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.blocks import blocks, like
from unlikelihood.contract.detector import Detector, fitted
from unlikelihood.parameters import Fraction


class LikelihoodRatio(Detector):
    r"""Scores by how much likelier a sample is under a detector than under a model of the background.

    .. math:: \log p(x) - \log p_0(x)

    The background p₀ is the same detector trained on mutated normals: each of their values is replaced, with
    probability μ, by one drawn uniformly between the least and the greatest that its channel (of images and volumes)
    or feature (of vectors) has in training. It learns what surrounds the content, such as brightness and empty borders,
    and the ratio cancels that.

    Parameters
    ----------
    detector : Detector
        p: any whose score is a log-likelihood, or a bound of one, in nats.
    rate : float
        μ; the paper finds .1 to .3 to work.
    background : Detector or None
        p₀, which `fit` fits to the mutated normals. None takes an untrained copy of `detector`.

    References
    ----------
    Ren et al., "Likelihood ratios for out-of-distribution detection", 2019, equation 2.
    """

    detector: Detector
    rate: Fraction = 0.2
    background: Detector | None = None

    def _fit(self, X: np.ndarray) -> None:
        self.detector_ = fitted(self.detector, X)
        background = clone(self.detector) if self.background is None else self.background
        self.background_ = fitted(background, mutated(X, self.rate, self.seed))

    def _score(self, X: np.ndarray) -> np.ndarray:
        return self.detector_.score_samples(X) - self.background_.score_samples(X)

    @override
    def _score_tensor(self, x: Tensor) -> Tensor:
        return self.detector_.score_tensor(x) - self.background_.score_tensor(x)


def mutated(X: np.ndarray, rate: float, seed: int) -> np.ndarray:
    r"""Return a copy of samples, each value replaced, with probability `rate`, by a uniform one of its channel."""
    rng = np.random.default_rng(seed)
    others = (0, *range(2, X.ndim))
    low = np.min([x.min(others, keepdims=True)[0] for x in blocks(X)], axis=0)
    high = np.max([x.max(others, keepdims=True)[0] for x in blocks(X)], axis=0)
    changed = like(X, X.shape, np.result_type(X.dtype, np.float32))
    for x, sample in zip(changed, X, strict=True):
        x[...] = sample
        np.copyto(x, rng.uniform(low, high, x.shape), where=rng.random(x.shape) < rate)
    return changed
