"""Random numbers that follow from a key alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Draw torch's random numbers from `key` inside the block, and leave the generators outside as they were.

    Parameters
    ----------
    *key : int
        Non-negative integers: a seed, and what it is used for.
    """
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        reseed(*key)
        yield


def reseed(*key: int) -> None:
    """Set torch's generators from `key`; only inside a `seeded` block."""
    state = np.random.SeedSequence(key).generate_state(2, np.uint32)
    number = int(state[0]) << 31 | int(state[1]) >> 1
    # Not torch.manual_seed: on a machine without CUDA it files a stack trace at every call.
    torch.default_generator.manual_seed(number)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(number)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(number)
