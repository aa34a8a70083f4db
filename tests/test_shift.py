"""Weighted p-values: what they promise where normals come from elsewhere than the calibration did."""

import numpy as np
import pytest

from tiny import normals, tiny
from unlikelihood import Conformal, Simes, load
from unlikelihood.decisions.pvalues import discoveries, p_values
from unlikelihood.decisions.shift import density_ratio, weighted_discoveries, weighted_p_values

CALIBRATION, NEW, DRAWS = 500, 100, 300


def shifted(rng, anomalies=0):
    """Covariates of calibration and batch; the score falls with the covariate, which is larger in the batch."""
    known, new = rng.normal(0, 1, CALIBRATION), rng.normal(1, 1, NEW)
    scores = [-x + rng.normal(0, 0.5, len(x)) for x in (known, new)]
    scores[1][:anomalies] -= 8
    return (*scores, np.exp(known - 0.5), np.exp(new - 0.5))


def test_equal_weights_are_no_weights(rng):
    for _ in range(50):
        known, new = rng.integers(0, 30, 60), rng.integers(-5, 30, 20)  # with ties
        one, other = np.full(60, 0.3), np.full(20, 0.3)
        assert weighted_p_values(known, new, one, other) == pytest.approx(p_values(known, new))
        called = weighted_discoveries(known, new, one, other, 0.3)
        assert np.array_equal(called, discoveries(p_values(known, new), 0.3))


def test_false_alarms_keep_to_their_rate_under_a_shift_where_those_without_weights_do_not(rng):
    weighted, plain = [], []
    for _ in range(DRAWS):
        known, new, *weights = shifted(rng)
        weighted.append(np.mean(weighted_p_values(known, new, *weights) <= 0.1))
        plain.append(np.mean(p_values(known, new) <= 0.1))
    assert np.mean(weighted) < 0.1 + 3 * np.std(weighted) / np.sqrt(DRAWS)
    assert np.mean(weighted) > 0.05  # not by never calling
    assert np.mean(plain) > 0.2


def test_false_discoveries_keep_to_their_rate_under_a_shift(rng):
    shares, found, plain = [], [], []
    for _ in range(DRAWS):
        known, new, *weights = shifted(rng, anomalies=20)
        called = weighted_discoveries(known, new, *weights, rate=0.2)
        unweighted = discoveries(p_values(known, new), 0.2)
        shares.append(called[20:].sum() / max(1, called.sum()))
        plain.append(unweighted[20:].sum() / max(1, unweighted.sum()))
        found.append(called[:20].mean())
    assert np.mean(shares) < 0.2 + 3 * np.std(shares) / np.sqrt(DRAWS)
    assert np.mean(plain) > 0.25
    assert np.mean(found) > 0.5


def test_the_ratio_is_estimated_from_covariates_alone(rng):
    weight = density_ratio(rng.normal(0, 1, (4000, 2)), rng.normal([1, 0], 1, (4000, 2)))
    x = rng.normal(0.5, 0.5, (200, 2))
    assert np.log(weight(x)) == pytest.approx(x[:, 0] - 0.5, abs=0.3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"calibration": []}, "calibration"),
        ({"calibration": [1, np.nan]}, "calibration"),
        ({"score": [np.nan]}, "score holds nan"),
        ({"known": [1, 0]}, "known holds a weight"),
        ({"new": [np.inf]}, "new holds a weight"),
        ({"known": [1]}, "known has shape"),
        ({"new": [1, 1]}, "new has shape"),
    ],
)
def test_what_cannot_be_weighed_is_refused(changes, words):
    given = {"calibration": [1, 2], "score": [1], "known": [1, 1], "new": [1]} | changes
    for function in (weighted_p_values, weighted_discoveries):
        with pytest.raises(ValueError, match=words):
            function(**given)


def test_a_batch_of_nothing_has_no_discoveries():
    assert weighted_discoveries([1, 2], [], [1, 1], []).shape == (0,)


def ageing(rng, n, age, anomalies=0):
    """Ages and measurements that spread with age, the first of them far off all normals."""
    ages = rng.normal(age, 1, n)
    X = np.exp(ages / 2.5)[:, None] * rng.normal(size=(n, 2))
    X[:anomalies] += 60
    return X, ages


@pytest.fixture(scope="module")
def detector():
    return tiny("KNN").fit(ageing(np.random.default_rng(0), 300, 0)[0])


def ratio(ages):
    return np.exp(ages[:, 0] - 0.5)


@pytest.mark.parametrize("weight", [None, ratio], ids=["estimated", "known"])
def test_around_a_detector_it_holds_false_alarms_to_their_rate_in_one_line(rng, detector, weight):
    weighted, plain = [], []
    for _ in range(100):
        (then, age_then), (now, age_now) = ageing(rng, 400, 0), ageing(rng, 200, 1)
        conformal = Conformal(detector).fit(then, covariate=age_then)
        weighted.append(np.mean(conformal.p_value(now, covariate=age_now, weight=weight) <= 0.1))
        plain.append(np.mean(conformal.p_value(now) <= 0.1))
    assert 0.05 < np.mean(weighted) < 0.1 + 3 * np.std(weighted) / 10
    assert np.mean(plain) > 0.15


