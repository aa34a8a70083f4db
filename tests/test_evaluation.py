import json
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import BaseEstimator

from unlikelihood import Conformal, PCAResidual
from unlikelihood.data.images import Images
from unlikelihood.data.splits import Split
from unlikelihood.evaluation.evaluation import Evaluation, evaluate
from unlikelihood.metrics.intervals import bootstrap, delong
from unlikelihood.metrics.ranking import anomaly_score, auroc


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


def test_the_sign_is_flipped_once():
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
    assert np.array_equal(one.pictures.likely[1][0], other.pictures.likely[1][0])
    assert np.array_equal(one.pictures.reconstructed[0][0], other.pictures.reconstructed[0][0])


def test_patients_with_several_samples_are_resampled_whole():
    group = np.arange(80) // 4
    evaluation = judged(group=group)
    assert evaluation.provenance["by_group"]
    assert evaluation.metrics["auroc"] == bootstrap(
        auroc, evaluation.label, anomaly_score(evaluation.score), group, draws=20
    )
    assert not judged(group=np.arange(80)).provenance["by_group"]


def test_pictures_show_the_ends_of_the_ranking():
    evaluation = judged()
    for k in (0, 1):
        own = np.sort(evaluation.score[evaluation.label == k])
        assert np.array_equal(evaluation.pictures.likely[k][1], own[::-1][:12])
        assert np.array_equal(evaluation.pictures.unlikely[k][1], own[:12])


def test_a_detector_that_only_ranks_has_no_other_pictures():
    pictures = judged(Distance()).pictures
    assert pictures.generated is None
    assert not pictures.reconstructed


def test_the_record_survives_the_file(tmp_path):
    evaluation = judged(group=np.arange(80) // 2)
    loaded = Evaluation.load(evaluation.save(tmp_path / "report"))
    for key in ("score", "probability", "label"):
        assert np.array_equal(getattr(loaded, key), getattr(evaluation, key))
    for key in ("name", "params", "data", "metrics", "timings", "history", "provenance", "sample", "group"):
        assert getattr(loaded, key) == getattr(evaluation, key)
    assert loaded.summary() == evaluation.summary()


def test_the_file_is_strict_json(tmp_path):
    def refuse(constant):
        raise ValueError(constant)

    evaluation = judged(Distance(power=2.0).set_params(power=np.float32(2)))
    evaluation.params["bound"] = [float("inf"), float("nan")]
    path = evaluation.save(tmp_path / "report") / "evaluation.json"
    record = json.loads(path.read_text(), parse_constant=refuse)
    assert set(record["metrics"]["auroc"]) == {"value", "low", "high", "level"}
    assert len(record["score"]) == 80


def test_wrappers_say_what_is_inside():
    split = split_of()
    evaluation = evaluate(Around(Distance().fit(split.train.pixels)), split, draws=20)
    assert evaluation.name == "Around(Distance)"
    assert evaluation.params == {"detector": {"class": "Distance", "power": 2.0}}


def test_the_summary_names_every_figure():
    text = str(judged(name="Mine"))
    assert text.startswith("Mine on 40 unseen normals and 40 anomalies")
    assert "auroc" in text
    assert "ms a sample" in text


def test_one_class_is_refused_before_anything_is_scored():
    split = split_of()
    only = Split(split.train, split.calibration, split.test[:40])
    with pytest.raises(ValueError, match=r"split\.test must hold normal and anomalous samples, got 40"):
        evaluate(None, only)


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
    loaded = Evaluation.load(evaluation.save_record(tmp_path))
    assert np.array_equal(loaded.p_value, evaluation.p_value)
    assert np.array_equal(loaded.calibration, evaluation.calibration)
    remembering = evaluate(detector.calibrate(split.calibration.pixels[:10]), split, draws=20)
    assert len(remembering.calibration) == 10


def test_calibration_normals_that_training_saw_twice_over_are_left_out():
    split = split_of()
    twice = Images(np.concatenate([split.train.pixels[:3], split.calibration.pixels]))
    detector = PCAResidual(n_components=3).fit(split.train.pixels)
    evaluation = evaluate(detector, Split(split.train, twice, split.test), draws=20)
    assert (evaluation.data["calibration"], evaluation.data["calibrated_on"]) == (23, 20)


def test_without_calibration_normals_there_are_no_p_values():
    split = split_of()
    bare = Split(split.train, split.calibration[:0], split.test)
    evaluation = evaluate(Distance().fit(split.train.pixels), bare, draws=20)
    assert evaluation.p_value is None
    assert evaluation.calibration is None


def test_the_cases_are_the_most_anomalous_first_with_maps_and_neighbours():
    cases = judged().cases
    scores = judged().score[cases.index]
    assert np.all(np.diff(scores) >= 0)
    last = [index for index in np.argsort(judged().score) if index >= 40][-4:]  # of the anomalies
    assert set(last) <= set(cases.index)
    assert len(set(cases.index)) == 24
    assert cases.maps.shape == (24, 8, 8)
    assert cases.nearest.shape == (24, 3, 1, 8, 8)
    assert cases.kind == "WhitenedResidual"
    assert judged(Distance()).cases.maps is None
