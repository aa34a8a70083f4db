"""Samples in batches on a device."""

import warnings
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
    torch.get_num_threads()  # until a new thread has asked, MKL rounds its sums in another order there
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


def in_halves(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return what `function` makes of a batch (B, ...), from halves of it, and their halves, where memory is short.

    Parameters
    ----------
    function : callable
        From a batch (m, ...) to a tensor (m, ...), each row from that row alone.
    x : Tensor
        The batch.

    Raises
    ------
    torch.OutOfMemoryError
        If memory does not suffice for a single sample; on the CPU it is a RuntimeError.
    """
    try:
        return function(x)
    except RuntimeError as error:
        if len(x) == 1 or not is_short_of_memory(error):
            raise
    # Outside the handler, whose traceback holds on to what was made.
    if x.device.type == "cuda":
        torch.cuda.empty_cache()
    half = (len(x) + 1) // 2
    warnings.warn(f"memory does not suffice for {len(x)} samples at once: {half} are taken", stacklevel=3)
    return torch.cat([in_halves(function, part) for part in x.split(half)])


def is_short_of_memory(error: RuntimeError) -> bool:
    """Return whether torch says, in its words for this device, that memory does not suffice."""
    return isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error)
