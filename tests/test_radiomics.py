"""Radiomics: what its statistics are, and what they must not depend on."""

import numpy as np
import pytest

from tiny import normals
from unlikelihood import KNN, FeatureSpace, Intensity, PCAResidual, Radiomics, Size, Thickness, load
from unlikelihood.detectors.radiomics import otsu
from unlikelihood.nn.statistics import Region, co_occurrence, euler_number


def ball(radius, size=15):
    axes = np.indices((size,) * 3) - size // 2
    return (axes**2).sum(0) <= radius**2


@pytest.mark.parametrize("shape", [(1, 9, 9), (2, 8, 8, 8)])
def test_the_mirror_image_of_a_sample_and_its_rotation_are_the_same_to_it(shape):
    X = normals(shape)
    fitted = Radiomics().fit(X)
    scores = fitted.score_samples(X)
    np.testing.assert_allclose(fitted.score_samples(np.flip(X, -1)), scores, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(fitted.score_samples(np.rot90(X, axes=(-2, -1))), scores, rtol=1e-6, atol=1e-6)


def test_the_unit_of_the_values_does_not_matter():
    X, new = normals((1, 8, 8)), normals((1, 8, 8), n=9, seed=1)
    scores = Radiomics().fit(X).score_samples(new)
    np.testing.assert_allclose(Radiomics().fit(4096 * X - 1024).score_samples(4096 * new - 1024), scores, rtol=1e-3)


def test_the_place_of_a_mask_does_not_matter():
    X = (normals((1, 8, 8)) > 0.5).astype(np.uint8)
    X = np.pad(X, ((0, 0), (0, 0), (4, 4), (4, 4)))
    fitted = Radiomics().fit(X)
    np.testing.assert_allclose(fitted.embed(np.roll(X, (2, -3), (2, 3))), fitted.embed(X), atol=1e-9)


def test_distances_between_vectors_are_mahalanobis_distances(rng):
    X = rng.normal(size=(4000, 3)) @ rng.normal(size=(3, 3))
    embedding = Radiomics().fit(X).embeddings_
    np.testing.assert_allclose(np.cov(embedding.T), np.eye(3), atol=0.05)


def test_the_euler_number_counts_components_tunnels_and_cavities():
    hollow = ball(6) & ~ball(3)
    torus = ball(6)[7:8] & ~ball(2)[7:8]
    two = np.concatenate([ball(3), ball(3)])
    assert [euler_number(mask) for mask in (ball(5), hollow, torus, two)] == [1, 2, 0, 2]


def test_depth_is_the_distance_to_the_nearest_pixel_outside_also_at_the_frame():
    def depth(mask):
        return Region(mask, mask, np.empty(0), np.empty(0)).depth

    assert depth(ball(5)).max() == np.sqrt(26)
    np.testing.assert_array_equal(np.unique(depth(np.ones((3, 3), bool))), [1, 2])
    assert len(depth(np.zeros((3, 3), bool))) == 0


def test_otsus_threshold_of_a_mask_is_half_way():
    count = np.zeros(1024, int)
    count[[0, -1]] = 900, 100
    assert otsu(count) == pytest.approx(0.5)


def test_otsus_threshold_is_between_the_classes_that_vary_least_within(rng):
    count, edges = np.histogram(np.r_[rng.normal(0.2, 0.04, 950), rng.normal(0.6, 0.1, 50)], 1024, (0, 1))
    value = (edges[1:] + edges[:-1]) / 2

    def within(k):
        means = [np.average(value[part], weights=count[part]) for part in (slice(k), slice(k, None))]
        return (count * (value - np.repeat(means, [k, 1024 - k])) ** 2).sum(), np.mean(means)

    splits = [within(k) for k in range(1, 1024) if count[:k].any() and count[k:].any()]
    assert otsu(count) == pytest.approx(min(splits)[1])


def test_co_occurrences_of_a_chessboard_are_all_contrast():
    board = np.indices((8, 8)).sum(0) % 2
    contrast, _, energy, entropy, correlation = co_occurrence(board, np.arange(1, 8) - 0.5)
    np.testing.assert_allclose([contrast, energy, entropy, correlation], [1, 0.5, np.log(2), -1])


def test_thicker_longer_and_broken_shapes_rank_below_normal_ones():
    def ellipsoid(a, b, c):
        z, y, x = np.indices((15, 15, 15)) - 7
        return ((z / a) ** 2 + (y / b) ** 2 + (x / c) ** 2 <= 1)[None].astype(np.uint8)

    random = np.random.default_rng(0)
    X = np.stack([ellipsoid(*random.uniform(2.5, 3.5, 3)) for _ in range(120)])
    fitted = Radiomics().fit(X[:80])
    worst = fitted.score_samples(X[80:]).min()
    broken = ellipsoid(3, 3, 3)
    broken[:, 7] = 0
    odd = np.stack([ellipsoid(5, 5, 5), ellipsoid(6, 2, 2), broken, np.zeros_like(broken)])
    assert (fitted.score_samples(odd) < worst).all()


def test_any_detector_can_be_put_on_its_embeddings():
    X = normals((1, 8, 8))
    encoder = Radiomics(n_neighbors=3).fit(X)
    nearest = FeatureSpace(encoder, KNN(n_neighbors=3)).fit(X)
    np.testing.assert_allclose(nearest.score_samples(X), encoder.score_samples(X), rtol=1e-4, atol=1e-5)
    assert np.isfinite(FeatureSpace(Radiomics(), PCAResidual(4)).fit(X).score_samples(X)).all()


def test_one_family_sees_nothing_of_the_others(tmp_path):
    random = np.random.default_rng(0)
    X = (random.random((40, 1, 9, 9)) > 0.5).astype(np.float32)
    fitted = Radiomics([Size()]).fit(X)
    assert fitted.embed(X).shape == (40, 2)
    loaded = load(fitted.save(tmp_path / "model"))
    np.testing.assert_array_equal(loaded.score_samples(X), fitted.score_samples(X))
    thin, thick = np.zeros((2, 1, 9, 9), np.float32)
    thin[0, 4], thick[0, 3:6, 3:6] = 1, 1
    one, other = Radiomics([Thickness()]).fit(X).embed(np.stack([thin, thick]))
    assert np.abs(one - other).max() > 1


def test_families_that_a_mask_does_not_have_are_refused():
    with pytest.raises(ValueError, match="expected Size, Shape or Thickness too"):
        Radiomics([Intensity()]).fit((normals((1, 8, 8)) > 0.5).astype(np.float32))
