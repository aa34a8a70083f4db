"""A page that reproduces a work: its figures are those of the detectors' own reports, and a rerun fits nothing."""

import json
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from test_report import Page
from tiny import tiny
from unlikelihood import KNN, VAE, Digits, LatentSearch, Phantom
from unlikelihood.contract.trained import Learner
from unlikelihood.data.source import DataUnavailable
from unlikelihood.evaluation.experiment import Experiment
from unlikelihood.evaluation.generation import Generation
from unlikelihood.evaluation.reproduction import Reproduction, Run, Shown, Varied
from unlikelihood.recipes import nodule_dcgan, nodule_gan, nodule_vae, thesis
from unlikelihood.report.page import Section


def digits():
    return Digits(train_per_digit=10, calibration_per_digit=2, test=12).split()


def cubes(seed=0):
    return Phantom(train=30, calibration=2, benign=4, malignant=4, evaluated=4, size=9, seed=seed).split()


def unavailable():
    raise DataUnavailable("scans.npz is not at hand")


@pytest.fixture
def reproduction():
    search = partial(tiny, "LatentSearch")
    experiment = Experiment("Varied", "One thing.", lambda seed: digits(), {"KNN": lambda seed: KNN(seed=seed)})
    return Reproduction(
        "A work",
        "All of it.",
        [
            Shown("Data", lambda: Section("", "Some.")),
            Run(
                "Search",
                "A search.",
                digits,
                search,
                {"Figure 4": "densities", "Figure 5": "roc", "Path": "path", "Walk": "walk", "Layers": "architecture"},
                published=0.66,
            ),
            Varied("How fragile", replace(experiment, seeds=(0, 1))),
            Run(
                "Made",
                "Generates.",
                cubes,
                partial(tiny, "DCGAN"),
                {"Made": "generated", "L": "training"},
                judged=False,
            ),
            Run("Lost", "Never run.", unavailable, partial(tiny, "VAE"), {}),
        ],
    )


def test_the_page_is_in_order_and_a_rerun_fits_nothing(reproduction, tmp_path, monkeypatch):
    first = reproduction.run(tmp_path)
    page = Page(tmp_path)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    titles = re.findall(r"<h2>(.*?)</h2>", page.text)
    assert titles[:5] == ["Data", "Search", "How fragile", "Made", "Lost"]
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page.text)
    assert [caption.split(".")[0] for caption in captions[:7]] == [
        *("Figure 4", "Figure 5", "Path", "Path", "Path", "Walk", "Layers")
    ]
    assert "Left out: scans.npz is not at hand" in page.text
    (row,) = json.loads((tmp_path / "reproduction.json").read_text())["rows"]
    assert row["name"] == "Search"
    assert row["reference"] == 0.66
    assert f"{row['auroc']['value']:.3f}" in first
    monkeypatch.setattr(Learner, "fit", lambda *_: pytest.fail("fitted again"))
    again = reproduction.run(tmp_path)
    assert [line.split()[:2] for line in again.splitlines()] == [line.split()[:2] for line in first.splitlines()]


def test_generators_are_compared_by_their_samples_and_have_no_auroc(tmp_path):
    generators = {name: lambda seed, name=name: tiny(name, seed=seed) for name in ("DCGAN", "WGANGP")}
    made = Generation("Generators", "Two.", cubes, generators, seeds=(0, 1))
    text = made.run(tmp_path)
    page = Page(tmp_path)
    assert "AUROC" not in page.text
    assert page.open == []
    assert "Seeds with an alarm" in text
    record = json.loads((tmp_path / "generation.json").read_text())["generators"]
    assert {name: len(runs) for name, runs in record.items()} == {"DCGAN": 2, "WGANGP": 2}
    assert all(np.isfinite(run["history"]["generator"]).all() for run in record["WGANGP"])


@pytest.mark.parametrize("quick", [True, False])
def test_the_nodules_are_reproduced_as_the_thesis_has_them(quick):
    found = {chapter.title: chapter for chapter in thesis.experiment(quick).chapters}
    search = found[thesis.NODULE_GAN].detector()
    gan = search.detector.generator
    assert (search.size, search.detector.steps, search.detector.discrimination) == (28, 100, 0.5)
    assert (gan.latent, type(gan.latents).__name__, type(gan.upscaling).__name__) == (
        *(100, "UniformLatents"),
        "UpsampledConvolution",
    )
    assert isinstance(search.detector, LatentSearch)
    vae = found[thesis.NODULE_VAE].detector()
    assert isinstance(vae.detector, VAE)
    assert gan.augment is None
    assert vae.detector.augment is None
    if not quick:
        assert gan.epochs * search.drawn == vae.detector.epochs * vae.drawn == 100


def test_a_table_of_nodules_holds_rows_of_one_budget():
    series = nodule_vae.experiment(True).experiments
    for name in ("phantom", "lidc"):
        parts = [make(0) for row, make in series[name].detectors.items() if row.startswith("VAE")]
        budgets = {(part.detector.width, part.detector.epochs * max(1, part.drawn)) for part in parts}
        assert len(budgets) == 1
    assert all(isinstance(made, Generation) for made in nodule_dcgan.experiment(True).experiments.values())
    assert nodule_gan.experiment(True).experiments["phantom"].references == {nodule_gan.SEARCH: 0.58}
