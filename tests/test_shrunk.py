"""Detectors on samples of fewer pixels."""

import numpy as np
import pytest

from tiny import normals
from unlikelihood import KNN, PCAResidual, Shrunk


@pytest.mark.parametrize("shape", [(2, 16, 8), (1, 8, 16, 8)])
def test_a_shrunk_pixel_is_the_mean_of_those_it_stands_for(shape):
    X = normals(shape)
    halved = X
    for axis in range(2, X.ndim):
        halved = (
            np.take(halved, range(0, X.shape[axis], 2), axis) + np.take(halved, range(1, X.shape[axis], 2), axis)
        ) / 2
    expected = KNN().fit(halved[:30]).score_samples(halved[30:])
    assert Shrunk(KNN(), size=8).fit(X[:30]).score_samples(X[30:]) == pytest.approx(expected, rel=1e-4)


def test_small_samples_and_vectors_stay_as_they_are():
    for X in (normals((1, 8, 8)), normals((6,))):
        assert np.array_equal(Shrunk(KNN(), size=8).fit(X).score_samples(X), KNN().fit(X).score_samples(X))


def test_the_map_lies_over_the_sample():
    X = normals((1, 24, 32))
    changed = X[:5].copy()
    changed[:, :, 4:8, 20:24] += 3
    maps = Shrunk(PCAResidual(3), size=8).fit(X).anomaly_map(changed)
    assert maps.shape == (5, 24, 32)
    for found in maps:
        row, column = np.unravel_index(found.argmax(), found.shape)
        assert abs(row - 6) < 4
        assert abs(column - 22) < 4
