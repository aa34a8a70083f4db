import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from unlikelihood.decisions.prevalence import at_prevalence
from unlikelihood.decisions.probability import Isotonic, Logistic, VennAbers, cross_fitted
from unlikelihood.metrics.probability import brier, expected_calibration_error

EACH = pytest.mark.parametrize("model", [Logistic(), Isotonic(), VennAbers()], ids=repr)


def simulated(rng, n=100):
    label = rng.permutation(np.repeat([0, 1], n))
    return rng.normal(size=2 * n) - label, label


def test_probabilities_fall_as_the_score_rises_and_sum_to_one(rng):
    score, label = simulated(rng)
    probability = Logistic().fit(score, label).predict_proba(np.sort(score))
    assert np.all(np.diff(probability[:, 1]) < 0)
    assert probability.sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize("scale", [1e-6, 1, 1e6])
@pytest.mark.parametrize("shift", [0, 7])
def test_the_scale_of_the_score_does_not_matter(rng, scale, shift):
    score, label = simulated(rng)
    expected = Logistic().fit(score, label).predict_proba(score)
    scaled = scale * (score + shift)
    assert Logistic().fit(scaled, label).predict_proba(scaled) == pytest.approx(expected, abs=1e-6)


def test_the_regression_finds_the_probability_that_made_the_labels(rng):
    score = rng.normal(size=50_000)
    label = rng.random(50_000) < 1 / (1 + np.exp(2 * score + 1))
    fitted = Logistic().fit(score, label)
    assert fitted.slope_ / fitted.scale_ == pytest.approx(-2, abs=0.06)
    assert expected_calibration_error(label, fitted.predict_proba(score)[:, 1]) < 0.01


def test_separable_and_constant_scores_have_finite_probabilities():
    for score in (np.arange(10.0), np.full(10, 0.1)):
        probability = Logistic().fit(score, [0] * 5 + [1] * 5).predict_proba(score)
        assert np.all((probability > 0) & (probability < 1))


@EACH
def test_a_probability_exists_only_after_labels(rng, model):
    fitted = clone(model).fit(*simulated(rng))
    assert fitted.predict_proba([0.0, 1.0]).shape == (2, 2)
    assert not hasattr(clone(fitted), "predict_proba")
    with pytest.raises(NotFittedError):
        clone(fitted).predict_proba([0.0])


@EACH
def test_probabilities_never_rise_with_the_score_and_are_calibrated(rng, model):
    score, label = simulated(rng, n=1000)
    fitted = clone(model).fit(score, label)
    probability = fitted.predict_proba(np.linspace(-9, 9, 500))
    assert np.all(np.diff(probability[:, 1]) <= 1e-12)
    assert probability.sum(axis=1) == pytest.approx(1)
    new, new_label = simulated(rng, n=5000)
    judged = fitted.predict_proba(new)[:, 1]
    assert expected_calibration_error(new_label, judged) < 0.05
    best = 1 / (1 + np.exp(0.5 + new))
    assert brier(new_label, judged) < brier(new_label, best) + 0.005


def test_a_wave_of_the_true_probability_needs_more_than_a_logistic_regression(rng):
    score = rng.uniform(0, 3, 6000)
    label = rng.random(6000) < (1 - np.floor(score) / 2) * 0.8 + 0.1
    errors = {
        type(each).__name__: expected_calibration_error(label, cross_fitted(score, label, model=each), bins=30)
        for each in (Logistic(), Isotonic(), VennAbers())
    }
    assert max(errors["Isotonic"], errors["VennAbers"]) < errors["Logistic"]


