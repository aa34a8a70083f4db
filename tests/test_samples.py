"""Generators are judged by their samples once, beside normals that nobody trained on."""

import json

import numpy as np
import pytest

from tiny import normals, tiny
from unlikelihood import NADE, Images, Split
from unlikelihood.evaluation.experiment import Series
from unlikelihood.evaluation.samples import UNSEEN, Samples
from unlikelihood.metrics.generators import quality_of


def split(seed):
    X = normals((1, 8, 8), n=400, seed=seed)
    label = np.arange(100) % 2
    parts = Images(X[:200]), Images(X[200:300]), Images(X[300:], label=label)
    return Split(*parts)


@pytest.fixture
def samples():
    return Samples(
        "Blobs",
        "A test.",
        split,
        encoder=lambda seed: tiny("Contrastive", seed=seed),
        generators={
            "NADE": lambda seed: NADE(hidden=4, epochs=1, seed=seed),
            "VAE": lambda seed: tiny("VAE", seed=seed),
        },
        seeds=(0, 1),
    )


def test_the_table_holds_the_quality_of_every_generator_and_of_unseen_normals(samples, tmp_path):
    text = Series("Both", {"generators": samples}).run(tmp_path)
    record = json.loads((tmp_path / "generators" / "samples.json").read_text())["rows"]
    assert list(record) == [UNSEEN, "NADE", "VAE"]
    assert all(len(seeds) == 2 for seeds in record.values())
    X = split(0).train.pixels
    found = quality_of(NADE(hidden=4, epochs=1).fit(X), X, tiny("Contrastive").fit(X))
    assert record["NADE"][0]["inception"] == pytest.approx(found.inception, rel=1e-4)
    assert record[UNSEEN][0]["frechet"] < min(record[name][0]["frechet"] for name in ("NADE", "VAE"))
    assert f"{np.mean([each['inception'] for each in record['VAE']]):.3g}" in text
    assert "Blobs" in (tmp_path / "generators" / "report.html").read_text()


def test_a_run_that_was_interrupted_fits_only_what_is_missing(samples, tmp_path, monkeypatch):
    first = samples.run(tmp_path)
    for file in (gone := next(tmp_path.glob("runs/nade-seed1-*"))).iterdir():
        file.unlink()
    gone.rmdir()
    fit, fitted = NADE.fit, []
    monkeypatch.setattr(NADE, "fit", lambda self, X: fitted.append(self.seed) or fit(self, X))
    assert samples.run(tmp_path) == first
    assert fitted == [1]
