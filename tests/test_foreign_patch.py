"""A network that finds patches of other samples."""

import numpy as np
import pytest
import torch

from tiny import SHAPES, normals, tiny
from unlikelihood import ForeignPatch, Interpolate, load
from unlikelihood.nn.blends import change
from unlikelihood.nn.patch_shapes import AnyPatch, Features
from unlikelihood.nn.spatial import from_cells, to_cells
from unlikelihood.nn.unet import PixelNet
from unlikelihood.training.seeding import seeded


def stripes(n, space, seed=0):
    """Waves along the last axis, each of its own phase, in noise."""
    rng = np.random.default_rng(seed)
    wave = np.sin(2 * np.pi * np.arange(space[-1]) / 4 + rng.uniform(0, 2 * np.pi, (n, *[1] * len(space))))
    return (wave + rng.normal(0, 0.1, (n, *space)))[:, None].astype(np.float32)


@pytest.mark.parametrize("shape", [(3, 1, 8, 8), (3, 2, 5, 9), (3, 1, 4, 5, 6)])
@pytest.mark.parametrize("side", [1, 2, 3])
def test_cells_hold_every_pixel_once(shape, side):
    x = torch.rand(shape)
    cells = to_cells(x, side)
    assert cells.shape == (3, shape[1] * side ** len(shape[2:]), *[-(-n // side) for n in shape[2:]])
    within = cells.unflatten(1, (shape[1], -1))
    for channel in range(shape[1]):
        assert torch.equal(from_cells(within[:, channel], side, shape[2:]), x[:, channel])


@pytest.mark.parametrize("shape", [(6,), (1, 9, 8), (2, 12, 20), (1, 8, 9, 10)])
@pytest.mark.parametrize("cells", [30, 10**6])
def test_the_network_has_a_number_for_each_pixel_whatever_the_shape(shape, cells):
    found = PixelNet(shape, 2, cells)(torch.rand(3, *shape))
    assert found.shape == (3, *(shape[1:] or shape))


@pytest.mark.parametrize("shape", [(9, 2, 8, 8), (9, 1, 6, 7, 8), (9, 6)])
def test_what_is_to_be_found_is_zero_outside_the_patch_and_where_nothing_changed(shape):
    x, other = torch.rand(shape), torch.rand(shape)
    weight = (Features() if len(shape) == 2 else AnyPatch())(x)
    found = change(x, Interpolate()(x, other, weight), weight)
    inside = weight if len(shape) == 2 else weight[:, 0]
    assert found.shape == (9, *(shape[2:] or shape[1:]))
    assert (found[inside == 0] == 0).all()
    assert (found[inside > 0] > 0).float().mean() > 0.99
    assert (change(x, x, weight) == 0).all()


def test_a_change_by_one_everywhere_is_one():
    x, everywhere = torch.rand(2, 3, 5, 6), torch.ones(2, 1, 5, 6)
    torch.testing.assert_close(change(x, x + 1, everywhere), torch.ones(2, 5, 6))


def test_a_change_by_as_much_as_tau_is_foreign_by_two_thirds():
    X = normals((1, 8, 8))
    detector = tiny("ForeignPatch").fit(X)

    def spared(tau):
        (objective,) = detector.set_params(tau=tau).objectives(detector.net_)
        with seeded(1):
            return 1 - objective.prepare(torch.from_numpy(X))[1]

    assert spared(0.5).min() < 0.9
    torch.testing.assert_close(spared(0.25), spared(0.5).square())


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_map_is_of_its_sample_alone_and_survives_a_file(shape, tmp_path):
    detector = tiny("ForeignPatch").fit(normals(shape))
    X = normals(shape, n=20, seed=1)
    maps = detector.anomaly_map(X)
    assert maps.shape == (20, *(shape[1:] or shape))
    assert maps.dtype == np.float32
    np.testing.assert_allclose(detector.anomaly_map(X[4:6]), maps[4:6], rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(load(detector.save(tmp_path / "model")).anomaly_map(X), maps)


@pytest.mark.parametrize("shape", [(6,), (1, 8, 8)])
def test_the_score_is_the_mean_of_the_largest_values_of_the_map(shape):
    detector = tiny("ForeignPatch", share=0.5).fit(normals(shape))
    X = normals(shape, n=7, seed=1)
    values = np.sort(detector.anomaly_map(X).reshape(7, -1), axis=1)
    largest = values[:, values.shape[1] // 2 :].mean(axis=1)
    np.testing.assert_allclose(detector.score_samples(X), -largest, rtol=1e-5)
    whole = -values.mean(axis=1)
    np.testing.assert_allclose(detector.set_params(share=1.0).score_samples(X), whole, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(detector.set_params(share=0.0).score_samples(X), -values[:, -1], rtol=1e-5)


@pytest.mark.parametrize(("space", "n"), [((16, 16), 256), ((8, 8, 8), 512)])
def test_a_patch_that_no_normal_has_is_brighter_than_the_rest_of_the_map(space, n):
    detector = ForeignPatch(width=4, epochs=3, batch_size=16, learning_rate=4e-3, seed=1).fit(stripes(n, space))
    X = stripes(40, space, seed=1)
    inside = (..., *[slice(n // 4, 3 * n // 4) for n in space])
    spoilt = X.copy()
    spoilt[inside] = np.swapaxes(X, -1, -2)[inside]  # waves along another axis
    before, after = detector.anomaly_map(X), detector.anomaly_map(spoilt)
    where = np.zeros(space, bool)
    where[inside] = True
    assert np.mean(after[:, where].mean(axis=1) > after[:, ~where].mean(axis=1)) > 0.9
    assert np.mean(detector.score_samples(spoilt) < detector.score_samples(X)) > 0.7
    assert (after - before)[:, where].mean() > 2 * abs((after - before)[:, ~where].mean())
