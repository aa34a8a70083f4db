"""The units of features do not matter, and nothing else changes."""

import numpy as np
import pytest

from tiny import normals
from unlikelihood import KNN, Auto, StandardisedFeatures
from unlikelihood.metrics.ranking import auroc


def test_the_units_of_features_do_not_matter(rng):
    X, new = rng.normal(size=(60, 4)), rng.normal(size=(20, 4))
    units, zero = np.array([1e-9, 1, 60, 1e6]), np.array([0, -5, 1.7e9, 3e3])
    found = StandardisedFeatures(KNN()).fit(X).score_samples(new)
    other = StandardisedFeatures(KNN()).fit(X * units + zero).score_samples(new * units + zero)
    np.testing.assert_allclose(other, found, rtol=1e-3)


@pytest.mark.parametrize("shape", [(6,), (3, 9, 16), (2, 6, 8, 8)], ids=str)
def test_every_feature_or_channel_of_the_normals_has_mean_0_and_deviation_1(shape):
    X = 7 * normals(shape, n=200) - 3
    seen = StandardisedFeatures(KNN()).fit(X).detector_.train_.reshape(200, shape[0], -1)
    np.testing.assert_allclose(seen.mean(axis=(0, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(seen.std(axis=(0, 2)), 1, rtol=1e-4)


def test_a_feature_that_was_constant_keeps_its_unit(rng):
    X = np.column_stack([rng.normal(size=50), np.full(50, 0.1)])
    detector = StandardisedFeatures(KNN()).fit(X)
    assert detector.scale_[1] == 1
    same, other = detector.score_samples([[0, 0.1], [0, 9.1]])
    assert other == pytest.approx(-9, abs=0.1)
    assert same > -1


def test_a_column_of_large_numbers_does_not_hide_the_others_from_auto(rng):
    """What is odd is in one column; another one, of noise, is in a unit that makes it a million times larger."""
    X = rng.normal(size=(300, 5)) * [1, 1, 1, 1, 1e6]
    normal = rng.normal(size=(100, 5)) * [1, 1, 1, 1, 1e6]
    odd = normal + np.array([5, 0, 0, 0, 0])
    scores = Auto().fit(X).score_samples(np.concatenate([normal, odd]))
    assert auroc(np.arange(200) >= 100, -scores) > 0.9
