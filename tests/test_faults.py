"""Whatever ends a process, what it wrote is the old or the new; what was damaged or forged is refused by name."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.kills import kill_writers
from safetensors import safe_open
from safetensors.torch import save_file

from tiny import normals, tiny
from unlikelihood import KNN, Conformal, load
from unlikelihood.contract.refusals import NoVerdict
from unlikelihood.data import kept
from unlikelihood.storage import files
from unlikelihood.storage.files import allocate, recover, replacing
from unlikelihood.storage.locks import alone
from unlikelihood.storage.models import FORMAT, ModelFileError
from unlikelihood.storage.records import read_sealed, seal
from unlikelihood.training.batches import in_halves


def test_twenty_kills_lose_nothing_and_mix_nothing(tmp_path):
    assert kill_writers(tmp_path, 20) > 0
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


def write_folder(path):
    with replacing(path) as folder:
        folder.mkdir()
        (folder / "new").touch()


def test_an_interruption_between_two_moves_still_brings_the_new(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    replace, calls = os.replace, []

    def interrupted(*given):
        calls.append(given)
        if len(calls) == 3:
            raise KeyboardInterrupt
        replace(*given)

    monkeypatch.setattr(files.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "model")
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


def test_many_writers_of_one_path_do_not_take_away_what_another_has_just_begun(tmp_path):
    def writes(number):
        for _ in range(100):
            with replacing(tmp_path / "a", lasting=False) as place:
                place.mkdir()
                (place / "file").write_text(str(number))

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(writes, range(6)))
    assert [str(place.relative_to(tmp_path)) for place in sorted(tmp_path.rglob("*"))] == ["a", "a/file"]


def test_hidden_folders_of_others_are_left_alone(tmp_path):
    (tmp_path / ".a.backup").mkdir()
    with replacing(tmp_path / "a") as place:
        place.touch()
    assert (tmp_path / ".a.backup").is_dir()


SAVES = """
import os, sys
import numpy as np
from unlikelihood import KNN

seed = int(os.fork() > 0)
detector = KNN(n_neighbors=3).fit(np.random.default_rng(seed).normal(size=(20, 3)))
for _ in range(20):
    detector.save(sys.argv[1])
if seed:
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_two_processes_that_save_at_one_path_and_one_that_loads_are_all_right(tmp_path):
    path = tmp_path / "model"
    models = [KNN(n_neighbors=3).fit(np.random.default_rng(seed).normal(size=(20, 3))) for seed in (0, 1)]
    models[0].save(path)
    X = np.random.default_rng(2).normal(size=(5, 3))
    valid = [model.score_samples(X).tolist() for model in models]
    savers, loads = subprocess.Popen([sys.executable, "-c", SAVES, str(path)]), 0
    while savers.poll() is None:
        assert load(path).score_samples(X).tolist() in valid
        loads += 1
        time.sleep(0.01)  # for they import for seconds
    assert savers.returncode == 0
    assert loads > 1
    assert [place.name for place in tmp_path.iterdir()] == ["model"]


def fill(path):
    with replacing(path) as place:
        place.symlink_to("/dev/full")
        place.write_text("x" * 10**6)


