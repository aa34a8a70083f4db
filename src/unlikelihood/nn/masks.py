"""Which values the couplings of a flow look at, keep and map."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from unlikelihood.parameters import Component, Count

COARSEST = 3  # checkerboards have fields of 1, 2 and 4 values


@dataclass(frozen=True)
class Masks(Component, ABC):
    """The layout of a flow's couplings."""

    @abstractmethod
    def __call__(self, shape: Sequence[int], index: int) -> tuple[Tensor, Tensor]:
        r"""Return what the `index`-th coupling of samples of `shape` does.

        Returns
        -------
        tuple of Tensor
            Places in the flat sample of the values it looks at, as an array (C', \*space'), int64; and which of these
            it keeps, of the same shape, bool. It maps the others. Values that it does not look at stay as they are.
        """


@dataclass(frozen=True)
class Checkerboards(Masks):
    """Every coupling keeps every other field of a board over the whole sample; the fields grow, and start again."""

    @override
    def __call__(self, shape: Sequence[int], index: int) -> tuple[Tensor, Tensor]:
        coarseness = (index // 2) % min(COARSEST, max(1, (max(shape) - 1).bit_length()))
        return whole(shape), board(shape, index, coarseness)


@dataclass(frozen=True)
class Multiscale(Masks):
    r"""Real NVP's: checkerboards, a squeeze, channel masks, and half of the values factored out, scale by scale.

    A squeeze moves the :math:`2^a` positions of a block into channels, for the a axes of an even size. What is factored
    out is not mapped again, and the rest goes on as a smaller image with more channels. Where no axis is even, and for
    vectors, checkerboards follow to the end.

    Parameters
    ----------
    each : int
        Couplings with checkerboards at every scale, and as many with channel masks after the squeeze. An image of
        28x28 has three scales: with 3, `Flow` needs 6 + 6 + 4 steps for the paper's.

    References
    ----------
    Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP", 2017, sections 3.4 to 3.6.
    """

    each: Count = 3

    @override
    def __call__(self, shape: Sequence[int], index: int) -> tuple[Tensor, Tensor]:
        places = whole(shape)
        while index >= self.each and any(size % 2 == 0 for size in places.shape[1:]):
            squeezed = squeeze(places)
            half = len(squeezed) // 2
            index -= self.each
            if index < self.each:
                first = (torch.arange(len(squeezed)) < half) == (index % 2 == 0)
                return squeezed, first.view(-1, *[1] * (places.ndim - 1)).expand_as(squeezed)
            index -= self.each
            places = squeezed[half:]
        space = places.shape[1:]
        return places, board(space if math.prod(space) > 1 else places.shape, index).expand_as(places)


def whole(shape: Sequence[int]) -> Tensor:
    """Return the places of all values."""
    return torch.arange(math.prod(shape)).view(*shape)


def board(shape: Sequence[int], index: int, coarseness: int = 0) -> Tensor:
    """Return every other field of a board, the others if `index` is odd; fields have sides of 2^coarseness."""
    places = torch.meshgrid([torch.arange(size) >> coarseness for size in shape], indexing="ij")
    return (sum(places) + index) % 2 == 0  # type: ignore[return-value]


def squeeze(places: Tensor) -> Tensor:
    r"""Return (C, \*space) as (2^a C, \*halved), for the a axes of an even size.

    The channels of a block's first position come first, then those of its second.

    Examples
    --------
    >>> squeeze(torch.arange(8).view(1, 2, 4)).tolist()
    [[[0, 2]], [[1, 3]], [[4, 6]], [[5, 7]]]
    """
    for axis in range(places.ndim - 1, 0, -1):
        if places.shape[axis] % 2 == 0:
            places = torch.cat(places.unflatten(axis, (-1, 2)).unbind(axis + 1))
    return places
