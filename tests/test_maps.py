"""Maps show where a sample was changed."""

import numpy as np
import pytest
import torch

from test_evaluation import Everything
from tiny import SHAPES, normals, tiny
from unlikelihood.report.maps import Whitening, common_scale, gradient, maps_of, nearest_normals


def left_over(detector, X):
    return np.asarray(X, np.float64) - detector.reconstruct(X)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_change_is_brightest_where_it_was_made_whatever_the_shape(shape):
    train, held_out, X = (normals(shape, seed=seed) for seed in range(3))
    detector = tiny("PCAResidual", n_components=1).fit(train)
    spoilt = X.copy()
    where = tuple(2 for _ in shape[1:] or shape)
    spoilt[(slice(None), *([slice(None)] if len(shape) > 1 else []), *where)] += 3
    before, after = (maps_of(detector, each, detector.reconstruct(each), held_out).values for each in (X, spoilt))
    assert after.shape == (len(X), *(shape[1:] or shape))
    assert after.dtype == np.float32
    gained = (after - before).mean(axis=0)
    assert np.unravel_index(np.argmax(gained), gained.shape) == where


def test_whitening_fades_what_normals_show_too(rng):
    detector = Everything()
    detector.mean_ = np.zeros((1, 4, 4))
    spread = np.ones((4, 4))
    spread[0, 0] = 10
    held_out, X = spread * rng.normal(size=(500, 1, 4, 4)), spread * rng.normal(size=(500, 1, 4, 4))
    whitened = Whitening.of(left_over(detector, held_out))(left_over(detector, X))
    plain, white = (np.sqrt((maps**2).mean(axis=0)) for maps in (left_over(detector, X)[:, 0], whitened))
    assert plain[0, 0] > 8 * plain[3, 3]
    assert white[0, 0] < 2 * white[3, 3]


@pytest.mark.parametrize("shape", [(6,), (1, 8, 8), (1, 8, 8, 8)])
def test_the_gradient_is_that_of_finite_differences(shape):
    detector = tiny("VAE").fit(normals(shape))
    detector.net_.double()
    X = normals(shape, n=3, seed=1).astype(np.float64)
    found = gradient(detector, X)
    step = np.zeros_like(X)
    place = (slice(None), *([0] if len(shape) > 1 else []), *(3 for _ in shape[1:] or shape))
    step[place] = 1e-5
    with torch.no_grad():
        up, down = (detector.score_batch(torch.from_numpy(X + sign * step)).numpy() for sign in (1, -1))
    at = (slice(None), *(3 for _ in shape[1:] or shape))
    assert found[at] == pytest.approx(np.abs(up - down) / 2e-5, rel=1e-3, abs=1e-6)


def test_the_map_of_a_sample_does_not_depend_on_the_others():
    detector = tiny("VAE").fit(normals((1, 8, 8)))
    X = normals((1, 8, 8), n=20, seed=1)
    whiten = Whitening.of(left_over(detector, X))
    for make in (gradient, lambda detector, X: whiten(left_over(detector, X))):
        np.testing.assert_allclose(make(detector, X)[4:6], make(detector, X[4:6]), rtol=1e-3, atol=1e-4)


def test_a_detector_gets_the_map_that_it_can_make():
    X = normals((6,))
    detector = tiny("VAE").fit(X)
    assert maps_of(detector, X, detector.reconstruct(X), X).meaning == "unusual"
    assert maps_of(detector, X, None, X).meaning == "the score reacts"
    assert maps_of(tiny("KNN").fit(X), X, None, X) is None
    # Its score passes through a search for neighbours.
    assert maps_of(tiny("Contrastive").fit(X), X, None, X) is None


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
