import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest

from unlikelihood.training.allocation import _glibc, _lock, reusing_memory

MIB = 2**20

pytestmark = pytest.mark.skipif(_glibc() is None, reason="the C library is not glibc")


def faults() -> int:
    """Return how often this process had the system find it a page of memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_what_is_freed_is_used_again_without_the_system() -> None:
    with reusing_memory():
        first = faults()
        np.ones(64 * MIB, np.uint8)
        once = faults() - first
        for _ in range(10):
            np.ones(64 * MIB, np.uint8)
        assert faults() - first < 2 * once + 100


def test_memory_goes_back_at_the_end_of_the_outermost_block() -> None:
    before = resident()
    with reusing_memory():
        with reusing_memory():
            np.ones(256 * MIB, np.uint8)
        assert resident() > before + 128 * MIB
    assert resident() < before + 128 * MIB


def test_a_fork_does_not_wait_for_the_threads_of_its_parent() -> None:
    with _lock:  # as another thread may hold it
        child = os.fork()
        if not child:
            signal.alarm(20)
            with reusing_memory():
                np.ones(MIB)
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
