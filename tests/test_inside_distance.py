"""The inside distance as a representation."""

import numpy as np
import pytest

from tiny import normals, tiny
from unlikelihood import FeatureSpace, InsideDistance


def test_it_is_the_distance_to_the_nearest_pixel_outside():
    X = np.zeros((2, 1, 7, 7), np.float32)
    X[0, 0, 2:5, 1:6] = 1
    X[1] = 1
    one, everything = InsideDistance(power=1).fit(X).embed(X)[:, 0]
    np.testing.assert_array_equal(one[3], [0, 1, 2, 2, 2, 1, 0])
    np.testing.assert_array_equal(everything[3], [1, 2, 3, 4, 3, 2, 1])
    np.testing.assert_allclose(InsideDistance(power=3).fit(X).embed(X)[0, 0], one**3, rtol=1e-6)


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 8, 8, 8)])
def test_it_turns_with_the_sample_and_does_not_know_its_unit(shape):
    X = normals(shape)
    fitted = InsideDistance().fit(X)
    np.testing.assert_array_equal(fitted.embed(np.flip(X, -1)), np.flip(fitted.embed(X), -1))
    np.testing.assert_array_equal(InsideDistance().fit(64 * X - 32).embed(64 * X - 32), fitted.embed(X))


def test_a_network_can_be_fitted_to_it():
    X = normals((1, 8, 8))
    fitted = FeatureSpace(InsideDistance(), tiny("VAE")).fit(X)
    assert fitted.detector_.shape_ == X.shape[1:]
    assert np.isfinite(fitted.score_samples(X)).all()
