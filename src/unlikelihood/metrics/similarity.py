"""How alike two images or volumes are."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # weights of MS-SSIM, Wang et al., table of section 3.2
REACH = 4  # half the width of SSIM's window in pixels, 3 standard deviations of 1.5


def ms_ssim(x: Tensor, y: Tensor, span: float) -> Tensor:
    r"""Return the multi-scale structural similarity of pairs of images or volumes (B, C, \*space): 1 for equal ones.

    .. math:: l_M^{w_M} \prod_{j \le M} (c_j s_j)^{w_j}

    over as many of the paper's five scales as fit the samples, with the weights scaled to sum to 1; negative terms
    count as 0. `span` is the range of the intensities.

    References
    ----------
    Wang, Simoncelli and Bovik, "Multi-scale structural similarity for image quality assessment", 2003, equation 7.
    """
    scales = max(1, min(len(SCALES), int(np.log2(max(1.0, min(x.shape[2:]) / (2 * REACH + 1)))) + 1))
    pool = getattr(F, f"avg_pool{x.ndim - 2}d")
    product = torch.ones(len(x), dtype=x.dtype, device=x.device)
    for scale, weight in enumerate(SCALES[:scales], 1):
        luminance, structure = ssim(x, y, span)
        term = structure * luminance if scale == scales else structure
        product = product * term.flatten(1).mean(1).clamp_min(0) ** (weight / sum(SCALES[:scales]))
        if scale < scales:
            x, y = pool(x, 2), pool(y, 2)
    return product


def ssim(x: Tensor, y: Tensor, span: float) -> tuple[Tensor, Tensor]:
    r"""Return the maps l and c·s of structural similarity, (B, C, \*space), under a Gaussian window of 1.5 pixels."""
    small = (0.01 * span) ** 2, (0.03 * span) ** 2
    mean_x, mean_y = blurred(x), blurred(y)
    variance_x, variance_y = blurred(x * x) - mean_x**2, blurred(y * y) - mean_y**2
    covariance = blurred(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + small[0]) / (mean_x**2 + mean_y**2 + small[0])
    return luminance, (2 * covariance + small[1]) / (variance_x + variance_y + small[1])


def blurred(x: Tensor) -> Tensor:
    """Return samples after a Gaussian of 1.5 pixels along each spatial axis, with nothing beyond their borders."""
    for axis in range(2, x.ndim):
        place = torch.arange(x.shape[axis], dtype=x.dtype, device=x.device)
        apart = place[:, None] - place
        window = torch.exp(-((apart / 1.5) ** 2) / 2) * (apart.abs() <= REACH)
        x = torch.tensordot(x, window / window.sum(1, keepdim=True), dims=([axis], [1])).movedim(-1, axis)
    return x
