"""The command line, from its help to its errors, without a traceback."""

import csv
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest

from tiny import normals
from unlikelihood import KNN, Conformal, Digits, PCAResidual, Simes, Split, evaluate, load
from unlikelihood.cli.arguments import choices
from unlikelihood.cli.main import COMMANDS, main
from unlikelihood.evaluation.columns import decider
from unlikelihood.evaluation.evaluation import Evaluation

SMALL = ["--detector.epochs=2", "--detector.width=2", "--detector.latent=2"]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Return the folder of a model that the command fitted once."""
    out = tmp_path_factory.mktemp("fitted") / "model"
    assert main(["fit", "--data", "Digits", "--detector", "VAE", *SMALL, "--out", str(out)]) == 0
    return out


@pytest.fixture
def model(fitted, tmp_path):
    """Return a copy of that folder."""
    return Path(shutil.copytree(fitted, tmp_path / "model"))


@pytest.fixture(scope="module")
def evaluated(fitted):
    """Return the folder of the evaluation of that model, and what the command said."""
    out, said = fitted.with_name("report"), io.StringIO()
    with redirect_stdout(said):
        assert main(["evaluate", str(fitted), "--data", "Digits", "--out", str(out)]) == 0
    return out, said.getvalue()


def test_fit_saves_what_the_same_call_in_python_fits(fitted):
    from unlikelihood import VAE

    split = Digits().split()
    expected = VAE(epochs=2, width=2, latent=2).fit(split.train.pixels).score_samples(split.test.pixels)
    np.testing.assert_array_equal(load(fitted).score_samples(split.test.pixels), expected)
    assert not fitted.with_suffix(".checkpoint").exists()


def test_score_writes_a_row_for_every_sample(model, tmp_path):
    assert main(["score", str(model), "--data", "Digits", "--out", str(tmp_path / "scores.csv")]) == 0
    with open(tmp_path / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    images = Digits().read()
    assert [row["name"] for row in rows] == images.name.tolist()
    assert [row["label"] for row in rows] == [("normal", "anomalous")[label] for label in images.label]
    expected = -load(model).score_samples(images.pixels)
    np.testing.assert_array_equal([float(row["anomaly_score"]) for row in rows], expected)


def test_evaluate_writes_record_and_report(evaluated):
    report, said = evaluated
    record = json.loads((report / "evaluation.json").read_text())
    assert f"{record['metrics']['auroc']['value']:.3f}" in said
    assert (report / "report.html").exists()


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
            "--detector.latent is 0, expected an integer at least 1",
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
        ("fti", "command fti: did you mean fit? expected one of cache, evaluate, "),
        ("fit --data Digit --detector VAE --out x", "--data Digit: did you mean Digits? expected one of Arrays, "),
        ("fit --data Digits --detector IsolationForst --out x", "did you mean IsolationForest? expected one of Auto, "),
        ("fit --data Digits --detectr VAE --out x", "--detectr is not known here: did you mean --detector? see unlik"),
        ("fit --data Digits --detector KNN --detector.n_neighbours 1 --out x", "KNN has no n_neighbours: did you mean"),
        (
            "fit --data Digits --detector KNN --detector.n_neighbors=x --out x",
            "--detector.n_neighbors x: expected an i",
        ),
        ("fit --data Digits --detector VAE --detector.clip x --out x", "clip x: expected a number above 0 or null"),
        (
            "fit --data Digits --detector VAE --detector.likelihood Gausian --out x",
            "did you mean Gaussian? expected one",
        ),
        (
            "fit --data Digits --data.anomalous 9 --out x",
            "--data.anomalous 9: expected a list (each an integer), written",
        ),
        ("fit --data Digits --detector LatentSearch --out x", "LatentSearch needs --detector.generator"),
        ("fit --detector KNN --out x", "expected --data: see unlikelihood fit --help"),
        ("score --out x", "expected MODEL and --data: see unlikelihood score --help"),
        ("score m --data Digits --out x --alpha x", "--alpha x: expected a number or null"),
        ("reproduce mnist-va --out x", "recipe mnist-va: did you mean mnist-vae? expected one of demo, mnist-gan, "),
        ("fit --detector.help KN", "--detector KN: did you mean KNN? expected one of Auto, "),
        ("fit --config nowhere.yaml", "--config: File does not exist"),
    ],
)
def test_wrong_arguments_exit_with_two_and_one_line_that_names_what_was_typed_and_what_may_be_meant(
    arguments, message, capsys
):
    with pytest.raises(SystemExit) as stop:
        main(arguments.split())
    assert stop.value.code == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("unlikelihood: error: ")
    assert message in error
    assert "\n" not in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "--detector.device=abacus",
            "--detector.device is 'abacus', expected one of those that there are here: auto, cpu",
        ),
        (
            "--detector.scoring=IWAE --detector.scoring.samples=0",
            "--detector.scoring.samples is 0, expected an integer",
        ),
    ],
)
def test_a_wrong_value_is_named_by_its_flag_before_data_are_read(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.setattr(Digits, "split", lambda self: pytest.fail("data were read"))
    out = ["--out", str(tmp_path / "model")]
    assert main(["fit", "--data", "Digits", "--detector", "VAE", *arguments.split(), *out]) == 1
    assert message in capsys.readouterr().err


def test_seeds_need_a_worker(tmp_path, capsys):
    assert main(["reproduce", "demo", "--out", str(tmp_path / "out"), "--workers", "0"]) == 1
    assert capsys.readouterr().err == "unlikelihood: error: --workers is 0, expected at least 1\n"


def test_what_exists_is_replaced_only_where_that_is_asked_for(model, tmp_path, capsys, monkeypatch):
    fit = ["fit", "--data", "Digits", "--detector", "KNN", "--out", str(model)]
    before = (model / "detector.json").read_bytes()
    assert main(fit) == 1
    assert capsys.readouterr().err.endswith(f"--out is {str(model)!r}, which exists: --overwrite replaces it\n")
    assert (model / "detector.json").read_bytes() == before
    monkeypatch.setattr(sys, "argv", ["bin/unlikelihood", *fit])
    assert main([*fit, "--overwrite"]) == 0
    assert main(fit) == 1
    assert "where the same command ended on 2" in capsys.readouterr().err
    table, folder = tmp_path / "scores.csv", tmp_path / "report"
    folder.mkdir()
    for kept in (table, folder / "notes.txt"):
        kept.write_text("mine")
    for command, out in (("score", table), ("evaluate", folder)):
        assert main([command, str(model), "--data", "Digits", "--out", str(out)]) == 1
        assert f"--out is {str(out)!r}, which exists" in capsys.readouterr().err
    assert table.read_text() == "mine"
    assert main(["score", str(model), "--data", "Digits", "--out", str(table), "--overwrite"]) == 0
    assert table.read_text().startswith("name,anomaly_score")


def test_the_last_line_says_what_was_done_and_where_it_is(tmp_path, capsys):
    arguments = ["fit", "--data", "Digits", "--detector", "KNN", "--out", str(tmp_path / "my model")]
    assert main(arguments) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    facts = dict(fact.split("=", 1) for fact in shlex.split(last.removeprefix("fit: ")))
    split = Digits().split()
    assert float(facts.pop("seconds")) >= 0
    assert facts == {
        "detector": "KNN",
        "fitted_to": str(len(split.train)),
        "calibrated_on": str(len(split.calibration)),
        "out": str(tmp_path / "my model"),
    }


def test_a_printed_configuration_does_what_its_flags_did(tmp_path, capsys):
    arguments = ["--data=Digits", "--detector=KNN", "--detector.n_neighbors=3", f"--out={tmp_path / 'one'}"]
    with pytest.raises(SystemExit) as stop:
        main(["fit", *arguments, "--print_config"])
    assert stop.value.code == 0
    config = tmp_path / "fit.yaml"
    config.write_text(capsys.readouterr().out)
    assert main(["fit", *arguments]) == 0
    assert main(["fit", "--config", str(config), f"--out={tmp_path / 'two'}"]) == 0
    one, two = (load(tmp_path / name) for name in ("one", "two"))
    X = Digits().split().test.pixels
    assert two.n_neighbors == 3
    np.testing.assert_array_equal(two.score_samples(X), one.score_samples(X))
    config.write_text(config.read_text().replace("n_neighbors", "n_neighbours"))
    with pytest.raises(SystemExit):
        main(["fit", "--config", str(config)])
    assert "--detector.n_neighbours: KNN has no n_neighbours: did you mean n_neighbors?" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "known"), [("--detector", "VAE"), ("--data", "Folder")])
def test_help_lists_a_line_for_each_detector_and_source(option, known, capsys):
    with pytest.raises(SystemExit):
        main(["fit", f"{option}.help"])
    lines = capsys.readouterr().out.splitlines()
    package = option.strip("-").replace("detector", "detectors")
    assert {line.split()[0] for line in lines if line} >= set(choices(package)) >= {known}
    assert all(line[0] != " " and line.endswith(".") for line in lines if line)


def test_help_of_a_detector_speaks_plainly_and_keeps_the_lines_of_its_examples(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        main(["fit", "--detector.help", "VAE"])
    out = capsys.readouterr().out
    words = " ".join(out.split())
    assert "Dimensions of z. (an integer at least 1; default: 20)" in words
    assert "LearntGaussian, OptimalGaussian; default: Gaussian)" in words
    assert "Largest norm of a gradient; None does not shorten any. (a number above 0 or null)" in words
    assert not {"Annotated", "class_path", "typing", "<class"} & set(re.findall(r"<class|\w+", out))
    assert ">>> import numpy as np\n>>> X = " in out


@pytest.mark.parametrize("module", ["unlikelihood", "unlikelihood.cli.main"])
def test_the_package_runs_as_a_module(module):
    run = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("usage: unlikelihood ")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    own = {"cache": "--clear", "serve": "--port", "sign": "--key"}  # of those that write nothing
    assert own.get(command, "--out") in capsys.readouterr().out


def test_help_keeps_the_lines_of_its_examples(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    assert "  unlikelihood fit --data MNIST --detector VAE --detector.latent 20 --out models/vae" in lines


def test_help_and_import_load_neither_torch_nor_scikit_learn():
    code = "import sys, unlikelihood; from unlikelihood.cli.main import main\n"
    code += "try: main(['--help'])\nexcept SystemExit: pass\n"
    code += "assert not {'torch', 'sklearn', 'matplotlib'} & set(sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_scoring_loads_neither_matplotlib_nor_the_compiler_of_torch(models, tmp_path):
    np.save(tmp_path / "X.npy", normals((1, 8, 8)))
    given = ["--data", "Arrays", "--data.path", tmp_path / "X.npy", "--out", tmp_path / "scores.csv"]
    words = ["score", models / "vae", *given]
    code = f"import sys; from unlikelihood.cli.main import main; main({list(map(str, words))})\n"
    code += "assert not {'torch._dynamo', 'lightning_fabric', 'matplotlib'} & set(sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_an_interrupted_command_says_that_it_resumes(capsys, monkeypatch, tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("unlikelihood.detectors.vae.VAE.build", interrupt)
    arguments = ["fit", "--data", "Digits", "--detector", "VAE", "--out", str(tmp_path / "model")]
    assert main(arguments) == 130
    assert "resumes" in capsys.readouterr().err
    assert not Path(tmp_path / "model").exists()


def table(path):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def test_fit_keeps_the_calibration_that_score_decides_by(model, tmp_path, capsys):
    arguments = ["--data", "Digits", "--out", str(tmp_path / "scores.csv"), "--alpha", "0.05"]
    assert main(["score", str(model), *arguments]) == 0
    said = capsys.readouterr()
    assert f"note: {len(Digits().split().train)} of the 1797 samples were trained on" in said.err
    rows = table(tmp_path / "scores.csv")
    assert list(rows) == ["name", "anomaly_score", "p_value", "decision", "alpha", "label"]
    assert set(rows["alpha"]) == {"0.05"}
    assert f"score: samples=1797 anomalous={np.sum(rows['decision'] == 'anomalous')} alpha=0.05 seconds=" in said.out
    conformal = Conformal(load(model), alpha=0.05).fit()
    pixels = Digits().read().pixels
    np.testing.assert_array_equal(rows["p_value"].astype(float), conformal.p_value(pixels))
    np.testing.assert_array_equal(rows["decision"], np.where(conformal.predict(pixels) == -1, "anomalous", "normal"))
    assert len(conformal.calibration_) == len(Digits().split().calibration)


def test_score_names_the_discoveries_that_conformal_names(knn, tmp_path, capsys):
    model = load(knn).calibrate(Digits().split().calibration.pixels).save(tmp_path / "model")
    digits, out = ["--data", "Digits", "--discoveries", "0.9"], tmp_path / "scores.csv"
    assert main(["score", str(model), *digits, "--out", str(out)]) == 0
    rows = table(out)
    called = Conformal(load(model)).fit().discoveries(Digits().read().pixels, 0.9)
    assert 0 < called.sum() < len(called)
    np.testing.assert_array_equal(rows["discovery"], np.where(called, "anomalous", "normal"))
    assert set(rows["false_discovery_rate"]) == {"0.9"}
    assert f"discoveries={called.sum()} " in capsys.readouterr().out
    assert main(["score", str(model), *digits, "--out", str(tmp_path / "parts")]) == 1
    assert "expected a table for discoveries" in capsys.readouterr().err


def test_without_a_calibration_or_at_no_rate_nothing_is_discovered(knn, tmp_path, capsys):
    for rate, words in (("0.2", "holds no calibration scores"), ("1", "rate must lie strictly between 0 and 1")):
        given = ["--data", "Digits", "--discoveries", rate, "--out", str(tmp_path / "scores.csv")]
        assert main(["score", str(knn), *given]) == 1
        assert words in capsys.readouterr().err
        assert not (tmp_path / "scores.csv").exists()


@pytest.mark.parametrize("alpha", [None, 0.2])
def test_a_model_that_decides_keeps_its_guarantee_and_its_kinds(rng, alpha):
    train, held_out, X = (rng.normal(size=(80, 3)) for _ in range(3))
    conformal = Conformal(PCAResidual(1).fit(train), alpha=0.3, guarantee=Simes()).fit(held_out, kind=np.arange(80) % 2)
    found = decider(conformal, alpha)(conformal.score_samples(X))
    np.testing.assert_array_equal(found["p_value"], conformal.p_value(X))
    assert conformal.alpha == 0.3
    if alpha is not None:
        np.testing.assert_array_equal(found["decision"] == "anomalous", found["p_value"] <= alpha)


def test_csv_and_parquet_hold_the_same(model, tmp_path):
    pyarrow = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    for name in ("scores.csv", "scores.parquet"):
        arguments = ["score", str(model), "--data", "Digits", "--alpha", "0.1", "--out", str(tmp_path / name)]
        assert main(arguments) == 0
    read = pyarrow.read_table(tmp_path / "scores.parquet")
    rows = table(tmp_path / "scores.csv")
    assert read.column_names == list(rows)
    for name, column in rows.items():
        assert (
            read[name].to_pylist()
            == column.astype(float if name in ("anomaly_score", "p_value", "alpha") else str).tolist()
        )
    assert {path.name for path in tmp_path.iterdir()} == {"model", "scores.csv", "scores.parquet"}


def test_evaluate_decides_too_and_its_labels_give_later_samples_their_probability(model, evaluated, tmp_path):
    report, _ = evaluated
    rows = table(report / "scores.csv")
    record = json.loads((report / "evaluation.json").read_text())
    assert list(rows) == ["name", "anomaly_score", "p_value", "decision", "alpha", "label"]
    np.testing.assert_array_equal(rows["anomaly_score"].astype(float), -np.array(record["score"]))
    np.testing.assert_array_equal(rows["decision"] == "anomalous", np.array(record["p_value"]) <= 0.05)
    later = ["--data", "Digits", "--evaluation", str(report)]
    assert main(["score", str(model), *later, "--out", str(tmp_path / "as.csv")]) == 0
    assert main(["score", str(model), *later, "--prevalence", "0.01", "--out", str(tmp_path / "rare.csv")]) == 0
    usual, rare = (table(tmp_path / name) for name in ("as.csv", "rare.csv"))
    assert np.all(rare["probability"].astype(float) < usual["probability"].astype(float))
    assert set(usual["prevalence"]) == {str(np.mean(np.array(record["label"]) == "anomalous"))}
    assert set(rare["prevalence"]) == {"0.01"}


def test_a_probability_does_not_depend_on_what_else_is_scored(model, evaluated, tmp_path):
    (report, _), some = evaluated, tmp_path / "some.npz"
    images = Digits().read()
    np.savez(some, pixels=images.pixels[:50], label=images.label[:50])
    for name, data in (("all.csv", ["Digits"]), ("some.csv", ["Arrays", f"--data.path={some}"])):
        arguments = ["--data", *data, "--evaluation", str(report), "--out", str(tmp_path / name)]
        assert main(["score", str(model), *arguments]) == 0
    every, few = (table(tmp_path / name)["probability"].astype(float) for name in ("all.csv", "some.csv"))
    assert few == pytest.approx(every[:50], abs=1e-6)


def test_a_score_that_is_no_number_fails_the_table(model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        "unlikelihood.detectors.vae.VAE._score", lambda self, X: np.where(np.arange(len(X)) == 7, np.nan, 0.0)
    )
    assert main(["score", str(model), "--data", "Digits", "--out", str(tmp_path / "scores.csv")]) == 1
    name = Digits().read().name[7]
    assert f"the score is nan for 1 of 1797 samples ({name})" in capsys.readouterr().err
    assert not (tmp_path / "scores.csv").exists()


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--alpha", "0.0001"], "alpha is 0.0001, expected at least"),
        (["--alpha", "2"], "alpha is 2.0, expected"),
        (["--evaluation", "nowhere"], "nowhere"),
        (["--prevalence", "0.1"], "prevalence is 0.1, expected with an evaluation"),
    ],
)
def test_what_cannot_be_decided_is_said_before_anything_is_scored(model, tmp_path, capsys, monkeypatch, extra, message):
    monkeypatch.setattr(Digits, "read", lambda self: pytest.fail("data were read"))
    assert main(["score", str(model), "--data", "Digits", *extra, "--out", str(tmp_path / "scores.csv")]) == 1
    assert message in capsys.readouterr().err


def test_an_evaluation_of_another_model_gives_no_probabilities(model, knn, tmp_path, capsys):
    evaluate(load(knn), Digits().split(), draws=20).write(tmp_path / "report")
    arguments = ["--data", "Digits", "--evaluation", str(tmp_path / "report"), "--out", str(tmp_path / "scores.csv")]
    assert main(["score", str(model), *arguments]) == 1
    assert "expected one of this model" in capsys.readouterr().err


@pytest.fixture(scope="module")
def knn(tmp_path_factory):
    detector = KNN().fit(Digits().split().train.pixels)
    return detector.save(tmp_path_factory.mktemp("knn") / "knn")


@pytest.fixture
def undrawn(monkeypatch):
    """Let an evaluation's record be all that is kept: its page is tested elsewhere, and takes seconds."""
    monkeypatch.setattr(Evaluation, "save", Evaluation.write)


