"""An exposure that no normal has counts nothing, and all else counts."""

import numpy as np
import pytest

from tiny import normals
from unlikelihood import KNN, ExposureMatched

SHAPES = [(1, 8, 8), (3, 9, 16), (1, 6, 8, 8)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_does_not_matter_how_much_darker_and_flatter_than_normals_a_sample_is(rng, shape):
    X, new = normals(shape), normals(shape, n=9, seed=1)
    detector = ExposureMatched(KNN()).fit(X)
    each = (9, *[1] * len(shape))
    darker, still_darker = (gain * new - rng.uniform(3, 9, each) for gain in (0.2, 0.05))
    np.testing.assert_allclose(detector.score_samples(darker), detector.score_samples(still_darker), rtol=1e-3)
    # It is then no further from normals than some normal of its exposure is.
    assert detector.score_samples(darker).min() > KNN().fit(X).score_samples(darker).max() / 5


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_sample_whose_exposure_normals_have_keeps_its_score(shape):
    X = normals(shape, n=400)
    detector, bare = ExposureMatched(KNN(), tails=0.0).fit(X), KNN().fit(X)
    np.testing.assert_allclose(detector.detector_.train_, bare.train_, atol=1e-6)
    scrambled = np.random.default_rng(0).permuted(X[:9].reshape(9, -1), axis=1).reshape(X[:9].shape)
    np.testing.assert_allclose(detector.score_samples(scrambled), bare.score_samples(scrambled), rtol=1e-4)


def test_channels_keep_their_differences(rng):
    red = np.full((3, 8, 8), 0.4, np.float32)
    red[0] += 0.3
    X = rng.uniform(0.2, 0.8, (30, 3, 8, 8)).astype(np.float32)
    detector = ExposureMatched(KNN()).fit(X)
    assert detector.score_samples(red[None])[0] < detector.score_samples(X).min()


def test_a_flat_sample_is_not_blown_up(rng):
    X = rng.normal(size=(30, 1, 8, 8)).astype(np.float32)
    detector = ExposureMatched(KNN()).fit(X)
    flat, nearly = np.zeros((2, 1, 1, 8, 8), np.float32)
    nearly += 1e-7 * rng.normal(size=nearly.shape).astype(np.float32)
    assert detector.score_samples(nearly) == pytest.approx(detector.score_samples(flat), rel=1e-3)
    ExposureMatched(KNN()).fit(np.ones((5, 1, 4, 4))).score_samples(np.ones((1, 1, 4, 4)))


def test_vectors_stay_as_they_are():
    X = normals((6,))
    assert np.array_equal(ExposureMatched(KNN()).fit(X).score_samples(X), KNN().fit(X).score_samples(X))
