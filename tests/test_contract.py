"""Every detector keeps every rule of the contract, on vectors, images and volumes."""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from functools import cache

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.utils.estimator_checks import check_estimator, check_outliers_fit_predict, check_outliers_train

from tiny import DETECTORS, SHAPES, normals, tiny, tiny_fitted
from unlikelihood import Generator, load
from unlikelihood.contract.deciding import held_out
from unlikelihood.training.alarms import NothingLearnt
from unlikelihood.training.seeding import initialising, seeded

CERTAIN = {"InsideDistance", "KNN", "LOF", "Radiomics", "TotalIntensity", "TotalVolume"}
# What these say far from all normals means little: critics, a classifier of pixels and a noise predictor of vectors
# were trained on nothing like it, trees end at the outermost normal, a ratio can be of two small likelihoods, a volume
# counts what is bright, however bright, what has no outline has no distance to it, and no exposure is odd.
ARBITRARY_AFAR = {
    "DCGAN",
    "Diffusion",
    "ExposureMatched",
    "ForeignPatch",
    "InsideDistance",
    "IsolationForest",
    "LikelihoodRatio",
    "TotalVolume",
    "WGANGP",
}
BRIEF = {"epochs": 1, "batch_size": 128}  # where scikit-learn's checks fit up to 300 samples, several times
TRAINED = [name for name in DETECTORS if "epochs" in tiny(name).get_params()]


@pytest.fixture(params=DETECTORS)
def name(request):
    return request.param


@pytest.fixture(params=SHAPES)
def shape(request):
    return SHAPES[request.param]


@pytest.fixture
def fitted(name, shape):
    return tiny_fitted(name, shape)


def close(a, b):
    # Scores of images are sums of float32 values, which batches of other sizes add up in another order.
    np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6 * np.abs(b).max())


def test_a_score_is_of_its_sample_alone(fitted, shape):
    X = normals(shape, n=23, seed=1)
    scores = fitted.score_samples(X)
    assert scores.shape == (23,)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(fitted.score_samples(X), scores)
    order = np.random.default_rng(0).permutation(23)
    close(fitted.score_samples(X[order]), scores[order])
    close(fitted.score_samples(X[5:8]), scores[5:8])
    if "batch_size" in fitted.get_params():
        close(fitted.set_params(batch_size=5).score_samples(X), scores)


def test_save_and_load_change_no_bit(fitted, shape, tmp_path):
    X = normals(shape, n=5, seed=1)
    loaded = load(fitted.save(tmp_path / "model"), **{key: getattr(fitted, key) for key in fitted.runtime})
    np.testing.assert_array_equal(loaded.score_samples(X), fitted.score_samples(X))
    assert json.dumps(loaded.get_params(), default=repr) == json.dumps(fitted.get_params(), default=repr)
    if isinstance(fitted, Generator):
        np.testing.assert_array_equal(loaded.generate(3), fitted.generate(3))
    loaded.save(tmp_path / "again")
    first, second = ((tmp_path / folder / "weights.safetensors").read_bytes() for folder in ("model", "again"))
    assert first == second


def test_a_clone_fits_a_memory_map_to_the_same_bits_whatever_the_labels_and_leaves_generators_as_they_were(
    fitted, shape, tmp_path
):
    others = normals(shape, n=17, seed=1)
    for name, data in (("X", normals(shape)), ("others", others)):
        np.save(tmp_path / f"{name}.npy", data)
    X, mapped = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("X", "others"))
    others.flags.writeable = False  # as `tiny_fitted` and the maps have it: to change samples is an error
    expected = fitted.score_samples(others)
    again = clone(fitted)
    assert not hasattr(again, "shape_")
    states = torch.get_rng_state(), np.random.get_state()
    np.testing.assert_array_equal(again.fit(X, y=np.arange(40) % 2).score_samples(mapped), expected)
    assert torch.equal(torch.get_rng_state(), states[0])
    for now, then in zip(np.random.get_state(), states[1], strict=True):
        np.testing.assert_array_equal(now, then)


def test_fits_in_threads_are_those_one_after_another(name):
    X, seeds = normals((1, 8, 8)), range(4)
    alone = [tiny(name, seed=seed).fit(X).score_samples(X) for seed in seeds]
    state = torch.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda seed: tiny(name, seed=seed).fit(X).score_samples(X), seeds))
    np.testing.assert_array_equal(together, alone)
    assert torch.equal(torch.get_rng_state(), state)


def test_scores_in_threads_are_those_one_after_another(name):
    detector = tiny_fitted(name, (1, 8, 8))
    several = [normals((1, 8, 8), n=9, seed=seed) for seed in range(8)]
    alone = [detector.score_samples(X) for X in several]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(2):
            np.testing.assert_array_equal(list(pool.map(detector.score_samples, several)), alone)


