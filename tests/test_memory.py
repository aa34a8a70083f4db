"""What fitting and scoring hold besides the samples, which lie in a file: it does not grow with their number."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from tiny import normals, tiny
from unlikelihood import CorrelatedGaussian, Exemplars, PCAResidual
from unlikelihood.contract import blocks
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
