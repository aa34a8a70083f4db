"""Windows over a large sample agree with the same windows anywhere else, and know nothing of one another."""

import numpy as np
import pytest

from tiny import normals, tiny
from unlikelihood import Crops, Tiles, load
from unlikelihood.contract.windows import put_together, smooth_weights

SHAPES = [(1, 28, 31), (3, 25, 28), (1, 21, 20, 22)]
SIZE, STRIDE = 8, 4


@pytest.fixture(params=SHAPES, ids=str)
def shape(request):
    return request.param


@pytest.fixture
def tiles(shape):
    part = tiny("PCAResidual", n_components=3)
    return Tiles(part, size=SIZE, stride=STRIDE, drawn=8).fit(normals(shape, n=20))


def test_windows_cover_every_sample_from_end_to_end(tiles, shape):
    scores = tiles.tile_scores(normals(shape, n=2, seed=1))
    assert scores.shape == (2, *(-(-(length - SIZE) // STRIDE) + 1 for length in shape[1:]))
    assert tiles.detector_.shape_ == (shape[0], *(SIZE for _ in shape[1:]))
    drawn = Tiles(tiny("KNN"), size=SIZE, drawn=3).fit(normals(shape, n=5)).detector_.train_
    assert len(drawn) == 15


def test_the_score_of_a_tile_is_that_of_the_window_alone(tiles, shape):
    X = normals(shape, n=3, seed=1)
    scores = tiles.tile_scores(X)
    one = (slice(None), slice(None), *(slice(STRIDE, STRIDE + SIZE) for _ in shape[1:]))
    at = (slice(None), *(1 for _ in shape[1:]))
    np.testing.assert_allclose(scores[at], tiles.detector_.score_samples(X[one]), rtol=1e-6)
    around = X.copy() + 1
    around[one] = X[one]
    np.testing.assert_allclose(tiles.tile_scores(around)[at], scores[at], rtol=1e-6)
    assert (tiles.tile_scores(around)[:, *(0 for _ in shape[1:])] < scores[:, *(0 for _ in shape[1:])]).all()


def test_the_map_of_the_whole_is_that_of_a_part_where_their_windows_are_the_same(tiles, shape):
    X = normals(shape, n=3, seed=1)
    whole = tiles.anomaly_map(X)
    assert whole.shape == (3, *shape[1:])
    # A part that begins and ends where windows do: at its edges others of the whole reach in.
    length = SIZE + STRIDE * ((min(shape[1:]) - STRIDE - SIZE - 1) // STRIDE)
    X = X[:, :, *(slice(STRIDE, STRIDE + length) for _ in shape[1:])]
    part = Tiles(tiles.detector_, size=SIZE, stride=STRIDE).fit(X).anomaly_map(X)
    inner = slice(SIZE - STRIDE, min(length, min(shape[1:]) - 2 * STRIDE) - SIZE + STRIDE)
    moved = slice(inner.start + STRIDE, inner.stop + STRIDE)
    found, expected = part[:, *(inner for _ in shape[1:])], whole[:, *(moved for _ in shape[1:])]
    assert found.size
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_one_window_over_all_is_the_detector_itself():
    X = normals((1, 8, 8))
    part = tiny("VAE").fit(X)
    tiles = Tiles(part, size=8).fit(X)
    assert tiles.map_kind == part.map_kind
    np.testing.assert_allclose(tiles.score_samples(X), part.score_samples(X), rtol=1e-5)
    np.testing.assert_allclose(tiles.anomaly_map(X), part.anomaly_map(X), rtol=1e-4, atol=1e-6)


def test_a_sample_scores_like_the_most_anomalous_share_of_its_windows(tiles, shape):
    X = normals(shape, n=3, seed=1)
    tile_scores = np.sort(tiles.tile_scores(X).reshape(3, -1), axis=1)
    for share in (0, 0.5, 1):
        most = max(1, int(np.ceil(share * tile_scores.shape[1])))
        found = tiles.set_params(share=share).score_samples(X)
        np.testing.assert_allclose(found, tile_scores[:, :most].mean(axis=1), rtol=1e-6)


def test_a_small_defect_in_a_large_image_is_found_and_shown():
    X, test = normals((1, 40, 40), n=30), normals((1, 40, 40), n=10, seed=1)
    tiles = Tiles(tiny("PCAResidual", n_components=3), size=10, stride=5, drawn=8).fit(X)
    spoilt = test.copy()
    spoilt[:, :, 28:31, 9:12] += 0.5
    assert tiles.score_samples(spoilt).max() < tiles.score_samples(test).min()
    gained = (tiles.anomaly_map(spoilt) - tiles.anomaly_map(test)).mean(axis=0)
    row, column = np.unravel_index(gained.argmax(), gained.shape)
    assert 28 <= row < 31
    assert 9 <= column < 12


def test_a_memory_map_and_few_windows_at_once_change_nothing(tiles, shape, tmp_path, monkeypatch):
    X = normals(shape, n=4, seed=1)
    expected, maps = tiles.score_samples(X), tiles.anomaly_map(X)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    monkeypatch.setattr("unlikelihood.detectors.tiles.AT_ONCE", 3 * np.prod(tiles.detector_.shape_))
    np.testing.assert_allclose(tiles.score_samples(mapped), expected, rtol=1e-6)
    np.testing.assert_allclose(tiles.anomaly_map(mapped), maps, rtol=1e-5, atol=1e-7)
    loaded = load(tiles.save(tmp_path / "model"))
    np.testing.assert_allclose(loaded.anomaly_map(X), maps, rtol=1e-5, atol=1e-7)


def test_windows_must_not_leave_gaps():
    with pytest.raises(ValueError, match="stride is 9, expected at most size, 8"):
        Tiles(tiny("KNN"), size=8, stride=9).fit(normals((1, 20, 20)))


@pytest.mark.parametrize("space", [(5,), (4, 6), (3, 4, 5)])
def test_weights_fall_to_the_edges_and_never_to_nothing(space):
    weights = smooth_weights(space)
    assert weights.shape == space
    assert weights.min() > 0
    assert np.unravel_index(weights.argmax(), space) == tuple((length - 1) // 2 for length in space)
    np.testing.assert_allclose(weights, np.flip(weights))


def test_maps_that_agree_are_put_together_as_they_are(rng):
    whole = rng.random((9, 7), dtype=np.float32)
    target = np.empty_like(whole)
    places = [(0, 0), (3, 2), (4, 0), (0, 2), (4, 2)]
    put_together(((place, whole[place[0] : place[0] + 5, place[1] : place[1] + 5]) for place in places), target)
    np.testing.assert_allclose(target, whole, rtol=1e-6)


def test_crops_and_tiles_cut_alike():
    X = normals((1, 12, 12), n=10)
    part = tiny("PCAResidual", n_components=3).fit(X[:, :, :6, :6])
    crops, tiles = Crops(part, size=6, grid=2).fit(X), Tiles(part, size=6, stride=6, share=1.0).fit(X)
    np.testing.assert_allclose(crops.score_samples(X), tiles.score_samples(X), rtol=1e-6)
    np.testing.assert_allclose(crops.anomaly_map(X), tiles.anomaly_map(X), rtol=1e-5)
