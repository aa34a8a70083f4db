"""What fitting and scoring hold besides the samples, which lie in a file: it does not grow with their number."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch.distributions import Normal

from tiny import DETECTORS, normals, tiny
from unlikelihood import CorrelatedGaussian, Exemplars, PCAResidual, load
from unlikelihood.contract import blocks, neighbours
from unlikelihood.data.mapped import Mapped, Stored
from unlikelihood.detectors import pca_residual
from unlikelihood.nn import likelihoods, priors
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
run(small[:9], 9, *several, *neighbours)  # what the libraries themselves take is not counted
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
    threads = {"OMP_NUM_THREADS": "8"}  # a machine with many cores may not take more
    found = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=240, env={**os.environ, **threads}
    )
    several, neighbours = map(float, found.stdout.split())
    assert several < 60  # MiB: the residuals of all samples alone take 36, and as much again to be joined
    assert neighbours < 500  # two blocks of 256 such images, in double precision, take 1024 for every thread


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
