"""The nearest of the training samples: among all where they are few, among the likeliest where they are many."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans
from sklearn.neighbors import NearestNeighbors
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.blocks import HELD, IN_MEMORY, flat_blocks
from unlikelihood.contract.detector import Detector
from unlikelihood.contract.refusals import NotExportable
from unlikelihood.data.mapped import Mapped, Stored
from unlikelihood.training.batches import is_mapped

SEARCHED = 16  # cells in which a sample's neighbours are looked for
CENTRED_ON = 32  # samples for each cell from which its centre is learnt
AT_ONCE = 2048  # samples whose neighbours are looked for together


def remembered(X: np.ndarray) -> Any:
    """Return training samples to keep: vectors (n, D) in float32, and past 256 MiB of those, X in its own type."""
    if not past(X):
        return np.ascontiguousarray(np.asarray(X).reshape(len(X), -1), np.float32)
    return Mapped.of(X) if is_mapped(X) else np.array(X, np.float32 if X.dtype.itemsize > 4 else X.dtype)


def past(X: np.ndarray) -> bool:
    """Return whether samples take more than 256 MiB in float32, so that neighbours among them are approximate."""
    return len(X) * X[:1].size * 4 > IN_MEMORY


def stored(state: dict[str, Any], fitted: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a state with what a model file keeps of mapped samples: as they are stored, and their window."""
    samples = fitted.get(name)
    if not isinstance(samples, Mapped):
        return state
    values, window = samples.unread()
    return state | {name: values, "window_": list(window or ())}


def restored(state: Mapping[str, Any], name: str) -> Any:
    """Return the samples that `stored` made plain, as they were."""
    samples, window = state[name], state.get("window_")
    if isinstance(samples, Mapped) or not window:
        return samples
    return Mapped([Stored(samples, (float(window[0]), float(window[1])))])