def test_another_default_type_of_torch_changes_no_bit(fitted, name, shape, tmp_path):
    X = normals(shape, n=5, seed=1)
    expected, folder = fitted.score_samples(X), fitted.save(tmp_path / "model")
    torch.set_default_dtype(torch.float64)
    try:
        again = tiny(name).fit(normals(shape))
        loaded = load(folder, **{key: getattr(fitted, key) for key in fitted.runtime})
        for detector in (fitted, again, loaded):
            np.testing.assert_array_equal(detector.score_samples(X), expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_constructor_only_stores(name):
    odd = dict.fromkeys(tiny(name).get_params(deep=False), "nonsense")
    detector = DETECTORS[name](**odd)
    assert vars(detector) == odd
    with pytest.raises(ValueError, match=f"{name}: .* is 'nonsense', expected"):
        detector.fit(normals((6,)))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda X: np.where(np.arange(X.size).reshape(X.shape) == 3, np.nan, X), "NaN"),
        (lambda X: np.where(np.arange(X.size).reshape(X.shape) == 3, np.inf, X), "infinity"),
        (lambda X: X[:0], "0 sample"),
    ],
)
def test_bad_data_is_an_error(name, shape, spoil, message):
    X = normals(shape)
    with pytest.raises(ValueError, match=message):
        tiny(name).fit(spoil(X))
    with pytest.raises(ValueError, match=message):
        tiny_fitted(name, shape).score_samples(spoil(X))


@pytest.mark.parametrize("value", [3e38, -3e38, 1e39])
def test_a_value_that_float32_cannot_compute_with_is_never_normal(fitted, shape, value):
    X = normals(shape, n=12, seed=1).astype(np.float64 if value > 3e38 else np.float32)
    X.reshape(12, -1)[5, 0] = value
    with pytest.raises(ValueError, match=r"too large|1 of 12 samples \(row 5\)"):
        fitted.score_samples(X)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_an_error_that_names_the_samples(name, bad):
    detector = tiny_fitted(name, (6,))
    detector._score = lambda X: np.where(np.arange(len(X)) % 30 == 7, bad, np.arange(len(X)))
    with pytest.raises(ValueError, match=rf"{name}: the score is {bad} for 2 of 40 samples \(row 7, 37\)"):
        detector.score_samples(normals((6,)))


def test_another_shape_is_an_error(fitted, shape):
    other = normals((*shape[:-1], shape[-1] + 1))
    with pytest.raises(ValueError, match=r"but .* (fitted on|expecting)"):
        fitted.score_samples(other)


def test_images_without_a_channel_axis_are_refused(name):
    with pytest.raises(ValueError, match=r"X\[:, None\] adds the axis"):
        tiny(name).fit(normals((1, 8, 8))[:, 0])


def test_equal_scores_of_different_samples_are_warned_about(name):
    detector = tiny_fitted(name, (6,))
    detector._score = lambda X: np.zeros(len(X))
    with pytest.warns(NothingLearnt, match="cannot rank them"):
        detector.score_samples(normals((6,)))


@pytest.mark.parametrize("name", TRAINED)
def test_a_fit_moves_the_weights_of_every_objective(name, shape):
    detector = tiny_fitted(name, shape)
    with initialising(detector.seed):
        untrained = detector.build(detector.shape_)
    for before, after in zip(detector.objectives(untrained), detector.objectives(detector.net_), strict=True):
        pairs = list(zip(before.module.parameters(), after.module.parameters(), strict=True))
        moved = [not torch.equal(one.to(other), other) for one, other in pairs]
        assert np.mean(moved) > 0.5, f"{before.name}: {sum(moved)} of {len(moved)} weights moved"


# How much more than a moment's training it takes until a small network knows what normals have in common.
LEARNING = {
    "Autoregressive": {"width": 8, "epochs": 40, "learning_rate": 0.03},
    "DCGAN": {"epochs": 5},
    "EncoderSearch": {"generator": tiny("DCGAN", width=4, epochs=20, learning_rate=0.01), "epochs": 20},
    "ForeignPatch": {"width": 4, "epochs": 20},
    "NADE": {"epochs": 60},
    "WGANGP": {"width": 4, "epochs": 40},
}


def learner(name, seed=0):
    return tiny(name, **{"epochs": 10, "learning_rate": 0.01, "seed": seed} | LEARNING.get(name, {}))


@cache
def learnt(name):
    """Return the one learner of the class `name`, of which no test may change anything."""
    return learner(name).fit(some(name, 48, 0))


def loss_of(detector, X):
    """Return the loss of the first objective on samples, by the same noise for every network."""
    x, objective = torch.from_numpy(X).to(next(detector.net_.parameters())), detector.objectives(detector.net_)[0]
    with seeded(0):
        return float(objective(*(objective.prepare(x) if objective.prepare else [x])).detach())


def some(name, n, seed):
    """Return images for a detector: masks for `NADE`, whose pixels are on or off."""
    X = normals((1, 8, 8), n, seed)
    return (X > 0.4).astype(np.float32) if name == "NADE" else X


