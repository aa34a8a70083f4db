"""What fitting and scoring hold besides the samples, which lie in a file: it does not grow with their number."""

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import nn
from torch.distributions import Normal

from tiny import DETECTORS, normals, tiny
from unlikelihood import (
    NAP,
    CorrelatedGaussian,
    Exemplars,
    PatchGaussian,
    PatchMemory,
    PathStatistics,
    PCAResidual,
    TorchEncoder,
    load,
)
from unlikelihood.contract import blocks, neighbours
from unlikelihood.data.mapped import Mapped, Stored
from unlikelihood.detectors import path_statistics, pca_residual, rapp
from unlikelihood.nn import likelihoods, priors
from unlikelihood.storage import identity
from unlikelihood.training.batches import is_mapped

MEASURE = """
import sys
import numpy as np
from pathlib import Path
from unlikelihood import KNN, LOF, VAE, IWAE, OptimalGaussian

def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024

def run(X, known, *detectors):
    for detector in detectors:
        detector.fit(X[:known]).score_samples(X[-known:][:1000])

small, large = (np.load(path, mmap_mode="r") for path in sys.argv[1:])
scoring = dict(epochs=1, batch_size=250, scoring=IWAE(1))
several = VAE(2, 1, **scoring), VAE(2, 1, OptimalGaussian(), **scoring)
neighbours = KNN(), LOF()
run(small[:1000], 1000, *several, *neighbours)  # what libraries and batches take on this processor is not counted
before = peak()
run(small, len(small), *several)
print(peak() - before)
run(large, 18, *neighbours)
print(peak() - before)
"""


def mapped(folder, X):
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode="r")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells how much a process has held")
def test_memory_is_bounded_whatever_the_number_and_the_size_of_samples(tmp_path):
    random, paths = np.random.default_rng(0), (tmp_path / "small.npy", tmp_path / "large.npy")
    for path, shape in zip(paths, ((12_000, 1, 28, 28), (20, 1, 512, 512)), strict=True):
        np.save(path, random.integers(0, 256, shape, np.uint8))
    command = [sys.executable, "-W", "ignore", "-c", MEASURE, *paths]
    # A machine with many cores may not take more; on one with few, threads that wait by spinning take the others' time.
    threads = {"OMP_NUM_THREADS": "8", "OMP_WAIT_POLICY": "passive"}
    found = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=240, env={**os.environ, **threads}
    )
    several, neighbours = map(float, found.stdout.split())
    assert several < 60  # MiB: the residuals of all samples alone take 36, and as much again to be joined
    assert neighbours < 500  # two blocks of 256 such images, in double precision, take 1024 for every thread


@pytest.mark.parametrize(
    "made",
    [
        lambda vae, _: NAP(vae),
        lambda vae, _: PathStatistics(vae, samples=1),
        lambda _, encoder: PatchMemory(encoder, size=16, candidates=64),
        lambda _, encoder: PatchGaussian(encoder),
    ],
    ids=["NAP", "PathStatistics", "PatchMemory", "PatchGaussian"],
)
def test_what_is_held_does_not_grow_with_the_samples(tmp_path, monkeypatch, made):
    for module, name in ((rapp, "HELD"), (path_statistics, "MOST"), (identity, "BLOCK")):
        monkeypatch.setattr(module, name, 64)
    few, peaks = normals((1, 12, 12), 40), []
    parts = tiny("VAE").fit(few), TorchEncoder(nn.Conv2d(1, 3, 1)).fit(few)
    for n in (500, 1500):
        X = mapped(tmp_path, normals((1, 12, 12), n))
        tracemalloc.start()
        made(*parts).fit(X).score_samples(X)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / 1000 < 400  # bytes of a sample, whose pixels take 576


@pytest.mark.parametrize("n", [50, 1500])
def test_differences_in_blocks_have_the_whitening_of_all(monkeypatch, n):
    X = normals((1, 8, 8), n)
    vae = tiny("VAE").fit(X)
    whole = NAP(vae).fit(X)
    d = whole._of_differences(lambda d: d, X)
    _, sigma, v = np.linalg.svd(d - d.mean(axis=0), full_matrices=False)
    sigma, v = sigma[sigma > rapp.ROUNDING * sigma[0]], v[sigma > rapp.ROUNDING * sigma[0]]
    expected = -np.square((d - d.mean(axis=0)) @ v.T / sigma).sum(axis=1)
    assert whole.score_samples(X) == pytest.approx(expected, rel=1e-6)
    monkeypatch.setattr(rapp, "HELD", 0)
    assert NAP(vae).fit(X).score_samples(X) == pytest.approx(expected, rel=1e-6)


