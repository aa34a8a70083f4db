"""What `Conformal` promises, counted."""

import numpy as np
import pytest
import torch
from scipy.stats import beta, betabinom, binom, kstest
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import LocalOutlierFactor
from sklearn.svm import OneClassSVM
from sklearn.utils.estimator_checks import check_estimator

from tiny import normals, tiny
from unlikelihood import Conformal, Marginal, MonteCarlo, PCAResidual, Simes, load
from unlikelihood.data.mnist import MNIST
from unlikelihood.decisions.guarantees import _simulated_level
from unlikelihood.decisions.pvalues import discoveries, p_values
from unlikelihood.storage.identity import seen, unseen

GUARANTEES = [Marginal(), Simes(0.1), MonteCarlo(0.1, draws=500)]
TRAIN, HELD_OUT, NEW = (normals((6,), n=n, seed=seed) for seed, n in enumerate((60, 99, 50)))


def test_the_p_value_is_the_formula(rng):
    known, score = rng.normal(size=50).round(1), rng.normal(size=30).round(1)
    expected = [(1 + sum(k <= s for k in known)) / 51 for s in score]
    assert p_values(known, score) == pytest.approx(expected)


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1])
def test_false_alarms_lie_within_their_binomial_limits_over_200_draws(rng, alpha):
    n, new, draws = 199, 100, 200
    alarms = [
        int(np.sum(p_values(scores[:n], scores[n:]) <= alpha)) for scores in rng.standard_cauchy((draws, n + new))
    ]
    k = round(alpha * (n + 1))
    # New normals of one draw share its calibration, so their alarms are beta-binomial and not binomial.
    deviation = np.sqrt(betabinom.var(new, k, n + 1 - k) * draws)
    assert sum(alarms) == pytest.approx(alpha * new * draws, abs=3.3 * deviation)
    firsts = [p_values(scores[:n], scores[n : n + 1])[0] <= alpha for scores in rng.standard_cauchy((draws, n + 1))]
    low, high = binom.ppf([0.0005, 0.9995], draws, alpha)
    assert low <= sum(firsts) <= high


@pytest.mark.parametrize("guarantee", GUARANTEES[1:], ids=repr)
@pytest.mark.parametrize("n", [20, 150])
def test_a_calibration_conditional_bound_holds_for_nearly_every_calibration_set(rng, guarantee, n):
    ladder = guarantee(n)
    # With uniform scores, the false-alarm rate of the threshold at the k-th of n is that order statistic itself.
    kept = [np.all(np.sort(rng.random(n)) <= ladder[:-1]) for _ in range(1000)]
    assert sum(kept) >= binom.ppf(0.001, 1000, 0.9)
    assert sum(kept) <= binom.ppf(0.999, 1000, 0.96)  # and it is not merely careful


@pytest.mark.parametrize("guarantee", GUARANTEES, ids=repr)
@pytest.mark.parametrize("n", [1, 2, 19, 500])
def test_a_ladder_climbs_to_one_and_is_never_below_the_marginal_one(guarantee, n):
    ladder = guarantee(n)
    assert ladder.shape == (n + 1,)
    assert np.all(np.diff(ladder) >= 0)
    assert ladder[-1] == 1
    if guarantee == Simes(0.1):
        assert np.all(ladder >= Marginal()(n) - 1e-9)


def test_the_simulated_bound_lets_more_be_called_where_alpha_is_not_tiny():
    simulated, simes = MonteCarlo(0.1)(500), Simes(0.1)(500)
    assert simulated[0] == pytest.approx(simes[0], rel=0.1)
    for alpha in (0.15, 0.2, 0.3):
        assert np.sum(simulated <= alpha) > np.sum(simes <= alpha)


def test_a_simulated_bound_follows_from_its_seed():
    ladders = []
    for seed in (0, 0, 1):
        _simulated_level.cache_clear()
        ladders.append(MonteCarlo(0.1, draws=200, seed=seed)(30).tolist())
    assert ladders[0] == ladders[1] != ladders[2]


