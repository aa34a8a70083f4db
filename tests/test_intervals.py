import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import binom, kstest, norm

from unlikelihood.metrics.intervals import bootstrap, delong, paired_delong
from unlikelihood.metrics.ranking import auroc


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


@pytest.mark.parametrize("anomalous", [9, 200])
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
    label, a = simulated(rng, ties=True, anomalous=9)
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
    # Patient 1 has normals only, 2 and 3 have both, 4 to 6 anomalies only; the number of a sample is its patient.
    patients, label = np.array([1, 1, 2, 2, 3, 3, 4, 5, 6]), np.array([0, 0, 0, 1, 0, 1, 1, 1, 1])
    seen = []

    def looking(labels, scores):
        seen.append(scores)
        return 0.5

    bootstrap(looking, label, patients, patients, draws=100)
    for drawn in seen:
        times = np.bincount(drawn.astype(int), minlength=7) / np.bincount(patients, minlength=7).clip(1)
        assert (times[1], times[2:4].sum(), times[4:].sum()) == (1, 2, 3)
    assert len({drawn.tobytes() for drawn in seen}) > 20


def test_the_seed_decides_the_draws(rng):
    label, score = simulated(rng)
    one, same = (bootstrap(auroc, label, score, draws=50, seed=3) for _ in range(2))
    assert one == same
    assert one != bootstrap(auroc, label, score, draws=50, seed=4)


def test_bad_input_is_refused():
    for call in (
        lambda: delong([0, 1], [0, 1], level=95),
        lambda: delong([0, 0, 1], [0, 1, 2]),
        lambda: bootstrap(auroc, [0, 1], [0, 1], draws=0),
        lambda: bootstrap(auroc, [0, 1], [0, 1], group=[1]),
    ):
        with pytest.raises(ValueError, match="must"):
            call()
