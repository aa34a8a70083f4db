import json
import subprocess
import sys
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.ensemble import IsolationForest

from unlikelihood import Conformal, Marginal, PCAResidual, Simes
from unlikelihood.data.images import Images
from unlikelihood.data.splits import Split
from unlikelihood.evaluation.evaluation import Evaluation, evaluate
from unlikelihood.metrics.intervals import bootstrap, delong
from unlikelihood.metrics.ranking import anomaly_score, auroc
from unlikelihood.report.exhibits import choose
from unlikelihood.report.operating import promised, steps
from unlikelihood.storage.records import read_sealed


class Distance(BaseEstimator):
    """Squared distance from the mean, and nothing else."""

    def __init__(self, power=2.0):
        self.power = power

    def fit(self, X, y=None):
        self.mean_ = X.mean(axis=0)
        return self

    def score_samples(self, X):
        return -(np.abs(X - self.mean_) ** self.power).reshape(len(X), -1).sum(axis=1)


class Everything(Distance):
    """Also generates, reconstructs, and has a history."""

    history_ = {"network": [3.0, 2.0, 1.5], "critic": [1.0, 1.2, 1.1]}
    fit_seconds_ = 1.5

    def generate(self, n):
        return np.random.default_rng(0).normal(self.mean_, 1, (n, *self.mean_.shape)).astype(np.float32)

    def reconstruct(self, X):
        return (X + self.mean_) / 2


class Around(BaseEstimator):
    def __init__(self, detector):
        self.detector = detector

    def score_samples(self, X):
        return self.detector.score_samples(X)


def split_of(shape=(1, 8, 8), n=40, seed=0, group=None):
    rng = np.random.default_rng(seed)
    label = np.repeat([0, 1], n)
    test = rng.normal(size=(2 * n, *shape)) + 0.1 * label.reshape(-1, *[1] * len(shape)) * rng.normal(5, 1, shape)
    name = [f"test/{i}" for i in range(2 * n)]
    return Split(
        train=Images(rng.normal(size=(50, *shape))),
        calibration=Images(rng.normal(size=(20, *shape))),
        test=Images(test, label=label, name=name, group=group, spacing=None),
    )


def judged(detector=None, draws=20, name=None, **kwargs):
    split = split_of(**kwargs)
    return evaluate((detector or Everything()).fit(split.train.pixels), split, draws=draws, name=name)


def shown(evaluation):
    return choose(evaluation.detector, evaluation.split, evaluation.score)


def test_the_record_keeps_the_score_of_the_detector_and_metrics_take_the_anomaly_score():
    split = split_of()
    detector = Distance().fit(split.train.pixels)
    evaluation = evaluate(detector, split, draws=20)
    assert np.array_equal(evaluation.score, detector.score_samples(split.test.pixels))
    assert evaluation.metrics["auroc"] == delong(split.test.label, anomaly_score(evaluation.score))
    assert evaluation.metrics["auroc"].value > 0.5


def test_the_order_of_test_samples_does_not_matter():
    split = split_of()
    order = np.random.default_rng(1).permutation(len(split.test))
    detector = Everything().fit(split.train.pixels)
    one = evaluate(detector, split, draws=20)
    other = evaluate(detector, Split(split.train, split.calibration, split.test[order]), draws=20)
    assert other.score == pytest.approx(one.score[order])
    assert other.probability == pytest.approx(one.probability[order])
    assert {key: i.value for key, i in other.metrics.items()} == pytest.approx(
        {key: i.value for key, i in one.metrics.items()}
    )
    first, second = (choose(each.detector, each.split, each.score) for each in (one, other))
    assert np.array_equal(first.likely[1][0], second.likely[1][0])
    assert np.array_equal(first.reconstructed[0][0], second.reconstructed[0][0])
    assert np.array_equal(first.cases.pixels, second.cases.pixels)


