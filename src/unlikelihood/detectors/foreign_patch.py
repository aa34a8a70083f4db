"""A network that finds what does not belong."""

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.trained import Trained
from unlikelihood.nn.augment import Affine, Augment, Chain, Tones
from unlikelihood.nn.blends import AnyBlend, AnyPatch, Blend, Elsewhere, Features, Interpolate, Patch, Sometimes
from unlikelihood.nn.levels import moments
from unlikelihood.nn.noise import permutation
from unlikelihood.nn.spatial import AVERAGE_POOLS
from unlikelihood.nn.unet import PixelNet
from unlikelihood.parameters import Count, Positive, Range
from unlikelihood.training.batches import batches_of
from unlikelihood.training.loop import Objective, one_cycle


class ForeignPatch(Trained[PixelNet]):
    width: Count = 16
    cells: Count = 4096
    tau: Positive = 0.5
    share: Positive = 0.05
    patch: Patch | None = None
    blend: Blend | None = None
    donor: Augment | None = None
    loss_name: str = "bce"
    score_kind: str = "logit"
    _: KW_ONLY
    epochs: Count = 40
    batch_size: Count = 32
    learning_rate: Positive = 2e-3
    clip: Positive | None = 1.0

    @override
    def _fit(self, X: np.ndarray) -> None:
        batch_of = batches_of(X, torch.device("cpu"))
        batches = np.array_split(np.arange(len(X)), math.ceil(len(X) / self.batch_size))
        location, scale = moments(batch_of(index) for index in batches)
        self.location_, self.scale_ = location.numpy(), scale.numpy()
        super()._fit(X)

    @override
    def build(self, shape: Sequence[int]) -> PixelNet:
        return PixelNet(shape, self.width, self.cells)

    def standardised(self, x):
        view = (-1, *[1] * (x.ndim - 2))
        loc, scale = torch.from_numpy(self.location_).to(x), torch.from_numpy(self.scale_).to(x)
        return (x - loc.view(view)) / scale.view(view)

    @override
    def objectives(self, net: PixelNet) -> list[Objective]:
        vectors = len(self.shape_) == 1
        patch = self.patch or (Features() if vectors else AnyPatch())
        blend = self.blend or (Interpolate() if vectors else AnyBlend())
        donor = self.donor or (
            Chain()
            if vectors
            else Chain((Sometimes(Elsewhere(), 0.7), Sometimes(Affine(90, 0.4, 0.2, 0), 0.5), Sometimes(Tones(0.7, 0.7), 0.5)))
        )

        def loss(x: Tensor) -> Tensor:
            y = self.standardised(x)
            other = donor(y[permutation(len(y), y.device)])
            weight = patch(y)
            changed = blend(y, other, weight)
            target = self.changed(changed - y, weight)
            found = net(changed).to(y.dtype)
            if self.loss_name == "bce":
                return F.binary_cross_entropy_with_logits(found, target)
            return F.smooth_l1_loss(found, 3 * target, beta=0.3)

        adam = partial(torch.optim.Adam, lr=self.learning_rate)
        return [Objective("loss", net, loss, optimizer=adam, schedule=one_cycle)]

    def changed(self, difference, weight):
        if difference.ndim == 2:
            return 1 - (-difference.abs() / self.tau).exp()
        squared = difference.square().mean(1, keepdim=True)
        inside = (weight > 0).to(squared)
        pool = AVERAGE_POOLS[difference.ndim - 2]
        squared = pool(squared, 3, 1, 1) / pool(inside, 3, 1, 1).clamp_min(1e-6)
        return ((1 - (-squared.sqrt() / self.tau).exp()) * inside)[:, 0]

    def maps(self, x):
        return self.net_(self.standardised(x))

    @override
    def score_batch(self, x: Tensor) -> Tensor:
        m = self.maps(x).flatten(1)
        k = math.ceil(self.share * m.shape[1])
        if self.score_kind == "sigmoid":
            m = m.sigmoid()
        return -m.topk(k, 1).values.mean(1)

    def anomaly_map(self, X: np.ndarray) -> np.ndarray:
        check_is_fitted(self, "shape_")
        return self.map_batches(self.maps, self._checked(X, reset=False), "Mapping")