def test_p_values_of_normals_are_uniform_and_scores_may_be_of_any_scale(rng):
    p = [p_values(scores[:99], scores[99:])[0] for scores in rng.normal(size=(400, 100))]
    assert kstest(np.array(p) - rng.random(400) / 100, "uniform").pvalue > 0.001
    known, score = rng.normal(size=(2, 50))
    assert np.array_equal(p_values(known, score), p_values(np.exp(known), np.exp(score)))


def test_benjamini_hochberg_holds_the_false_discovery_rate(rng):
    wrong, found = [], []
    for scores in rng.normal(size=(300, 500 + 200)):
        scores[680:] -= 4  # of 200 in the batch, 20 are anomalous
        called = discoveries(p_values(scores[:500], scores[500:]), rate=0.1)
        wrong.append(np.sum(called[:180]) / max(called.sum(), 1))
        found.append(called[180:].mean())
    assert np.mean(wrong) <= 0.1 + 3 * np.std(wrong) / np.sqrt(300)
    assert np.mean(found) > 0.5


def test_benjamini_hochberg_calls_the_k_smallest_also_where_rounding_would_decide(rng):
    for m in (1, 7, 60):
        p = rng.random(m) ** 3
        passing = [k for k in range(1, m + 1) if np.sort(p)[k - 1] <= 0.1 * k / m]
        assert discoveries(p, 0.1).sum() == max(passing, default=0)
        for k in range(1, m + 1):
            assert discoveries(np.where(np.arange(m) < k, 0.1 * k / m, 1.0), 0.1).sum() == k
    assert not discoveries(np.ones(5)).any()
    assert discoveries([]).shape == (0,)


@pytest.mark.parametrize("guarantee", GUARANTEES, ids=repr)
def test_a_sample_is_called_anomalous_where_its_p_value_is_at_most_alpha(guarantee):
    conformal = Conformal(tiny("KNN").fit(TRAIN), alpha=0.2, guarantee=guarantee).fit(HELD_OUT)
    X = np.concatenate([NEW, NEW + 0.2, HELD_OUT])
    assert np.array_equal(conformal.predict(X) == -1, conformal.p_value(X) <= 0.2)
    assert np.array_equal(conformal.decision_function(X), conformal.score_samples(X) - conformal.offset_)


def test_a_fitted_detector_is_neither_copied_nor_fitted_again():
    detector = tiny("KNN").fit(TRAIN)
    conformal = Conformal(detector, alpha=0.2).fit(HELD_OUT)
    assert conformal.detector_ is detector
    assert len(conformal.calibration_) == len(HELD_OUT)
    np.testing.assert_array_equal(conformal.score_samples(NEW), detector.score_samples(NEW))


def test_calibrating_anew_changes_the_threshold_and_not_the_detector():
    conformal = Conformal(tiny("KNN"), alpha=0.2).fit(TRAIN)
    detector, offset = conformal.detector_, conformal.offset_
    conformal.calibrate(HELD_OUT)
    expected = Conformal(detector, alpha=0.2).fit(HELD_OUT)
    assert conformal.detector_ is detector
    assert conformal.offset_ == expected.offset_ != offset
    np.testing.assert_array_equal(conformal.p_value(NEW), expected.p_value(NEW))


def test_an_unfitted_detector_is_fitted_on_one_part_and_calibrated_on_the_other():
    group = np.arange(60) // 3
    conformal = Conformal(tiny("KNN"), alpha=0.2, held_out=0.25).fit(TRAIN, group=group)
    fitted = np.isin(TRAIN[:, 0], conformal.detector_.train_[:, 0])
    assert len(conformal.calibration_) == 15
    assert not set(group[fitted]) & set(group[~fitted])
    assert not hasattr(conformal.detector, "shape_")


