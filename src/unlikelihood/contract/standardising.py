"""Detectors with a network that sees standardised samples."""

import math

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.trained import Net, Trained
from unlikelihood.nn.levels import Standardised, moments
from unlikelihood.training.batches import batches_of
from unlikelihood.training.seeding import seeded


class Standardising(Trained[Net]):
    """A detector that remembers the mean and the standard deviation of every channel, or feature, of its normals."""

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
