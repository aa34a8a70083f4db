"""False alarms of the drift tests are as rare as promised, and drift is found."""

import numpy as np
import pytest
from scipy.stats import binom, kstest

from unlikelihood.decisions.drift import Martingale, TwoSample, _online_p_value

EACH = pytest.mark.parametrize("test", [TwoSample, Martingale])


@EACH
def test_false_alarms_are_as_rare_as_promised_even_with_ties(rng, test):
    alarms = {"continuous": 0, "ties": 0}
    for seed in range(200):
        scores = rng.standard_cauchy(200)
        parameters = {"seed": seed} if test is Martingale else {}
        for name, own in (("continuous", scores), ("ties", np.round(scores))):
            alarms[name] += test(rate=0.05, **parameters).test(own[:80], own[80:]).drifted
    assert max(alarms.values()) <= binom.ppf(0.999, 200, 0.05)


def test_without_drift_online_p_values_are_uniform_and_independent(rng):
    scores = np.round(rng.normal(size=1500), 1)
    before = sorted(scores[:500].tolist())
    p = [_online_p_value(before, score, rng.random()) for score in scores[500:].tolist()]
    assert kstest(p, "uniform").pvalue > 0.001
    assert abs(np.corrcoef(p[1:], p[:-1])[0, 1]) < 3.3 / np.sqrt(999)


def test_online_p_values_are_uniform_among_two_as_well(rng):
    p = [_online_p_value(sorted(known), new, rng.random()) for *known, new in rng.normal(size=(2000, 3)).tolist()]
    assert kstest(p, "uniform").pvalue > 0.001


def test_without_drift_the_mean_capital_is_one(rng):
    capital = [10 ** Martingale(seed=seed).test(*rng.normal(size=(2, 20))).evidence[-1] for seed in range(1000)]
    assert np.mean(capital) == pytest.approx(1, abs=4 * np.std(capital) / np.sqrt(1000))


@EACH
@pytest.mark.parametrize(
    ("change", "words"),
    [(lambda s: s - 1, "more anomalous"), (lambda s: s + 1, "less anomalous"), (lambda s: 3 * s, "spread")],
)
def test_drift_is_found_and_said_in_plain_words(rng, test, change, words):
    verdict = test().test(rng.normal(size=300), change(rng.normal(size=300)))
    assert verdict.drifted
    assert verdict.p_value <= 0.01
    assert words in str(verdict)
    assert "calibrate anew" in str(verdict)


def test_the_martingale_says_when(rng):
    new = np.concatenate([rng.normal(size=200), rng.normal(size=200) + 2])
    verdict = Martingale().test(rng.normal(size=500), new)
    assert 200 < verdict.alarm_at < 260
    assert verdict.evidence[verdict.alarm_at - 1] >= 2 > verdict.evidence[verdict.alarm_at - 2]
    assert len(verdict.evidence) == 400
    calm = Martingale().test(rng.normal(size=500), new[:200])
    assert (calm.drifted, calm.alarm_at) == (False, None)
    assert str(calm).startswith("No drift found: the 200 samples")


def test_one_by_one_the_evidence_is_that_of_the_whole_batch(rng):
    known, new = rng.normal(size=(2, 100)).round(1)
    follow = Martingale().follow(known)
    assert [follow(score) for score in new] == Martingale().test(known, new).evidence.tolist()


def test_long_streams_do_not_overflow(rng):
    verdict = Martingale().test(rng.normal(size=2000), rng.normal(size=3000) - 3)
    assert np.isfinite(verdict.evidence).all()
    assert 0 <= verdict.p_value < 1e-12
    assert verdict.exceeding == pytest.approx(0.98, abs=0.02)


@EACH
def test_bad_input_is_refused(test):
    for call in (lambda: test(rate=0), lambda: test().test([], [1.0]), lambda: test().test([1.0], [np.nan])):
        with pytest.raises(ValueError, match=r"must|expected"):
            call()
