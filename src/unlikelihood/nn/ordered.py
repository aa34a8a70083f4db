"""Densities that are a product of every value's distribution given those before it."""

from torch import Tensor, nn

from unlikelihood.nn.conditionals import Conditional
from unlikelihood.nn.levels import Levels, Standardised


class Conditionals(nn.Module):
    r"""The product of every value's distribution given those before it."""

    def __init__(
        self, network: nn.Module, conditional: Conditional, levels: Levels | None, standardised: Standardised
    ) -> None:
        super().__init__()
        self.network = network
        self.conditional = conditional
        self.levels = levels
        self.standardised = standardised

    def log_prob(self, x: Tensor) -> Tensor:
        r"""Return log p(x) in nats, (B,)."""
        each, log_det = self.log_probs(x)
        return each.flatten(1).sum(1) + log_det

    def log_probs(self, x: Tensor) -> tuple[Tensor, Tensor | float]:
        r"""Return log p of each value given those before it, (B, \*shape), and what the unit adds to their sum."""
        y, log_det = (self.levels.centred(x), 0.0) if self.levels else self.standardised(x)
        each = self.conditional(y, self.network(y).to(x.dtype))
        return (each - self.levels.beyond(x) if self.levels else each), log_det
