"""A committee of detectors, and the combination of p-values."""

import json

import numpy as np
import pytest
from scipy import stats
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from tiny import normals, tiny
from unlikelihood import KNN, Cauchy, Committee, Fisher, HarmonicMean, IsolationForest, PCAResidual, load
from unlikelihood.cli.main import main
from unlikelihood.decisions.combinations import Tail
from unlikelihood.decisions.pvalues import p_values

COMBINATIONS = [Fisher(), HarmonicMean(), Cauchy()]
X, NEW = normals((6,), n=120), np.concatenate([normals((6,), n=40, seed=1), normals((6,), n=10, seed=2) + 9])


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_the_order_of_members_does_not_matter(combination):
    members = [KNN(), PCAResidual(2), IsolationForest(n_estimators=5)]
    one, other = (Committee(some, combination).fit(X).score_samples(NEW) for some in (members, members[::-1]))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_a_committee_of_one_ranks_like_its_member_also_beyond_all_normals(combination):
    fitted = Committee([KNN()], combination).fit(X)
    far = np.concatenate([NEW, NEW[:1] + 1e3 * np.arange(1, 9)[:, None]])
    alone = fitted.detectors_[0].score_samples(far)
    np.testing.assert_array_equal(rankdata(fitted.score_samples(far)), rankdata(alone))


@pytest.mark.parametrize("combination", [HarmonicMean(), Cauchy()])
def test_detectors_that_agree_entirely_leave_the_p_value_as_it_is(combination):
    log_p = np.log([0.999, 0.7, 0.3, 1e-3, 1e-8, 2e-9, 1e-11, 1e-300])
    log_p = np.append(log_p, -5000.0)
    np.testing.assert_allclose(combination(np.stack([log_p] * 4, 1)), log_p, rtol=1e-9)


@pytest.mark.parametrize("combination", [Fisher(), Cauchy()])
def test_independent_uniform_p_values_combine_to_a_uniform_one(combination, rng):
    combined = np.exp(combination(np.log(rng.random((4000, 3)))))
    assert stats.kstest(combined, "uniform").pvalue > 0.01


def test_the_combinations_are_those_of_scipy(rng):
    p = rng.random((20, 3))
    fisher = [stats.combine_pvalues(row, "fisher").pvalue for row in p]
    np.testing.assert_allclose(np.exp(Fisher()(np.log(p))), fisher)
    np.testing.assert_allclose(np.exp(HarmonicMean()(np.log(p))), stats.hmean(p, axis=1))
    np.testing.assert_allclose(np.exp(Cauchy()(np.log(p))), stats.cauchy.sf(np.tan(np.pi * (0.5 - p)).mean(1)))


def test_a_tail_is_within_a_step_of_the_conformal_p_value_and_never_still(rng):
    calibration = rng.normal(size=99)
    score = np.linspace(calibration.min() - 50, calibration.max() + 5, 5000)
    log_p = Tail(calibration)(score)
    assert (np.diff(log_p) > 0).all()
    assert (log_p < 0).all()
    distance = p_values(calibration, score) - np.exp(log_p)
    assert (distance >= 0).all()
    assert (distance <= 1 / 100 + 1e-12).all()


def test_the_tail_of_exponential_scores_is_theirs(rng):
    tail = Tail(-rng.exponential(3.0, size=20000))
    np.testing.assert_allclose(tail(np.array([-3.0, -12.0, -60.0])), [-1, -4, -20], rtol=0.15)


