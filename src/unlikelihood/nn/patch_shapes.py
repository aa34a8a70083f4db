r"""Where samples are changed: patches, as weights (B, 1, \*space) between 0, outside, and 1; for vectors (B, F)."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from unlikelihood.nn.augment import alike, any_of, rotation, spatial
from unlikelihood.nn.noise import integers, normal, uniform
from unlikelihood.nn.spatial import resize
from unlikelihood.parameters import Component, Count, Fraction, NonNegative, OpenFraction, Positive

THINNEST = 0.75  # pixels that a patch reaches from its centre, at least: else it could fall between pixels


@dataclass(frozen=True)
class Patch(Component, ABC):
    """Draws a patch for every sample of a batch."""

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        r"""Return weights (B, 1, \*space), or (B, F) of vectors, for samples of the shape of `x`; 0 is outside."""


@dataclass(frozen=True)
class Lump(Patch):
    r"""A patch around a random place, of random lengths and directions, for images and volumes.

    Its weight grows from 0 at the edge to a largest one, α, in its middle.

    Parameters
    ----------
    smallest, largest : float
        Of its diameter, as a fraction of the shortest axis; the logarithm is uniform.
    thinner : float
        Most by which one of its axes is shorter than its diameter, a factor.
    soft : float
        Largest share of its radius over which the weight grows.
    faintest : float
        Smallest α; it is uniform up to 1.
    """

    smallest: OpenFraction = 0.06
    largest: Positive = 0.6
    thinner: Positive = 4.0
    soft: OpenFraction = 0.5
    faintest: Fraction = 0.2

    @override
    def __call__(self, x: Tensor) -> Tensor:
        space = spatial(self, x)
        axes, n = len(space), len(x)

        def drawn(*shape: int) -> Tensor:
            return uniform(n, *shape, device=x.device, dtype=x.dtype)

        size = torch.tensor(space, dtype=x.dtype, device=x.device)
        diameter = (self.smallest * (self.largest / self.smallest) ** drawn(1) * min(space)).clamp_min(3)
        # The first axis has the diameter: turned at random, so has any.
        ratio = self.thinner ** -torch.cat([torch.zeros_like(diameter), drawn(axes - 1)], 1)
        radius = (diameter / 2 * ratio).clamp_min(THINNEST)
        turn = torch.diag_embed(torch.ones(n, axes, dtype=x.dtype, device=x.device))
        for one in range(axes):
            for other in range(one + 1, axes):
                turn = rotation(math.pi * drawn(), one, other, axes) @ turn
        places = torch.stack(
            torch.meshgrid([torch.arange(m, dtype=x.dtype, device=x.device) for m in space], indexing="ij")
        ).flatten(1)
        away = places - (drawn(axes) * (size - 1))[:, :, None]
        depth = self.depth((turn @ away / radius[:, :, None]).unflatten(2, space))
        edge = self.soft * drawn().clamp_min(1e-2)
        alpha = self.faintest + (1 - self.faintest) * drawn()
        return alike(alpha, x) * (depth / alike(edge, x)).clamp(0, 1)

    @abstractmethod
    def depth(self, u: Tensor) -> Tensor:
        r"""Return (B, 1, \*space), 0 at the edge and 1 in the middle, of places (B, axes, \*space) in radii."""


class Ellipsoid(Lump):
    """A patch whose edge is an ellipse or ellipsoid."""

    @override
    def depth(self, u: Tensor) -> Tensor:
        return 1 - u.square().sum(1, keepdim=True).sqrt()


class Box(Lump):
    """A patch whose edge is a turned rectangle or box."""

    @override
    def depth(self, u: Tensor) -> Tensor:
        return 1 - u.abs().amax(1, keepdim=True)


@dataclass(frozen=True)
class Cloud(Lump):
    """A patch of ragged outline, that may fall into several: an ellipsoid plus smooth noise, cut at a threshold.

    Parameters
    ----------
    smallest, largest, thinner, soft, faintest : float
        As in `Lump`.
    ragged : float
        Standard deviation of the noise, in radii.
    points : int
        Points of the noise along every axis of the sample.

    References
    ----------
    Zavrtanik, Kristan and Skočaj, "DRAEM: a discriminatively trained reconstruction embedding for surface anomaly
    detection", 2021: thresholded noise.
    """

    ragged: NonNegative = 0.5
    points: Count = 10

    @override
    def depth(self, u: Tensor) -> Tensor:
        axes = u.shape[1]
        noise = normal(len(u), 1, *[self.points] * axes, device=u.device, dtype=u.dtype)
        return 1 - u.square().sum(1, keepdim=True).sqrt() + self.ragged * resize(noise, u.shape[2:])


@dataclass(frozen=True)
class Features(Patch):
    """Some values of a vector, each with the same probability.

    Parameters
    ----------
    largest : float
        Of that probability, which is uniform up to it.
    """

    largest: Fraction = 0.5

    @override
    def __call__(self, x: Tensor) -> Tensor:
        rate = self.largest * uniform(len(x), 1, device=x.device, dtype=x.dtype)
        return (uniform(*x.shape, device=x.device, dtype=x.dtype) < rate).to(x.dtype)


@dataclass(frozen=True)
class AnyPatch(Patch):
    """One patch or more, each of one of several kinds.

    Parameters
    ----------
    patches : tuple of Patch
        The kinds, equally probable.
    most : int
        Patches of a sample: their number is uniform from 1 to this. Where they overlap, the larger weight holds.
    """

    patches: tuple[Patch, ...] = (Ellipsoid(), Box(thinner=16.0), Cloud())  # thin boxes are scratches
    most: Count = 3

    @override
    def __call__(self, x: Tensor) -> Tensor:
        weight = any_of(self.patches, x)
        more = integers(self.most, len(x), x.device)
        for number in range(1, self.most):
            rows = torch.nonzero(more >= number)[:, 0]
            if len(rows):
                weight[rows] = weight[rows].maximum(any_of(self.patches, x[rows]))
        return weight
