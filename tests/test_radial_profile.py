"""Profiles on shells around the thing in the middle of a sample."""

import numpy as np
import pytest

from tiny import normals
from unlikelihood import RadialProfile


def balls(shape, radius, centre=0.0, n=40, seed=0):
    """Return noisy balls in the middle of samples of so many pixels along each axis."""
    rng = np.random.default_rng(seed)
    away = np.sqrt(
        sum((axis - (length - 1) / 2 - centre) ** 2 for axis, length in zip(np.indices(shape), shape, strict=True))
    )
    radii = radius + 0.3 * rng.normal(size=(n, 1, *[1] * len(shape)))
    return np.clip(radii - away + 0.5, 0, 1) + 0.05 * rng.normal(size=(n, 1, *shape))


@pytest.mark.parametrize("shape", [(1, 12, 12), (2, 10, 10, 10)])
def test_it_does_not_change_when_a_sample_is_turned_mirrored_or_in_another_unit(shape):
    X = normals(shape)
    fitted = RadialProfile().fit(X)
    expected = fitted.embed(X)
    np.testing.assert_allclose(fitted.embed(np.flip(X, -1)), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(fitted.embed(np.rot90(X, axes=(-2, -1))), expected, rtol=1e-6, atol=1e-6)
    other = 64 * X - 32
    difference = RadialProfile().fit(other).embed(other) - RadialProfile().fit(other).embed(other[:1])
    np.testing.assert_allclose(difference, expected - expected[:1], rtol=1e-5, atol=1e-5)


def test_the_first_shell_is_the_centre_and_the_second_what_lies_a_pixel_away():
    X = normals((1, 9, 9)).astype(np.float64)
    X = X + np.flip(X, (2, 3))  # so that the middle is the centre
    fitted = RadialProfile(reach=0.5).fit(X)
    away = np.hypot(*(np.indices((9, 9)) - 4))
    expected = []
    for shell in range(2):
        weight = np.maximum(0, 1 - abs(away - shell)) * (away < 2)  # linear between shells
        mean = (weight * X).sum((1, 2, 3)) / weight.sum()
        variance = (weight * (X[:, 0] - mean[:, None, None]) ** 2).sum((1, 2)) / weight.sum()
        expected.append([mean, np.sqrt(variance)])
    np.testing.assert_allclose(
        fitted.embed(X) * fitted.spread_, np.transpose(expected, (2, 1, 0)).reshape(len(X), 4), atol=1e-4
    )


@pytest.mark.parametrize("shape", [(24, 24), (16, 16, 16)])
def test_it_follows_what_is_off_the_middle(shape):
    fitted = RadialProfile().fit(balls(shape, 3))
    moved, larger = balls(shape, 3, centre=1.0, seed=1), balls(shape, 4.5, seed=2)
    assert np.median(fitted.score_samples(moved)) > 3 * np.median(fitted.score_samples(larger))


def test_what_is_not_round_or_not_even_is_found_and_shown():
    train, test = balls((24, 24), 4), balls((24, 24), 4, seed=1)
    spiked = test.copy()
    spiked[:, 0, 11:13, 15:18] = 1
    fitted = RadialProfile().fit(train)
    assert (fitted.score_samples(spiked) < fitted.score_samples(test)).all()
    mean = fitted.anomaly_map(spiked).mean(axis=0)
    assert mean[11:13, 16:18].min() > 2 * np.median(mean[mean > 0])
    corners = np.hypot(*(np.indices((24, 24)) - 11.5)) > 10
    assert not mean[corners].any()


def test_vectors_are_compared_as_they_are():
    X = normals((6,))
    fitted = RadialProfile().fit(X)
    np.testing.assert_allclose(fitted.embed(X), X / X.std(axis=0), rtol=1e-5)
