"""Two processes that share a fit come to what one comes to, and end together."""

import os
import signal
from functools import partial

import numpy as np
import pytest
import torch

from tiny import normals, tiny
from unlikelihood import Arrays, load
from unlikelihood.cli import fit
from unlikelihood.cli.main import main
from unlikelihood.nn.shares import rank, share_of, sharing
from unlikelihood.training import loop, ranks
from unlikelihood.training.ranks import Lost, together

STEPS = 51
X = normals((1, 8, 8), n=41)  # batches of 14, 14 and 13: unequal shares, of 7 and of 6
FITS = {  # what is its own in each: noise; two optimisers and a second derivative; batch normalisation; and so on
    "VAE": {"epochs": STEPS // 3},
    "WGANGP": {"epochs": 24},
    "DCGAN": {"epochs": 4, "width": 4},
    "Contrastive": {"epochs": 4, "width": 4},
    "ForeignPatch": {"epochs": 4},
    "Diffusion": {"epochs": 4},
}
VAE = {"checkpoint_seconds": 0.0} | FITS["VAE"]


def fitted(name, **parameters):
    return tiny(name, **FITS[name] | parameters).fit(X)


class Stopped(Exception):
    pass


def stop_after(monkeypatch, steps, stop):
    step, taken = loop.Optimisation.step, []

    def counting(*arguments):
        if len(taken) == steps:
            stop()
        taken.append(steps)
        return step(*arguments)

    monkeypatch.setattr(loop.Optimisation, "step", counting)


def interrupted(monkeypatch, path):
    """Leave the checkpoint of a fit that one process did not end."""

    def stop():
        raise Stopped

    with monkeypatch.context() as patch:
        stop_after(patch, 30, stop)
        with pytest.raises(Stopped):
            fitted("VAE", checkpoint=str(path), **VAE)


def work(folder):
    """Fit, save a model as the command does, resume what one process began, and end one of two as a kill does."""
    for name in FITS:
        detector = fitted(name)
        torch.save((detector.history_, detector.net_.state_dict()), folder / f"{name}.{rank()}")
    fit._fit(Arrays(folder / "x.npy"), None, tiny("VAE"), folder / "model")
    if rank() == 0:
        (folder / "resumed").write_bytes((folder / "one.checkpoint").read_bytes())
    resumed = fitted("VAE", checkpoint=str(folder / "one.checkpoint"), **VAE)
    torch.save(resumed.net_.state_dict(), folder / f"resumed.{rank()}")

    def end():
        if rank() == 1:
            (folder / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 30, end)
        fitted("VAE", checkpoint=str(folder / "two.checkpoint"), **VAE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return what two processes leave of the work, in the end of which one of them is killed."""
    folder = tmp_path_factory.mktemp("ranks")
    np.save(folder / "x.npy", X)
    with pytest.MonkeyPatch.context() as patch:
        interrupted(patch, folder / "one.checkpoint")
        patch.setenv("OMP_NUM_THREADS", "1")
        with pytest.raises(Lost) as raised:
            together(partial(work, folder), devices=2)
    (folder / "message").write_text(str(raised.value))
    return folder


@pytest.mark.parametrize("name", FITS)
def test_two_processes_make_what_one_makes(folder, name):
    alone = fitted(name)
    for number in range(2):
        history, weights = torch.load(folder / f"{name}.{number}", weights_only=True)
        for objective, losses in alone.history_.items():
            np.testing.assert_allclose(history[objective], losses, rtol=1e-5, atol=2e-6)
        if name == "VAE":
            assert len(np.concatenate([*history.values()])) == FITS["VAE"]["epochs"]
            torch.testing.assert_close(weights, alone.net_.state_dict(), rtol=0, atol=1e-5)


def test_ranks_have_the_same_weights_to_the_bit(folder):
    for name in FITS:
        one, other = (torch.load(folder / f"{name}.{number}", weights_only=True)[1] for number in range(2))
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_the_first_rank_alone_leaves_a_model_and_its_calibration(folder):
    detector = load(folder / "model")
    assert len(detector.calibration_) == 8
    assert np.isfinite(detector.score_samples(X)).all()
    assert not list(folder.glob(".*"))


def test_a_fit_resumes_with_more_ranks_or_with_fewer(folder):
    alone = fitted("VAE").net_.state_dict()
    for number in range(2):
        resumed = torch.load(folder / f"resumed.{number}", weights_only=True)
        torch.testing.assert_close(resumed, alone, rtol=0, atol=1e-5)
    assert (folder / "two.checkpoint").exists()
    started = []
    with pytest.MonkeyPatch.context() as patch:
        show = loop.progress
        patch.setattr(loop, "progress", lambda title, steps, start: started.append(start) or show(title, steps, start))
        resumed = fitted("VAE", checkpoint=str(folder / "two.checkpoint"), **VAE)
    assert started[0] > STEPS // 2
    torch.testing.assert_close(resumed.net_.state_dict(), alone, rtol=0, atol=1e-5)


def test_a_killed_rank_ends_all_with_one_clear_message(folder):
    said = folder / "message"
    assert said.read_text() == "rank 1 of 2 was ended by SIGKILL; the same command resumes the fit"
    assert said.stat().st_mtime - (folder / "killed").stat().st_mtime < 60


@pytest.mark.parametrize("n", [2, 7, 8, 64])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_every_sample_is_in_one_share(monkeypatch, n, size):
    monkeypatch.setattr("unlikelihood.nn.shares.size", lambda: size)
    shares = []
    for number in range(size):
        monkeypatch.setattr("unlikelihood.nn.shares.rank", lambda number=number: number)
        with sharing(n) as share:
            shares.append(np.arange(n)[share])
            assert share == share_of(n)
    np.testing.assert_array_equal(np.concatenate(shares), np.arange(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def never():
    raise AssertionError("the work was done")


TORCHRUN = {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}
SLURM = {
    "SLURM_NTASKS": "4",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_NODELIST": "a[3-4]",
    "SLURM_JOB_ID": "123456",
}


@pytest.mark.parametrize("launcher", [TORCHRUN, SLURM])
@pytest.mark.parametrize("asked", [{"devices": 3}, {"devices": 4}, {"nodes": 1}, {"devices": 2, "nodes": 3}])
def test_other_processes_than_were_asked_for_are_refused(monkeypatch, launcher, asked):
    monkeypatch.setattr(os, "environ", {**os.environ, **launcher})
    with pytest.raises(ValueError, match=r"(devices|nodes) is \d, but 2 were started"):
        together(never, **asked)


def test_slurm_is_told_as_torchrun_tells(monkeypatch):
    monkeypatch.setattr(os, "environ", {**os.environ, **SLURM})
    with pytest.raises(ValueError, match="devices is 1"):
        together(never, devices=1)
    told = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "a3"}
    assert told.items() <= os.environ.items()


def test_a_batch_with_less_samples_than_ranks_is_refused(monkeypatch):
    monkeypatch.setattr(loop, "size", lambda: 2)
    with pytest.raises(ValueError, match=r"batch_size=1 makes batches of 1 .* for each of 2 ranks"):
        tiny("VAE", batch_size=1).fit(X)


@pytest.mark.parametrize(
    ("asked", "message"),
    [(["--devices", "0"], "--devices is 0, expected at least 1"), (["--nodes", "2"], "--nodes is 2, expected under")],
)
def test_the_command_line_says_what_it_cannot_start(tmp_path, capsys, asked, message):
    np.save(tmp_path / "x.npy", X)
    data = ["--data", "Arrays", "--data.path", str(tmp_path / "x.npy"), "--out", str(tmp_path / "model")]
    assert main(["fit", *data, "--detector", "KNN", *asked]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_the_command_starts_as_many_processes_as_it_is_asked_for(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(ranks, "_launch", lambda work, devices: started.append(devices))
    data = ["--data", "Arrays", "--data.path", str(tmp_path / "x.npy"), "--out", str(tmp_path / "model")]
    assert main(["fit", *data, "--detector", "KNN", "--devices", "3"]) == 0
    assert started == [3]
