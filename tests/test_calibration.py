import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from unlikelihood.calibration import Calibration, cross_fitted
from unlikelihood.metrics import expected_calibration_error


def simulated(rng, n=100):
    label = rng.permutation(np.repeat([0, 1], n))
    return rng.normal(size=2 * n) + label, label


def test_probabilities_rise_with_the_score_and_sum_to_one(rng):
    score, label = simulated(rng)
    probability = Calibration().fit(score, label).predict_proba(np.sort(score))
    assert np.all(np.diff(probability[:, 1]) > 0)
    assert probability.sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize("scale", [1e-6, 1, 1e6])
@pytest.mark.parametrize("shift", [0, 7])
def test_the_scale_of_the_score_does_not_matter(rng, scale, shift):
    score, label = simulated(rng)
    expected = Calibration().fit(score, label).predict_proba(score)
    scaled = scale * (score + shift)
    assert Calibration().fit(scaled, label).predict_proba(scaled) == pytest.approx(expected, abs=1e-6)


def test_the_regression_finds_the_probability_that_made_the_labels(rng):
    score = rng.normal(size=50_000)
    label = rng.random(50_000) < 1 / (1 + np.exp(-(2 * score - 1)))
    calibration = Calibration().fit(score, label)
    assert calibration.slope_ / calibration.scale_ == pytest.approx(2, abs=0.06)
    assert expected_calibration_error(label, calibration.predict_proba(score)[:, 1]) < 0.01


def test_separable_and_constant_scores_have_finite_probabilities():
    for score in (np.arange(10.0), np.full(10, 0.1)):
        probability = Calibration().fit(score, [0] * 5 + [1] * 5).predict_proba(score)
        assert np.all((probability > 0) & (probability < 1))


def test_it_is_an_estimator(rng):
    fitted = Calibration().fit(*simulated(rng))
    with pytest.raises(NotFittedError):
        clone(fitted).predict_proba([0.0])


def test_no_sample_is_judged_by_its_own_label(rng):
    score, label = simulated(rng)
    expected = cross_fitted(score, label)
    for i in range(0, 200, 10):
        flipped = label.copy()
        flipped[i] = 1 - flipped[i]
        probability = cross_fitted(score, flipped)
        assert probability[i] == expected[i]
        assert np.any(probability != expected)


def test_no_sample_is_judged_by_a_label_of_its_group(rng):
    score, label = simulated(rng)
    group = rng.integers(0, 20, 200).astype(str)
    expected = cross_fitted(score, label, group)
    for name in np.unique(group):
        own = group == name
        probability = cross_fitted(score, np.where(own, 1 - label, label), group)
        assert np.array_equal(probability[own], expected[own])


def test_the_order_of_samples_does_not_matter(rng):
    score, label = simulated(rng)
    order = rng.permutation(200)
    assert cross_fitted(score[order], label[order]) == pytest.approx(cross_fitted(score, label)[order])


def test_two_samples_of_a_class_are_enough(rng):
    label = np.r_[np.zeros(20, int), 1, 1]
    for seed in range(20):
        assert np.all(np.isfinite(cross_fitted(rng.normal(size=22), label, seed=seed)))


def test_bad_input_is_refused():
    for call in (
        lambda: cross_fitted([0, 1], [0, 1]),
        lambda: cross_fitted([0, 1, 2, 3], [0, 0, 1, 1], folds=1),
        lambda: cross_fitted([0, 1, 2, 3], [0, 0, 1, 1], group=[0, 0]),
        lambda: cross_fitted([0, 1, 2, 3], [0, 0, 1, 1], group=[0, 1, 2, 2]),
        lambda: Calibration().fit([0, 1], [0, 0]),
    ):
        with pytest.raises(ValueError, match="must"):
            call()
