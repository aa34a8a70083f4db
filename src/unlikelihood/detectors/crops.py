"""Any detector on parts of the samples: the thesis' random sub-cubes."""

from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.metaestimators import available_if
from torch import Tensor
from typing_extensions import override

from unlikelihood.contract.blocks import HELD, like
from unlikelihood.contract.detector import Detector, fitted
from unlikelihood.contract.windows import cut, part_can, put_together, room, window
from unlikelihood.contract.wrapper import MapOfPart
from unlikelihood.parameters import Count, Whole


class Crops(MapOfPart):
    r"""Fits a detector to random crops of the samples, and scores the centre of a sample or the mean over a grid.

    .. math:: \frac{1}{|G|} \sum_{g \in G} s(x_{g : g + \text{size}})

    The network of a part is built for the shape of a crop. Training sees `drawn` crops of every sample at places that
    follow from the seed, so an epoch of the part is that many passes over the samples. All are held in memory, or in a
    temporary file where the samples are a memory map. What a part's `augment` changes is drawn anew in every epoch.
    Vectors are not cropped. The map is the mean of the maps of G's crops, and 0 where there is none.

    Parameters
    ----------
    detector : Detector
        What is fitted to crops.
    size : int
        Length of a crop along every spatial axis, in pixels; a shorter axis is kept whole.
    drawn : int
        Random crops of each training sample; 0 takes the centre alone.
    grid : int
        Places of G along each axis, evenly spaced from one end to the other; 1 is the centre alone.

    References
    ----------
    Santos Buitrago, 2018: random 28x28x28 sub-cubes of cubes of 32 mm.

    Examples
    --------
    >>> import numpy as np
    >>> from unlikelihood import KNN
    >>> X = np.random.default_rng(0).random((64, 1, 8, 8, 8), dtype=np.float32)
    >>> Crops(KNN(), size=6).fit(X).detector_.shape_
    (1, 6, 6, 6)
    """

    detector: Detector
    size: Count = 28
    drawn: Whole = 4
    grid: Count = 1

    def _fit(self, X: np.ndarray) -> None:
        rng = np.random.default_rng(self.seed)
        free = room(X.shape[1:], self.size)
        draws = [rng.integers(0, np.add(free, 1), (len(X), len(free))) for _ in range(self.drawn)]
        draws = draws or [np.tile(np.floor_divide(free, 2), (len(X), 1))]
        crops = like(X, (len(draws) * len(X), *cut(X[:1], self.size, draws[0][:1]).shape[1:]))
        for start, places in zip(range(0, len(crops), len(X)), draws, strict=True):
            self._cut(X, places, crops[start : start + len(X)])
        self.detector_ = fitted(self.detector, crops)

    def _score(self, X: np.ndarray) -> np.ndarray:
        crops = like(X, (len(X), *cut(X[:1], self.size, 0).shape[1:]))
        scores = []
        for corner in self._corners(X):
            self._cut(X, np.broadcast_to(corner, (len(X), len(corner))), crops)
            scores.append(self.detector_.score_samples(crops))
        return np.mean(scores, axis=0)

    @override
    def _score_tensor(self, x: Tensor) -> Tensor:
        corners = self._corners(x)
        crops = torch.cat([x[window(corner, self.size)] for corner in corners])
        return self.detector_.score_tensor(crops).unflatten(0, (len(corners), -1)).mean(0)

    @override
    def _map(self, X: np.ndarray) -> np.ndarray:
        if X.ndim == 2:
            return super()._map(X)
        corners = self._corners(X)
        maps = [self.detector_.anomaly_map(cut(X, self.size, corner)) for corner in corners]
        whole = np.empty((len(X), *X.shape[2:]), np.float32)
        for row, slot in enumerate(whole):
            put_together(((corner, each[row]) for corner, each in zip(corners, maps, strict=True)), slot)
        return whole

    @available_if(part_can("reconstruct"))
    def reconstruct(self, X: np.ndarray) -> np.ndarray:
        r"""Return the samples with what the part makes of their centres in these places, (n, \*shape)."""
        X = self._checked(X, reset=False)
        inside = self._centre(X)
        whole = np.array(X, np.float32)
        part: Any = self.detector_
        whole[inside] = part.reconstruct(whole[inside])
        return whole

    @available_if(part_can("generate"))
    def generate(self, n: int) -> np.ndarray:
        """Return `n` samples of the part, in the shape of a crop."""
        part: Any = self.detector_
        return part.generate(n)

    @available_if(part_can("path"))
    def path(self, x: np.ndarray, moments: int = 8) -> Any:
        r"""Return the way of the part's search for the centre of a sample (\*shape)."""
        part: Any = self.detector_
        return part.path(x[self._centre(x[None])], moments)

    @available_if(part_can("interpolate"))
    def interpolate(self, start: np.ndarray, end: np.ndarray, n: int = 8) -> np.ndarray:
        """Return `n` samples of the part between the centres of two, in the shape of a crop."""
        part: Any = self.detector_
        inside = self._centre(start[None])
        return part.interpolate(start[inside], end[inside], n)

    @property
    def generator_(self) -> Any:
        """What generates: the part, or the part's own generator."""
        return getattr(self.detector_, "generator_", self.detector_)

    @property
    def history_(self) -> dict[str, tuple[float, ...]]:
        """The losses of the part's training, or of its generator's."""
        return getattr(self.detector_, "history_", getattr(self.generator_, "history_", {}))

    def _corners(self, X: np.ndarray | Tensor) -> list[tuple[int, ...]]:
        """Return the places of G."""
        free = room(X.shape[1:], self.size)
        along = [np.linspace(0, each, self.grid) if self.grid > 1 else [each / 2] for each in free]
        return [tuple(map(int, corner)) for corner in product(*along)]

    def _centre(self, X: np.ndarray) -> tuple[Any, ...]:
        """Return the index of the central crop of samples, or of one."""
        return (..., *(slice(free // 2, free // 2 + self.size) for free in room(X.shape[1:], self.size)))

    def _cut(self, X: np.ndarray, places: NDArray[Any], crops: NDArray[Any]) -> None:
        """Write the crops at `places`, (n, axes), into `crops`, block by block."""
        step = max(1, HELD // crops[0].size)
        for start in range(0, len(X), step):
            block = slice(start, start + step)
            crops[block] = cut(X[block], self.size, places[block])
