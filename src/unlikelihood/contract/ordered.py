"""What the detectors share that predict every value from those before it."""

from typing import TypeVar

import numpy as np
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract import maps
from unlikelihood.contract.density import Density
from unlikelihood.nn.conditionals import Conditional
from unlikelihood.nn.levels import Levels, Standardised
from unlikelihood.nn.ordered import Conditionals
from unlikelihood.training.loop import Objective, adam, one_cycle

Product = TypeVar("Product", bound=Conditionals)


class Ordered(Density[Product]):
    """A density that is a product of every value's distribution given those before it, in nats."""

    map_kind = maps.MapKind("information in each value, given those before it", "nats a value")

    def _scales(self, conditional: Conditional) -> tuple[Levels | None, Standardised]:
        """Return the levels of the conditional's values, if they have any, and the scale of the channels."""
        levels = None if conditional.levels is None else Levels.of(conditional.levels, self.range_)
        return levels, self._standardised()

    @override
    def objectives(self, net: Product) -> list[Objective]:

        def loss(x: Tensor) -> Tensor:
            return self._bits(net.log_prob(x))

        return [Objective("bits per dimension", net, loss, optimizer=adam(self.learning_rate), schedule=one_cycle)]

    @override
    def score_batch(self, x: Tensor) -> Tensor:
        return self.net_.log_prob(x)

    @override
    def _map(self, X: np.ndarray) -> np.ndarray:
        return maps.over_channels(self.map_batches(self._information, X, "Mapping"))

    def _information(self, x: Tensor) -> Tensor:
        """Return -log p of each value in nats, in the standardised unit where there are no levels."""
        return -self.net_.log_probs(x)[0].reshape(x.shape)