def few(split, calibration, normal, anomalous):
    label = split.test.label
    kept = np.r_[np.flatnonzero(label == 0)[:normal], np.flatnonzero(label == 1)[:anomalous]]
    return Split(split.train, split.calibration[:calibration], split.test[kept])


@pytest.mark.usefixtures("undrawn")
def test_evaluate_on_four_normals_reports_without_decisions_and_says_so(knn, tmp_path, capsys, monkeypatch):
    split = few(Digits().split(), 4, 4, 4)
    monkeypatch.setattr(Digits, "split", lambda self: split)
    assert main(["evaluate", str(knn), "--data", "Digits", "--out", str(tmp_path / "report")]) == 0
    said = capsys.readouterr()
    assert said.err == "note: no decisions: 4 calibration normals cannot hold false alarms to 0.05, which takes 19\n"
    assert "KNN on 4 unseen normals and 4 anomalies\n" in said.out
    assert "specificity" not in said.out
    assert list(table(tmp_path / "report" / "scores.csv")) == ["name", "anomaly_score", "p_value", "label"]
    split = few(split, 0, 1, 4)
    assert main(["evaluate", str(knn), "--data", "Digits", "--out", str(tmp_path / "none")]) == 1
    (_, error) = capsys.readouterr().err.splitlines()
    assert error.endswith("split.test holds 1 normal and 4 anomalous samples, expected at least 2 of each")
    assert not (tmp_path / "none").exists()


