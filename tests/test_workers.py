"""Jobs in worker processes."""

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from functools import partial
from pathlib import Path

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


def inside():
    return {place for _, place in each([partial(slowest_first, number, 3) for number in range(3)], 3, "Inside")}


def test_what_jobs_return_comes_in_their_order_from_other_processes():
    numbers, places = zip(*each([partial(slowest_first, number, 4) for number in range(4)], 2, "Jobs"), strict=True)
    assert numbers == (0, 1, 2, 3)
    assert os.getpid() not in places
    (one,), (other,) = each([inside] * 2, 2, "Jobs")  # what is done inside of a job is done where that is
    assert os.getpid() not in (one, other)
    assert each([os.getpid], 2, "Jobs") == each([os.getpid] * 3, 1, "Jobs")[:1] == [os.getpid()]


SHOWING = """
from functools import partial
from unlikelihood.storage.workers import each

def job(number):
    import unlikelihood.progress as progress
    progress.LINE_SECONDS = 0
    with progress.stage(number + 1, 2), progress.progress("Working", 3) as update:
        update(note="loss 0.5")

each([partial(job, number) for number in range(2)], 2, "Jobs")
"""


def test_workers_say_how_far_they_are():
    said = subprocess.run([sys.executable, "-c", SHOWING], capture_output=True, text=True, check=True).stderr
    for number in (1, 2):
        assert f"stage {number} of 2, Working: 1 of 3, loss 0.5" in said


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


def of_session(session):
    """Return the processes that a session has left, without those that have ended and nobody waited for."""
    left = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            state = (place / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(state[3]) == session and state[0] != "Z":
            left.append(int(place.name))
    return left


def endless(command, folder):
    """Return the arguments of a command that works for hours with two workers."""
    # Workers that do the jobs of this file read it, and have no use for torch.
    import numpy as np

    from tiny import normals, tiny

    if command == "score":
        model = tiny("LatentSearch").fit(normals((6,))).set_params(steps=10**6).save(folder / "model")
        np.save(folder / "X.npy", normals((6,), n=64))
        return [model, "--data", "Arrays", "--data.path", folder / "X.npy", "--workers", 2, "--rows", 8]
    members = [{"class_path": "VAE", "init_args": {"epochs": 10**6, "seed": seed}} for seed in range(2)]
    return ["--data", "Digits", "--detector", "Committee", "--detector.detectors", json.dumps(members),
            "--detector.workers", 2]  # fmt: skip


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are read from /proc")
@pytest.mark.parametrize("command", ["fit", "score"])
def test_a_command_that_is_terminated_says_so_in_one_line_and_leaves_no_worker_and_no_result(tmp_path, command):
    given = [*endless(command, tmp_path), "--out", tmp_path / "out"]
    process = subprocess.Popen(
        [sys.executable, "-m", "unlikelihood", command, *map(str, given)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        while len(of_session(process.pid)) < 3 and process.poll() is None:
            time.sleep(0.1)
        time.sleep(1)
        process.terminate()
        said = process.communicate(timeout=60)[1]
        deadline = time.monotonic() + 10
        while (left := of_session(process.pid)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert left == []
    finally:
        for worker in of_session(process.pid):
            os.kill(worker, signal.SIGKILL)
    assert process.returncode == 143
    assert said.splitlines() == ["unlikelihood: terminated; the same command resumes where it was"]
    assert not [*tmp_path.glob("out/detector.json"), *tmp_path.glob("out/*.parquet")]