def cells_of(train: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Return the cells of samples past 256 MiB, and none of fewer samples; see `divided`."""
    return divided(train, seed) if past(train) else {}


def divided(train: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Divide samples among the nearest of about √n centres.

    Returns
    -------
    dict
        The `centre` of each cell, (√n, D) float32, and the `cell` of each sample, (n,) int32.
    """
    n, d = len(train), train[:1].size
    learnt_from = min(n, CENTRED_ON * math.isqrt(n), max(2, 4 * HELD // d))
    count = min(math.isqrt(n), max(1, learnt_from // 4))
    chosen = np.sort(np.random.default_rng(seed).permutation(n)[:learnt_from])
    some = np.asarray(train[chosen], np.float32).reshape(learnt_from, d)
    means = MiniBatchKMeans(count, init="random", n_init=1, max_iter=5, batch_size=4096, random_state=seed).fit(some)
    centre = np.ascontiguousarray(means.cluster_centers_, np.float32)
    del some
    cell = np.concatenate([_squared(x, centre).argmin(axis=1).astype(np.int32) for x in flat_blocks(train)])
    return {"centre": centre, "cell": cell}


class Neighbours:
    r"""The k nearest training samples of others.

    Up to 256 MiB of training samples in float32, all are compared. Past that they lie in about √n cells around the
    means of a clustering, and neighbours are those in the 16 cells whose means are nearest: an inverted file. A
    distance is exact, but a nearer sample in another cell is missed; so no sample seems nearer than it is.

    Parameters
    ----------
    train : ndarray
        Training samples (n, \*shape), maybe mapped.
    n_neighbors : int
        k; fewer if there are fewer.
    cells : mapping
        What `cells_of` made of them.

    References
    ----------
    Jégou, Douze and Schmid, "Product quantization for nearest neighbor search", 2011, section IV, without compression.
    """

    def __init__(self, train: np.ndarray, n_neighbors: int, cells: Mapping[str, np.ndarray]) -> None:
        self.train = train
        self.k = min(n_neighbors, len(train))
        self.centre = cells.get("centre")
        if self.centre is None:
            self.index = NearestNeighbors(n_neighbors=self.k).fit(train)
        else:
            self.members = np.argsort(cells["cell"], kind="stable")
            self.starts = np.searchsorted(cells["cell"][self.members], np.arange(len(self.centre) + 1))

    def query(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the distances of vectors (m, D) to their neighbours, the nearest first, (m, k), and their rows."""
        if self.centre is None:
            return self.index.kneighbors(x)
        parts = [self._query(x[start : start + AT_ONCE], self.centre) for start in range(0, len(x), AT_ONCE)]
        distance, index = zip(*parts, strict=True)
        return np.concatenate(distance), np.concatenate(index)

    def query_tensor(self, x: Tensor) -> tuple[Tensor, Tensor]:
        r"""Return what `query` does, for samples (B, \*shape), by operations of torch that a file can hold."""
        if self.centre is not None:
            raise NotExportable(
                "neighbours among more than 256 MiB of samples cannot be exported: they are looked for in cells"
            )
        x, train = x.flatten(1).double(), torch.from_numpy(np.asarray(self.train)).double()
        squared = train.square().sum(1) - 2 * x @ train.T
        index = squared.topk(self.k, largest=False).indices
        # Products lose small distances to rounding.
        return (x[:, None] - train[index]).square().sum(2).sqrt(), index

    def _query(self, x: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        near = np.argsort(_squared(x, centre), axis=1, kind="stable")
        # As many cells as hold k samples, and at least so many.
        held = np.cumsum(np.diff(self.starts)[near], axis=1)
        wanted = np.maximum(SEARCHED, 1 + (held < self.k).sum(axis=1))
        searched = np.full(near.shape, False)
        np.put_along_axis(searched, near, np.arange(len(centre)) < wanted[:, None], axis=1)
        nearest, index = np.full((len(x), self.k), np.inf, np.float32), np.zeros((len(x), self.k), np.intp)
        for cell in np.flatnonzero(searched.any(axis=0)):
            own = np.flatnonzero(searched[:, cell])
            members = self.members[self.starts[cell] : self.starts[cell + 1]]
            step = max(1, min(HELD // x.shape[1], HELD // len(own)))
            for start in range(0, len(members), step):
                some = members[start : start + step]
                # About the centre, so that float32 does not lose what differs.
                there = self._vectors(some, np.float32) - centre[cell]
                found = np.hstack([nearest[own], _squared(x[own] - centre[cell], there, whole=True)])
                which = np.hstack([index[own], np.broadcast_to(some, (len(own), len(some)))])
                best = np.argpartition(found, self.k - 1, axis=1)[:, : self.k]
                nearest[own] = np.take_along_axis(found, best, axis=1)
                index[own] = np.take_along_axis(which, best, axis=1)
        distance = np.stack(
            [
                np.linalg.norm(self._vectors(rows, np.float64) - one, axis=1)
                for one, rows in zip(x.astype(np.float64), index, strict=True)
            ]
        )
        order = np.argsort(distance, axis=1, kind="stable")
        return np.take_along_axis(distance, order, axis=1), np.take_along_axis(index, order, axis=1)

    def _vectors(self, rows: np.ndarray, dtype: Any) -> np.ndarray:
        return np.asarray(self.train[rows]).reshape(len(rows), -1).astype(dtype)


def _squared(x: np.ndarray, y: np.ndarray, *, whole: bool = False) -> np.ndarray:
    """Return the squared distances of vectors (m, D) from others (n, D), (m, n), less those that order no row."""
    squared = np.square(y).sum(axis=1) - 2 * (x @ y.T)
    return squared + np.square(x).sum(axis=1)[:, None] if whole else squared


class NearestSamples(Detector):
    """A detector that remembers the training samples, and compares others with the nearest of them."""

    @property
    @abstractmethod
    def _compared(self) -> int:
        """How many of them a sample is compared with."""

    def _fit(self, X: np.ndarray) -> None:
        self.train_ = remembered(X)
        self.cells_ = cells_of(X, self.seed)

    @override
    def state(self) -> dict[str, Any]:
        return stored(super().state(), vars(self), "train_")

    def _restore(self) -> None:
        self.train_ = restored(vars(self), "train_")
        self._neighbours = Neighbours(self.train_, self._compared, getattr(self, "cells_", {}))