@pytest.mark.usefixtures("undrawn")
def test_evaluate_leaves_out_what_the_model_was_trained_on_and_its_table_too(knn, tmp_path, capsys):
    assert main(["evaluate", str(knn), "--data", "Digits", "--data.seed", "3", "--out", str(tmp_path / "report")]) == 0
    out = capsys.readouterr().out
    test, train = (part.name for part in (Digits(seed=3).split().test, Digits().split().train))
    unseen = test[~np.isin(test, train)]
    assert f"{len(test) - len(unseen)} test samples on which the detector was trained are left out." in out
    assert table(tmp_path / "report" / "scores.csv")["name"].tolist() == unseen.tolist()


def test_score_makes_a_page_of_the_most_anomalous(knn, tmp_path):
    arguments = ["--data=Digits", f"--out={tmp_path / 's.csv'}", f"--report={tmp_path / 'report'}"]
    assert main(["score", str(knn), *arguments]) == 0
    with (tmp_path / "report" / "ranked.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with (tmp_path / "s.csv").open(newline="") as file:
        table = [(float(row["anomaly_score"]), row["name"], row["label"]) for row in csv.DictReader(file)]
    assert sorted((float(row["anomaly_score"]), row["name"], row["label"]) for row in rows) == sorted(table)
    scores = [float(row["anomaly_score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    page = (tmp_path / "report" / "report.html").read_text()
    assert rows[0]["name"] in page
    assert "1,597 more are in ranked.csv" in page
    assert [file.name for file in (tmp_path / "report" / "figures").iterdir()] == ["first.png"]