def test_what_training_saw_is_refused_inside_wrappers_and_after_loading_too(tmp_path):
    detector = tiny("KNN").fit(TRAIN)
    mixed = np.concatenate([HELD_OUT, TRAIN[:2].astype(np.float64)])
    for fitted in (detector, load(detector.save(tmp_path / "model")), Conformal(detector, alpha=0.2).fit(HELD_OUT)):
        with pytest.raises(ValueError, match=r"2 of 101 samples that .* was fitted to \(rows 99, 100\)"):
            Conformal(fitted, alpha=0.2).fit(mixed)
        with pytest.raises(ValueError, match="2 of 101 samples"):
            fitted.calibrate(mixed)


@pytest.mark.parametrize("guarantee", GUARANTEES, ids=repr)
def test_parameters_that_are_set_after_the_fit_count(guarantee):
    conformal = Conformal(tiny("KNN").fit(TRAIN), alpha=0.3).fit(HELD_OUT)
    conformal.set_params(alpha=0.1, guarantee=guarantee)
    expected = Conformal(conformal.detector_, alpha=0.1, guarantee=guarantee).fit(HELD_OUT)
    assert conformal.offset_ == expected.offset_
    np.testing.assert_array_equal(conformal.predict(NEW), expected.predict(NEW))
    with pytest.raises(ValueError, match=r"alpha is 0\.001, expected at least"):
        conformal.set_params(alpha=0.001).predict(NEW)
    with pytest.raises(ValueError, match=r"alpha is 2.* expected"):
        conformal.set_params(alpha=2).predict(NEW)


class Foreign(OutlierMixin, BaseEstimator):
    """Scores by the first feature, and 9 by whatever is odd."""

    odd = 9.0

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def score_samples(self, X):
        return np.where(X[:, 0] == 9, self.odd, X[:, 0])


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_a_score_that_is_no_number_is_no_decision_of_normal(odd):
    detector = Foreign().fit(TRAIN)
    conformal = Conformal(detector, alpha=0.2).fit(HELD_OUT)
    detector.odd = odd
    X = NEW.copy()
    X[[3, 7], 0] = 9
    for decide in (conformal.predict, conformal.p_value, conformal.decision_function, conformal.discoveries):
        with pytest.raises(ValueError, match=rf"{odd} in 2 of 50 rows \(3, 7\)"):
            decide(X)
    with pytest.raises(ValueError, match=rf"{odd} in 1 of 2 rows \(1\)"):
        p_values([1.0, 2.0], [0.0, odd])


def test_a_score_of_minus_infinity_is_anomalous_and_calibrates_nothing():
    detector = Foreign().fit(TRAIN)
    conformal = Conformal(detector, alpha=0.2).fit(HELD_OUT)
    detector.odd = -np.inf
    X = np.concatenate([NEW, np.full_like(NEW[:1], 9)])
    assert conformal.predict(X)[-1] == -1
    assert conformal.p_value(X)[-1] == 1 / 100
    with pytest.raises(ValueError, match="1 normals whose score is not finite, the first in row 50"):
        Conformal(detector, alpha=0.2).fit(X)


def records(rng, n):
    """Rows of a table whose frequent records repeat: most new ones equal an old one."""
    frequency = 1 / np.arange(1, 401) ** 1.3
    return rng.choice(400, n, p=frequency / frequency.sum())[:, None] * np.ones((1, 3))


def test_new_records_that_repeat_old_ones_calibrate_and_the_promise_holds(rng):
    alarms, of_the_others = [], []
    for _ in range(20):
        detector = tiny("KNN").fit(records(rng, 300))
        held_out = records(rng, 200)
        known = np.isin(held_out[:, 0], detector.train_[:, 0])
        assert 0.5 < known.mean() < 0.95
        assert not seen(detector, held_out).any()
        assert unseen(detector, held_out) is held_out
        conformal = Conformal(detector, alpha=0.1).fit(held_out)
        new = records(rng, 500)
        alarms.append(np.mean(conformal.predict(new) == -1))
        of_the_others.append(np.mean(Conformal(detector, alpha=0.1).fit(held_out[~known]).predict(new) == -1))
    assert np.mean(alarms) == pytest.approx(0.1, abs=0.03)
    assert np.mean(of_the_others) < 0.05  # what leaving out the known ones would do