def test_statistics_of_many_are_a_random_part_of_them(monkeypatch):
    X = normals((1, 8, 8), 300)
    vae = tiny("VAE").fit(X)
    every = PathStatistics(vae).fit(X)
    monkeypatch.setattr(path_statistics, "MOST", 200)
    some = PathStatistics(vae).fit(X)
    assert some.train_.shape == (200, 6)
    found, known = (one.train_ * one.scale_ + one.mean_ for one in (some, every))
    assert (np.abs(found[:, None] - known).max(axis=2).min(axis=1) < 1e-4).all()
    assert np.corrcoef(some.score_samples(X), every.score_samples(X))[0, 1] > 0.9


def test_patches_are_drawn_from_all_samples_and_only_their_samples_are_looked_at(monkeypatch):
    X = np.arange(900, dtype=np.float32).reshape(900, 1, 1, 1) + np.zeros((1, 1, 2, 2), np.float32)
    encoder = TorchEncoder(nn.Conv2d(1, 1, 1)).fit(X)
    seen = []
    monkeypatch.setattr(encoder, "feature_maps", lambda x: [seen.extend(x[:, 0, 0, 0]), x][1])
    detector = PatchMemory(encoder, size=50, candidates=50).fit(X)
    drawn = np.sort((detector.memory_ * detector.scale_).ravel())
    assert len(drawn) == 50
    np.testing.assert_allclose(drawn, np.rint(drawn), atol=1e-3)
    assert drawn[0] < 300 < 600 < drawn[-1]
    assert set(np.rint(drawn)) == set(seen[1:])  # the first says how large a map is


def test_a_view_of_a_map_is_known_as_one(tmp_path):
    X = mapped(tmp_path, normals((1, 8, 8)))
    assert all(map(is_mapped, (X, X[3:], np.asarray(X)[3:].reshape(-1, 64))))
    assert not any(map(is_mapped, (np.array(X), X[[1, 2]], X + 1)))


@pytest.mark.parametrize("name", ["Committee", "Crops", "LikelihoodRatio"])
def test_what_is_made_of_a_large_map_lies_in_a_file_and_gives_the_same_scores(tmp_path, monkeypatch, name):
    X = normals((1, 8, 8))
    expected = tiny(name).fit(X).score_samples(X)
    monkeypatch.setattr(blocks, "IN_MEMORY", 0)
    made = []
    monkeypatch.setattr(
        np, "memmap", lambda *args, memmap=np.memmap, **kwargs: made.append(1) or memmap(*args, **kwargs)
    )
    assert np.array_equal(tiny(name).fit(mapped(tmp_path, X)).score_samples(X), expected)
    assert made


@pytest.mark.parametrize(
    "name", ["KNN", "LOF", "IsolationForest", "PCAResidual", "InsideDistance", "Crops", "LatentSearch"]
)
def test_blocks_do_not_change_a_score(monkeypatch, name):
    X = normals((1, 8, 8), 90)
    detector = tiny(name).fit(X)
    expected = detector.score_samples(X)
    monkeypatch.setattr(blocks, "HELD", 64)
    assert len(list(blocks.blocks(X))) == 5
    assert detector.score_samples(X) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("rank", [None, 2])
def test_summed_products_give_the_covariance_of_held_residuals(monkeypatch, rank):
    rng = np.random.default_rng(0)
    residual = torch.from_numpy(rng.normal(size=(500, 8)) @ rng.normal(size=(8, 8)) + 30)
    x = residual[:50]
    scores = []
    for held in (2**24, 80):
        monkeypatch.setattr(likelihoods, "HELD", held)
        likelihood = CorrelatedGaussian(rank)((8,)).double().eval()
        likelihood.fit_residuals(residual.split(64))
        scores.append(likelihood(x, torch.zeros_like(x)))
    assert torch.allclose(*scores, rtol=1e-6)


def test_exemplars_in_blocks_are_the_same_mixture(monkeypatch):
    means = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    found = []
    for held in (2**24, 7):
        monkeypatch.setattr(priors, "HELD", held)
        monkeypatch.setattr(priors, "AT_ONCE", held)
        prior = Exemplars()(100, 2)
        prior.fit_posteriors([Normal(part, torch.ones_like(part)) for part in means.split(30)])
        found.append(prior.log_prob(means))
    assert torch.allclose(*found, atol=1e-5)


def test_a_summed_covariance_has_the_principal_axes_of_the_samples(monkeypatch):
    X = normals((1, 8, 8), 700) + 5
    detectors = []
    for held in (2**23, 64):
        monkeypatch.setattr(blocks, "HELD", held)
        monkeypatch.setattr(pca_residual, "HELD", held)
        detectors.append(PCAResidual(4).fit(X))
    one, other = detectors
    assert not np.array_equal(one.axes_, other.axes_)
    assert other.score_samples(X) == pytest.approx(one.score_samples(X), rel=1e-7)
    assert other.reconstruct(X) == pytest.approx(one.reconstruct(X), abs=1e-5)


