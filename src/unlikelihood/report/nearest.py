"""The normals that look most like a sample, which stand beside it."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlikelihood.contract.blocks import blocks
from unlikelihood.contract.blocks import rows as some_of
from unlikelihood.report.exhibits import NEIGHBOURS, spread
from unlikelihood.report.maps import nearest_normals

COMPARED = 2**12  # pixels of what is compared
LOOKED_AT = 2000  # normals among which the nearest are sought


class Nearest:
    r"""Finds the normals that look most like samples, by thumbnails of them.

    Parameters
    ----------
    normals : ndarray, shape (m, \*shape)
        At least one; of many, as many as are looked at, evenly over them.
    """

    def __init__(self, normals: NDArray[Any]) -> None:
        self.normals = some_of(normals, spread(len(normals), LOOKED_AT))
        self._small = _thumbnails(self.normals)

    def __call__(self, pixels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.float64]]:
        r"""Return the normals (k, m, \*shape) that look most like samples (k, \*shape), other than themselves.

        Beside them stands how far they are, (k, m): the root of the mean square over the pixels of thumbnails.
        """
        rows, distance = nearest_normals(self._small, _thumbnails(pixels), NEIGHBOURS + 1)
        near = np.array([self.normals[each] for each in rows])
        itself = np.array(
            [[np.array_equal(x, normal) for normal in each] for x, each in zip(pixels, near, strict=True)]
        )
        order = np.argsort(itself, axis=1, kind="stable")[:, :NEIGHBOURS]
        place = np.arange(len(pixels))[:, None]
        return near[place, order], distance[place, order] / math.sqrt(self._small[0].size)


def _thumbnails(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Return samples thinned to what tells at a glance which look alike."""
    space = pixels.shape[2:]
    step = max(1, math.ceil((math.prod(space) / COMPARED) ** (1 / max(1, len(space)))))
    thin = (slice(None), slice(None), *[slice(None, None, step)] * len(space))
    return np.concatenate([np.asarray(block[thin[: block.ndim]], np.float32) for block in blocks(pixels)])