def test_the_training_records_themselves_are_refused_though_records_repeat(rng):
    train = records(rng, 300)
    detector = tiny("KNN").fit(train)
    with pytest.raises(ValueError, match="300 of 300 samples that KNN was fitted to"):
        Conformal(detector).fit(train)
    with pytest.raises(ValueError, match="samples that KNN was fitted to"):
        detector.calibrate(np.concatenate([train[:150], records(rng, 50)]))


@pytest.mark.parametrize(("copies", "trained_on"), [(0, 5), (1, 10)])  # public data hold some images twice
def test_a_few_of_a_hundred_images_that_were_trained_on_are_refused(copies, trained_on):
    train, held_out = normals((1, 8, 8), n=300), normals((1, 8, 8), n=100 - trained_on, seed=1)
    detector = tiny("KNN").fit(np.concatenate([train, train[:copies]]))
    mixed = np.concatenate([held_out, train[10 : 10 + trained_on]])
    with pytest.raises(ValueError, match=f"{trained_on} of 100 samples that KNN was fitted to"):
        Conformal(detector).fit(mixed)
    np.testing.assert_array_equal(unseen(detector, mixed), held_out)


@pytest.mark.parametrize("container", [list, torch.from_numpy])
def test_calibration_takes_what_scoring_takes(container):
    known, held_out = (np.random.default_rng(seed).random((40, 3)) for seed in (0, 1))
    expected = tiny("KNN").fit(known).calibrate(held_out).calibration_
    assert np.array_equal(tiny("KNN").fit(known).calibrate(container(held_out)).calibration_, expected)
    conformal = Conformal(tiny("KNN").fit(known)).fit(held_out[:20])
    assert np.array_equal(conformal.calibrate(container(held_out)).calibration_, expected)
    with pytest.raises(ValueError, match="was fitted to"):
        tiny("KNN").fit(known).calibrate(container(known))


def test_it_counts_what_its_detector_was_fitted_to(rng):
    X, others = rng.normal(size=(100, 3)), rng.normal(size=(30, 3))
    assert Conformal(tiny("KNN"), held_out=0.3).fit(X).n_samples_ == 70
    assert Conformal(tiny("KNN").fit(X)).fit(others).n_samples_ == 100
    assert Conformal(tiny("KNN").fit(X).calibrate(others)).fit().n_samples_ == 100
    assert not hasattr(Conformal(IsolationForest(random_state=0).fit(X)).fit(others), "n_samples_")


def test_kinds_and_scores_of_another_length_are_refused(rng):
    conformal = Conformal(PCAResidual(1), alpha=0.2).fit(rng.normal(size=(100, 3)), kind=np.repeat(["a", "b"], 50))
    for kind in (["a"], ["a", "b", "a"]):
        with pytest.raises(ValueError, match="kind has shape"):
            conformal.p_value(rng.normal(size=(2, 3)), kind=kind)

    class Short(OutlierMixin, BaseEstimator):
        def fit(self, X, y=None):
            return self

        def score_samples(self, X):
            return np.zeros(len(X) - 1)

    with pytest.raises(ValueError, match="scores of shape"):
        Conformal(Short()).fit(rng.normal(size=(100, 3)))


