"""What intervals promise, and how often they keep it."""

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import binom, binomtest, kstest, norm, ttest_1samp

from unlikelihood.metrics.intervals import Interval, bootstrap, delong, paired_delong, seeds_interval
from unlikelihood.metrics.ranking import auprc, auroc, sensitivity_at_specificity


def simulated(rng, n=60, auc=0.8, ties=False, anomalous=None):
    label = np.repeat([0, 1], [n, anomalous or n])
    score = rng.normal(size=len(label)) + np.sqrt(2) * ndtri(auc) * label
    return label, np.round(score) if ties else score


def brute_force(label, *scores):
    """DeLong et al. (1988), with every pair compared."""
    v10, v01 = [], []
    for score in scores:
        x, y = score[label == 1, None], score[label == 0]
        psi = (x > y) + 0.5 * (x == y)
        v10.append(psi.mean(axis=1))
        v01.append(psi.mean(axis=0))
    covariance = np.cov(v10) / len(v10[0]) + np.cov(v01) / len(v01[0])
    return np.mean(v10, axis=1), np.atleast_2d(covariance)


@pytest.mark.parametrize("anomalous", [15, 60])
@pytest.mark.parametrize("ties", [False, True])
def test_delong_is_what_comparing_every_pair_gives(rng, ties, anomalous):
    label, score = simulated(rng, ties=ties, anomalous=anomalous)
    (area,), ((variance,),) = brute_force(label, score)
    interval = delong(label, score)
    half = norm.ppf(0.975) * np.sqrt(variance) / (area * (1 - area))
    logit = np.log([x / (1 - x) for x in (interval.low, interval.value, interval.high)])
    assert interval.value == pytest.approx(area)
    assert np.diff(logit) == pytest.approx([half, half])


def test_paired_delong_is_what_comparing_every_pair_gives(rng):
    label, a = simulated(rng, ties=True, anomalous=15)
    b = a + rng.normal(size=len(a))
    area, covariance = brute_force(label, a, b)
    difference = paired_delong(label, a, b)
    sigma = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert difference.interval.value == pytest.approx(area[0] - area[1])
    assert difference.interval.high - difference.interval.value == pytest.approx(norm.ppf(0.975) * sigma)
    assert difference.p_value == pytest.approx(2 * norm.sf(abs(area[0] - area[1]) / sigma))


def test_delong_agrees_with_the_bootstrap(rng):
    label, score = simulated(rng, n=200)
    fast, slow = delong(label, score), bootstrap(auroc, label, score, draws=1000)
    assert slow.value == pytest.approx(fast.value)
    assert (slow.low, slow.high) == pytest.approx((fast.low, fast.high), abs=0.012)


@pytest.mark.parametrize("auc", [0.6, 0.8, 0.95])
def test_the_interval_covers_the_truth_as_often_as_it_says(rng, auc):
    intervals = [delong(*simulated(rng, auc=auc)) for _ in range(200)]
    covered = sum(interval.low <= auc <= interval.high for interval in intervals)
    assert binom.ppf(0.0005, 200, 0.95) <= covered <= binom.ppf(0.9995, 200, 0.95)


def test_under_the_null_the_p_value_is_uniform(rng):
    p_values = []
    for _ in range(300):
        label, truth = simulated(rng)
        a, b = truth + rng.normal(size=(2, len(label)))
        p_values.append(paired_delong(label, a, b).p_value)
    assert kstest(p_values, "uniform").pvalue > 0.001


def test_swapping_the_scores_swaps_the_sign(rng):
    label, a = simulated(rng)
    b = rng.normal(size=len(a))
    one, other = paired_delong(label, a, b), paired_delong(label, b, a)
    assert one.interval.value == pytest.approx(-other.interval.value)
    assert one.interval.low == pytest.approx(-other.interval.high)
    assert one.p_value == pytest.approx(other.p_value)
    assert paired_delong(label, a, np.exp(a)).p_value == 1


@pytest.mark.parametrize("score", [range(10), range(10, 0, -1), [3] * 10])
def test_no_interval_is_a_point(score):
    interval = delong([0] * 5 + [1] * 5, score)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert interval.high - interval.low > 0.3


def test_patients_with_many_samples_widen_the_interval(rng):
    label, score = simulated(rng, n=30)
    group = np.arange(60)
    alone = bootstrap(auroc, label, score, draws=400)
    repeated = [np.repeat(part, 10) for part in (label, score, group)]
    naive, grouped = bootstrap(auroc, *repeated[:2], draws=400), bootstrap(auroc, *repeated, draws=400)
    assert grouped.value == pytest.approx(alone.value)
    assert grouped.high - grouped.low == pytest.approx(alone.high - alone.low, rel=0.2)
    assert grouped.high - grouped.low > 2 * (naive.high - naive.low)


def test_every_draw_holds_both_classes_even_where_one_patient_has_all_anomalies(rng):
    label, group = np.array([0, 0, 0, 0, 1, 1]), np.array(list("aabbcc"))
    interval = bootstrap(auroc, label, rng.normal(size=6), group, draws=50)
    assert 0 <= interval.low <= interval.high <= 1
    mixed = bootstrap(auroc, label, rng.normal(size=6), np.array(list("aabccb")), draws=50)
    assert 0 <= mixed.low <= mixed.high <= 1


