"""Random numbers that follow from a key alone: non-negative integers, such as a seed and what it is used for."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import torch

from unlikelihood.nn.noise import drawing_from

INITIALISING = threading.RLock()


def seeded(*key: int, device: torch.device | str = "cpu") -> AbstractContextManager[None]:
    """Let `nn.noise` draw from `key` inside the block, in this thread alone, on `device`."""
    return drawing_from(torch.Generator(device).manual_seed(number(*key)))


@contextmanager
def initialising(*key: int) -> Iterator[None]:
    """Let the layers that are built inside the block draw their weights from `key`, in float32.

    torch's layers know no other generator and type than its global ones. They are set for one thread at a time and
    put back.
    """
    with INITIALISING, torch.random.fork_rng(devices=[]), drawing_from(None):
        dtype = torch.get_default_dtype()
        # Not torch.manual_seed: on a machine without CUDA it files a stack trace at every call.
        torch.default_generator.manual_seed(number(*key))
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)


def number(*key: int) -> int:
    """Return the seed of a generator, from 0 to 2^63 - 1, that follows from `key`."""
    state = np.random.SeedSequence(key).generate_state(2, np.uint32)
    return int(state[0]) << 31 | int(state[1]) >> 1