@pytest.mark.parametrize("name", ["KNN", "LOF"])
@pytest.mark.parametrize("how", ["array", "map", "mapped"])
def test_neighbours_among_many_are_nearly_those_among_all(tmp_path, monkeypatch, name, how):
    X = normals((1, 8, 8), 900)
    new = np.concatenate([normals((1, 8, 8), 60, seed=1), 1 - normals((1, 8, 8), 20, seed=2)])
    exact = DETECTORS[name]().fit(X).score_samples(new)
    monkeypatch.setattr(neighbours, "IN_MEMORY", 0)
    stored = mapped(tmp_path, X) if how != "array" else X
    detector = DETECTORS[name]().fit(Mapped([Stored(stored)]) if how == "mapped" else stored)
    assert len(detector.cells_["centre"]) == 30
    found = detector.score_samples(new)
    assert np.mean(np.isclose(found, exact, rtol=1e-4)) > 0.8
    assert found == pytest.approx(exact, rel=0.3)
    if name == "KNN":
        assert (found <= exact + 1e-5).all()  # what is missed was nearer
    assert detector.score_samples(new[:3]) == pytest.approx(found[:3], rel=1e-5)
    detector.save(tmp_path / "model")
    assert load(tmp_path / "model").score_samples(new) == pytest.approx(found, rel=1e-6)


def test_all_neighbours_are_found_where_every_cell_is_searched(monkeypatch):
    X = normals((1, 8, 8), 300).reshape(300, -1)
    exact = NearestNeighbors(n_neighbors=7).fit(X).kneighbors(X[:50])
    monkeypatch.setattr(neighbours, "IN_MEMORY", 0)
    monkeypatch.setattr(neighbours, "SEARCHED", 300)
    distance, index = neighbours.Neighbours(X, 7, neighbours.cells_of(X, 0)).query(X[:50])
    assert distance == pytest.approx(exact[0], abs=1e-6)
    assert np.array_equal(np.sort(index), np.sort(exact[1]))


def test_cells_of_few_samples_are_searched_until_there_are_enough(monkeypatch):
    X = normals((1, 8, 8), 40).reshape(40, -1)
    monkeypatch.setattr(neighbours, "IN_MEMORY", 0)
    monkeypatch.setattr(neighbours, "SEARCHED", 1)
    distance, index = neighbours.Neighbours(X, 20, neighbours.cells_of(X, 0)).query(X)
    assert np.isfinite(distance).all()
    assert all(len(set(own)) == 20 for own in index.tolist())


def test_samples_are_remembered_in_their_own_type(tmp_path, monkeypatch):
    pixels = np.rint(255 * normals((1, 8, 8), 300)).astype(np.uint8)
    many = Mapped([Stored(mapped(tmp_path, pixels), (0, 255))])
    monkeypatch.setattr(neighbours, "IN_MEMORY", 0)
    detector = DETECTORS["KNN"]().fit(many)
    assert detector.train_.parts[0].values.dtype == np.uint8
    detector.save(tmp_path / "model")
    assert load(tmp_path / "model").score_samples(many[:9]) == pytest.approx(detector.score_samples(many[:9]))
    assert (tmp_path / "model" / "weights.safetensors").stat().st_size < 2.5 * pixels.nbytes


@pytest.mark.parametrize("n", [60, 400])
def test_principal_axes_passed_over_in_blocks_are_those_of_all(monkeypatch, n):
    X = normals((1, 12, 12), n)
    exact = PCAResidual(4).fit(X)
    monkeypatch.setattr(pca_residual, "HELD", 0)
    monkeypatch.setattr(pca_residual, "IN_MEMORY", 0)
    passed = PCAResidual(4).fit(X)
    assert passed.reconstruct(X) == pytest.approx(exact.reconstruct(X), abs=1e-4)


def test_a_forest_of_many_samples_holds_those_that_its_trees_see():
    X = normals((1, 4, 4), 500)
    forest = DETECTORS["IsolationForest"](n_estimators=10, subsample=16).fit(X)
    assert len(forest.train_) == 160
    assert {tuple(x) for x in forest.train_.tolist()} <= {tuple(x) for x in X.reshape(500, -1).tolist()}


def test_exemplars_of_many_are_evenly_spaced(monkeypatch):
    monkeypatch.setattr(priors, "MOST", 20)
    means = torch.arange(100.0)[:, None]
    prior = Exemplars()(100, 1)
    prior.fit_posteriors([Normal(part, torch.ones_like(part)) for part in means.split(30)])
    assert prior.mean.flatten().tolist() == list(range(0, 100, 5))
