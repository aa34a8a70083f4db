"""Samples in batches on a device."""

from collections.abc import Callable, Iterator
from mmap import mmap

import numpy as np
import torch
from torch import Tensor

from unlikelihood.data.mapped import lazily
from unlikelihood.progress import progress
from unlikelihood.training.devices import free_memory, memory_format


def is_mapped(X: np.ndarray) -> bool:
    """Return whether samples lie in files: a memory map, a view of one that numpy calls a plain array, or `Mapped`."""
    if lazily(X):
        return True
    base: object = X
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, mmap)


def batches_of(
    X: np.ndarray, device: torch.device, dtype: torch.dtype = torch.float32
) -> Callable[[np.ndarray], Tensor]:
    """Return a function from sample indices to their batch on `device`.

    Data that fits into half of an accelerator's free memory is moved there once. Of a memory map, and of an array that
    torch cannot take as it is, the batches alone are copied.
    """
    layout = memory_format(X.shape[1:])

    def batch(x: Tensor) -> Tensor:
        return x.to(device, dtype).contiguous(memory_format=layout)

    mapped = is_mapped(X)
    ready = not mapped and X.dtype in (np.float32, np.uint8) and X.flags.c_contiguous and X.flags.writeable
    if mapped or X.nbytes > free_memory(device) / 2 or (device.type == "cpu" and not ready):
        return lambda index: batch(torch.from_numpy(np.asarray(X[index], np.float32)))
    kept = np.ascontiguousarray(X if X.dtype in (np.float32, np.uint8) else X.astype(np.float32))
    resident = torch.from_numpy(kept if kept.flags.writeable else kept.copy()).to(device)
    return lambda index: batch(resident[torch.from_numpy(index).to(device)])


def in_order(
    X: np.ndarray, size: int, title: str, device: torch.device, dtype: torch.dtype = torch.float32
) -> Iterator[Tensor]:
    """Yield the samples in batches of `size` on `device`, with a progress bar."""
    batch_of = batches_of(X, device, dtype)
    with progress(title, len(X)) as advance:
        for start in range(0, len(X), size):
            index = np.arange(start, min(start + size, len(X)))
            yield batch_of(index)
            advance(len(index))
