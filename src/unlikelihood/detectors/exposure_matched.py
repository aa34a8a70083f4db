"""Any detector on samples that are as bright and as contrasted as normals are."""

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.wrapper import Preprocessed
from unlikelihood.parameters import Fraction

FLAT = 0.001  # of the usual contrast: a sample with less is not made to have more of its noise


class ExposureMatched(Preprocessed):
    r"""Brings the exposure of each sample into the range of the normals', and scores by a detector that sees no other.

    The brightness of a sample is its mean over all channels and pixels, its contrast s their deviation. What lies
    outside the range of the normals is brought to its near end,

    .. math:: x' = \frac{\mathrm{clip}(s)}{s} (x - \bar{x}) + \mathrm{clip}(\bar{x}),

    so that a picture that is darker than all normals is as one of the darkest, and one that lies among them stays as it
    is: differences of brightness that normals show, too, still count. What is over- or underexposed is lost before.
    Vectors stay as they are.

    Parameters
    ----------
    detector : Detector
        What is fitted to the samples.
    tails : float
        Share of the normals at each end that the range leaves out.

    Attributes
    ----------
    brightness_, contrast_ : ndarray of float64, shape (2,)
        The ends of both ranges, in the unit of the samples.
    flat_ : float
        The contrast under which a sample is flat, and stays so.

    Examples
    --------
    >>> from unlikelihood import PCAResidual
    >>> X = np.random.default_rng(0).random((30, 1, 8, 8), dtype=np.float32)
    >>> detector = ExposureMatched(PCAResidual(3)).fit(X)
    >>> np.allclose(detector.score_samples(X / 9 - 5), detector.score_samples(X / 5 - 9), rtol=1e-4)
    True
    """

    tails: Fraction = 0.01

    def _fit(self, X: np.ndarray) -> None:
        exposure = [(np.mean(x, dtype=np.float64), np.std(x, dtype=np.float64)) for x in X] if X.ndim > 2 else [(0, 1)]
        ends = np.quantile(exposure, [self.tails, 1 - self.tails], axis=0)
        self.brightness_, self.contrast_ = ends[:, 0], ends[:, 1]
        self.flat_ = FLAT * float(np.median(exposure, axis=0)[1]) or 1.0
        super()._fit(X)

    @override
    def preprocess(self, x: Tensor) -> Tensor:
        if x.ndim == 2:
            return x
        x, axes = x.float(), tuple(range(1, x.ndim))
        brightness = x.mean(axes, keepdim=True)
        contrast = (x - brightness).square().mean(axes, keepdim=True).sqrt()
        near, usual = brightness.clamp(*self.brightness_), contrast.clamp(*self.contrast_)
        among = (near == brightness) & (usual == contrast)
        changed = torch.where(among, x, usual / contrast.clamp(self.flat_) * (x - brightness) + near)
        # What float32 cannot square must not become a small number.
        return changed.where(contrast.isfinite(), torch.nan)