def test_patients_with_several_samples_are_resampled_whole():
    group = np.arange(80) // 4
    evaluation = judged(group=group)
    assert evaluation.provenance["by_group"]
    assert evaluation.metrics["auroc"] == bootstrap(
        auroc, evaluation.label, anomaly_score(evaluation.score), group, draws=20
    )
    assert not judged(group=np.arange(80)).provenance["by_group"]


def test_exhibits_show_the_ends_of_the_ranking():
    evaluation = judged()
    exhibits = shown(evaluation)
    for k in (0, 1):
        own = np.sort(evaluation.score[evaluation.label == k])
        assert np.array_equal(exhibits.likely[k][1], own[::-1][:12])
        assert np.array_equal(exhibits.unlikely[k][1], own[:12])


def test_a_detector_that_only_ranks_has_no_other_exhibits():
    exhibits = shown(judged(Distance()))
    assert exhibits.generated is None
    assert not exhibits.reconstructed
    assert exhibits.cases.maps is None


def test_every_shown_sample_is_reconstructed_once_and_only_when_a_report_is_drawn(tmp_path):
    asked = []

    class Counting(Everything):
        def reconstruct(self, X):
            asked.append(X)
            return super().reconstruct(X)

    evaluation = judged(Counting())
    evaluation.write(tmp_path)
    assert asked == []
    evaluation.save(tmp_path)
    tested, normals = asked
    assert len(np.unique(tested.reshape(len(tested), -1), axis=0)) == len(tested)
    assert np.array_equal(normals, evaluation.split.calibration.pixels)


def test_what_a_detector_was_trained_on_is_shown_as_such_only_where_it_says_so():
    split, other = split_of(), split_of(seed=7)
    detector = PCAResidual(n_components=3).fit(split.train.pixels)
    assert choose(detector, split, detector.score_samples(split.test.pixels)).trained_on
    assert not choose(detector, other, detector.score_samples(other.test.pixels)).trained_on
    assert not shown(judged()).trained_on  # a detector of another library does not remember
    elsewhere = evaluate(detector, Split(other.train[:20], other.calibration, other.test), draws=20)
    assert elsewhere.data["trained_on"] == 50
    assert judged().data["trained_on"] is None


def test_samples_that_training_saw_are_left_out_and_counted(tmp_path):
    split = split_of()
    again = np.concatenate([split.train.pixels[:32], split.test.pixels[32:]])
    leaking = Split(split.train, split.calibration, Images(again, label=split.test.label))
    detector = PCAResidual(n_components=3).fit(split.train.pixels)
    evaluation = evaluate(detector, leaking, draws=20)
    clean = evaluate(detector, Split(split.train, split.calibration, split.test[32:]), draws=20)
    assert np.allclose(evaluation.score, clean.score)
    assert evaluation.metrics["auroc"] == clean.metrics["auroc"]
    assert len(evaluation.split.test) == 48
    said = "32 test samples on which the detector was trained are left out."
    assert said in evaluation.summary()
    assert evaluation.summary().startswith("PCAResidual on 8 unseen normals and 40 anomalies")
    assert said in (evaluation.save(tmp_path) / "report.html").read_text()
    assert "left out" not in clean.summary()
    few = np.concatenate([split.train.pixels[:39], split.test.pixels[39:]])
    leaking = Split(split.train, split.calibration, Images(few, label=split.test.label))
    with pytest.raises(ValueError, match=r"holds 1 normal and 40 anomalous samples after the 39 .* left out, expected"):
        evaluate(detector, leaking)


def test_rates_that_the_samples_cannot_resolve_are_left_out():
    assert "sensitivity_at_95_specificity" in judged(n=20).metrics
    assert "sensitivity_at_99_specificity" not in judged(n=20).metrics
    assert "fpr_at_95_tpr" in judged(n=20).metrics
    few = judged(n=4)
    assert set(few.metrics) == {"auroc", "auprc", "brier"}


