"""A Ray cluster scores as one process does, and what it hangs on elsewhere is an error here."""

import time

import numpy as np
import pytest

from clusters import QUIET, local_cluster
from tiny import normals
from unlikelihood import VAE, Arrays
from unlikelihood.distributed import cluster
from unlikelihood.distributed.archive import score_archive
from unlikelihood.distributed.pool import WorkersFailed, scored
from unlikelihood.distributed.scoring import Job
from unlikelihood.distributed.shards import shards

pytest.importorskip("pyarrow")
pytest.importorskip("ray")


def content(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def job(tmp_path):
    X = normals((1, 8, 8), n=60)
    VAE(latent=2, width=2, epochs=1, batch_size=16).fit(X[:40]).calibrate(X[40:]).save(tmp_path / "vae")
    np.save(tmp_path / "X.npy", normals((1, 8, 8), n=2000, seed=1))
    return Job(tmp_path / "vae", Arrays(tmp_path / "X.npy"), alpha=0.1)


@pytest.fixture
def ray():
    with local_cluster():
        yield


@pytest.mark.filterwarnings("ignore")  # Ray's own, of files and sockets that it leaves to the end of the process
def test_ray_writes_the_bytes_of_one_process_and_workers_that_cannot_load_are_an_error(job, tmp_path, ray):
    score_archive(job, tmp_path / "alone", rows=500)
    score_archive(job, tmp_path / "ray", ray="auto", workers=2, rows=500, patience=240)
    assert content(tmp_path / "ray") == content(tmp_path / "alone")
    broken = cluster.Ray(Job(tmp_path / "not a model", job.source))
    with pytest.raises(WorkersFailed, match=r"3 workers in a row ended before they scored anything: .*not a model"):
        list(scored(broken, 1, [(shard, "") for shard in shards(9, 1)]))


def test_an_address_where_nobody_answers_is_an_error(job, tmp_path, monkeypatch):
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    began = time.monotonic()
    with pytest.raises(WorkersFailed, match=r"ray is '127.0.0.1:9', where no cluster answers"):
        score_archive(job, tmp_path / "scores", ray="127.0.0.1:9")
    assert not (tmp_path / "scores").exists()
    assert time.monotonic() - began < 60