def test_every_draw_holds_as_many_patients_of_each_kind_as_there_are():
    # Patients 0 to 5 have normals, 6 to 9 anomalies, 10 to 13 one of each; the score says whose a sample is.
    patient, label = np.r_[:14, 10:14], np.r_[np.zeros(6), np.ones(8), np.zeros(4)].astype(int)
    for kind, drawn in ((patient < 6, 6), ((patient >= 6) & (patient < 10), 4), (patient >= 10, 8)):
        interval = bootstrap(
            lambda _, score, own=patient[kind]: np.isin(score, own).sum(), label, patient, patient, draws=50
        )
        assert (interval.low, interval.value, interval.high) == (drawn, drawn, drawn)


def test_the_seed_decides_the_draws(rng):
    label, score = simulated(rng)
    one, same = (bootstrap(auroc, label, score, draws=50, seed=3) for _ in range(2))
    assert one == same
    assert one != bootstrap(auroc, label, score, draws=50, seed=4)


def fits(rng, k, same_test, n=60, spread=0.2):
    """The AUROCs of k fits, whose own quality varies, and what they are on average over all fits and samples."""
    label = np.repeat([0, 1], n)
    areas = []
    shared = rng.normal(size=2 * n)
    for _ in range(k):
        if not same_test:
            shared = rng.normal(size=2 * n)
        shift = np.sqrt(2) * ndtri(0.8) + spread * rng.normal()
        areas.append(delong(label, shift * label + np.sqrt(0.8) * shared + np.sqrt(0.2) * rng.normal(size=2 * n)))
    return areas, norm.cdf(ndtri(0.8) / np.sqrt(1 + spread**2 / 2))


@pytest.mark.parametrize("same_test", [True, False])
@pytest.mark.parametrize("k", [3, 8])
def test_the_interval_of_a_mean_over_seeds_covers_as_often_as_it_says(rng, k, same_test):
    drawn = [fits(rng, k, same_test) for _ in range(200)]
    intervals = [seeds_interval(areas, same_test=same_test) for areas, _ in drawn]
    covered = sum(i.low <= truth <= i.high for i, (_, truth) in zip(intervals, drawn, strict=True))
    assert covered >= 0.92 * 200
    if k == 8:  # and not by being vague
        one = np.mean([area.high - area.low for areas, _ in drawn for area in areas])
        assert np.mean([i.high - i.low for i in intervals]) < (1.3 if same_test else 0.7) * one


def test_of_areas_without_an_interval_that_of_the_mean_is_students():
    areas = [Interval(value, value, value) for value in (0.7, 0.72, 0.77)]
    interval = seeds_interval(areas, same_test=False)
    expected = ttest_1samp([area.value for area in areas], 0).confidence_interval()
    assert (interval.low, interval.high) == pytest.approx(tuple(expected))


def test_seeds_alone_do_not_cover_what_the_test_set_leaves_open(rng):
    drawn = [fits(rng, 8, same_test=True) for _ in range(200)]
    alone = (seeds_interval(areas, same_test=False) for areas, _ in drawn)
    covered = sum(interval.low <= truth <= interval.high for interval, (_, truth) in zip(alone, drawn, strict=True))
    assert covered < 0.8 * 200


def test_a_detector_without_chance_has_the_interval_of_its_test_set(rng):
    area = delong(*simulated(rng))
    for k in (1, 5):
        interval = seeds_interval([area] * k, same_test=True)
        assert (interval.value, interval.low, interval.high) == pytest.approx((area.value, area.low, area.high))
    perfect = delong([0] * 5 + [1] * 5, range(10))
    for same_test in (True, False):
        interval = seeds_interval([perfect] * 5, same_test=same_test)
        assert interval.low < 0.9 < interval.high == interval.value == 1


def test_bad_input_is_refused():
    for call in (
        lambda: delong([0, 1], [0, 1], level=95),
        lambda: delong([0, 0, 1], [0, 1, 2]),
        lambda: bootstrap(auroc, [0, 1], [0, 1], draws=0),
        lambda: bootstrap(auroc, [0, 1], [0, 1], group=[1]),
        lambda: seeds_interval([], same_test=True),
        lambda: seeds_interval([Interval(0.5, 0.4, 0.6), Interval(0.5, 0.4, 0.6, level=0.9)], same_test=True),
    ):
        with pytest.raises(ValueError, match="must"):
            call()


@pytest.mark.parametrize("group", [None, np.arange(40) // 2])
def test_perfect_separation_of_a_few_is_no_certainty_in_the_bootstrap_either(group):
    label = np.repeat([0, 1], 20)
    n = 20 if group is None else 10
    for metric in (auroc, auprc, sensitivity_at_specificity):
        interval = bootstrap(metric, label, label.astype(float), group, draws=50)
        wilson = binomtest(n, n).proportion_ci(method="wilson")
        assert (interval.value, interval.low, interval.high) == pytest.approx((1, wilson.low, 1))
