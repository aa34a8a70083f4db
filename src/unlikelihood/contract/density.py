"""What the detectors that model p(x) itself share: standardised samples, grey levels, and bits."""

import math

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract import maps
from unlikelihood.contract.trained import Net, Trained
from unlikelihood.nn.levels import Levels, Standardised, moments
from unlikelihood.training.batches import batches_of
from unlikelihood.training.seeding import seeded


class Density(Trained[Net]):
    """A detector that learns p(x) and scores in nats."""

    map_kind = maps.GRADIENT

    def _to_standardise(self, x: Tensor) -> Tensor:
        """Return what of samples is standardised."""
        return x

    @override
    def _fit(self, X: np.ndarray) -> None:
        self.location_, self.scale_ = self._location_and_scale(X)
        super()._fit(X)

    def _location_and_scale(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return each channel's, or feature's, mean and standard deviation, (C,)."""
        batch_of = batches_of(X, torch.device("cpu"))
        batches = np.array_split(np.arange(len(X)), math.ceil(len(X) / self.batch_size))
        with seeded(self.seed):
            location, scale = moments(self._to_standardise(batch_of(index)) for index in batches)
        return location.numpy(), scale.numpy()

    def _standardised(self) -> Standardised:
        return Standardised(torch.from_numpy(self.location_), torch.from_numpy(self.scale_))

    def _levels(self, count: int | None) -> Levels | None:
        """Return the levels of images and volumes if there are `count`; vectors are continuous."""
        return None if count is None or len(self.shape_) == 1 else Levels.of(count, self.range_)

    def _bits(self, log_p: Tensor) -> Tensor:
        """Return the mean of -log p, in bits per dimension."""
        return -log_p.mean() / (math.prod(self.shape_) * math.log(2))

    @override
    def _map(self, X: np.ndarray) -> np.ndarray:
        return maps.gradient(self.score_batch, self.batches(X, "Mapping"))
