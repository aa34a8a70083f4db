"""What a sample looks like on circles or spheres around the thing in its middle."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.embedder import NearestEmbeddings
from unlikelihood.contract.maps import MapKind, over_channels
from unlikelihood.parameters import Fraction

SOUGHT = 0.25  # of the way from the middle to the border, within which the thing's centre is looked for
LEAST = 0.1  # of a shell's usual standard deviation: what a flat shell counts as having, in maps

Floats = NDArray[np.float64]


class RadialProfile(NearestEmbeddings):
    r"""Embeds a sample by mean and standard deviation on shells around the thing in its middle.

    It is for samples that are cut around something: a nodule, a lesion, a cell, a part on a table. Shells are rings or
    spheres one pixel thick, R of them. Their centre is that of what differs from the mean b of the next shell around
    the middle of the sample,

    .. math:: c = \frac{\sum_i (x_i - b)^2 \, i}{\sum_i (x_i - b)^2} \quad\text{over the } i \text{ near the middle},

    and the embedding consists of each shell's mean and standard deviation, in units of how far normals differ in it.
    The means say how large and how bright the thing is, the deviations how far from round and from even, however it
    is turned. The score is minus the mean distance to the nearest normals.

    The map says how far each pixel is from the mean of its shell in those, in their standard deviations; it is 0
    beyond the last shell. Of vectors, which have no middle, the values themselves are compared.

    Parameters
    ----------
    reach : float
        Of the way from the middle to the nearest border, how much has shells.

    Examples
    --------
    >>> X = np.random.default_rng(0).random((64, 1, 16, 16), dtype=np.float32)
    >>> RadialProfile().fit(X).embed(X[:3]).shape  # four means and four standard deviations
    (3, 8)
    """

    reach: Fraction = 0.5

    map_kind = MapKind("distance from the shells of the nearest normals", "standard deviations of a shell")

    @override
    def _fit(self, X: np.ndarray) -> None:
        profiles = self._profiles(X)
        spread = profiles.std(axis=0)
        # What no normal varies in has no spread; it is then counted in its own unit.
        self.spread_ = np.where(spread > 1e-9 * np.abs(profiles).max(axis=0), spread, 1.0)
        self._remember(profiles / self.spread_)

    @override
    def _embed(self, X: np.ndarray) -> np.ndarray:
        return self._profiles(X) / self.spread_

    @override
    def _embed_tensor(self, x: Tensor) -> Tensor:
        return self._profiles_tensor(x.double()) / torch.from_numpy(self.spread_)

    @override
    def _map(self, X: np.ndarray) -> np.ndarray:
        nearest = self._neighbours.query(self._embed(X))[1]
        usual = self.embeddings_[nearest].mean(axis=1) * self.spread_
        if len(self.shape_) == 1:
            return np.asarray(np.abs(X - usual) / self.spread_, np.float32)
        every = (self.embeddings_.mean(axis=0) * self.spread_).reshape(2, self.shape_[0], -1)[1]
        maps = np.zeros((len(X), self.shape_[0], X[0, 0].size), np.float32)
        for one, profile, (values, away, pixels) in zip(maps, usual, self._centred(X), strict=True):
            inside = away < self._count
            for channel, (mean, deviation) in enumerate(profile.reshape(2, len(one), -1).swapaxes(0, 1)):
                floor = LEAST * every[channel] + np.finfo(np.float32).tiny
                at = away[inside], np.arange(self._count)
                z = (values[channel, inside] - np.interp(*at, mean)) / np.interp(*at, deviation + floor)
                one[channel, pixels[inside]] = np.abs(z)
        return over_channels(maps.reshape(X.shape))

    def _profiles(self, X: np.ndarray) -> Floats:
        """Return the means and the standard deviations of all channels and shells, (n, 2 C R); vectors as they are."""
        if len(self.shape_) == 1:
            return np.asarray(X, np.float64)
        profiles = np.empty((len(X), 2, self.shape_[0], self._count))
        for profile, (values, away, _) in zip(profiles, self._centred(X), strict=True):
            share = shares(away, self._count)
            mean = values @ share
            profile[:] = mean, np.sqrt(np.maximum(values**2 @ share - mean**2, 0))
        return profiles.reshape(len(X), -1)

    def _profiles_tensor(self, x: Tensor) -> Tensor:
        """Return what `_profiles` does of a batch, by operations of torch."""
        if x.ndim == 2:
            return x
        places, *which, pixels = self._places()
        near, around = (torch.from_numpy(np.flatnonzero(each)) for each in which)
        grid, values = torch.from_numpy(places), x.flatten(2)[:, :, torch.from_numpy(pixels)]
        differing = values - values[:, :, around].mean(2, keepdim=True) if len(around) else values
        weight = differing.square().sum(1)[:, near]
        weight = weight.where(weight.sum(1, keepdim=True) > 0, 1.0)
        centre = weight @ grid[:, near].T / weight.sum(1, keepdim=True)
        away = (grid - centre[:, :, None]).square().sum(1).sqrt()
        # As `shares` has it: a pixel counts for the shells that are less than one pixel away.
        share = (1 - (away[:, :, None] - torch.arange(self._count)).abs()).clamp_min(0)
        share = share / share.sum(1, keepdim=True).clamp_min(1e-30)  # some runtimes know limits in float32 alone
        mean = values @ share
        deviation = (values.square() @ share - mean.square()).clamp_min(0).sqrt()
        return torch.stack([mean, deviation], 1).flatten(1)

    @property
    def _count(self) -> int:
        """R, the number of shells."""
        return max(1, round(self.reach * min(self.shape_[1:]) / 2))

    def _places(self) -> tuple[Floats, NDArray[np.bool_], NDArray[np.bool_], NDArray[np.intp]]:
        """Return where pixels are (axes, m), which are near the middle or next around, and which pixels these are."""
        space = np.array(self.shape_[1:])
        grid = np.indices(self.shape_[1:], np.float64).reshape(len(space), -1)
        away, sought = distance(grid, (space - 1) / 2), SOUGHT * min(space) / 2
        pixels = np.flatnonzero(away < self._count + max(1, sought))  # the centre lies at most so far from the middle
        grid, away = grid[:, pixels], away[pixels]
        near, around = away <= max(sought, away.min()), (away >= self._count) & (away < self._count + 1)
        return grid, near, around, pixels

    def _centred(self, X: np.ndarray) -> Iterator[tuple[Floats, Floats, NDArray[np.intp]]]:
        """Yield of each sample the values (C, m) around its thing, how far each is from its centre, and which pixel."""
        grid, near, around, pixels = self._places()
        for x in X:
            values = np.asarray(x, np.float64).reshape(len(x), -1)[:, pixels]
            surroundings = values[:, around].mean(axis=1, keepdims=True) if around.any() else 0
            weight = ((values - surroundings) ** 2).sum(axis=0)[near]
            centre = np.average(grid[:, near], axis=1, weights=weight if weight.any() else None)
            yield values, distance(grid, centre), pixels


def shares(away: Floats, count: int) -> sparse.csr_array:
    """Return how much pixels so far from the centre count for the mean of each shell, (m, R).

    A pixel counts for the two shells that it lies between, for the nearer one more, so that nothing jumps.
    """
    pixel = np.flatnonzero(away < count)
    below = away[pixel].astype(np.intp)
    beyond = away[pixel] - below
    places = np.r_[pixel, pixel], np.r_[below, below + 1]
    share = sparse.csr_array((np.r_[1 - beyond, beyond], places), (len(away), count + 1))[:, :-1]
    return share / np.maximum(share.sum(axis=0), np.finfo(np.float64).tiny)


def distance(grid: NDArray[Any], centre: Floats) -> Floats:
    """Return how far the points (axes, m) are from a centre (axes,), in pixels."""
    return np.asarray(np.sqrt(((grid - centre[:, None]) ** 2).sum(axis=0)), np.float64)