def test_a_full_disk_is_one_line_that_names_the_file(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(OSError, match=r"No space left on device: '.*table\.csv'"):
        fill(path)
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

    with pytest.raises(OSError, match=r"No space left on device: .*some"):
        kept.keep(tmp_path / "decoded" / "some", make)
    assert list((tmp_path / "decoded").iterdir()) == []


HOLDS = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
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
        refused = pytest.raises(TimeoutError, match=rf"x is held by process {process.pid} on .* within 0\.1 s")
        with refused, alone(tmp_path / "x", patience=0.1):
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


def checkpointed(path, monkeypatch, X):
    """Return what a checkpoint holds that a fit has left behind."""
    with monkeypatch.context() as patch:
        patch.setattr("unlikelihood.training.checkpoint.Checkpoint.remove", lambda self: None)
        tiny("VAE", checkpoint=str(path), checkpoint_seconds=0.0).fit(X)
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["checkpoint"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@pytest.mark.parametrize("where", ["net.", "optimizer."])
def test_a_checkpoint_in_which_one_number_is_another_is_refused(tmp_path, monkeypatch, where):
    X, path = normals((6,)), tmp_path / "fit.checkpoint"
    meta, tensors = checkpointed(path, monkeypatch, X)
    save_file(tensors, path, {"checkpoint": json.dumps(meta)})
    tiny("VAE", checkpoint=str(path)).fit(X)  # as it was, it is taken
    name = next(name for name, tensor in sorted(tensors.items()) if name.startswith(where) and tensor.numel() > 1)
    tensors[name].view(-1)[0] += 0.25  # a likely value, in a place of the right shape
    save_file(tensors, path, {"checkpoint": json.dumps(meta)})
    with pytest.raises(ValueError, match=r"fit\.checkpoint cannot be read .*changed after it was written"):
        tiny("VAE", checkpoint=str(path)).fit(X)


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
    meta, tensors = checkpointed(path, monkeypatch, X)
    FORGED[what](meta, tensors)
    if sealed:  # as a careful forger would
        meta["checksum"] = checksum(meta, tensors)
    save_file(tensors, path, {"checkpoint": json.dumps(meta)})
    with pytest.raises(ValueError, match=r"fit\.checkpoint cannot be read .*; delete it to start again"):
        tiny("VAE", checkpoint=str(path)).fit(X)


def test_a_record_that_was_changed_is_refused(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(seal({"value": 0.5, 3: [1, 2]})))
    assert read_sealed(path) == {"value": 0.5, "3": [1, 2]}
    assert seal(json.loads(path.read_text())) == json.loads(path.read_text())
    path.write_text(path.read_text().replace("0.5", "0.6"))
    with pytest.raises(ValueError, match=r"x\.json: .*was changed after it was written"):
        read_sealed(path)
    path.write_text("[]")
    with pytest.raises(ValueError, match=r"x\.json: .*holds a list"):
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


@pytest.mark.parametrize("version", range(1, FORMAT + 1))
def test_a_model_folder_of_every_format_loads_with_the_scores_it_had(version):
    known = np.load(GOLDEN / str(version) / "scores.npz")
    conformal = load(GOLDEN / str(version) / "conformal")
    assert isinstance(conformal, Conformal)
    np.testing.assert_allclose(conformal.score_samples(known["X"]), known["score"], rtol=1e-4)
    np.testing.assert_allclose(conformal.p_value(known["X"]), known["p_value"], rtol=1e-12)
    np.testing.assert_array_equal(conformal.predict(known["X"]), known["decision"])


def test_a_runtime_parameter_that_no_part_has_is_refused(tmp_path):
    folder = tiny("VAE").fit(normals((6,))).save(tmp_path / "model")
    with pytest.raises(ModelFileError, match=r"has a parameter devise: did you mean device\?"):
        load(folder, devise="cpu")
    assert load(tiny("KNN").fit(normals((6,))).save(tmp_path / "knn"), device="cpu").n_neighbors == 5


@pytest.mark.parametrize(("name", "value"), [("latent", 10**9), ("steps", 10**12), ("latent", "many"), ("seed", 0.5)])
def test_parameters_that_do_not_go_with_the_weights_are_refused_before_they_take_memory(tmp_path, name, value):
    kind = "LatentSearch" if name == "steps" else "VAE"
    folder = tiny(kind).fit(normals((6,))).save(tmp_path / "model")
    record = read_sealed(folder / "detector.json")
    record["detector"]["parameters"][name] = value
    (folder / "detector.json").write_text(json.dumps(seal(record)))
    with pytest.raises(ModelFileError, match=rf"ask for .* numbers|{name} is {value!r}, expected"):
        load(folder)


def test_a_network_of_endless_layers_is_refused(tmp_path):
    folder = tiny("Flow").fit(normals((6,))).save(tmp_path / "model")
    record = read_sealed(folder / "detector.json")
    record["detector"]["parameters"]["steps"] = 10**12
    (folder / "detector.json").write_text(json.dumps(seal(record)))
    with pytest.raises(ModelFileError, match=r"ask for a network of more than the \d+ weights"):
        load(folder)


def test_calibration_scores_out_of_order_and_weights_that_are_no_numbers_are_refused(tmp_path):
    detector = tiny("KNN").fit(normals((6,))).calibrate(normals((6,), seed=1))
    detector.calibration_ = detector.calibration_[::-1].copy()
    with pytest.raises(ModelFileError, match=r"KNN: calibration_ holds .* expected finite ones in rising order"):
        load(detector.save(tmp_path / "model"))
    vae = tiny("VAE").fit(normals((6,)))
    next(vae.net_.parameters()).data.fill_(np.nan)
    with pytest.raises(ModelFileError, match="holds values that are not finite"):
        load(vae.save(tmp_path / "model"))


def short(most, error):
    def function(x):
        if len(x) > most:
            raise error
        return 2 * x

    return function


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory"),
    ],
)
def test_a_batch_that_memory_does_not_hold_is_taken_in_halves(error):
    x = torch.arange(13.0)
    with pytest.warns(UserWarning, match="memory does not suffice for") as said:
        made = in_halves(short(3, error), x)
    assert torch.equal(made, 2 * x)
    assert str(said[0].message).endswith("13 samples at once: 7 are taken")
    with pytest.raises(RuntimeError, match="memory"):
        in_halves(short(0, error), x[:1])
    with pytest.raises(RuntimeError, match="another"):
        in_halves(short(3, RuntimeError("another")), x)


