"""Classical detectors where their textbook definition breaks down."""

import numpy as np
import pytest
from sklearn.neighbors import LocalOutlierFactor

from unlikelihood import LOF, PCAResidual
from unlikelihood.training.alarms import NothingLearnt


def healthy(rng, n):
    """One laboratory value, of which a third is at the limit of detection."""
    x = 0.5 + rng.exponential(0.15, (n, 1))
    x[rng.random(n) < 0.3] = 0.5
    return x


@pytest.mark.parametrize("n_neighbors", [5, 20])
def test_lof_of_values_that_repeat_ranks_no_normal_below_the_anomalies(rng, n_neighbors):
    detector = LOF(n_neighbors).fit(healthy(rng, 400))
    normal, anomalous = detector.score_samples(healthy(rng, 1000)), detector.score_samples(rng.uniform(2.5, 4, (60, 1)))
    assert normal.min() > anomalous.max()
    assert normal.min() > -100


def test_lof_of_samples_that_differ_is_scikit_learns(rng):
    X, Z = rng.normal(size=(60, 3)).astype(np.float32), rng.normal(size=(20, 3)).astype(np.float32)
    expected = LocalOutlierFactor(n_neighbors=20, novelty=True).fit(X).score_samples(Z)
    np.testing.assert_array_equal(LOF().fit(X).score_samples(Z), expected)
    np.testing.assert_array_equal(LOF().fit(np.concatenate([X, X[::-1]])).score_samples(Z), expected)
    with pytest.raises(ValueError, match="at least 2 that differ"):
        LOF().fit(np.ones((5, 3)))


@pytest.mark.parametrize("shape", [(200, 12), (200, 1), (8, 40), (2, 5)])
def test_pca_leaves_a_residual_however_many_components_are_asked_for(rng, shape):
    n, features = shape
    mix = rng.normal(size=(features, features))
    detector = PCAResidual(50).fit(rng.normal(size=shape) @ mix)
    assert len(detector.axes_) == min(n, features) - 1
    residual = -detector.score_samples(rng.normal(size=(100, features)) @ mix)
    assert residual.min() > 1e-9 * residual.mean() > 0


def test_pca_warns_where_the_normals_have_no_residual(rng):
    flat = rng.normal(size=(100, 3)) @ rng.normal(size=(3, 12))
    with pytest.warns(NothingLearnt, match="11 components leave nothing"):
        PCAResidual().fit(flat)
    PCAResidual(2).fit(flat)
    with pytest.raises(ValueError, match="n_samples=1, expected at least 2"):
        PCAResidual().fit(flat[:1])
