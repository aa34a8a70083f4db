"""Maps show where a sample was changed."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import IsolationForest

from test_evaluation import Everything
from tiny import DETECTORS, SHAPES, normals, tiny, tiny_fitted
from unlikelihood import Committee, Conformal, Crops, FeatureSpace, GradientNorm, InsideDistance
from unlikelihood.contract.maps import OCCLUSION, RESIDUAL, Whitening, gradient, hat_functions, occlusion, residual
from unlikelihood.report.maps import common_scale, maps_of, nearest_normals

IMAGES = {name: shape for name, shape in SHAPES.items() if len(shape) > 1}


def spoilt(X, shape, by=3):
    """Return copies with one bright spot, and where it is."""
    where = tuple(2 for _ in shape[1:] or shape)
    changed = X.copy()
    changed[(slice(None), *([slice(None)] if len(shape) > 1 else []), *where)] += by
    return changed, where


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("name", ["PCAResidual", "KNN"])
def test_a_change_is_brightest_where_it_was_made_whatever_the_shape(name, shape):
    train, held_out, X = (normals(shape, seed=seed) for seed in range(3))
    detector = tiny(name, n_components=1).fit(train)
    changed, where = spoilt(X, shape)
    before, after = (maps_of(detector, each, None, held_out).values for each in (X, changed))
    assert after.shape == (len(X), *(shape[1:] or shape))
    assert after.dtype == np.float32
    gained = (after - before).mean(axis=0)
    # Where windows are covered, the map is one of windows.
    near = 0 if name == "PCAResidual" or len(shape) == 1 else 2
    assert np.abs(np.subtract(np.unravel_index(np.argmax(gained), gained.shape), where)).max() <= near


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("name", DETECTORS)
def test_a_map_is_of_its_sample_alone_and_of_its_size(name, shape):
    detector = tiny_fitted(name, shape)
    X = normals(shape, n=5, seed=1)
    found = detector.anomaly_map(X)
    assert found.shape == (5, *(shape[1:] or shape))
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    # It tells places apart; patches of vectors have one.
    assert len(shape) == 1 or (np.ptp(found.reshape(5, -1), axis=1) > 0).all()
    tolerance = {"rtol": 1e-3, "atol": 2e-3 * max(np.abs(found).max(), np.ptp(found))}
    np.testing.assert_allclose(detector.anomaly_map(X[3:]), found[3:], **tolerance)
    assert detector.map_kind.words
    assert detector.map_kind.unit


@pytest.mark.parametrize("count", [1, 3, 7])
def test_hat_functions_share_out_every_pixel(count):
    hats = hat_functions(7, count)
    assert hats.shape == (count, 7)
    np.testing.assert_allclose(hats.sum(axis=0), 1, rtol=1e-6)
    np.testing.assert_allclose(hats, hats[::-1, ::-1], atol=1e-6)


@pytest.mark.parametrize("shape", IMAGES.values(), ids=IMAGES)
def test_what_is_covered_is_filled_from_around_it_and_the_rest_stays(shape):
    X = np.full((1, *shape), 0.5, np.float32)
    assert not occlusion(lambda x: x.reshape(len(x), -1).sum(1), X).any()
    # A score of one corner alone knows nothing of the other.
    corner = (slice(None), 0, *(0 for _ in shape[1:]))
    found = occlusion(lambda x: x[corner], normals(shape, n=1))
    assert found[(0, *(0 for _ in shape[1:]))] != 0
    assert found[(0, *(-1 for _ in shape[1:]))] == 0


def test_a_feature_that_is_covered_has_its_usual_value():
    X, weight = np.array([[1.0, 2, 3]], np.float32), np.array([1.0, -2, 5])
    found = occlusion(lambda x: x @ weight, X, typical=np.array([0.0, 2, 1]))
    np.testing.assert_allclose(found, [[-1, 0, -10]])


def test_whitening_fades_what_normals_show_too(rng):
    spread = np.ones((4, 4))
    spread[0, 0] = 10
    held_out, X = (residual(spread * rng.normal(size=(500, 1, 4, 4)), 0) for _ in range(2))
    white = np.sqrt((Whitening.of(held_out)(X) ** 2).mean(axis=0))
    assert X[:, 0, 0].mean() > 8 * X[:, 3, 3].mean()
    assert white[0, 0] < 2 * white[3, 3]


def test_of_few_normals_places_share_what_is_known():
    same = Whitening.of(np.ones((2, 4)))
    assert np.isfinite(same(np.zeros((1, 4)))).all()
    one = Whitening.of(np.arange(4.0)[None])
    assert one.deviation.min() == one.deviation.max()


@pytest.mark.parametrize("shape", [(6,), (1, 8, 8), (1, 8, 8, 8)])
def test_the_gradient_is_that_of_finite_differences(shape):
    detector = tiny("VAE").fit(normals(shape))
    detector.net_.double()
    X = normals(shape, n=3, seed=1).astype(np.float64)
    found = gradient(detector.score_batch, detector.batches(X, ""))
    step = np.zeros_like(X)
    place = (slice(None), *([0] if len(shape) > 1 else []), *(3 for _ in shape[1:] or shape))
    step[place] = 1e-5
    with torch.no_grad():
        up, down = (detector.score_batch(torch.from_numpy(X + sign * step)).numpy() for sign in (1, -1))
    at = (slice(None), *(3 for _ in shape[1:] or shape))
    assert found[at] == pytest.approx(np.abs(up - down) / 2e-5, rel=1e-3, abs=1e-6)


def test_wrappers_show_the_map_of_what_is_inside():
    X, held_out = (normals((1, 8, 8), seed=seed) for seed in (0, 3))
    part = tiny("VAE").fit(X)
    assert part.map_kind == RESIDUAL
    for wrapper in (GradientNorm(part), Conformal(part, alpha=0.2), Crops(part, size=8)):
        wrapper.fit(held_out)
        assert wrapper.map_kind == RESIDUAL
        np.testing.assert_allclose(wrapper.anomaly_map(X[:3]), part.anomaly_map(X[:3]), rtol=1e-5, atol=1e-6)
    vectors = X.reshape(40, -1)[:, 8:14]
    foreign = Conformal(IsolationForest(n_estimators=5), alpha=0.2).fit(vectors)
    assert foreign.map_kind == OCCLUSION
    assert foreign.anomaly_map(vectors[:2]).shape == (2, 6)


def test_a_committee_has_the_maps_of_the_members_that_have_their_own():
    X, held_out, test = (normals((1, 8, 8), seed=seed) for seed in range(3))
    own, other = tiny("PCAResidual", n_components=1).fit(X), tiny("KNN").fit(X)
    both, alone = (Committee(members).fit(held_out) for members in ([own, other], [own]))
    np.testing.assert_array_equal(both.anomaly_map(test), alone.anomaly_map(test))
    assert both.map_kind.own
    without = Committee([other, tiny("LOF").fit(X)]).fit(held_out)
    assert not without.map_kind.own
    # Whatever the unit of a member is.
    changed, where = spoilt(test, (1, 8, 8))
    gained = (both.anomaly_map(changed) - both.anomaly_map(test)).mean(axis=0)
    assert np.unravel_index(np.argmax(gained), gained.shape) == where


def test_an_embedding_in_place_has_the_map_of_its_detector():
    X = normals((1, 8, 8))
    space = FeatureSpace(InsideDistance(), tiny("PCAResidual", n_components=1)).fit(X)
    assert space.map_kind == RESIDUAL
    np.testing.assert_array_equal(space.anomaly_map(X), space.detector_.anomaly_map(space.encoder_.embed(X)))
    assert FeatureSpace(tiny("Contrastive"), tiny("KNN")).fit(X).map_kind == OCCLUSION


def test_crops_put_together_agree_with_what_was_found_in_each():
    X = normals((1, 9, 9), n=24)
    cropped = Crops(tiny("PCAResidual", n_components=1), size=6, grid=2).fit(X)
    found = cropped.anomaly_map(X)
    np.testing.assert_allclose(found[:, :3, :3], cropped.detector_.anomaly_map(X[:, :, :6, :6])[:, :3, :3], rtol=1e-5)
    centre = Crops(cropped.detector_, size=6).fit(X)
    assert not centre.anomaly_map(X)[:, 0].any()


def test_a_detector_of_another_library_has_the_map_that_it_can_make():
    X = normals((6,))
    detector = Everything().fit(X)
    assert maps_of(detector, X, detector.reconstruct(X), X).kind == str(RESIDUAL)
    assert maps_of(IsolationForest().fit(X), X, None, X) is None


def test_the_nearest_training_normals_are_found_in_blocks_too(rng, monkeypatch, tmp_path):
    np.save(tmp_path / "train.npy", rng.normal(size=(50, 1, 3, 3)).astype(np.float32))
    train = np.load(tmp_path / "train.npy", mmap_mode="r")
    X = rng.normal(size=(7, 1, 3, 3))
    expected = np.sqrt(((X[:, None] - train[None]) ** 2).sum(axis=(2, 3, 4)))
    monkeypatch.setattr("unlikelihood.report.maps.BLOCK", 60)
    index, distance = nearest_normals(train, X, count=4)
    assert np.array_equal(index, np.argsort(expected, axis=1)[:, :4])
    assert distance == pytest.approx(np.sort(expected, axis=1)[:, :4])
    assert nearest_normals(train, train[:5], count=1)[0].ravel().tolist() == [0, 1, 2, 3, 4]
    for arguments in ((train, X, 0), (train, X[:, 0])):
        with pytest.raises(ValueError, match=r"must|expected"):
            nearest_normals(*arguments)


def test_the_scale_is_never_zero():
    assert common_scale(np.zeros((3, 4))) == 1
    assert common_scale(np.arange(1000.0)) == pytest.approx(994, abs=1)


def test_the_map_of_an_autoregressive_model_adds_up_to_its_score():
    X = normals((1, 8, 8))
    detector = tiny("Autoregressive").fit(X)
    found = detector.anomaly_map(X[:5])
    np.testing.assert_allclose(-found.sum(axis=(1, 2)), detector.score_samples(X[:5]), rtol=1e-4)