def test_venn_abers_is_isotonic_regression_with_the_sample_itself(rng):
    from sklearn.isotonic import IsotonicRegression

    score, label = rng.normal(size=60).round(1), rng.integers(0, 2, 60)
    label[:2] = 0, 1
    queries = np.concatenate([score[:10], rng.normal(size=20), [-9, 9]])
    pairs = VennAbers().fit(score, label).interval(queries)
    for query, pair in zip(queries, pairs, strict=True):
        for own, p in enumerate(pair):
            curve = IsotonicRegression(increasing=False).fit(np.append(score, query), np.append(label, own))
            assert p == pytest.approx(curve.predict([query])[0])
    assert np.all(pairs[:, 0] <= pairs[:, 1])


def test_one_of_the_venn_abers_pair_is_calibrated(rng):
    said, happened = [], []
    for _ in range(2000):
        score, label = simulated(rng, n=15)
        own = rng.permutation(30)[0]
        rest = np.arange(30) != own
        pair = VennAbers().fit(score[rest], label[rest]).interval(score[[own]])[0]
        said.append(pair[label[own]])  # by the label that the sample turns out to have
        happened.append(label[own])
    said, happened = np.array(said), np.array(happened)
    for low in np.arange(0, 1, 0.25):
        bin_ = (said >= low) & (said < low + 0.25 + 1e-9)
        spread = np.sqrt(0.25 / bin_.sum())
        assert happened[bin_].mean() == pytest.approx(said[bin_].mean(), abs=4 * spread)


def test_another_prevalence_is_bayes_rule(rng):
    score = rng.normal(size=200_000)
    label = rng.random(200_000) < 0.05
    score -= 2 * label
    balanced = np.concatenate([np.flatnonzero(label), np.flatnonzero(~label)[: label.sum()]])
    there = Logistic().fit(score[balanced], label[balanced]).predict_proba(score)[:, 1]
    here = at_prevalence(there, fitted=0.5, deployed=0.05)
    assert expected_calibration_error(label, there) > 0.1
    assert expected_calibration_error(label, here) < 0.01
    assert at_prevalence(here, 0.05, 0.5) == pytest.approx(there)
    assert at_prevalence([0.0, 1.0], 0.5, 0.01).tolist() == [0, 1]
    for arguments in (([0.5], 0, 0.5), ([0.5], 0.5, 1), ([1.5], 0.5, 0.5)):
        with pytest.raises(ValueError, match="must lie"):
            at_prevalence(*arguments)


@EACH
def test_cross_fitting_by_group_keeps_patients_together(rng, model):
    score, label = simulated(rng)
    group = np.arange(200) // 4
    expected = cross_fitted(score, label, group, model=model)
    flipped = label.copy()
    flipped[group == 7] = 1 - flipped[group == 7]
    assert np.array_equal(cross_fitted(score, flipped, group, model=model)[group == 7], expected[group == 7])


@EACH
def test_no_sample_is_judged_by_its_own_label(rng, model):
    score, label = simulated(rng)
    expected = cross_fitted(score, label, model=model)
    for i in range(0, 200, 10):
        flipped = label.copy()
        flipped[i] = 1 - flipped[i]
        probability = cross_fitted(score, flipped, model=model)
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
        lambda: Logistic().fit([0, 1], [0, 0]),
    ):
        with pytest.raises(ValueError, match="must"):
            call()


@EACH
def test_a_score_that_is_no_number_has_no_probability(rng, model):
    fitted = clone(model).fit(*simulated(rng))
    with pytest.raises(ValueError, match=r"nan in 1 of 2 rows \(1\)"):
        fitted.predict_proba([0.0, np.nan])


@pytest.mark.parametrize("exponent", [-1000, 900])
def test_scores_whose_squares_no_float_holds_are_learnt_from_all_the_same(rng, exponent):
    score, label = simulated(rng)
    scaled = np.ldexp(score, exponent)
    expected = Logistic().fit(score, label).predict_proba(score)
    assert np.array_equal(Logistic().fit(scaled, label).predict_proba(scaled), expected)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_score_that_says_nothing_has_no_interval_of_probabilities(rng, value):
    with pytest.raises(ValueError, match="score"):
        VennAbers().fit(*simulated(rng)).interval([0.0, value])