def test_around_a_detector_it_holds_false_discoveries_to_their_rate(rng, detector):
    shares, found, plain = [], [], []
    for _ in range(60):
        (then, age_then), (now, age_now) = ageing(rng, 400, 0), ageing(rng, 100, 1, anomalies=20)
        conformal = Conformal(detector).fit(then, covariate=age_then)
        called = conformal.discoveries(now, 0.2, covariate=age_now)
        unweighted = conformal.discoveries(now, 0.2)
        shares.append(called[20:].sum() / max(1, called.sum()))
        plain.append(unweighted[20:].sum() / max(1, unweighted.sum()))
        found.append(called[:20].mean())
    assert np.mean(shares) < 0.2 + 3 * np.std(shares) / np.sqrt(60)
    assert np.mean(plain) > 0.25
    assert np.mean(found) > 0.5


def test_where_nothing_has_changed_it_says_what_it_says_without_covariates(rng, detector):
    (then, age_then), (now, age_now) = ageing(rng, 400, 0), ageing(rng, 100, 0, anomalies=10)
    conformal = Conformal(detector).fit(then, covariate=age_then)
    np.testing.assert_array_equal(conformal.p_value(now), Conformal(detector).fit(then).p_value(now))
    even = {"covariate": age_now, "weight": lambda ages: np.ones(len(ages))}
    np.testing.assert_allclose(conformal.p_value(now, **even), conformal.p_value(now), rtol=1e-12)
    np.testing.assert_array_equal(conformal.discoveries(now, **even), conformal.discoveries(now))
    same = conformal.p_value(now, covariate=rng.choice(age_then, 100))
    assert np.abs(same - conformal.p_value(now)).max() < 0.1


def test_it_knows_no_order_and_no_unit_of_covariates(rng, detector, tmp_path):
    (then, age_then), (now, age_now) = ageing(rng, 200, 0), ageing(rng, 50, 1)
    expected = Conformal(detector).fit(then, covariate=age_then).p_value(now, covariate=age_now)
    calibrating, judged = rng.permutation(200), rng.permutation(50)
    conformal = Conformal(detector).fit(then[calibrating], covariate=12 * age_then[calibrating] + 600)
    p_value = conformal.p_value(now[judged], covariate=12 * age_now[judged] + 600)
    np.testing.assert_allclose(p_value, expected[judged], rtol=1e-4)
    loaded = load(conformal.save(tmp_path / "model"))
    np.testing.assert_array_equal(loaded.p_value(now[judged], covariate=12 * age_now[judged] + 600), p_value)


def test_the_covariates_of_what_is_held_out_go_with_it(rng):
    X, age = ageing(rng, 90, 0)
    conformal = Conformal(tiny("KNN")).fit(X, covariate=age)
    known = dict(zip(conformal.detector_.score_samples(X), age, strict=True))
    assert conformal.covariate_[:, 0].tolist() == [known[score] for score in conformal.calibration_]
    assert not hasattr(conformal.calibrate(ageing(rng, 50, 0)[0]), "covariate_")


@pytest.mark.parametrize(
    ("fitted", "given", "words"),
    [
        ({}, {"covariate": np.ones(9)}, "fit was given none"),
        ({"covariate": np.arange(40)}, {"covariate": np.ones(8)}, r"shape \(8,\), expected \(9,\)"),
        ({"covariate": np.arange(40)}, {"covariate": np.ones((9, 2))}, "2 columns, expected 1"),
        ({"covariate": np.arange(40)}, {"covariate": np.full(9, np.nan)}, "not finite"),
        ({"covariate": np.arange(40)}, {"weight": np.ravel}, "covariate is None"),
        ({"covariate": np.arange(40), "guarantee": Simes()}, {"covariate": np.ones(9)}, r"expected Marginal\(\)"),
    ],
)
def test_covariates_that_do_not_fit_are_refused(fitted, given, words):
    guarantee = {key: value for key, value in fitted.items() if key == "guarantee"}
    of_fit = {key: value for key, value in fitted.items() if key == "covariate"}
    conformal = Conformal(tiny("KNN").fit(normals((6,))), alpha=0.2, **guarantee).fit(normals((6,), seed=1), **of_fit)
    for decide in (conformal.p_value, conformal.discoveries):
        with pytest.raises(ValueError, match=words):
            decide(normals((6,), n=9, seed=2), **given)


def test_kinds_and_covariates_are_not_mixed():
    detector, X = tiny("KNN").fit(normals((6,))), normals((6,), seed=1)
    with pytest.raises(ValueError, match="kind is given with a covariate"):
        Conformal(detector, alpha=0.2).fit(X, kind=np.zeros(40), covariate=np.zeros(40))
    conformal = Conformal(detector, alpha=0.2).fit(X, covariate=np.arange(40))
    with pytest.raises(ValueError, match="kind is given with a covariate"):
        conformal.p_value(X, kind=np.zeros(40), covariate=np.arange(40))
