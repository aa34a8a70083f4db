"""A page that shows the main job on several data sets: what it says is what the models on it say."""

import csv
import re
import shutil

import numpy as np
import pytest

from unlikelihood import KNN, Digits, PCAResidual, Phantom, load
from unlikelihood.data.source import DataUnavailable
from unlikelihood.evaluation.experiment import Experiment
from unlikelihood.evaluation.showcase import Job, Showcase
from unlikelihood.report import plots


def digits():
    return Digits(train_per_digit=30, calibration_per_digit=10, test=40).split()


def cubes():
    return Phantom(train=30, calibration=24, benign=8, malignant=8, evaluated=8, size=12).split()


def unavailable():
    raise DataUnavailable("scans.npz is not at hand")


def never():
    raise AssertionError("it was fitted already")


@pytest.fixture(scope="module")
def jobs():
    return {
        "nodules": Job("Nodules", "Cubes.", cubes, lambda: PCAResidual(n_components=2)),
        "digits": Job("Scans", "", unavailable, KNN, otherwise=Job("Digits", "Nines.", digits, KNN)),
        "lost": Job("Glands", "Outlines.", unavailable, KNN),
    }


@pytest.fixture(scope="module")
def shown(jobs, tmp_path_factory):
    out = tmp_path_factory.mktemp("showcase")
    row = Experiment("Rows", "Two.", lambda seed: digits(), {"KNN": lambda seed: KNN(seed=seed)}, seeds=(0,))
    return out, Showcase("All", "Of it.", jobs, {"rows": row}).run(out)


def test_its_table_says_what_the_models_decide_and_the_best_stands_first(shown):
    out, table = shown
    lines = table.splitlines()[1:]
    assert [float(re.search(r"0\.\d{3}", line)[0]) for line in lines] == sorted(
        (float(re.search(r"0\.\d{3}", line)[0]) for line in lines), reverse=True
    )
    split, model = digits(), load(out / "digits" / "model")
    called = model.predict(split.test.pixels) == -1
    of_digits = next(line for line in lines if line.startswith("Digits"))
    for kind in (1, 0):
        assert f"{100 * called[split.test.label == kind].mean():.1f}" in of_digits


def test_every_link_leads_to_a_page_and_what_is_lost_is_named(shown):
    out, _ = shown
    page = (out / "report.html").read_text(encoding="utf-8")
    links = re.findall(r"<a href=\"([^\"]+)\"", page)
    assert len(links) == 5
    assert all((out / link).is_file() for link in links)
    assert "Left out: scans.npz is not at hand" in page


def test_the_triage_ranks_the_whole_test_without_its_labels(shown):
    out, _ = shown
    ranked = list(csv.DictReader((out / "digits" / "triage" / "ranked.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["name"] for row in ranked} == set(digits().test.name)
    assert "label" not in ranked[0]
    assert (np.diff([float(row["anomaly_score"]) for row in ranked]) <= 0).all()


def test_a_rerun_fits_nothing_and_says_the_same(shown, tmp_path):
    out, table = shown
    copied = shutil.copytree(out, tmp_path / "copy")
    again = Showcase("All", "Of it.", {"digits": Job("Digits", "Nines.", digits, never)}).run(copied)
    assert again.splitlines()[1].split() in [line.split() for line in table.splitlines()]


@pytest.mark.parametrize("shape", [(1, 9, 12), (3, 9, 12), (1, 5, 9, 12)])
def test_pictures_have_their_maps_below(shape):
    rng = np.random.default_rng(0)
    pixels, maps = rng.random((2, *shape)), np.zeros((2, *shape[1:]))
    maps[..., 2, 3] = 1  # what lies in no plane of the busiest slices would not be seen
    figure = plots.mapped(pixels, maps, ["one", "two"], 1.0, spacing=(2.0,) * len(shape[1:]))
    (axes,) = figure.axes
    above = sorted(axes.images, key=lambda image: -image.get_extent()[3])
    drawn = [image.get_array() for image in above]
    half = len(drawn) // 2
    assert half == 2 * (3 if len(shape) == 4 else 1)
    for below in drawn[half:]:
        assert np.ptp(np.asarray(below), axis=-1).max() > 0  # colours: a map lies over each
    assert [text.get_text() for text in axes.texts] == ["one", "two"]
