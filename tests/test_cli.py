"""The command line, from its help to its errors, without a traceback."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from unlikelihood import Digits, load
from unlikelihood.cli import COMMANDS, main

SMALL = ["--detector.epochs=2", "--detector.width=2", "--detector.latent=2"]


@pytest.fixture
def model(tmp_path):
    assert main(["fit", "--data", "Digits", "--detector", "VAE", *SMALL, "--out", str(tmp_path / "model")]) == 0
    return tmp_path / "model"


def test_fit_saves_what_the_same_call_in_python_fits(model):
    from unlikelihood import VAE

    split = Digits().split()
    expected = VAE(epochs=2, width=2, latent=2).fit(split.train.pixels).score_samples(split.test.pixels)
    np.testing.assert_array_equal(load(model).score_samples(split.test.pixels), expected)
    assert not model.with_suffix(".checkpoint").exists()


def test_score_writes_a_row_for_every_sample(model, tmp_path):
    assert main(["score", str(model), "--data", "Digits", "--out", str(tmp_path / "scores.csv")]) == 0
    with open(tmp_path / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    images = Digits().read()
    assert [row["name"] for row in rows] == images.name.tolist()
    assert [int(row["label"]) for row in rows] == images.label.tolist()
    expected = load(model).score_samples(images.pixels)
    np.testing.assert_array_equal([float(row["score"]) for row in rows], expected)


def test_evaluate_writes_record_and_report(model, tmp_path, capsys):
    assert main(["evaluate", str(model), "--data", "Digits", "--out", str(tmp_path / "report")]) == 0
    record = json.loads((tmp_path / "report" / "evaluation.json").read_text())
    assert f"{record['metrics']['auroc']['value']:.3f}" in capsys.readouterr().out
    assert (tmp_path / "report" / "report.html").exists()


def test_show_counts_and_draws(tmp_path, capsys):
    assert main(["show", "--data", "Digits", "--out", str(tmp_path / "gallery.png")]) == 0
    out = capsys.readouterr().out
    assert "1617 normal and 180 anomalous samples" in out
    assert "(1, 8, 8)" in out
    assert (tmp_path / "gallery.png").read_bytes().startswith(b"\x89PNG")


def test_nested_parts_are_set_by_name(tmp_path):
    arguments = [
        "--detector.likelihood=CorrelatedGaussian",
        "--detector.likelihood.ridge=0.3",
        "--detector.scoring=IWAE",
    ]
    arguments += ["--detector.scoring.samples=3", "--out", str(tmp_path / "model")]
    assert main(["fit", "--data", "Digits", "--detector", "VAE", *SMALL, *arguments]) == 0
    detector = load(tmp_path / "model")
    assert (detector.likelihood.ridge, detector.scoring.samples) == (0.3, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "nowhere", "--data", "Digits", "--out", "x"], "nowhere is not a model folder"),
        (
            ["fit", "--data", "Digits", "--detector", "VAE", "--detector.latent=0", "--out", "x"],
            "latent is 0, expected",
        ),
        (["score", "nowhere", "--data", "Digits", "--out", "scores.txt"], "expected a name that ends in .csv"),
        (["fit", "--data", "Folder", "--data.path=nowhere", "--detector", "KNN", "--out", "x"], "nowhere"),
    ],
)
def test_an_error_is_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("unlikelihood: error: ")
    assert message in error
    assert "\n" not in error
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback():
    with pytest.raises(ValueError, match="nowhere is not a model folder"):
        main(["--debug", "evaluate", "nowhere", "--data", "Digits", "--out", "x"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "--data", "Nope", "--detector", "VAE", "--out", "x"], "expected one of Arrays, Digits"),
        (["fit", "--data", "Digits", "--detector", "Nope", "--out", "x"], "FeatureSpace, IsolationForest, KNN"),
        (["fit", "--data", "Digits", "--detector", "VAE", "--detector.nope=1", "--out", "x"], "nope"),
        (["nope"], "nope"),
    ],
)
def test_wrong_arguments_exit_with_two_and_say_what_there_is(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert "--out" in capsys.readouterr().out


def test_help_and_import_load_neither_torch_nor_scikit_learn():
    code = "import sys, unlikelihood; from unlikelihood.cli import main\n"
    code += "try: main(['--help'])\nexcept SystemExit: pass\n"
    code += "assert not {'torch', 'sklearn', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_an_interrupted_command_says_that_it_resumes(capsys, monkeypatch, tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("unlikelihood.detectors.vae.VAE.build", interrupt)
    arguments = ["fit", "--data", "Digits", "--detector", "VAE", "--out", str(tmp_path / "model")]
    assert main(arguments) == 130
    assert "resumes" in capsys.readouterr().err
    assert not Path(tmp_path / "model").exists()
