"""Jobs in worker processes."""

import os
import signal
import subprocess
import sys
import time
import warnings
from functools import partial

import pytest

from unlikelihood.storage.workers import each


def slowest_first(number, of):
    time.sleep(0.1 * (of - number))
    return number, os.getpid()


def refused(number):
    raise ValueError(f"number is {number}")


def warned():
    warnings.warn("it is not trustworthy", stacklevel=1)


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_jobs_return_comes_in_their_order_from_other_processes():
    numbers, places = zip(*each([partial(slowest_first, number, 4) for number in range(4)], 2, "Jobs"), strict=True)
    assert numbers == (0, 1, 2, 3)
    assert os.getpid() not in places
    assert each([os.getpid], 2, "Jobs") == each([os.getpid] * 3, 1, "Jobs")[:1] == [os.getpid()]


def test_an_error_a_warning_and_the_end_of_a_worker_are_told():
    with pytest.raises(ValueError, match="number is 1"):
        each([partial(slowest_first, 0, 1), partial(refused, 1)], 2, "Jobs")
    with pytest.warns(UserWarning, match="it is not trustworthy"):
        each([warned, warned], 2, "Jobs")
    with pytest.raises(RuntimeError, match="Fitting members: one of 2 worker processes was killed"):
        each([killed, partial(slowest_first, 0, 1)], 2, "Fitting members")


@pytest.mark.parametrize("ends", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_that_multiprocessing_starts_ends_with_its_parent(ends):
    work = "import os, time; from unlikelihood.storage.workers import follow_parent; follow_parent(); "
    work += "print(os.getpid(), flush=True); time.sleep(60)"
    code = f"import multiprocessing as m; p = m.get_context('spawn').Process(target=exec, args=({work!r},)); "
    code += "p.start(); p.join()"
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with parent.stdout:
        worker = int(parent.stdout.readline())
    parent.send_signal(ends)
    parent.wait()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("the worker goes on")