@pytest.mark.parametrize("shape", [(6,), (1, 8, 8), (1, 8, 8, 8)])
def test_a_detector_remembers_its_calibration_in_its_file(tmp_path, shape):
    train, held_out, new = (normals(shape, n=40, seed=seed) for seed in range(3))
    detector = tiny("PCAResidual").fit(train).calibrate(held_out)
    expected = Conformal(detector, alpha=0.1).fit(held_out).p_value(new)
    recalled = Conformal(load(detector.save(tmp_path / "model")), alpha=0.1).fit()
    np.testing.assert_array_equal(recalled.p_value(new), expected)
    assert not hasattr(detector.fit(train), "calibration_")
    with pytest.raises(ValueError, match="remembers no calibration"):
        Conformal(detector).fit()


@pytest.mark.parametrize("fitted", [False, True])
def test_it_survives_its_file(tmp_path, fitted):
    detector = tiny("VAE").fit(TRAIN) if fitted else tiny("VAE")
    kind = np.array(["child", "adult"])[np.arange(99) % 2]
    conformal = Conformal(detector, alpha=0.4, guarantee=Simes(0.2)).fit(HELD_OUT, kind=kind)
    loaded = load(conformal.save(tmp_path / "model"), device="cpu")
    np.testing.assert_array_equal(loaded.p_value(NEW), conformal.p_value(NEW))
    np.testing.assert_array_equal(loaded.p_value(NEW, kind=["adult"] * 50), conformal.p_value(NEW, kind=["adult"] * 50))
    assert (loaded.offset_, loaded.guarantee) == (conformal.offset_, Simes(0.2))
    assert (loaded.detector_ is loaded.detector) == fitted


def test_a_foreign_detector_cannot_be_saved(tmp_path):
    with pytest.raises(ValueError, match="IsolationForest, expected one of this package"):
        Conformal(IsolationForest(), alpha=0.2).fit(TRAIN).save(tmp_path / "model")


@pytest.mark.parametrize(
    "detector",
    [
        IsolationForest(random_state=0),
        OneClassSVM(),
        LocalOutlierFactor(novelty=True),
        EllipticEnvelope(random_state=0),
    ],
    ids=lambda detector: type(detector).__name__,
)
def test_any_outlier_detector_of_scikit_learn_can_be_decided_for(rng, detector):
    X, new = rng.normal(size=(400, 3)), rng.normal(size=(2000, 3))
    conformal = Conformal(detector, alpha=0.1).fit(X)
    n = len(conformal.calibration_)
    k = int(0.1 * (n + 1))
    low, high = beta.ppf([0.0005, 0.9995], k, n + 1 - k)
    assert low - 0.02 <= np.mean(conformal.predict(new) == -1) <= high + 0.02
    assert np.all(conformal.predict(np.concatenate([X, new + 9]))[400:] == -1)


def test_the_bound_holds_within_each_kind_of_normals(rng):
    def draw(n):
        kind = rng.random(n) < 0.2
        return np.where(kind[:, None], 3.0, 1.0) * rng.normal(size=(n, 2)), np.where(kind, "rare", "usual")

    detector = EllipticEnvelope(random_state=0).fit(rng.normal(size=(200, 2)))
    alarms = {"pooled": [], "by kind": [], "kind known": []}
    for _ in range(40):
        (X, kind), (new, new_kind) = draw(600), draw(400)
        rare = new_kind == "rare"
        pooled, by_kind = Conformal(detector, alpha=0.1).fit(X), Conformal(detector, alpha=0.1).fit(X, kind=kind)
        alarms["pooled"].append(np.mean(pooled.predict(new)[rare] == -1))
        alarms["by kind"].append(np.mean(by_kind.predict(new)[rare] == -1))
        alarms["kind known"].append(np.mean(by_kind.p_value(new, kind=new_kind)[~rare] <= 0.1))
        assert np.array_equal(by_kind.predict(new) == -1, by_kind.p_value(new) <= 0.1)
    assert np.mean(alarms["pooled"]) > 0.3  # the rare kind pays for the usual one
    assert np.mean(alarms["by kind"]) == pytest.approx(0.1, abs=0.03)
    assert np.mean(alarms["kind known"]) == pytest.approx(0.1, abs=0.03)


