"""Tasks of a Ray cluster do what this process does, and one that is lost is an error."""

import os
import signal
import time
import warnings
from functools import partial

import numpy as np
import pytest
from joblib import Parallel, delayed

from clusters import local_cluster
from test_parameter_search import searched
from tiny import normals, tiny
from unlikelihood import KNN, Committee, workers
from unlikelihood.distributed.pool import WorkersFailed
from unlikelihood.storage.workers import each

pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own, of files and sockets that it leaves open


@pytest.fixture(scope="module", autouse=True)
def ray():
    with local_cluster(), workers(2, ray="auto"):
        yield


def test_a_search_and_a_committee_find_the_same_on_a_cluster():
    shape = (1, 8, 8)
    members = [tiny("VAE"), KNN()]
    alone, apart = (Committee(members, workers=number).fit(normals(shape)) for number in (1, 2))
    new = normals(shape, n=20, seed=1)
    np.testing.assert_array_equal(apart.score_samples(new), alone.score_samples(new))
    assert searched(n_jobs=2) == searched(n_jobs=1)


def where(number):
    warnings.warn(f"number {number}", stacklevel=1)
    return number, os.getpid(), os.getcwd()


def inside():
    return {place for _, place, _ in each([partial(where, number) for number in range(3)], 3, "Inside")}


def test_tasks_run_elsewhere_in_the_same_folder_and_what_is_inside_of_them_there():
    with pytest.warns(UserWarning, match="number 2"):
        numbers, processes, folders = zip(*each([partial(where, n) for n in range(4)], None, "Jobs"), strict=True)
    assert numbers == (0, 1, 2, 3)
    assert os.getpid() not in processes
    assert set(folders) == {os.getcwd()}
    (one,), (other,) = each([inside] * 2, 2, "Jobs")
    assert os.getpid() not in (one, other)


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def refused():
    raise ValueError("it is refused")


def test_an_error_and_a_lost_worker_end_what_else_runs():
    began = time.monotonic()
    with pytest.raises(ValueError, match=r"^it is refused$"):
        each([refused, partial(time.sleep, 300)], None, "Seeds")
    with pytest.raises(RuntimeError, match=r"^Seeds: one of 2 worker processes was killed"):
        each([killed, partial(time.sleep, 300)], None, "Seeds")
    assert Parallel(n_jobs=-1)(delayed(abs)(number) for number in (-1, -2)) == [1, 2]  # so the sleeping ones are gone
    assert time.monotonic() - began < 60


def test_what_cannot_run_is_refused():
    with pytest.raises(WorkersFailed, match="gpus is 1, on a cluster that has "), workers(ray="auto", gpus=1):
        pass
    with pytest.raises(ValueError, match="workers is 0, expected at least 1"), workers(0):
        pass