@pytest.mark.parametrize("name", TRAINED)
def test_a_fit_lowers_the_loss_of_normals_that_it_never_saw(name):
    untrained = copy(learnt(name))
    with initialising(untrained.seed):
        untrained.net_ = untrained.build(untrained.shape_).eval()
    assert loss_of(learnt(name), some(name, 64, 1)) < loss_of(untrained, some(name, 64, 1)) - 0.002


# Of the others it takes more training than a test has: their small networks learn of both kinds alike at first.
@pytest.mark.parametrize("name", ["Diffusion", "Flow", "NADE", "RNADE", "VAE"])
def test_a_fit_to_shuffled_pixels_knows_less_of_normals(name):
    X, Y = some(name, 48, 0), some(name, 64, 1)
    shuffled = np.random.default_rng(0).permuted(X.reshape(len(X), -1), axis=1).reshape(X.shape)
    assert loss_of(learnt(name), Y) < loss_of(learner(name).fit(shuffled), Y) - 0.005


@pytest.mark.parametrize("name", TRAINED)
def test_another_seed_learns_other_weights(name, shape):
    one, other = tiny_fitted(name, shape).net_.state_dict(), tiny(name, seed=1).fit(normals(shape)).net_.state_dict()
    assert any(not torch.equal(one[key], other[key]) for key in one)


def test_a_seed_changes_nothing_where_nothing_is_random(name, shape):
    if name not in CERTAIN:
        pytest.skip("a fit draws random numbers")
    one, other = tiny_fitted(name, shape), tiny(name, seed=1).fit(normals(shape))
    np.testing.assert_array_equal(one.score_samples(normals(shape)), other.score_samples(normals(shape)))


def test_scores_are_distinct_beyond_rounding(fitted, shape):
    scores = fitted.score_samples(normals(shape, seed=1))
    assert np.ptp(scores) > max(1e-6, 1e-6 * np.abs(scores).max())  # for samples in [0, 1]


def test_far_anomalies_rank_last(fitted, name, shape):
    if name in ARBITRARY_AFAR:
        pytest.skip("its score far from the normals is arbitrary")
    X = normals(shape)
    far = normals(shape, n=4, seed=1)
    distance = np.array([-200, 1000, 5000]).reshape(-1, *[1] * (X.ndim - 1))
    far[1:] = distance * (1 + far[1:])
    scores = fitted.score_samples(far)
    assert scores[1:].max() < fitted.score_samples(X).min()


@pytest.mark.parametrize("name", TRAINED)
def test_history_has_a_finite_loss_for_every_epoch(name, shape):
    detector = tiny_fitted(name, shape)
    assert detector.history_
    for losses in detector.history_.values():
        assert len(losses) == detector.epochs == 2
        assert all(map(math.isfinite, losses))


def test_what_is_calibrated_decides_like_scikit_learns_outlier_detectors(fitted, shape, tmp_path):
    assert not hasattr(fitted, "predict")
    X, others = normals(shape, n=9, seed=1), normals(shape, n=39, seed=2)
    known = fitted.calibrate(others).score_samples(others)
    X[4] = others[known.argmin()]  # which is called anomalous
    scores = fitted.score_samples(X)
    np.testing.assert_array_equal(fitted.decision_function(X), scores - fitted.offset_)
    np.testing.assert_array_equal(fitted.predict(X), np.where(scores < fitted.offset_, -1, 1))
    # A score has p ≤ 0.05 among 39 others only where fewer than two of them are as low.
    assert fitted.offset_ == np.sort(known)[1]
    loaded = load(fitted.save(tmp_path / "model"), **{key: getattr(fitted, key) for key in fitted.runtime})
    assert loaded.offset_ == fitted.offset_
    np.testing.assert_array_equal(loaded.predict(X), fitted.predict(X))


def test_alpha_keeps_normals_from_training_to_decide_by(name):
    X = normals((6,))
    kept = held_out(40, 0.3, seed=0)
    detector, other = tiny(name, alpha=0.2).fit(X), tiny(name).fit(X[~kept])
    assert detector.n_samples_ == other.n_samples_ == 28
    np.testing.assert_array_equal(np.sort(detector.score_samples(X[kept])), detector.calibration_)
    assert np.sum(detector.predict(X[kept]) == -1) <= 1
    with pytest.raises(ValueError, match=r"alpha is 0\.05, expected at least 0\.07692: with n_samples=12"):
        tiny(name, alpha=0.05).fit(X)
    brief = tiny(name, alpha=0.5, **BRIEF)
    check_outliers_train(name, brief)
    check_outliers_fit_predict(name, brief)


@pytest.mark.filterwarnings("ignore:this .* has no threshold", "ignore:all .* scores are")
def test_scikit_learns_own_checks_pass_and_none_is_declared_to_fail(name):
    results = check_estimator(tiny(name, **BRIEF), on_skip=None)
    assert {result["check_name"] for result in results if result["expected_to_fail"]} == set()
    skipped = {result["check_name"] for result in results if result["status"] == "skipped"}
    assert skipped <= {"check_array_api_input"}  # scikit-learn runs it where SCIPY_ARRAY_API is set
