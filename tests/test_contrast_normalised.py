"""A sample's exposure is taken out, and nothing else."""

import numpy as np
import pytest

from tiny import normals
from unlikelihood import KNN, ContrastNormalised

SHAPES = [(1, 8, 8), (3, 9, 16), (1, 6, 8, 8)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_brightness_and_contrast_change_no_score(rng, shape):
    X, new = normals(shape), normals(shape, n=9, seed=1)
    detector = ContrastNormalised(KNN()).fit(X)
    each = (9, *[1] * len(shape))
    exposed = new * rng.uniform(0.5, 3, each) + rng.normal(size=each)
    # Up to the floor of the contrast.
    np.testing.assert_allclose(detector.score_samples(exposed), detector.score_samples(new), rtol=1e-3, atol=1e-4)
    assert np.abs(KNN().fit(X).score_samples(exposed) - KNN().fit(X).score_samples(new)).min() > 1e-2


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_part_sees_samples_of_mean_0_and_deviation_1(shape):
    seen = ContrastNormalised(KNN()).fit(5 * normals(shape) - 2).detector_.train_.reshape(40, -1)
    np.testing.assert_allclose(seen.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(seen.std(axis=1), 1, rtol=1e-3)


def test_channels_keep_their_differences(rng):
    red = np.full((3, 8, 8), 0.5, np.float32)
    red[0] += 0.3
    X = rng.uniform(0.4, 0.6, (30, 3, 8, 8)).astype(np.float32)
    detector = ContrastNormalised(KNN()).fit(X)
    assert detector.score_samples(red[None])[0] < detector.score_samples(X).min()


def test_a_flat_sample_is_not_blown_up(rng):
    X = rng.normal(size=(30, 1, 8, 8)).astype(np.float32)
    detector = ContrastNormalised(KNN()).fit(X)
    flat, nearly = np.zeros((2, 1, 1, 8, 8), np.float32)
    nearly += 1e-7 * rng.normal(size=nearly.shape).astype(np.float32)
    assert detector.score_samples(nearly) == pytest.approx(detector.score_samples(flat), rel=1e-3)
    ContrastNormalised(KNN()).fit(np.ones((5, 1, 4, 4))).score_samples(np.ones((1, 1, 4, 4)))


def test_vectors_stay_as_they_are():
    X = normals((6,))
    assert np.array_equal(ContrastNormalised(KNN()).fit(X).score_samples(X), KNN().fit(X).score_samples(X))
