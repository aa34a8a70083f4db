"""Small changes of space are almost free, all others cost what they do in Euclid's distance."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates, shift

from tiny import SHAPES, normals
from unlikelihood import KNN, TangentDistance
from unlikelihood.detectors.tangent_distance import solved, tangents


def smooth(space):
    """Return a bump off the middle, (1, 1, *space)."""
    at = np.indices(space) - 0.45 * np.array(space).reshape(-1, *[1] * len(space))
    return np.exp(-np.square(at).sum(axis=0) / (0.02 * max(space) ** 2))[None, None]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_without_changes_it_is_the_distance_to_the_nearest(shape):
    X, new = normals(shape), normals(shape, seed=1)
    stiff = TangentDistance(stiffness=1e12).fit(X)
    np.testing.assert_allclose(stiff.score_samples(new), KNN(3).fit(X).score_samples(new), rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_it_is_never_longer_than_the_distance_and_grows_with_stiffness(shape):
    X, new = normals(shape), normals(shape, seed=1)
    scores = [TangentDistance(stiffness=s, candidates=40).fit(X).score_samples(new) for s in (1e-3, 1e-1, 1e1)]
    scores.append(KNN(3).fit(X).score_samples(new))
    assert (np.diff(scores, axis=0) <= 1e-6).all()


@pytest.mark.parametrize("space", [(24, 20), (16, 14, 18)])
def test_columns_are_the_derivatives_of_small_changes(space):
    x, axes = smooth(space), len(space)
    found = tangents(torch.from_numpy(x))[0, :, 0].numpy()
    assert len(found) == axes + axes**2 + 1
    away = np.indices(space) - (np.array(space).reshape(-1, *[1] * axes) - 1) / 2
    step = 0.01
    for number in range(axes):
        moved = shift(x[0, 0], [-step * (axis == number) for axis in range(axes)], order=5, mode="nearest")
        assert np.corrcoef(found[number].ravel(), (moved - x[0, 0]).ravel())[0, 1] > 0.99
        assert np.abs(found[number] - (moved - x[0, 0]) / step).max() < 0.2 * np.abs(found[number]).max()
    for place in range(axes):
        for number in range(axes):
            grid = np.indices(space, np.float64)
            grid[number] += step * away[place] * 2 / max(space)
            moved = map_coordinates(x[0, 0], grid, order=5, mode="nearest")
            column = found[axes + place * axes + number]
            assert np.corrcoef(column.ravel(), (moved - x[0, 0]).ravel())[0, 1] > 0.99


def test_what_is_a_little_changed_is_nearer_than_what_is_as_far_elsewhere():
    x = smooth((16, 16)).astype(np.float32)
    moved = shift(x, (0, 0, 0.4, -0.3), order=3, mode="nearest")
    noise = np.random.default_rng(0).normal(size=x.shape)
    noisy = x + noise * np.linalg.norm(moved - x) / np.linalg.norm(noise)
    fitted = TangentDistance().fit(x)
    of_moved, of_noisy = -fitted.score_samples(np.concatenate([moved, noisy]))
    assert of_moved < 0.4 * of_noisy
    np.testing.assert_allclose(fitted.score_samples(x), 0, atol=1e-6)


def test_the_reconstruction_is_the_nearest_normal_moved():
    X = np.concatenate([smooth((16, 16)), smooth((16, 16))[..., ::-1]]).astype(np.float32)
    moved = shift(X[:1], (0, 0, 0.4, -0.3), order=3, mode="nearest")
    made = TangentDistance().fit(X).reconstruct(moved)
    assert np.linalg.norm(made - moved) < 0.4 * np.linalg.norm(X[:1] - moved)


def test_elimination_solves():
    rng = torch.Generator().manual_seed(0)
    root = torch.randn(5, 7, 9, generator=rng, dtype=torch.float64)
    A, b = root @ root.mT, torch.randn(5, 7, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(solved(A, b), torch.linalg.solve(A, b))
