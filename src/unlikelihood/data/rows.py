"""Samples that are read some at a time, so that neither they nor their names have to fit in memory."""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from unlikelihood.data.images import Images


class Rows(Protocol):
    """Samples in a fixed order."""

    def __len__(self) -> int: ...

    def names(self, start: int, stop: int) -> NDArray[np.str_]:
        """Return where the samples from `start` to before `stop` came from, without reading them."""

    def read(self, start: int, stop: int) -> Images:
        """Return the samples from `start` to before `stop`, with their names.

        Raises
        ------
        ValueError
            If one of them cannot be read.
        """


@dataclass(frozen=True)
class Whole:
    """Samples that were all read, in memory or in a memory map.

    Parameters
    ----------
    images : Images
        The samples.
    """

    images: Images

    def __len__(self) -> int:
        return len(self.images)

    def names(self, start: int, stop: int) -> NDArray[np.str_]:  # noqa: D102
        name = self.images.name
        return np.arange(start, stop).astype(str) if name is None else name[start:stop]

    def read(self, start: int, stop: int) -> Images:  # noqa: D102
        return replace(self.images[start:stop], name=self.names(start, stop))