def test_the_record_survives_the_file(tmp_path):
    evaluation = judged(group=np.arange(80) // 2)
    loaded = Evaluation.load(evaluation.write(tmp_path / "report"))
    for key in ("score", "probability", "label"):
        assert np.array_equal(getattr(loaded, key), getattr(evaluation, key))
    for key in ("name", "params", "data", "metrics", "timings", "history", "provenance", "sample", "group"):
        assert getattr(loaded, key) == getattr(evaluation, key)
    assert loaded.summary() == evaluation.summary()
    assert (loaded.detector, loaded.split) == (None, None)
    assert "<h2>Cases" not in (loaded.save(tmp_path / "again") / "report.html").read_text()


def test_a_notebook_shows_the_figures_as_a_table():
    evaluation = replace(judged(n=20), name="a < b")
    table = ElementTree.fromstring(evaluation._repr_html_())
    shown = {row.find("th").text: row.find("td").text for row in table.iter("tr")}
    assert shown["auroc"] == str(evaluation.metrics["auroc"])
    assert set(shown) == {line.strip().split("  ")[0] for line in evaluation.summary().splitlines()[1:]}
    assert table.find("caption").text.startswith("a < b on ")


FORGED = {
    "auroc is 7": lambda record: record["metrics"]["auroc"].update(value=7.0),
    "auroc is 0.500000, which is not that": lambda record: record["metrics"]["auroc"].update(value=0.5),
    "score has 79 rows, expected 80": lambda record: record["score"].pop(),
    "calibration is not in increasing order": lambda record: record["calibration"].reverse(),
    "probability holds values": lambda record: record["probability"].__setitem__(0, 1.5),
    "unexpected keyword": lambda record: record.update(extra=1),
    "missing": lambda record: record.pop("timings"),
    "'odd'": lambda record: record["label"].__setitem__(0, "odd"),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return judged().write(tmp_path_factory.mktemp("saved") / "report") / "evaluation.json"


@pytest.mark.parametrize("message", FORGED)
def test_a_record_that_no_evaluation_finds_is_refused(saved, tmp_path, message):
    path, record = tmp_path / "evaluation.json", read_sealed(saved)
    FORGED[message](record)
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=rf"evaluation\.json holds what no evaluation finds: .*{message}"):
        Evaluation.load(path.parent)
    path.write_text(json.dumps(record | {"checksum": "0" * 64}))
    with pytest.raises(ValueError, match=r"evaluation\.json: cannot be read as a record \(it was changed"):
        Evaluation.load(path.parent)


def test_the_file_is_strict_json(tmp_path):
    def refuse(constant):
        raise ValueError(constant)

    evaluation = judged(Distance(power=2.0).set_params(power=np.float32(2)))
    evaluation.params["bound"] = [float("inf"), float("nan")]
    path = evaluation.write(tmp_path / "report") / "evaluation.json"
    record = json.loads(path.read_text(), parse_constant=refuse)
    assert set(record["metrics"]["auroc"]) == {"value", "low", "high", "level"}
    assert len(record["score"]) == 80
    assert record["label"] == ["normal"] * 40 + ["anomalous"] * 40
    assert record["columns"]["score"].endswith("higher = more normal")


def test_wrappers_say_what_is_inside():
    split = split_of()
    evaluation = evaluate(Around(Distance().fit(split.train.pixels)), split, draws=20)
    assert evaluation.name == "Around(Distance)"
    assert evaluation.params == {"detector": {"class": "Distance", "power": 2.0}}


def test_the_summary_names_every_figure():
    text = str(judged(name="Mine"))
    assert text.startswith("Mine on 40 normals and 40 anomalies")
    assert "auroc" in text
    assert "ms a sample" in text


def test_one_class_is_refused_before_anything_is_scored():
    split = split_of()
    only = Split(split.train, split.calibration, split.test[:40])
    detector = Everything()  # it could not score: it is not fitted
    with pytest.raises(ValueError, match=r"split\.test holds 40 normal and 0 anomalous samples, expected at least 2"):
        evaluate(detector, only)


def test_scores_that_are_not_numbers_are_refused():
    split = split_of()
    detector = Distance().fit(split.train.pixels)
    detector.mean_ = detector.mean_ * np.nan
    with pytest.raises(ValueError, match="score must be finite"):
        evaluate(detector, split)


def test_judging_needs_neither_torch_nor_matplotlib():
    code = "import sys, unlikelihood.evaluation.evaluation; sys.exit(bool({'torch', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_p_values_are_those_of_conformal(tmp_path):
    split = split_of()
    detector = PCAResidual(n_components=3).fit(split.train.pixels)
    evaluation = evaluate(detector, split, draws=20)
    conformal = Conformal(detector, alpha=0.1).fit(split.calibration.pixels)
    assert np.array_equal(evaluation.p_value, conformal.p_value(split.test.pixels))
    assert evaluation.data["calibrated_on"] == 20
    loaded = Evaluation.load(evaluation.write(tmp_path))
    assert np.array_equal(loaded.p_value, evaluation.p_value)
    assert np.array_equal(loaded.calibration, evaluation.calibration)
    remembering = evaluate(detector.calibrate(split.calibration.pixels[:10]), split, draws=20)
    assert len(remembering.calibration) == 10


@pytest.mark.parametrize("guarantee", [Marginal(), Simes()], ids=repr)
def test_a_conformal_is_judged_by_its_own_p_values(guarantee, tmp_path):
    split = split_of()
    normals = split.calibration.pixels
    conformal = Conformal(PCAResidual(n_components=3).fit(split.train.pixels), alpha=0.5, guarantee=guarantee)
    evaluation = evaluate(conformal.fit(normals, kind=np.arange(20) % 2), split, draws=20)
    assert np.array_equal(evaluation.p_value, conformal.p_value(split.test.pixels))
    assert evaluation.data["trained_on"] == 50
    assert "training never saw" in promised(evaluation).text
    head = promised(evaluation).table.head
    assert not any(cell.startswith("to be expected") for cell in head)
    by_score = {score: p for _, score, p in sorted(zip(range(80), evaluation.score, evaluation.p_value, strict=True))}
    assert all(p == by_score[-threshold] for threshold, _, _, p in steps(evaluation)[1:])


def test_of_a_detector_that_does_not_know_what_it_saw_nothing_is_called_unseen():
    split = split_of(shape=(3,))
    foreign = IsolationForest(random_state=0).fit(split.test.pixels)
    for detector in (foreign, Conformal(foreign).fit(split.calibration.pixels)):
        evaluation = evaluate(detector, split, draws=20)
        assert "unseen" not in evaluation.summary()
        assert evaluation.data["trained_on"] is None
        assert "never saw" not in promised(evaluation).text


def test_calibration_normals_that_training_saw_twice_over_are_left_out():
    split = split_of()
    twice = Images(np.concatenate([split.train.pixels[:3], split.calibration.pixels]))
    detector = PCAResidual(n_components=3).fit(split.train.pixels)
    evaluation = evaluate(detector, Split(split.train, twice, split.test), draws=20)
    assert evaluation.data["calibrated_on"] == 20


def test_without_calibration_normals_there_are_no_p_values():
    split = split_of()
    bare = Split(split.train, split.calibration[:0], split.test)
    evaluation = evaluate(Distance().fit(split.train.pixels), bare, draws=20)
    assert evaluation.p_value is None
    assert evaluation.calibration is None


def test_the_cases_are_the_most_anomalous_first_with_maps_and_neighbours():
    cases = shown(judged()).cases
    scores = judged().score[cases.index]
    assert np.all(np.diff(scores) >= 0)
    last = [index for index in np.argsort(judged().score) if index >= 40][-4:]  # of the anomalies
    assert set(last) <= set(cases.index)
    assert len(set(cases.index)) == 24
    assert cases.maps.values.shape == (24, 8, 8)
    assert cases.nearest.shape == (24, 3, 1, 8, 8)
    assert cases.maps.kind == "residual of the reconstruction"
