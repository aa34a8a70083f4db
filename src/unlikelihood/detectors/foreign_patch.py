"""A network that finds what does not belong."""

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY

import numpy as np
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.maps import MapKind
from unlikelihood.contract.standardising import Standardising
from unlikelihood.nn.augment import Affine, Augment, Blurred, Chain, Elsewhere, Sometimes, Tones
from unlikelihood.nn.blends import AnyBlend, Blend, Interpolate, change
from unlikelihood.nn.noise import permutation
from unlikelihood.nn.patch_shapes import AnyPatch, Features, Patch
from unlikelihood.nn.unet import PixelNet
from unlikelihood.parameters import Count, Fraction, Positive
from unlikelihood.training.loop import Objective, adam, one_cycle

RARE = -3.0  # logit at which an untrained network starts, for few pixels are foreign
DONORS = Chain(
    (
        Sometimes(Elsewhere(), 0.7),
        Sometimes(Affine(90, 0.4, 0.2, 0), 0.5),
        Sometimes(Blurred(), 0.3),
        Sometimes(Tones(0.7, 1.5), 0.5),
    )
)


class ForeignPatch(Standardising[PixelNet]):
    r"""Learns to find patches of other normal samples, blended into normal samples, and so what does not belong.

    A patch of another sample y, moved, turned, scaled and of other contrast, is blended into a sample x, which becomes
    x'. A U-Net is told, from x' alone, how much each pixel was changed,

    .. math:: t_i = 1 - e^{-c_i / \tau},

    with c the root mean square of x' - x around pixel i, over its channels, in standard deviations of the normals; it
    is 0 outside the patch. The loss is the cross-entropy between t and the network's probability: as t is bounded,
    patches that no one could miss do not rule those that are hard to see. The network knows normals alone; what
    it never saw is found as far as it breaks what holds around it. It finds what is somewhere in a sample, not what is
    a sample's kind.

    The score is minus the mean of the map's largest values; the map, `anomaly_map`, holds the logits.
    Of vectors, some values are those of another sample.

    Parameters
    ----------
    share : float
        Of the map's values, how many are the largest.
    width : int
        Channels of the U-Net at full size, doubled level by level; an eighth of the hidden units for vectors.
    cells : int
        Pixels at which the network works at most. It sees larger samples in cells of several pixels, as channels.
    tau : float
        τ, in standard deviations of the normals: the change at which t is 0.63.
    patch : Patch or None
        Where samples are changed. None takes `AnyPatch`, for vectors `Features`.
    blend : Blend or None
        How the patch is put in. None takes `AnyBlend`, for vectors `Interpolate`.
    donor : Augment or None
        What is done to the other sample first. None moves most, changes half of them in shape and half of them in
        contrast and brightness, and takes the detail from some; nothing is done to vectors.

    References
    ----------
    Tan, Hou, Batten, Qiu and Kainz, "Detecting outliers with foreign patch interpolation", 2020; Tan et al., "Detecting
    outliers with Poisson image interpolation", 2021; Schlüter, Tan, Hou and Kainz, "Natural synthetic anomalies for
    self-supervised anomaly detection and localization", 2022, for the bounded target; Zavrtanik, Kristan and Skočaj,
    "DRAEM", 2021.

    Examples
    --------
    >>> X = np.random.default_rng(0).random((64, 1, 8, 8), dtype=np.float32)
    >>> ForeignPatch(epochs=1, width=2).fit(X).anomaly_map(X[:3]).shape
    (3, 8, 8)
    """

    share: Fraction = 0.02
    width: Count = 16
    cells: Count = 1024
    tau: Positive = 0.5
    patch: Patch | None = None
    blend: Blend | None = None
    donor: Augment | None = None
    _: KW_ONLY
    epochs: Count = 60
    batch_size: Count = 16
    learning_rate: Positive = 2e-3
    clip: Positive | None = 1.0

    map_kind = MapKind("how foreign each place looks", "nats: a logit")

    @override
    def build(self, shape: Sequence[int]) -> PixelNet:
        return PixelNet(shape, self.width, self.cells)

    @override
    def objectives(self, net: PixelNet) -> list[Objective]:
        vectors = len(self.shape_) == 1
        patch = self.patch or (Features() if vectors else AnyPatch())
        blend = self.blend or (Interpolate() if vectors else AnyBlend())
        donor = self.donor or (Chain() if vectors else DONORS)

        def patched(x: Tensor) -> tuple[Tensor, Tensor]:
            y = self._standardised()(x)[0]
            weight = patch(y)
            blended = blend(y, donor(y[permutation(len(y), y.device)]), weight)
            return blended, 1 - (-change(y, blended, weight) / self.tau).exp()

        def loss(blended: Tensor, target: Tensor) -> Tensor:
            return F.binary_cross_entropy_with_logits(RARE + net(blended).to(target.dtype), target)

        return [
            Objective(
                "cross-entropy", net, loss, prepare=patched, optimizer=adam(self.learning_rate), schedule=one_cycle
            )
        ]

    @override
    def score_batch(self, x: Tensor) -> Tensor:
        values = self.map_batch(x).flatten(1)
        return -values.topk(max(1, math.ceil(self.share * values.shape[1])), dim=1).values.mean(1)

    def map_batch(self, x: Tensor) -> Tensor:
        r"""Return the maps (B, \*space) or (B, F) of a batch, higher = more anomalous, differentiably."""
        return RARE + self.net_(self._standardised()(x)[0])

    @override
    def _map(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(self.map_batches(self.map_batch, X, "Mapping"), np.float32)
