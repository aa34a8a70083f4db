"""Any detector, whatever the exposure of a sample."""

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.wrapper import Preprocessed

FLOOR = 0.001  # of the usual contrast: below, a sample is taken to be flat


class ContrastNormalised(Preprocessed):
    r"""Fits a detector to samples of the same brightness and contrast, and scores by it: exposure is no anomaly.

    Each sample has its mean over all channels and pixels taken out, and is divided by its deviation,

    .. math:: x' = \frac{x - \bar{x}}{\sqrt{s_x^2 + \epsilon^2}},

    ε a thousandth of the median deviation of the normals, so that a sample without contrast is not blown up to noise.
    Between channels, differences stay: colours do. Vectors stay as they are.

    Parameters
    ----------
    detector : Detector
        What is fitted to the normalised samples.

    Attributes
    ----------
    floor_ : float
        ε, in the unit of the samples.

    References
    ----------
    Coates, Ng and Lee, "An analysis of single-layer networks in unsupervised feature learning", 2011, section 3.1.

    Examples
    --------
    >>> from unlikelihood import PCAResidual
    >>> X = np.random.default_rng(0).random((30, 1, 8, 8), dtype=np.float32)
    >>> detector = ContrastNormalised(PCAResidual(3)).fit(X)
    >>> np.allclose(detector.score_samples(X / 2 + 0.3), detector.score_samples(X), rtol=1e-4)
    True
    """

    def _fit(self, X: np.ndarray) -> None:
        contrast = [float(np.std(x)) for x in X] if X.ndim > 2 else [1.0]
        self.floor_ = FLOOR * float(np.median(contrast)) or 1.0
        super()._fit(X)

    @override
    def preprocess(self, x: Tensor) -> Tensor:
        if x.ndim == 2:
            return x
        axes = tuple(range(1, x.ndim))
        centred = x - x.mean(axes, keepdim=True)
        contrast = (centred.square().mean(axes, keepdim=True) + self.floor_**2).sqrt()
        # What float32 cannot square must not become a small number.
        return torch.where(contrast.isfinite(), centred / contrast, torch.nan)
