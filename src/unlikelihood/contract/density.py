"""What the detectors that model p(x) itself share: standardised samples, grey levels, and bits."""

import math

import numpy as np
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract import maps
from unlikelihood.contract.standardising import Standardising
from unlikelihood.contract.trained import Net
from unlikelihood.nn.levels import Levels


class Density(Standardising[Net]):
    """A detector that learns p(x) and scores in nats."""

    map_kind = maps.GRADIENT

    def _levels(self, count: int | None) -> Levels | None:
        """Return the levels of images and volumes if there are `count`; vectors are continuous."""
        return None if count is None or len(self.shape_) == 1 else Levels.of(count, self.range_)

    def _bits(self, log_p: Tensor) -> Tensor:
        """Return the mean of -log p, in bits per dimension."""
        return -log_p.mean() / (math.prod(self.shape_) * math.log(2))

    @override
    def _map(self, X: np.ndarray) -> np.ndarray:
        return maps.gradient(self.score_batch, self.batches(X, "Mapping"))
