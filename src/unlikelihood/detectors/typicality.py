"""How typical a log-likelihood is, rather than how high."""

import numpy as np
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.detector import Detector, fitted


class Typicality(Detector):
    r"""Scores by how near a sample's log-likelihood is to what normal samples have: too likely is unusual as well.

    .. math:: -\lvert -\log p(x) - \hat{H} \rvert, \qquad \hat{H} = -\frac{1}{n} \sum_{j=1}^{n} \log p(x_j)

    Ĥ, the entropy, is estimated on the samples that `fit` is given. Around a detector that is fitted already these may
    be normals that it has not seen, so that its overfitting does not count.

    Parameters
    ----------
    detector : Detector
        p: any whose score is a log-likelihood, or a bound of one, in nats.

    References
    ----------
    Nalisnick, Matsukawa, Teh and Lakshminarayanan, "Detecting out-of-distribution inputs to deep generative models
    using typicality", 2019, equation 4 with a batch of one.
    """

    detector: Detector

    def _fit(self, X: np.ndarray) -> None:
        self.detector_ = fitted(self.detector, X)
        self.entropy_ = float(-self.detector_.score_samples(X).mean())

    def _score(self, X: np.ndarray) -> np.ndarray:
        return -abs(-self.detector_.score_samples(X) - self.entropy_)

    @override
    def _score_tensor(self, x: Tensor) -> Tensor:
        return -abs(-self.detector_.score_tensor(x) - self.entropy_)
