r"""Blending patches of other samples into samples: what is changed is known, so that a network can learn to find it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from unlikelihood.nn.augment import any_of, spatial
from unlikelihood.nn.spatial import AVERAGE_POOLS, stretch
from unlikelihood.parameters import Component, Count


@dataclass(frozen=True)
class Blend(Component, ABC):
    """Puts patches of other samples into samples."""

    @abstractmethod
    def __call__(self, x: Tensor, other: Tensor, weight: Tensor) -> Tensor:
        """Return `x` with what `other` has where the patch's `weight` is above 0."""


class Interpolate(Blend):
    r"""Mixes the values.

    .. math:: x' = x + w (y - x)

    References
    ----------
    Tan, Hou, Batten, Qiu and Kainz, "Detecting outliers with foreign patch interpolation", 2020.
    """

    @override
    def __call__(self, x: Tensor, other: Tensor, weight: Tensor) -> Tensor:
        return x + weight * (other - x)


@dataclass(frozen=True)
class Seamless(Blend):
    r"""Mixes the gradients, so that the patch takes on the values around it, for images and volumes.

    Poisson's equation is solved for it: with d = y - x, and h that equals d at and outside the patch's edge and has
    :math:`\Delta h = 0` inside,

    .. math:: x' = x + w (d - h).

    h is found from coarse to fine, by Jacobi's iteration.

    Parameters
    ----------
    iterations : int
        At each size.

    References
    ----------
    Pérez, Gangnet and Blake, "Poisson image editing", 2003; Tan, Hou, Day, Simpson, Rueckert and Kainz, "Detecting
    outliers with Poisson image interpolation", 2021; Schlüter, Tan, Hou and Kainz, "Natural synthetic anomalies for
    self-supervised anomaly detection and localization", 2022.
    """

    iterations: Count = 6

    @override
    def __call__(self, x: Tensor, other: Tensor, weight: Tensor) -> Tensor:
        spatial(self, x)
        difference = other - x
        return x + weight * (difference - membrane(difference, weight > 0, self.iterations))


@dataclass(frozen=True)
class AnyBlend(Blend):
    """One of several kinds of blend for each sample.

    Parameters
    ----------
    blends : tuple of Blend
        The kinds, equally probable.
    """

    blends: tuple[Blend, ...] = (Interpolate(), Seamless())

    @override
    def __call__(self, x: Tensor, other: Tensor, weight: Tensor) -> Tensor:
        return any_of(self.blends, x, other, weight)


def change(x: Tensor, blended: Tensor, weight: Tensor) -> Tensor:
    r"""Return how much each pixel was changed, (B, \*space): 0 outside the patch, or (B, F) of vectors.

    The root mean square over the channels and, inside the patch, over the neighbours of a pixel: where two textures
    happen to cross, the patch has not ended.
    """
    if x.ndim == 2:
        return (blended - x).abs()
    inside = (weight > 0).to(x.dtype)
    pool = AVERAGE_POOLS[x.ndim - 2]
    squared = pool((blended - x).square().mean(1, keepdim=True) * inside, 3, 1, 1)
    return ((squared / pool(inside, 3, 1, 1).clamp_min(1e-6)).sqrt() * inside)[:, 0]


def membrane(d: Tensor, inside: Tensor, iterations: int) -> Tensor:
    r"""Return h (B, C, \*space) that equals `d` outside, and of which each value `inside` is its neighbours' mean.

    `inside` is (B, 1, \*space); its mean over the known values of a sample starts the coarsest size, and the solution
    of each size the next.
    """
    space = d.shape[2:]
    known = (~inside).to(d.dtype)
    if min(space) > 2:
        pool = AVERAGE_POOLS[len(space)]
        share = pool(known, 2, ceil_mode=True)
        coarse = pool(d * known, 2, ceil_mode=True) / share.clamp_min(1e-6)
        h = membrane(coarse, share == 0, iterations)
        h = stretch(h, space)
    else:
        h = (d * known).flatten(2).sum(2) / known.flatten(2).sum(2).clamp_min(1)
        h = h.view(*h.shape, *[1] * len(space)).expand_as(d)
    for _ in range(iterations):
        h = neighbours(torch.where(inside, h, d))
    return torch.where(inside, h, d)


def neighbours(x: Tensor) -> Tensor:
    r"""Return the mean of each value's two neighbours along every axis, (B, C, \*space); the border is repeated."""
    axes = x.ndim - 2
    total = torch.zeros_like(x)
    for axis in range(2, x.ndim):
        n = x.shape[axis]
        first, last = x.narrow(axis, 0, 1), x.narrow(axis, n - 1, 1)
        total = total + torch.cat([x.narrow(axis, 1, n - 1), last], axis)
        total = total + torch.cat([first, x.narrow(axis, 0, n - 1)], axis)
    return total / (2 * axes)
