"""Denoising diffusion."""

from collections.abc import Sequence
from dataclasses import KW_ONLY
from typing import Annotated

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract import maps
from unlikelihood.contract.density import Density
from unlikelihood.nn.diffusion import (
    CosineSchedule,
    DenoisingErrors,
    Diffuser,
    DiffusionScore,
    Reconstructions,
    Schedule,
)
from unlikelihood.nn.unet import UNet
from unlikelihood.parameters import Count, Positive, Range
from unlikelihood.training.loop import Objective, adam, one_cycle


class Diffusion(Density[Diffuser]):
    r"""A diffusion model: a network that predicts the noise ε in a noisy sample z = α x + σ ε at every noise level.

    Trained on normals alone, it predicts worse for what they do not contain.

    Parameters
    ----------
    scoring : DiffusionScore
        `DenoisingErrors` or `Reconstructions`, standardised on training normals, or `VariationalBound`, in nats.
        Change it only before `fit`.
    schedule : Schedule
        Which noise training sees: `CosineSchedule`, `LinearSchedule`, or `EvenSchedule` for a `VariationalBound`.
    width : int
        Channels of the U-Net at full size, doubled level by level; an eighth of the hidden units for vectors.
    levels : int or None
        Grey levels of images and volumes, from 0 to 1; from their lowest value to their highest if they are not
        within. None: they are continuous. Vectors always are.

    References
    ----------
    Ho, Jain and Abbeel, "Denoising diffusion probabilistic models", 2020; Kingma et al., "Variational diffusion
    models", 2021; Graham et al., "Denoising diffusion models for out-of-distribution detection", 2023.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).random((64, 1, 8, 8), dtype=np.float32)
    >>> Diffusion(epochs=1, width=2).fit(X).score_samples(X[:3]).shape
    (3,)
    """

    scoring: DiffusionScore = DenoisingErrors()
    schedule: Schedule = CosineSchedule()
    width: Count = 16
    levels: Annotated[int, Range(2)] | None = 256
    _: KW_ONLY
    epochs: Count = 10
    batch_size: Count = 64
    learning_rate: Positive = 2e-3
    clip: Positive | None = 1.0

    map_kind = maps.MapKind("residual of reconstructions from noise", "of scaled intensity")

    @override
    def build(self, shape: Sequence[int]) -> Diffuser:
        return Diffuser(UNet(shape, self.width), self.schedule, self._levels(self.levels), self._standardised())

    @override
    def objectives(self, net: Diffuser) -> list[Objective]:
        return [Objective("denoising error", net, net.loss, optimizer=adam(self.learning_rate), schedule=one_cycle)]

    @override
    @torch.inference_mode()
    def _finish(self, X: np.ndarray) -> None:
        self.scored_ = repr(self.scoring)
        self.deviation_ = np.ones(1)
        if self.scoring.normals:
            some = X[np.linspace(0, len(X) - 1, min(len(X), self.scoring.normals)).astype(int)]
            terms = torch.cat([self._terms(x) for x in self.batches(some, "Standardising scores")]).double()
            # Of a term that hardly differs among normals, no difference is to count for more than rounding does.
            self.deviation_ = torch.maximum(terms.std(0, correction=0), 0.01 * terms.mean(0)).cpu().numpy()

    def _terms(self, x: Tensor) -> Tensor:
        return self.scoring.terms(self.net_, x, lambda n: self.noise(n, *self.shape_))

    @override
    def score_batch(self, x: Tensor) -> Tensor:
        if repr(self.scoring) != self.scored_:
            raise ValueError(f"Diffusion: scoring is {self.scoring!r}, expected {self.scored_} as in fit: fit again")
        score = self.scoring(self._terms(x).double(), torch.from_numpy(self.deviation_).to(x.device))
        return score if self.net_.levels is None else score - self.net_.levels.beyond(x).flatten(1).sum(1)

    @override
    def _map(self, X: np.ndarray) -> np.ndarray:
        return maps.over_channels(self.map_batches(self._left_over, X, "Mapping"))

    def _left_over(self, x: Tensor) -> Tensor:
        """Return how far reconstructions from several levels of noise are from the scaled samples, on average."""
        residuals = Reconstructions().left_over(self.net_, x, lambda n: self.noise(n, *self.shape_))
        return torch.stack([residual.abs() for residual in residuals]).mean(0)