def test_alpha_that_the_calibration_cannot_support_is_refused_before_anything_is_fitted():
    class Untouched(IsolationForest):
        def fit(self, X, y=None):
            pytest.fail("it was fitted")

    with pytest.raises(ValueError, match=r"alpha is 0\.01, expected at least 0\.05263: with n_samples=18 normals"):
        Conformal(Untouched(), alpha=0.01).fit(TRAIN)
    with pytest.raises(ValueError, match=r"alpha is 0\.009, expected at least 0\.01"):
        Conformal(tiny("KNN").fit(TRAIN), alpha=0.009).fit(HELD_OUT)
    with pytest.raises(ValueError, match=r"alpha is 0\.04, expected at least"):
        Conformal(tiny("KNN").fit(TRAIN), alpha=0.04).fit(HELD_OUT, kind=np.arange(99) % 5)


def test_bad_input_is_refused():
    fitted = Conformal(tiny("KNN").fit(TRAIN), alpha=0.2).fit(HELD_OUT)
    for call in (
        lambda: Conformal(tiny("KNN"), alpha=1.0).fit(TRAIN),
        lambda: Conformal(tiny("KNN"), guarantee="marginal").fit(TRAIN),
        lambda: Conformal(object()).fit(TRAIN),
        lambda: Conformal(tiny("KNN"), alpha=0.3).fit(TRAIN, group=[1, 2]),
        lambda: Conformal(tiny("KNN"), alpha=0.3).fit(TRAIN, group=[1] * 60),
        lambda: fitted.p_value(NEW, kind=["a"] * 50),
        lambda: Simes(delta=0),
        lambda: MonteCarlo(delta=0.01, draws=50)(10),
    ):
        with pytest.raises(ValueError, match="expected"):
            call()
    with pytest.raises(ValueError, match="calibration must"):
        p_values([], [1.0])
    with pytest.raises(ValueError, match="rate must"):
        discoveries([0.1], rate=1)
    with pytest.raises(NotFittedError):
        Conformal(tiny("KNN")).predict(NEW)


@pytest.mark.parametrize("detector", [IsolationForest(n_estimators=5, random_state=0), tiny("KNN")])
def test_scikit_learns_own_checks_pass_and_none_is_declared_to_fail(detector):
    results = check_estimator(Conformal(detector, alpha=0.5), on_skip=None)
    assert {result["check_name"] for result in results if result["expected_to_fail"]} == set()
    skipped = {result["check_name"] for result in results if result["status"] == "skipped"}
    assert skipped <= {
        "check_array_api_input",  # scikit-learn runs it where SCIPY_ARRAY_API is set
        "check_classifier_data_not_an_array",  # and this where pandas is installed
        "check_parameters_default_constructible",  # there is no detector to decide for by default
    }


def test_false_alarms_on_digits_are_what_was_promised(mnist_path):
    # All from one file: its test file is by other writers, and there the promise need not hold.
    images = MNIST(path=mnist_path, anomalous=(9,)).read()
    normal = np.flatnonzero(np.char.startswith(images.name, "train/") & (images.label == 0))
    splits, n, new, alarms = 5, 499, 500, {0.01: 0, 0.05: 0, 0.1: 0}
    for seed in range(splits):
        dealt = np.random.default_rng(seed).permutation(normal)[: 2000 + n + new]
        train, held_out, fresh = (images.pixels[part] for part in np.split(dealt, [2000, 2000 + n]))
        p = Conformal(PCAResidual().fit(train)).fit(held_out).p_value(fresh)
        for alpha in alarms:
            alarms[alpha] += int(np.sum(p <= alpha))
    for alpha, count in alarms.items():
        k = round(alpha * (n + 1))
        deviation = np.sqrt(splits * betabinom.var(new, k, n + 1 - k))
        assert count == pytest.approx(splits * alpha * new, abs=3.3 * deviation)
