"""An archive is scored once, whole and alike, however many workers there are and whichever of them are killed."""

import os
import signal
import subprocess
import sys
import time
from collections import deque

import numpy as np
import pytest

from tiny import normals
from unlikelihood import Arrays, Folder
from unlikelihood.cli.main import main
from unlikelihood.distributed import pool
from unlikelihood.distributed.archive import score_archive
from unlikelihood.distributed.pool import WorkerLost, WorkersFailed, scored
from unlikelihood.distributed.scoring import Job, Scored
from unlikelihood.distributed.shards import manifest_of, parts_in, rows_in_shard, shards

pyarrow_parquet = pytest.importorskip("pyarrow.parquet")
SHAPE = (1, 8, 8)


@pytest.fixture
def samples(tmp_path):
    """A file of samples."""
    np.save(tmp_path / "new ones.npy", normals(SHAPE, n=700, seed=1))
    return tmp_path / "new ones.npy"


def table(folder):
    return pyarrow_parquet.read_table(folder).to_pydict()


def content(folder):
    """Every byte of a folder, by path; what lies there unnoticed would be found."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_parts_hold_the_table_that_score_writes_to_the_bit(models, samples, tmp_path):
    data = ["--data", "Arrays", "--data.path", str(samples), "--alpha", "0.1"]
    assert main(["score", str(models / "vae"), *data, "--out", str(tmp_path / "scores"), "--rows", "256"]) == 0
    assert main(["score", str(models / "vae"), *data, "--out", str(tmp_path / "scores.parquet")]) == 0
    parts, whole = table(tmp_path / "scores"), table(tmp_path / "scores.parquet")
    assert len(parts_in(tmp_path / "scores")) == 3
    assert {column: parts[column] for column in whole} == whole
    assert set(parts["reason"]) == {None}


def test_two_workers_one_of_them_killed_write_the_same_bytes_as_this_process(models, samples, tmp_path, monkeypatch):
    job = Job(models / "vae", Arrays(samples), alpha=0.1)
    score_archive(job, tmp_path / "one", rows=64)
    killed = []

    class Killed(pool.Local):
        def give(self, task):
            if task[0].number == 2 and not killed:
                killed.append(self.process.pid)
                os.kill(self.process.pid, signal.SIGKILL)
                self.process.join()
            super().give(task)

    monkeypatch.setattr(pool, "Local", Killed)
    counts = score_archive(job, tmp_path / "two", rows=64, workers=2)
    assert killed
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert counts["samples"] == counts["scored"] == 700


def test_a_killed_driver_loses_nothing_and_repeats_nothing(models, samples, tmp_path):
    job = Job(models / "pca", Arrays(samples))
    score_archive(job, tmp_path / "whole", rows=32)
    killed = tmp_path / "killed"
    code = (
        "import sys, os, signal; from pathlib import Path\n"
        "from unlikelihood import Arrays\n"
        "from unlikelihood.distributed import archive; from unlikelihood.distributed.scoring import Job\n"
        "write = archive.write_part\n"
        "def some(part, *rest):\n"
        "    write(part, *rest)\n"
        "    if part.name.endswith('5.parquet'): os.kill(os.getpid(), signal.SIGKILL)\n"
        "archive.write_part = some\n"
        "archive.score_archive(Job(Path(sys.argv[1]), Arrays(Path(sys.argv[2]))), Path(sys.argv[3]), rows=32)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(job.model), str(samples), str(killed)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len(parts_in(killed)) == 6
    written = {part: part.stat().st_mtime_ns for part in parts_in(killed)}
    counts = score_archive(job, killed, rows=32)
    assert counts["scored"] == 700 - 6 * 32
    assert content(killed) == content(tmp_path / "whole")
    assert {part: part.stat().st_mtime_ns for part in written} == written
    assert len(set(table(killed)["name"])) == len(table(killed)["name"]) == 700


def test_what_changed_is_scored_again_and_what_went_goes(models, samples, tmp_path):
    job, out = Job(models / "pca", Arrays(samples)), tmp_path / "scores"
    score_archive(job, out, rows=100)
    X = np.load(samples)
    X[250] = 1 - X[250]
    np.save(samples, X[:550])
    assert score_archive(job, out, rows=100)["scored"] == 150  # the shard that changed, and the last, which is shorter
    assert len(table(out)["name"]) == 550
    parts_in(out)[0].write_bytes(parts_in(out)[0].read_bytes()[:-20])
    assert score_archive(job, out, rows=100)["scored"] == 100
    assert len(table(out)["name"]) == 550


def test_scores_of_another_model_or_something_else_are_not_mixed(models, samples, tmp_path):
    out = tmp_path / "scores"
    score_archive(Job(models / "pca", Arrays(samples)), out, rows=256)
    with pytest.raises(ValueError, match="scores of another model: --overwrite"):
        score_archive(Job(models / "vae", Arrays(samples)), out, rows=256)
    with pytest.raises(ValueError, match="another alpha"):
        score_archive(Job(models / "pca", Arrays(samples), alpha=0.1), out, rows=256)
    score_archive(Job(models / "vae", Arrays(samples)), out, rows=256, overwrite=True)
    assert len({manifest_of(part)["model"] for part in parts_in(out)}) == 1
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(ValueError, match="holds something else"):
        score_archive(Job(models / "vae", Arrays(samples)), tmp_path / "mine", overwrite=True)


def test_a_sample_that_cannot_be_scored_is_a_row_with_its_reason(models, tmp_path):
    X = normals(SHAPE, n=300, seed=2)
    X[7, 0, 3, 3] = np.nan
    X[299] = 1e30
    np.save(tmp_path / "X.npy", X)
    counts = score_archive(Job(models / "vae", Arrays(tmp_path / "X.npy"), alpha=0.1), tmp_path / "scores", rows=256)
    found = table(tmp_path / "scores")
    refused = {name: why for name, why in zip(found["name"], found["reason"], strict=True) if why}
    assert counts["refused"] == 2
    assert set(refused) == {"X.npy/00007", "X.npy/00299"}
    assert "NaN" in refused["X.npy/00007"]
    assert "1e+30" in refused["X.npy/00299"]
    for column in ("anomaly_score", "p_value", "decision"):
        assert [row for row, value in enumerate(found[column]) if value is None] == [7, 299]


def test_images_in_files_are_decoded_shard_by_shard_and_damaged_ones_named(models, tmp_path):
    from PIL import Image

    folder = tmp_path / "scans of today"
    folder.mkdir()
    for number, image in enumerate((255 * normals(SHAPE, n=12, seed=3)).astype(np.uint8)):
        Image.fromarray(image[0]).save(folder / f"{number:02d}.png")
    (folder / "03.png").write_bytes((folder / "03.png").read_bytes()[:40])
    Image.new("L", (9, 9)).save(folder / "08.png")
    job = Job(models / "pca", Folder(folder))
    assert score_archive(job, tmp_path / "scores", rows=5)["refused"] == 2
    found = table(tmp_path / "scores")
    assert found["name"] == [f"{number:02d}.png" for number in range(12)]
    assert [row for row, why in enumerate(found["reason"]) if why] == [3, 8]
    assert "cannot be read as an image" in found["reason"][3]
    assert "(1, 9, 9)" in found["reason"][8]
    assert found["anomaly_score"][0] is not None
    assert score_archive(job, tmp_path / "scores", rows=5)["scored"] == 0


@pytest.mark.parametrize("words", [["--workers", "0"], ["--rows", "-3"], ["--patience", "0"]])
def test_parameters_out_of_bounds_are_refused_by_name(models, samples, tmp_path, capsys, words):
    data = ["--data", "Arrays", "--data.path", str(samples)]
    assert main(["score", str(models / "pca"), *data, "--out", str(tmp_path / "scores"), *words]) == 1
    assert f"{words[0]} is {words[1]}, expected at least 1" in capsys.readouterr().err
    assert not (tmp_path / "scores").exists()


def test_samples_of_another_shape_are_an_error_and_not_a_million_reasons(models, tmp_path):
    np.save(tmp_path / "X.npy", np.zeros((9, 1, 9, 9)))
    with pytest.raises(ValueError, match=r"shape \(1, 9, 9\), but this PCAResidual was fitted on \(1, 8, 8\)"):
        score_archive(Job(models / "pca", Arrays(tmp_path / "X.npy")), tmp_path / "scores")
    assert not (tmp_path / "scores").exists()


def test_shards_are_whole_blocks_and_fit_into_memory():
    assert [shard.stop - shard.start for shard in shards(10, 4)] == [4, 4, 2]
    for shape, block in (((16,), 256), ((1, 28, 28), 300), ((1, 64, 64, 64), 256)):
        rows = rows_in_shard(shape, block)
        assert rows % block == 0
        assert rows == block or rows * 4 * np.prod(shape) <= 2**26


class Script:
    """Workers of this process that do what is written: True scores, False ends, None says nothing."""

    def __init__(self, *scripts):
        self.scripts = deque(scripts)
        self.started, self.most, self.waiting = 0, 0, 0

    def start(self):
        self.started += 1
        return Acting(deque(self.scripts.popleft() if self.scripts else [True] * 99), self)

    def wait(self, workers, seconds):
        ready = [one for one in workers if not one.acts or one.acts[0] is not None]
        if not ready:
            time.sleep(seconds)
        return ready

    def room(self):
        return "there is no room"


class Acting:
    def __init__(self, acts, script):
        self.acts, self.script, self.stopped, self.task = acts, script, False, None

    def give(self, task):
        assert not self.stopped
        self.task = task

    def take(self):
        if not self.acts or not self.acts.popleft():
            raise WorkerLost("it ended by signal 9")
        if self.task is None:
            return None
        self.script.waiting += 1
        self.script.most = max(self.script.most, self.script.waiting)
        return Scored(str(self.task[0].number))

    def stop(self):
        self.stopped = True


def run(script, n=6, workers=2, patience=0.2):
    found = []
    for shard, result in scored(script, workers, [(shard, "") for shard in shards(n, 1)], patience):
        script.waiting -= 1
        found.append(shard.number)
        assert result.content == str(shard.number)
    return found


def test_every_shard_is_scored_once_whichever_workers_end():
    rng = np.random.default_rng(0)
    for _ in range(30):
        scripts = [[True, *(rng.random(4) < 0.8)] for _ in range(2)]
        assert sorted(run(Script(*scripts), n=12, workers=int(rng.integers(1, 4)))) == list(range(12))


def test_no_more_results_are_held_than_there_are_workers():
    script = Script()
    run(script, n=40, workers=3)
    assert script.most <= 3
    assert script.started == 3


def test_workers_that_end_while_they_load_are_an_error():
    script = Script(*[[False]] * 99)
    with pytest.raises(
        WorkersFailed, match=r"4 workers in a row ended before they scored anything: it ended by signal 9"
    ):
        run(script)
    assert script.started == 4


@pytest.mark.parametrize("n", [2, 3, 40])
def test_workers_load_the_model_at_the_same_time_and_none_for_nothing(n):
    class Waiting(Script):
        first = 0

        def wait(self, workers, seconds):
            self.first = self.first or self.started
            return super().wait(workers, seconds)

    script = Waiting()
    assert sorted(run(script, n=n, workers=3)) == list(range(n))
    assert script.first == script.started == min(n, 3)


def test_workers_that_find_no_room_are_an_error_that_says_what_room_there_is():
    with pytest.raises(WorkersFailed, match=r"no worker was ready within 0.2 s: there is no room"):
        run(Script(*[[None]] * 9))


def test_a_cluster_with_room_for_fewer_workers_does_with_those():
    script = Script([True] * 99, [None])
    assert sorted(run(script, n=6, workers=2)) == list(range(6))


def test_a_worker_that_says_nothing_loses_its_shard_to_another():
    script = Script([True, None], [True] * 99)
    assert sorted(run(script, n=6, workers=2)) == list(range(6))


def test_a_shard_that_ends_every_worker_is_an_error_after_the_others_are_scored():
    class Poisoned(Acting):
        def take(self):
            if self.task is not None and self.task[0].number == 2:
                raise WorkerLost("it ended by signal 11")
            return super().take()

    class Poison(Script):
        def start(self):
            self.started += 1
            return Poisoned(deque([True] * 99), self)

    script = Poison()
    results = scored(script, 2, [(shard, "") for shard in shards(6, 1)], 0.2)
    assert sorted(next(results)[0].number for _ in range(5)) == [0, 1, 3, 4, 5]
    with pytest.raises(WorkersFailed, match=r"1 shards ended 3 workers each, .*shard 2: it ended by signal 11"):
        next(results)
    assert script.started <= 5
