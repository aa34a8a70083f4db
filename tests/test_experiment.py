"""An experiment judges every detector at every seed once, and its table says what it found."""

import json
import shutil
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from tiny import tiny
from unlikelihood import KNN, Contrastive, Digits, FeatureSpace, TotalIntensity, workers
from unlikelihood.data.source import DataUnavailable
from unlikelihood.evaluation import experiment as module
from unlikelihood.evaluation.evaluation import Evaluation, evaluate
from unlikelihood.evaluation.experiment import Experiment, Series, Shared, keep_checkpoints, table
from unlikelihood.storage.models import configuration
from unlikelihood.storage.provenance import commit, processor
from unlikelihood.training.alarms import NotTrustworthy

FEW = {"train_per_digit": 30, "calibration_per_digit": 10, "test": 60}


@pytest.fixture(scope="module", autouse=True)
def _few_draws():
    """Let intervals rest on few draws, which take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "evaluate", partial(evaluate, draws=20))
        yield


@pytest.fixture(scope="module")
def experiment():
    return Experiment(
        title="Digits",
        text="A test.",
        split=lambda seed: Digits(**FEW, seed=seed).split(),
        detectors={"neighbours": lambda seed: KNN(seed=seed), "ink": lambda seed: TotalIntensity(seed=seed)},
        references={"ink": 0.5},
        seeds=(0, 1, 2),
    )


@pytest.fixture
def brief(experiment):
    """Return the experiment with one of its detectors and seeds."""
    return replace(experiment, detectors={"ink": experiment.detectors["ink"]}, seeds=(0,))


@pytest.fixture(scope="module")
def once(experiment, tmp_path_factory):
    """Return the folder of the experiment, which ran once, and its table."""
    folder = tmp_path_factory.mktemp("once")
    return folder, experiment.run(folder)


@pytest.fixture
def ran(once, tmp_path):
    """Return a copy of that folder and the table."""
    return Path(shutil.copytree(once[0], tmp_path / "ran")), once[1]


def test_the_table_holds_the_mean_over_the_seeds(once):
    folder, text = once
    record = {row["name"]: row for row in json.loads((folder / "comparison.json").read_text())["rows"]}
    found = [Evaluation.load(path).metrics["auroc"].value for path in sorted(folder.glob("runs/neighbours-*"))]
    assert len(found) == 3
    assert record["neighbours"]["auroc"]["value"] == pytest.approx(np.mean(found))
    assert record["neighbours"]["spread"] == pytest.approx(np.std(found, ddof=1))
    assert record["ink"]["reference"] == 0.5
    assert record["ink"]["flagged"] == 0
    assert record["ink"]["provenance"]["processor"] == str(processor())
    assert f"{np.mean(found):.3f}" in text
    assert (folder / "report.html").exists()
    # Of every detector the first seed alone has a report of its own.
    assert len(list(folder.glob("runs/*-seed0-*/report.html"))) == len(list(folder.glob("runs/*/report.html"))) == 2


def test_a_run_that_was_interrupted_fits_only_what_is_missing(experiment, ran, monkeypatch):
    folder, first = ran
    for file in next(folder.glob("runs/ink-seed2-*")).iterdir():
        file.unlink()
    fitted = []
    fit = TotalIntensity.fit
    monkeypatch.setattr(KNN, "fit", lambda *_: pytest.fail("fitted again"))
    monkeypatch.setattr(TotalIntensity, "fit", lambda self, X: fitted.append(self.seed) or fit(self, X))
    again = experiment.run(folder)
    assert fitted == [2]
    assert [line.split()[:3] for line in again.splitlines()] == [line.split()[:3] for line in first.splitlines()]


def test_seeds_in_workers_are_those_of_one_process_and_are_resumed_by_it(experiment, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(module, "evaluate", evaluate)  # as it is in workers
    few = replace(experiment, seeds=(0, 1))
    _, one = few.judge(tmp_path / "one", draw=False)
    with workers(2):
        _, two = few.judge(tmp_path / "two", draw=False)
    monkeypatch.setattr(KNN, "fit", lambda *_: pytest.fail("fitted again"))
    _, again = few.judge(tmp_path / "two", draw=False)
    for name, seed in product(one, range(2)):
        assert two[name][seed].metrics == again[name][seed].metrics == one[name][seed].metrics
        np.testing.assert_array_equal(two[name][seed].score, one[name][seed].score)
        assert two[name][seed].provenance["date"] == again[name][seed].provenance["date"]


def test_a_part_that_rows_share_is_fitted_once_a_seed_and_never_again(tmp_path, monkeypatch):
    fitted = []
    fit = Contrastive.fit
    monkeypatch.setattr(Contrastive, "fit", lambda self, X: fitted.append(self.seed) or fit(self, X))

    def rows(*neighbours):
        return {
            f"{n} neighbours": Shared(
                lambda seed: tiny("Contrastive", seed=seed),
                lambda encoder, seed, n=n: FeatureSpace(encoder, KNN(n_neighbors=n), seed=seed),
            )
            for n in neighbours
        }

    made = Experiment("Digits", "A test.", lambda seed: Digits(**FEW, seed=seed).split(), rows(1), seeds=(0, 1))
    made.judge(tmp_path, draw=False)
    (one, *_), records = replace(made, detectors=rows(1, 5)).judge(tmp_path, draw=False)
    assert fitted == [0, 1]
    # Nothing but what they share is the same, and that is as if each had fitted it.
    alone = FeatureSpace(tiny("Contrastive", seed=1), KNN(n_neighbors=5), seed=1)
    split = Digits(**FEW, seed=1).split()
    scores = alone.fit(split.train.pixels).score_samples(split.test.pixels)
    np.testing.assert_allclose(records["5 neighbours"][1].score, scores, rtol=1e-5)
    assert one.seeds == 2


def test_another_parameter_is_another_run(experiment, ran):
    folder, _ = ran
    runs = len(list(folder.glob("runs/*")))
    other = experiment.detectors | {"neighbours": lambda seed: KNN(n_neighbors=2, seed=seed)}
    replace(experiment, detectors=other).judge(folder / "runs", draw=False)
    assert len(list(folder.glob("runs/*"))) == runs + 3


def test_a_row_tells_where_its_fits_came_from_and_how_many_were_flagged(experiment, tmp_path, monkeypatch):
    monkeypatch.setattr(KNN, "alarms", lambda self: ("it has collapsed",) if self.seed else ())
    with pytest.warns(NotTrustworthy, match="it has collapsed"):
        rows, records = experiment.judge(tmp_path, draw=False)
    assert {row.name: row.flagged for row in rows} == {"neighbours": 2, "ink": 0}
    assert "flagged" in table(rows).splitlines()[0]
    assert rows[1].provenance["processor"] == str(processor())
    assert rows[1].provenance["commit"] == str(commit())
    # Of fits at several times there are several.
    dates = {record.provenance["date"] for record in records["ink"]}
    found = rows[1].provenance["date"]
    assert set([found] if isinstance(found, str) else found) == dates


def test_a_trained_detector_leaves_no_checkpoint(tmp_path):
    made = Experiment("Digits", "A test.", lambda seed: Digits(**FEW).split(), {"vae": lambda seed: tiny("VAE")})
    replace(made, seeds=(0,)).judge(tmp_path, draw=False)
    assert len(list(tmp_path.iterdir())) == 1
    assert not list(tmp_path.glob("*.checkpoint"))


def test_the_interval_of_seeds_that_share_test_samples_holds_the_sampling_of_the_test(tmp_path):
    """A detector without chance, on one test set, is as uncertain as that test set leaves it."""
    split = Digits(**FEW).split()
    made = Experiment("Digits", "A test.", lambda seed: split, {"ink": lambda seed: TotalIntensity(seed=seed)})
    (row,), records = made.judge(tmp_path, draw=False)
    one = records["ink"][0].metrics["auroc"]
    assert row.seeds == 5
    assert (row.auroc.low, row.auroc.high) == pytest.approx((one.low, one.high))


def test_every_part_with_a_network_keeps_a_checkpoint_of_its_own():
    detector = tiny("EncoderSearch", generator=tiny("DCGAN", checkpoint="mine"))
    described = configuration(detector)
    keep_checkpoints(detector, Path("runs/one"))
    assert detector.checkpoint == "runs/one.checkpoint"
    assert detector.generator.checkpoint == "mine"
    detector = tiny("LatentSearch")
    keep_checkpoints(detector, Path("runs/one"))
    assert detector.generator.checkpoint == "runs/one.generator.checkpoint"
    assert configuration(tiny("EncoderSearch")) == described


def test_without_data_the_other_experiment_runs_and_says_so(brief, ran, capsys):
    folder, _ = ran

    def unavailable(seed):
        raise DataUnavailable("train.gz could not be downloaded: no network")

    lost = replace(brief, split=unavailable, otherwise=replace(brief, title="Small digits"))
    lost.run(folder)
    said = capsys.readouterr().err.strip()
    assert said == "train.gz could not be downloaded; running instead: Small digits"
    assert json.loads((folder / "comparison.json").read_text())["title"] == "Small digits"
    with pytest.raises(DataUnavailable):
        replace(lost, otherwise=None).run(folder)


def test_a_series_runs_each_in_its_folder_and_names_what_it_leaves_out(brief, once, tmp_path):
    shutil.copytree(once[0] / "runs", tmp_path / "digits" / "runs")  # with the report that is drawn already

    def missing(seed):
        raise DataUnavailable("scans.npz is not at hand")

    lost = replace(brief, title="Scans", split=missing)
    text = Series("Both", {"digits": brief, "scans": lost}).run(tmp_path)
    assert text.startswith("Digits\n")
    assert text.endswith("Scans: left out, scans.npz is not at hand")
    assert (tmp_path / "digits" / "comparison.json").exists()
    assert 'href="digits/report.html"' in (tmp_path / "report.html").read_text()
    with pytest.raises(DataUnavailable, match="Scans: left out"):
        Series("None", {"scans": lost}).run(tmp_path)
