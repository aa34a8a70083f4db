"""PatchCore and PaDiM: patches of feature maps against those of normals."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.spatial.distance import cdist
from torch import nn

from tiny import normals
from unlikelihood import Contrastive, PatchGaussian, PatchMemory, TorchEncoder
from unlikelihood.detectors.patch_memory import coreset
from unlikelihood.nn.spatial import side_by_side

RNG = np.random.default_rng(0)


def encoder(axes=2):
    convolution = {2: nn.Conv2d, 3: nn.Conv3d}[axes]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TorchEncoder(nn.Sequential(convolution(1, 5, 3, 2, 1), nn.Tanh()))


def spotted(X):
    """Return the samples with a pattern at one place that no normal has."""
    X = X.copy()
    X[:, :, 2:5, 9:12] += np.array([[0, 2, 0], [2, -2, 2], [0, 2, 0]], np.float32)
    return X


@pytest.mark.parametrize("axes", [2, 3])
def test_a_memory_of_all_patches_is_brute_force(axes):
    X, new = normals((1, *[8] * axes), 12), normals((1, *[8] * axes), 5, seed=1)
    detector = PatchMemory(encoder(axes), top=1.0, n_neighbors=3).fit(X)
    flat = [np.moveaxis(m, 1, -1).reshape(len(m), -1, 5) for m in map(detector.encoder_.feature_maps, (X, new))]
    scale = flat[0].reshape(-1, 5).std(axis=0)
    distances = cdist(flat[1].reshape(-1, 5) / scale, flat[0].reshape(-1, 5) / scale)
    nearest = np.sort(distances, axis=1)[:, :3].mean(axis=1).reshape(5, -1)
    assert detector.score_samples(new) == pytest.approx(-nearest.mean(axis=1), abs=1e-4)


def test_a_gaussian_at_each_position_is_the_mahalanobis_distance():
    X, new = normals((1, 8, 8), 40) + 100, normals((1, 8, 8), 5, seed=1) + 100
    detector = PatchGaussian(encoder(), top=1.0, ridge=0.1).fit(X)
    f, g = (np.float64(m.reshape(len(m), 5, -1)) for m in map(detector.encoder_.feature_maps, (X, new)))
    variance = f.var(axis=0).mean()
    expected = []
    for position in range(f.shape[2]):
        covariance = np.cov(f[:, :, position].T, bias=True) + 0.1 * variance * np.eye(5)
        difference = g[:, :, position] - f[:, :, position].mean(axis=0)
        expected.append(np.sqrt(np.einsum("ni,ij,nj->n", difference, np.linalg.inv(covariance), difference)))
    assert detector.score_samples(new) == pytest.approx(-np.mean(expected, axis=0), rel=1e-3)


@pytest.mark.parametrize("detector", [PatchMemory, PatchGaussian])
@pytest.mark.parametrize("embed", [encoder, lambda: Contrastive(width=4, features=8, epochs=2)])
def test_what_no_normal_has_is_found_and_where(detector, embed):
    X, new = normals((1, 16, 16), 60), normals((1, 16, 16), 10, seed=1)
    fitted = detector(embed()).fit(X)
    assert fitted.score_samples(spotted(new)).max() < fitted.score_samples(new).min()
    maps = fitted.anomaly_map(spotted(new))
    assert maps.shape == (10, 16, 16)
    row, column = np.mean([np.unravel_index(m.argmax(), m.shape) for m in maps], axis=0)
    assert abs(row - 3) < 4
    assert abs(column - 10) < 4


def test_a_coreset_leaves_no_point_far_away_and_takes_none_twice():
    points = np.concatenate([RNG.normal(size=(500, 3)), [[50, 0, 0]]]).astype(np.float32)
    chosen = coreset(points, 60, RNG)
    assert len(set(chosen)) == 60
    assert 500 in chosen
    covered = cdist(points, points[chosen]).min(axis=1).max()
    at_random = cdist(points, points[RNG.permutation(500)[:60]]).min(axis=1).max()
    assert covered < 0.6 * at_random
    assert np.array_equal(coreset(points, 501, RNG), np.arange(501))
    assert len(set(coreset(np.repeat(points[:4], 5, axis=0), 12, RNG))) == 12


def test_the_memory_does_not_grow_with_the_normals():
    sizes = {n: PatchMemory(encoder(), size=30, candidates=100).fit(normals((1, 8, 8), n)).memory_ for n in (20, 200)}
    assert {memory.shape for memory in sizes.values()} == {(30, 5)}


def test_levels_side_by_side_lie_over_one_another():
    fine = torch.zeros(1, 1, 16, 16)
    fine[..., 4:8, 8:12] = 1
    joined = side_by_side([fine, nn.functional.avg_pool2d(fine, 4)])
    assert joined.shape == (1, 2, 16, 16)
    for level in joined[0].numpy():
        row, column = (np.average(np.arange(16), weights=level.sum(axis=axis)) for axis in (1, 0))
        assert row == pytest.approx(5.5, abs=0.5)
        assert column == pytest.approx(9.5, abs=0.5)


def test_frozen_weights_come_from_a_checked_file(tmp_path):
    X, net = normals((1, 8, 8)), encoder().module
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    fresh = nn.Sequential(nn.Conv2d(1, 5, 3, 2, 1), nn.Tanh())
    before = fresh[0].weight.clone()
    read = TorchEncoder.from_safetensors(fresh, tmp_path / "net.safetensors", batch_size=7).fit(X)
    assert np.allclose(read.feature_maps(X), TorchEncoder(net).fit(X).feature_maps(X), atol=1e-6)
    assert torch.equal(fresh[0].weight, before)
    with pytest.raises(ValueError, match=r"net.safetensors has the SHA-256 .*, expected abc"):
        TorchEncoder.from_safetensors(fresh, tmp_path / "net.safetensors", sha256="abc")
    with pytest.raises(ValueError, match=r"net.safetensors does not hold the weights of this Sequential"):
        TorchEncoder.from_safetensors(nn.Sequential(nn.Linear(2, 2)), tmp_path / "net.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"pickle")
    with pytest.raises(ValueError, match=r"bad.safetensors is no safetensors file"):
        TorchEncoder.from_safetensors(fresh, tmp_path / "bad.safetensors")


def test_a_module_may_give_several_feature_maps():
    class Levels(nn.Module):
        def forward(self, x):
            return [x, nn.functional.avg_pool2d(x, 2)]

    X = normals((1, 8, 8))
    assert TorchEncoder(Levels()).fit(X).feature_maps(X).shape == (len(X), 2, 8, 8)
