"""A Ray cluster scores and does tasks as one process does, and what it hangs on elsewhere is an error here."""

import os
import signal
import time
import warnings
from functools import partial
from importlib.util import find_spec

import numpy as np
import pytest
from joblib import Parallel, delayed

from clusters import QUIET, local_cluster
from test_parameter_search import searched
from tiny import normals, tiny
from unlikelihood import KNN, VAE, Arrays, Committee, workers
from unlikelihood.distributed import cluster
from unlikelihood.distributed.archive import score_archive
from unlikelihood.distributed.pool import WorkersFailed, scored
from unlikelihood.distributed.scoring import Job
from unlikelihood.distributed.shards import shards
from unlikelihood.storage.workers import each

pytest.importorskip("pyarrow")
pytestmark = [
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed"),  # to import it takes a second
    pytest.mark.filterwarnings("ignore"),  # Ray's own, of files and sockets that it leaves open
]


def content(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def job(tmp_path):
    X = normals((1, 8, 8), n=60)
    VAE(latent=2, width=2, epochs=1, batch_size=16).fit(X[:40]).calibrate(X[40:]).save(tmp_path / "vae")
    np.save(tmp_path / "X.npy", normals((1, 8, 8), n=2000, seed=1))
    return Job(tmp_path / "vae", Arrays(tmp_path / "X.npy"), alpha=0.1)


@pytest.fixture(scope="module")
def ray():
    with local_cluster():
        yield


@pytest.fixture(scope="module")
def tasks(ray):
    with workers(2, ray="auto"):
        yield


def test_an_address_where_nobody_answers_is_an_error(job, tmp_path, monkeypatch):
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    began = time.monotonic()
    with pytest.raises(WorkersFailed, match=r"ray is '127.0.0.1:9', where no cluster answers"):
        score_archive(job, tmp_path / "scores", ray="127.0.0.1:9")
    assert not (tmp_path / "scores").exists()
    assert time.monotonic() - began < 60


def test_ray_writes_the_bytes_of_one_process_and_workers_that_cannot_load_are_an_error(job, tmp_path, ray):
    score_archive(job, tmp_path / "alone", rows=500)
    score_archive(job, tmp_path / "ray", ray="auto", workers=2, rows=500, patience=240)
    assert content(tmp_path / "ray") == content(tmp_path / "alone")
    broken = cluster.Ray(Job(tmp_path / "not a model", job.source))
    with pytest.raises(WorkersFailed, match=r"3 workers in a row ended before they scored anything: .*not a model"):
        list(scored(broken, 1, [(shard, "") for shard in shards(9, 1)]))


def test_a_search_and_a_committee_find_the_same_on_a_cluster(tasks):
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


def test_tasks_run_elsewhere_in_the_same_folder_and_what_is_inside_of_them_there(tasks):
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


def test_an_error_and_a_lost_worker_end_what_else_runs(tasks):
    began = time.monotonic()
    with pytest.raises(ValueError, match=r"^it is refused$"):
        each([refused, partial(time.sleep, 300)], None, "Seeds")
    with pytest.raises(RuntimeError, match=r"^Seeds: one of 2 worker processes was killed"):
        each([killed, partial(time.sleep, 300)], None, "Seeds")
    assert Parallel(n_jobs=-1)(delayed(abs)(number) for number in (-1, -2)) == [1, 2]  # so the sleeping ones are gone
    assert time.monotonic() - began < 60


def test_what_cannot_run_is_refused(tasks):
    with pytest.raises(WorkersFailed, match="gpus is 1, on a cluster that has "), workers(ray="auto", gpus=1):
        pass
    with pytest.raises(ValueError, match="workers is 0, expected at least 1"), workers(0):
        pass
