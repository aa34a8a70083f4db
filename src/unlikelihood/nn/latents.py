"""Distributions that an adversarial generator's latents are drawn from."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from unlikelihood.nn.noise import normal, uniform
from unlikelihood.parameters import Component


@dataclass(frozen=True)
class Latents(Component, ABC):
    """p(z)."""

    @abstractmethod
    def __call__(self, n: int, dimensions: int, device: torch.device | None = None) -> Tensor:
        """Return `n` latents (n, dimensions)."""


@dataclass(frozen=True)
class NormalLatents(Latents):
    """N(0, I)."""

    @override
    def __call__(self, n: int, dimensions: int, device: torch.device | None = None) -> Tensor:
        return normal(n, dimensions, device=device)


@dataclass(frozen=True)
class UniformLatents(Latents):
    """Uniform on [-1, 1] in every dimension, as in the DCGAN paper and the thesis."""

    @override
    def __call__(self, n: int, dimensions: int, device: torch.device | None = None) -> Tensor:
        return 2 * uniform(n, dimensions, device=device) - 1
