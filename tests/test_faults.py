"""Whatever ends a process, what it wrote is the old or the new; what was damaged or forged is refused by name."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import save_file

from tiny import normals, tiny
from unlikelihood import KNN, Conformal, load
from unlikelihood.data import kept
from unlikelihood.storage import files
from unlikelihood.storage.files import allocate, recover, replacing
from unlikelihood.storage.locks import alone
from unlikelihood.storage.models import ModelFileError
from unlikelihood.storage.records import read_sealed, seal

WRITES = """
import sys
from pathlib import Path
from unlikelihood.storage.files import replacing

place, start = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
for version in range(start, start + 10**6):
    with replacing(place / "model", lasting=False) as folder:
        folder.mkdir()
        for name in "ab":
            (folder / name).write_text(str(version) * 50)
    with replacing(place / "head", lasting=False) as head:
        head.write_text(str(version))
        (head.parent / "body").write_text(str(version))
"""


def version_of(place):
    """Return the version of the model in a folder, both of whose files must be of it, and of head and body."""
    recover(place / "model")
    recover(place / "head")
    if not (place / "head").exists():  # the first was killed before
        return None
    first, second = ((place / "model" / name).read_text() for name in "ab")
    assert first == second
    assert (place / "head").read_text() == (place / "body").read_text()
    return int(first[: len(first) // 50])


def test_twenty_kills_lose_nothing_and_mix_nothing(tmp_path):
    rng, last = np.random.default_rng(0), 0
    for _ in range(20):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITES, str(tmp_path), str(last)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.02 + 0.1 * rng.random())
        process.kill()
        process.communicate()
        if (now := version_of(tmp_path)) is not None:
            assert now >= last
            last = now
    assert last > 0
    assert {place.name for place in tmp_path.iterdir()} == {"model", "head", "body"}


def stopped_at(monkeypatch, call):
    """Let `os.replace` stop the process, as a kill does, at its n-th call: nothing after it runs."""
    replace, left = os.replace, iter(range(call))

    class Killed(BaseException):
        pass

    def stopping(*given):
        if next(left, None) is None:
            raise Killed
        replace(*given)

    monkeypatch.setattr(files.os, "replace", stopping)
    monkeypatch.setattr(files, "_clear", lambda holder: None)
    return Killed


@pytest.mark.parametrize("call", range(3))
def test_a_kill_between_any_two_moves_leaves_the_old_or_the_new(tmp_path, monkeypatch, call):
    old, new = tiny("KNN").fit(normals((6,))), tiny("KNN").fit(normals((6,), seed=1))
    X = normals((6,), n=5, seed=2)
    old.save(tmp_path / "model")
    with monkeypatch.context() as patch:
        killed = stopped_at(patch, call)
        with pytest.raises(killed):
            new.save(tmp_path / "model")
    expected = old if call < 2 else new
    np.testing.assert_array_equal(load(tmp_path / "model").score_samples(X), expected.score_samples(X))
    new.save(tmp_path / "model")
    assert [place.name for place in tmp_path.iterdir()] == ["model"]


def test_an_interruption_between_two_moves_still_brings_the_new(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    replace, calls = os.replace, []

    def interrupted(*given):
        calls.append(given)
        if len(calls) == 3:
            raise KeyboardInterrupt
        replace(*given)

    monkeypatch.setattr(files.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "model") as folder:
        folder.mkdir()
        (folder / "new").touch()
    assert [str(place.relative_to(tmp_path)) for place in tmp_path.rglob("*")] == ["model", "model/new"]


def test_what_a_living_process_writes_is_left_alone(tmp_path):
    with replacing(tmp_path / "a") as first:
        first.write_text("first")
        recover(tmp_path / "a")
        with replacing(tmp_path / "a") as second:
            second.write_text("second")
        assert (tmp_path / "a").read_text() == "second"
    assert (tmp_path / "a").read_text() == "first"
    assert [place.name for place in tmp_path.iterdir()] == ["a"]


def test_hidden_folders_of_others_are_left_alone(tmp_path):
    (tmp_path / ".a.backup").mkdir()
    with replacing(tmp_path / "a") as place:
        place.touch()
    assert (tmp_path / ".a.backup").is_dir()


SAVES = """
import sys
import numpy as np
from unlikelihood import KNN

X = np.random.default_rng(int(sys.argv[2])).normal(size=(20, 3))
detector = KNN(n_neighbors=3).fit(X)
for _ in range(20):
    detector.save(sys.argv[1])
