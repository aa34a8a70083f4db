"""How unlike the patches of normals the patches of a sample are: PatchCore and PaDiM.

An encoder's feature maps have a vector f at each position p, which describes the patch that it sees. A sample is scored
by the mean of its largest patch distances, with a minus sign.
"""

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import KW_ONLY
from typing import Any

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.blocks import by_blocks
from unlikelihood.contract.detector import Detector, fitted
from unlikelihood.contract.embedder import DenseEmbedder
from unlikelihood.contract.maps import MapKind
from unlikelihood.contract.neighbours import Neighbours
from unlikelihood.data.mapped import Mapped
from unlikelihood.nn.spatial import stretch
from unlikelihood.parameters import Count, Positive, Share

TOGETHER = 64  # samples whose feature maps are held at once
PROJECTED = 64  # dimensions in which the coreset is chosen


class Patches(Detector):
    """A detector that compares the patches of a sample with those of normals.

    Parameters
    ----------
    encoder : DenseEmbedder
        What makes feature maps; a fitted one is used as it is.
    top : float
        Share of the positions whose distances are averaged, at least one.
    """

    encoder: DenseEmbedder
    _: KW_ONLY
    top: Share = 0.01

    map_kind = MapKind("distance of patches to those of normals", "of features")

    def _fit(self, X: np.ndarray) -> None:
        self.encoder_ = fitted(self.encoder, X)
        self.space_ = self.encoder_.feature_maps(X[:1]).shape[2:]
        self._remember(X)

    @abstractmethod
    def _remember(self, X: np.ndarray) -> None:
        """Learn what the patches of normals look like."""

    @abstractmethod
    def _distances(self, patches: np.ndarray) -> np.ndarray:
        """Return how far patches (n, positions, channels) are from those of normals, (n, positions)."""

    def _patches(self, X: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the patches of the samples, (m, positions, channels), block by block."""
        for start in range(0, len(X), TOGETHER):
            maps = self.encoder_.feature_maps(X[start : start + TOGETHER])
            yield np.moveaxis(maps.reshape(*maps.shape[:2], -1), 1, 2)

    def _score(self, X: np.ndarray) -> np.ndarray:
        parts = map(self._distances, self._patches(X))
        return np.concatenate([-np.sort(distances, axis=1)[:, -self._largest :].mean(axis=1) for distances in parts])

    @override
    def _score_tensor(self, x: Tensor) -> Tensor:
        patches = self.encoder_.feature_maps_tensor(x)[..., None].flatten(2).transpose(1, 2)
        score = -self._distances_tensor(patches.double()).topk(self._largest, 1).values.mean(1)
        return score.where(patches.isfinite().flatten(1).all(1), math.nan)

    @abstractmethod
    def _distances_tensor(self, patches: Tensor) -> Tensor:
        """Return what `_distances` does, of patches in float64."""

    @property
    def _largest(self) -> int:
        """How many distances are averaged."""
        return math.ceil(self.top * math.prod(self.space_))

    @override
    def _map(self, X: np.ndarray) -> np.ndarray:
        distances = np.concatenate([self._distances(patches) for patches in self._patches(X)])
        if not self.space_:
            return np.broadcast_to(distances, X.shape).astype(np.float32)
        maps = torch.from_numpy(distances.astype(np.float32)).reshape(-1, 1, *self.space_)
        return stretch(maps, X.shape[2:])[:, 0].numpy()


class PatchMemory(Patches):
    r"""Scores by the distances of patches to the nearest ones in a memory of normal patches.

    .. math:: d_p = \frac{1}{k} \sum_{j=1}^{k} \lVert f_p - m_{(j)} \rVert_2

    The memory M is a coreset: of normal patches drawn at random, those that greedily reduce the largest distance of any
    of them to M. So it does not grow with the normals. Channels are divided by their standard deviations.

    Parameters
    ----------
    size : int
        Patches in the memory.
    candidates : int
        Patches drawn at random that the memory is chosen from.
    n_neighbors : int
        k.

    References
    ----------
    Roth et al., "Towards total recall in industrial anomaly detection", 2022, algorithm 1.
    """

    _: KW_ONLY
    size: Count = 2048
    candidates: Count = 32768
    n_neighbors: Count = 1

    @override
    def _remember(self, X: np.ndarray) -> None:
        rng = np.random.default_rng(self.seed)
        positions = math.prod(self.space_)
        every = len(X) * positions
        drawn = np.sort(rng.choice(every, min(every, self.candidates), replace=False, shuffle=False))
        # Samples of which no patch is drawn need not be looked at.
        sample, position = np.divmod(drawn, positions)
        some, row = np.unique(sample, return_inverse=True)
        looked_at: Any = Mapped.of(X).choose(some)
        drawn = row * positions + position
        found, start = [], 0
        for patches in self._patches(looked_at):
            end = start + len(patches) * positions
            inside = drawn[np.searchsorted(drawn, start) : np.searchsorted(drawn, end)]
            found.append(patches.reshape(-1, patches.shape[-1])[inside - start])
            start = end
        candidates = np.concatenate(found)
        deviation = candidates.std(axis=0)
        self.scale_ = np.where(deviation > 0, deviation, 1).astype(candidates.dtype)
        candidates = candidates / self.scale_
        self.memory_ = candidates[coreset(candidates, self.size, rng)]

    def _restore(self) -> None:
        self._neighbours = Neighbours(self.memory_, self.n_neighbors, {})

    @override
    def _distances(self, patches: np.ndarray) -> np.ndarray:
        flat = (patches / self.scale_).reshape(-1, patches.shape[-1])
        return by_blocks(self._nearness, flat, flat.dtype).reshape(patches.shape[:2])

    @override
    def _distances_tensor(self, patches: Tensor) -> Tensor:
        flat = (patches / torch.from_numpy(self.scale_).double()).flatten(0, 1)
        return self._neighbours.query_tensor(flat)[0].mean(1).unflatten(0, (-1, patches.shape[1]))

    def _nearness(self, flat: np.ndarray) -> np.ndarray:
        # The index finds distances from products, which lose small ones to rounding: that of a patch to itself.
        nearest = self._neighbours.query(flat)[1]
        return np.mean([np.linalg.norm(flat - self.memory_[rank], axis=1) for rank in nearest.T], axis=0)


class PatchGaussian(Patches):
    r"""Scores by the Mahalanobis distances of patches to a Gaussian of the normals' patches at the same position.

    .. math:: d_p^2 = (f_p - \mu_p)^\top (\Sigma_p + \varepsilon \bar\sigma^2 I)^{-1} (f_p - \mu_p)

    For normals that are aligned: the same part of the object is at the same position. σ̄² is the mean variance of all
    channels and positions.

    Parameters
    ----------
    channels : int
        Channels of the feature maps that are used, drawn at random; fewer if there are fewer.
    ridge : float
        ε.

    References
    ----------
    Defard, Setkov, Loesch and Audigier, "PaDiM: a patch distribution modeling framework for anomaly detection and
    localization", 2021, section 3.2.
    """

    _: KW_ONLY
    channels: Count = 48
    ridge: Positive = 0.01

    @override
    def _remember(self, X: np.ndarray) -> None:
        every = self.encoder_.feature_maps(X[:1]).shape[1]
        rng = np.random.default_rng(self.seed)
        self.channels_ = np.sort(rng.permutation(every)[: self.channels])
        positions, channels = math.prod(self.space_), len(self.channels_)
        total, squares = np.zeros((positions, channels)), np.zeros((positions, channels, channels))
        # Sums of differences to one sample's patches lose nothing where the mean is large.
        first = np.concatenate(list(self._patches(X[:1])))[0][:, self.channels_].astype(np.float64)
        for patches in self._patches(X):
            f = np.moveaxis(patches[..., self.channels_] - first, 0, 1)
            total += f.sum(axis=1)
            squares += np.matmul(f.transpose(0, 2, 1), f)
        mean = total / len(X)
        covariance = squares / len(X) - mean[:, :, None] * mean[:, None]
        variance = float(np.mean(covariance.diagonal(axis1=1, axis2=2))) or 1.0
        covariance += self.ridge * variance * np.eye(channels)
        self.mean_ = mean + first
        # Σ⁻¹ = W Wᵀ
        self.whitening_ = np.linalg.inv(np.linalg.cholesky(covariance)).transpose(0, 2, 1)

    @override
    def _distances(self, patches: np.ndarray) -> np.ndarray:
        difference = np.moveaxis(patches[..., self.channels_] - self.mean_, 0, 1)
        return np.linalg.norm(np.matmul(difference, self.whitening_), axis=-1).T

    @override
    def _distances_tensor(self, patches: Tensor) -> Tensor:
        f = patches[:, :, torch.from_numpy(self.channels_)]
        difference = (f - torch.from_numpy(self.mean_)).transpose(0, 1)
        return (difference @ torch.from_numpy(self.whitening_)).square().sum(-1).sqrt().T


def coreset(points: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return the rows of at most `size` points, chosen greedily: each is the farthest from those before it.

    Distances are those of a random projection, which keeps them almost.
    """
    if size >= len(points):
        return np.arange(len(points))
    if points.shape[1] > PROJECTED:
        directions = rng.normal(size=(points.shape[1], PROJECTED)) / math.sqrt(PROJECTED)
        points = points @ directions.astype(points.dtype)
    squared = np.square(points).sum(axis=1)
    chosen = [int(rng.integers(len(points)))]
    distance = np.full(len(points), np.inf, points.dtype)
    for _ in range(size - 1):
        latest = chosen[-1]
        np.minimum(distance, squared - 2 * points @ points[latest] + squared[latest], out=distance)
        distance[latest] = -np.inf  # rounding must not choose it again
        chosen.append(int(distance.argmax()))
    return np.array(chosen)