def test_a_detector_that_is_short_of_memory_scores_the_same(monkeypatch):
    detector, X = tiny("VAE").fit(normals((1, 8, 8))), normals((1, 8, 8), seed=1)
    expected, score = detector.score_samples(X), detector.score_batch

    def greedy(x):
        if len(x) > 5:
            raise torch.OutOfMemoryError
        return score(x)

    monkeypatch.setattr(detector, "score_batch", greedy)
    with pytest.warns(UserWarning, match="memory does not suffice"):
        np.testing.assert_allclose(detector.score_samples(X), expected, rtol=2e-5)


FORKS = """
import os, signal
import numpy as np, torch
from unlikelihood import KNN, VAE

torch.set_num_threads(2)
X = np.random.default_rng(0).normal(size=(300, 1, 8, 8)).astype(np.float32)
detectors = [KNN().fit(X), VAE(width=4, epochs=1).fit(X)]
for detector in detectors:
    expected = detector.score_samples(X)
    child = os.fork()
    if not child:
        signal.alarm(60)
        os._exit(not np.allclose(detector.score_samples(X), expected, rtol=1e-5))
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_fork_of_a_process_that_computed_on_two_threads_scores_the_same():
    threads = {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}
    ran = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKS], env=os.environ | threads, check=False)
    assert ran.returncode == 0


@pytest.mark.parametrize("offset", [1e9, 2**40])
def test_normals_that_float32_cannot_tell_apart_are_refused(offset):
    with pytest.raises(ValueError, match="which float32 hardly tells apart: subtract their mean"):
        tiny("KNN").fit(normals((6,)).astype(np.float64) + offset)


def test_a_sample_that_is_not_finite_is_named():
    X = normals((6,))
    detector = Conformal(tiny("KNN"), alpha=0.2).fit(X)
    X[[3, 8], 0] = np.nan, np.inf
    for call in (detector.score_samples, detector.p_value, detector.predict, detector.anomaly_map):
        with pytest.raises(NoVerdict, match=r"NaN or infinity in 2 of 40 samples \(row 3, 8\)"):
            call(X)