"""


def test_two_processes_that_save_at_one_path_and_one_that_loads_are_all_right(tmp_path):
    path = tmp_path / "model"
    models = [KNN(n_neighbors=3).fit(np.random.default_rng(seed).normal(size=(20, 3))) for seed in (0, 1)]
    models[0].save(path)
    X = np.random.default_rng(2).normal(size=(5, 3))
    valid = [model.score_samples(X).tolist() for model in models]
    savers = [subprocess.Popen([sys.executable, "-c", SAVES, str(path), str(seed)]) for seed in (0, 1)]
    loads = 0
    while any(saver.poll() is None for saver in savers):
        assert load(path).score_samples(X).tolist() in valid
        loads += 1
    assert [saver.returncode for saver in savers] == [0, 0]
    assert loads > 1
    assert [place.name for place in tmp_path.iterdir()] == ["model"]


def test_a_full_disk_is_one_line_that_names_the_file(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(OSError, match=r"No space left on device: '.*table\.csv'"), replacing(path) as place:
        place.symlink_to("/dev/full")
        with place.open("w") as file:
            file.write("x" * 10**6)
    assert path.read_text() == "old"
    assert [place.name for place in tmp_path.iterdir()] == ["table.csv"]


def test_room_for_a_map_is_taken_before_it_is_written_to(tmp_path):
    np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.uint8, (2**22,))
    before = (tmp_path / "x.npy").stat().st_blocks
    allocate(tmp_path / "x.npy")
    assert (tmp_path / "x.npy").stat().st_blocks * 512 >= 2**22 > before * 512


def test_no_room_for_a_map_is_an_error_and_no_crash(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    monkeypatch.setenv("UNLIKELIHOOD_CACHE", str(tmp_path))

    def make(folder):
        np.lib.format.open_memmap(folder / "x.npy", "w+", np.uint8, (9,))
        allocate(folder / "x.npy")

    with pytest.raises(OSError, match="No space left on device: .*some"):
        kept.keep(tmp_path / "decoded" / "some", make)
    assert list((tmp_path / "decoded").iterdir()) == []


HOLDS = """
import sys, time
from pathlib import Path
from unlikelihood.storage.locks import alone

with alone(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_says_by_whom_it_is_held_gives_up_and_ends_with_its_process(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path / "x")], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(TimeoutError, match=rf"x is held by process {process.pid} on .* within 0\.1 s"):
            with alone(tmp_path / "x", patience=0.1):
                pass
    finally:
        process.kill()
        process.communicate()
    with alone(tmp_path / "x", patience=0.1):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_a_running_fit_is_not_shared(tmp_path):
    path = tmp_path / "fit.checkpoint"
    with alone(path), pytest.raises(TimeoutError, match=rf"held by process {os.getpid()} on"):
        tiny("VAE", checkpoint=str(path)).fit(normals((6,)))


FORGED = {
    "step": lambda meta, tensors: meta.update(step=10**6),
    "losses": lambda meta, tensors: meta.update(losses=[[0.0]]),
    "weights": lambda meta, tensors: tensors[sorted(tensors)[-1]].fill_(np.nan),
}


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("what", FORGED)
def test_a_forged_checkpoint_is_refused(tmp_path, monkeypatch, what, sealed):
    from unlikelihood.training.checkpoint import checksum

    X, path = normals((6,)), tmp_path / "fit.checkpoint"
    with monkeypatch.context() as patch:
        patch.setattr("unlikelihood.training.checkpoint.Checkpoint.remove", lambda self: None)
        tiny("VAE", checkpoint=str(path), checkpoint_seconds=0.0).fit(X)
    with safe_open(path, "pt") as file:
        meta = json.loads(file.metadata()["checkpoint"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    FORGED[what](meta, tensors)
    if sealed:  # as a careful forger would
        meta["checksum"] = checksum(meta, tensors)
    save_file(tensors, path, {"checkpoint": json.dumps(meta)})
    with pytest.raises(ValueError, match="fit.checkpoint cannot be read .*; delete it to start again"):
        tiny("VAE", checkpoint=str(path)).fit(X)


def test_a_record_that_was_changed_is_refused(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(seal({"value": 0.5, 3: [1, 2]})))
    assert read_sealed(path) == {"value": 0.5, "3": [1, 2]}
    path.write_text(path.read_text().replace("0.5", "0.6"))
    with pytest.raises(ValueError, match=r"x\.json: .*was changed after it was written"):
        read_sealed(path)
    path.write_text("[]")
    with pytest.raises(ValueError, match=r"x\.json: .*was changed after it was written"):
        read_sealed(path)


@pytest.mark.parametrize("ends", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_process(ends):
    code = """
import os, time
from joblib import Parallel, delayed
from unlikelihood.storage.workers import follow_parent

def work(_):
    follow_parent()
    print(os.getpid(), flush=True)
    time.sleep(60)

Parallel(2)(delayed(work)(i) for i in range(2))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with process.stdout:
        workers = [int(process.stdout.readline()) for _ in range(2)]
    process.send_signal(ends)
    process.wait()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)


GOLDEN = Path(__file__).parent / "golden"


def test_a_model_folder_of_the_first_format_still_loads_with_its_scores():
    known = np.load(GOLDEN / "scores.npz")
    conformal = load(GOLDEN / "conformal")
    assert isinstance(conformal, Conformal)
    np.testing.assert_allclose(conformal.score_samples(known["X"]), known["score"], rtol=1e-6)
    np.testing.assert_allclose(conformal.p_value(known["X"]), known["p_value"], rtol=1e-12)
    np.testing.assert_array_equal(conformal.predict(known["X"]), known["decision"])


def test_a_runtime_parameter_that_no_part_has_is_refused(tmp_path):
    folder = tiny("VAE").fit(normals((6,))).save(tmp_path / "model")
    with pytest.raises(ModelFileError, match=r"has a parameter devise: did you mean device\?"):
        load(folder, devise="cpu")
    assert load(tiny("KNN").fit(normals((6,))).save(tmp_path / "knn"), device="cpu").n_neighbors == 5
