"""Ways down a loss, for the search of a latent space."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from unlikelihood.parameters import Component, Fraction, Positive


@dataclass(frozen=True)
class Descent(Component, ABC):
    """Makes the optimiser of latents; each latent moves by its own gradient alone."""

    step_size: Positive

    @abstractmethod
    def __call__(self, z: Sequence[Tensor]) -> torch.optim.Optimizer:
        """Return the optimiser of `z`."""


@dataclass(frozen=True)
class MomentumDescent(Descent):
    r"""Gradient descent with momentum, equation 15 of the thesis.

    .. math:: \Delta z_i = -\alpha \, \partial L / \partial z_i + \beta \, \Delta z_{i-1}, \qquad
              z_{i+1} = z_i + \Delta z_i

    (The thesis prints the momentum term with a minus sign, which would slow the search down.)

    Parameters
    ----------
    step_size : float
        α.
    momentum : float
        β.
    """

    step_size: Positive = 1e-3
    momentum: Fraction = 0.9

    @override
    def __call__(self, z: Sequence[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.SGD(z, lr=self.step_size, momentum=self.momentum)


@dataclass(frozen=True)
class AdamDescent(Descent):
    """Kingma and Ba's Adam, 2015: its steps do not depend on the scale of the loss.

    Parameters
    ----------
    step_size : float
        α.
    """

    step_size: Positive = 0.05

    @override
    def __call__(self, z: Sequence[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.Adam(z, lr=self.step_size)