@pytest.mark.parametrize("calibration", [[2.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
def test_equal_calibration_scores_still_give_a_ranking(calibration):
    log_p = Tail(np.array(calibration))(np.array([-4.0, -3.0, 0.5, 4.0]))
    assert (np.diff(log_p) > 0).all()
    assert np.isfinite(log_p).all()


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_a_score_of_minus_infinity_is_the_most_anomalous_and_one_that_is_no_number_raises(combination, rng):
    tail = Tail(rng.normal(size=50))
    log_p = combination(np.stack([tail(np.array([-np.inf, -1e6, 0.0])), tail(np.zeros(3))], axis=1))
    assert np.isfinite(log_p).all()
    assert (np.diff(log_p) > 0).all()
    for odd in (np.nan, np.inf):
        with pytest.raises(ValueError, match=f"{odd} in 1 of 2 rows"):
            tail(np.array([0.0, odd]))


def test_two_that_see_different_things_are_better_than_each(rng):
    normal = rng.normal(size=(600, 4)) * [1, 1, 0.01, 1]
    odd = rng.normal(size=(300, 4)) * [1, 1, 0.01, 1]
    odd[:150, 2] += 0.06  # invisible to distances
    odd[150:, :2] *= 5  # within the principal subspace
    test, label = np.concatenate([normal[400:], odd]), np.repeat([0, 1], [200, 300])
    members = [KNN(), PCAResidual(3)]
    fitted = Committee(members).fit(normal[:400])
    scores = [fitted, *fitted.detectors_]
    both, *alone = (roc_auc_score(label, -detector.score_samples(test)) for detector in scores)
    assert both > max(alone) + 0.05


def test_fitted_members_are_used_as_they_are_and_must_not_have_seen_the_held_out(tmp_path):
    knn, pca = KNN().fit(X[:60]), PCAResidual(2).fit(X[:60])
    with pytest.raises(ValueError, match="that KNN was fitted to"):
        Committee([knn, pca]).fit(X[:60])
    fitted = Committee([knn, pca]).fit(X[60:])
    assert fitted.detectors_ == (knn, pca)
    assert fitted.held_out_scores_.shape == (2, 60)
    loaded = load(fitted.save(tmp_path / "model"))
    np.testing.assert_array_equal(loaded.score_samples(NEW), fitted.score_samples(NEW))
    assert loaded.detectors[0] is loaded.detectors_[0]


def test_members_are_fitted_to_what_is_not_held_out():
    fitted = Committee([KNN()], held_out=0.25, seed=3).fit(X)
    (member,) = fitted.detectors_
    held_out = X[~np.isin(X[:, 0], member.train_[:, 0])]
    assert (len(member.train_), len(held_out)) == (90, 30)
    np.testing.assert_array_equal(fitted.held_out_scores_, [np.sort(member.score_samples(held_out))])


@pytest.mark.parametrize("members", [[], [KNN(), 3], KNN()])
def test_what_is_no_list_of_detectors_is_refused(members):
    with pytest.raises(ValueError, match=r"detectors is .* expected a list of at least one Detector"):
        Committee(members).fit(X)


def test_the_command_line_takes_a_list_of_members(tmp_path):
    members = [{"class_path": "KNN"}, {"class_path": "PCAResidual", "init_args": {"n_components": 3}}]
    option = ["--detector", "Committee", "--detector.detectors", json.dumps(members)]
    assert main(["fit", "--data", "Digits", *option, "--out", str(tmp_path / "model")]) == 0
    assert load(tmp_path / "model").detectors[1].n_components == 3


@pytest.mark.parametrize("calibration", [[], [0.0, np.nan], [0.0, np.inf], [0.0, -np.inf]])
def test_a_calibration_that_is_not_finite_has_no_tail(calibration):
    with pytest.raises(ValueError, match="calibration must hold"):
        Tail(np.array(calibration))


def test_members_that_workers_fit_are_the_same_to_the_bit(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    shape = (1, 8, 8)
    members = [tiny("VAE"), KNN(), tiny("Contrastive")]
    one, two = (Committee(members, workers=workers).fit(normals(shape)) for workers in (1, 2))
    for alone, apart in zip(one.detectors_, two.detectors_, strict=True):
        known = alone.state()
        assert apart.state().keys() == known.keys()
        for name in known.keys() - {"fit_seconds_"}:
            np.testing.assert_array_equal(apart.state()[name], known[name])
    new = normals(shape, n=20, seed=1)
    np.testing.assert_array_equal(two.score_samples(new), one.score_samples(new))
