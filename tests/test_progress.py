"""What long work says where nobody sees a bar."""

import sys

import numpy as np
import pytest
from lightning_fabric.loggers import Logger

from tiny import normals, tiny
from unlikelihood import progress as module
from unlikelihood.progress import progress, stage
from unlikelihood.training.logs import logger_in, logging_to


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def lines(capsys, clock, seconds, **bar):
    with progress(**bar) as update:
        for _ in range(4):
            clock[0] += seconds
            update(note="loss 2")
    return capsys.readouterr().err.splitlines()


def test_a_log_file_gets_a_line_every_half_minute(capsys, clock):
    said = lines(capsys, clock, 20.0, title="Fitting", total=14, start=10)
    assert said == ["Fitting: 12 of 14, loss 2, 0:00:40 left", "Fitting: 14 of 14, loss 2, 0:00:00 left"]
    assert lines(capsys, clock, 31.0, title="Reading", total=None)[0] == "Reading: 1, loss 2"


def test_what_is_quick_or_has_no_title_says_nothing(capsys, clock):
    assert lines(capsys, clock, 1.0, title="Fitting", total=4) == []
    assert lines(capsys, clock, 60.0, title="", total=4) == []


def test_a_line_says_in_which_stage_of_how_many_it_is(capsys, clock):
    with stage(2, 3), stage(1, 4, "VAE"):
        said = lines(capsys, clock, 31.0, title="Fitting", total=4)
        assert lines(capsys, clock, 31.0, title="", total=4) == []
    assert said[0] == "stage 2 of 3, stage 1 of 4 (VAE), Fitting: 1 of 4, loss 2, 0:01:33 left"
    assert lines(capsys, clock, 31.0, title="Reading", total=4)[0].startswith("Reading: 1 of 4")


class Kept(Logger):
    """Keeps what it is given."""

    name, version, status = "kept", 0, None

    def __init__(self):
        self.rows = []

    def log_metrics(self, metrics, step):
        self.rows.append((step, dict(metrics)))

    def log_hyperparams(self, params):
        pass

    def finalize(self, status):
        self.status = status


def test_a_logger_gets_the_losses_that_the_history_averages():
    logger = Kept()
    X = normals((6,), 70)
    with logging_to(logger):
        one = tiny("WGANGP", epochs=20).fit(X)
        tiny("VAE", epochs=5).fit(X)
        tiny("VAE", epochs=5).fit(X)
    critic = [losses["WGANGP/critic"] for _, losses in logger.rows if "WGANGP/critic" in losses]
    assert [step for step, losses in logger.rows if "WGANGP/critic" in losses] == list(range(len(critic)))
    parts = np.array_split(critic, min(20, len(critic)))
    np.testing.assert_allclose(one.history_["critic"], [part.mean() for part in parts], rtol=1e-6)
    first, second = (
        [losses for _, losses in logger.rows if any(map(name.__eq__, losses))]
        for name in ("VAE/negative ELBO", "VAE 2/negative ELBO")
    )
    assert len(first) == len(second) == 25
    assert logger.status == "success"


def test_a_logger_is_told_of_a_fit_that_failed_and_gets_nothing_afterwards():
    logger = Kept()
    with pytest.raises(ValueError, match="epochs"), logging_to(logger):
        tiny("VAE", epochs=0).fit(normals((6,)))
    assert logger.status == "failed"
    tiny("VAE", epochs=1).fit(normals((6,)))
    assert logger.rows == []


def test_losses_of_a_fit_are_in_a_table_of_its_folder(tmp_path):
    with logging_to(logger_in(tmp_path / "model.log", "csv")):
        history = tiny("VAE", epochs=20, batch_size=40).fit(normals((6,), 40)).history_["negative ELBO"]
    (table,) = (tmp_path / "model.log").rglob("metrics.csv")
    rows = np.genfromtxt(table, delimiter=",", skip_header=1)
    np.testing.assert_allclose(rows[:, 0], history, rtol=1e-6)
    np.testing.assert_array_equal(rows[:, 1], range(20))


@pytest.mark.parametrize("kind", ["tensorboard", "mlflow"])
def test_a_logger_that_is_not_installed_says_what_it_needs(tmp_path, monkeypatch, kind):
    for missing in ("pytorch_lightning", "pytorch_lightning.loggers"):
        monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setattr("lightning_fabric.loggers.tensorboard._TENSORBOARD_AVAILABLE", False)
    monkeypatch.setattr("lightning_fabric.loggers.tensorboard._TENSORBOARDX_AVAILABLE", False)
    with pytest.raises(ImportError, match=f"log is '{kind}', which needs: pip install"):
        logger_in(tmp_path, kind)
