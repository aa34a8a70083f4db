"""The table of MedMNIST resumes where it stopped, and says which sets are missing."""

import importlib.util
import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from benchmarks import medmnist
from benchmarks.medmnist import ROWS, filled, loaded, main, measure, measured, named, planned, read

from medmnist_files import COUNTS, write
from unlikelihood.data.medmnist_sets import SETS

ROOT = Path(__file__).parent.parent
CHEAP = ("total intensity, two-sided", "PCAResidual", "KNN")
NAMES = ("octmnist", "breastmnist")


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Let two sets, of masks, be all that is at hand, and return where the table will be."""
    monkeypatch.setenv("UNLIKELIHOOD_DATA", str(tmp_path))
    monkeypatch.setenv("UNLIKELIHOOD_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for name in NAMES:
        masks = {
            f"{part}_images": np.uint8(255) * (rng.random((each * len(SETS[name].classes), 28, 28)) > 0.7)
            for part, each in COUNTS.items()
        }
        write(tmp_path, name, **masks)
    read.cache_clear()
    monkeypatch.setattr(medmnist, "RESULTS", tmp_path / "medmnist.json")
    return tmp_path / "medmnist.json"


@pytest.fixture
def cheap(monkeypatch):
    monkeypatch.setattr(medmnist, "ROWS", {row: ROWS[row] for row in CHEAP})


def areas(known):
    return {key: (cell["auroc"], cell["interval"]) for key, cell in known["cells"].items()}


def test_an_interrupted_table_goes_on_where_it_stopped(path, cheap, tmp_path):
    whole = filled(loaded(path), map(measured, planned(loaded(path), NAMES, 2)), tmp_path / "whole.json")
    assert len(whole["cells"]) == len(NAMES) * len(CHEAP) * 2

    plan = planned(loaded(path), NAMES, 2)
    filled(loaded(path), islice(map(measured, plan), 4), path)
    kept = loaded(path)
    assert set(kept["cells"]) == {named(cell) for cell in plan[:4]}
    assert kept["unfinished"] == {"breastmnist": ["PCAResidual", "KNN"]}
    assert set(kept["missing"]) == set(SETS) - set(NAMES)
    rest = planned(kept, NAMES, 2)
    assert rest == plan[4:]
    resumed = filled(kept, map(measured, rest), path)
    assert planned(loaded(path), NAMES, 2) == []
    assert areas(resumed) == areas(whole) == areas(loaded(path))
    assert list(resumed["cells"]) == list(whole["cells"]), "the order is the table's, whatever came first"
    assert resumed["unfinished"] == {}
    assert resumed["summary"] == loaded(path)["summary"] == whole["summary"]


def test_more_seeds_keep_what_is_there(path, cheap):
    filled(loaded(path), map(measured, planned(loaded(path), NAMES, 1)), path)
    before = areas(loaded(path))
    more = planned(loaded(path), NAMES, 3)
    assert {seed for _, _, seed in more} == {1, 2}
    known = filled(loaded(path), map(measured, more), path)
    assert areas(known).items() >= before.items()
    for name in NAMES:
        for row in CHEAP:
            found = known["summary"][name][row]
            assert found["seeds"] == 3
            assert found["interval"][0] <= found["auroc"] <= found["interval"][1]


def test_a_cell_says_what_was_run_and_where(path, cheap):
    cell = measure(("octmnist", "KNN", 1))
    assert cell["setting"] == "KNN(seed=1)"
    assert {"date", "machine", "torch"} <= set(cell["provenance"])
    json.dumps(cell, allow_nan=False)


def test_the_command_says_what_is_at_hand_and_lists_the_rest(path, cheap, capsys):
    filled(loaded(path), map(measured, planned(loaded(path), NAMES, 1)), path)
    main([])
    known = loaded(path)
    assert {key.split(" | ")[0] for key in known["cells"]} == set(NAMES) == set(known["sets"])
    assert set(known["missing"]) == set(SETS) - set(NAMES)
    assert known["sets"]["octmnist"] == {
        "normal": "normal",
        "training normals": 4,
        "training anomalies, for supervised references alone": 12,
        "test normals": 3,
        "test anomalies": 9,
    }
    assert "python -m benchmarks.medmnist pathmnist" in capsys.readouterr().out


def test_no_anomaly_is_among_what_detectors_are_fitted_to(path):
    data = read("octmnist")
    assert not data.normals.label.any()
    assert data.labelled.label.sum() == 12
    assert not {image.tobytes() for image in data.labelled.pixels} & {image.tobytes() for image in data.test.pixels}


@pytest.mark.parametrize("row", ROWS)
def test_every_row_ranks_images(path, row, monkeypatch):
    monkeypatch.setattr("unlikelihood.detectors.auto.epochs", lambda *_: 1)  # four normals take as long as thousands
    cell = measure(("octmnist", row, 0))
    assert 0 <= cell["interval"][0] <= cell["auroc"] <= cell["interval"][1] <= 1


def test_every_set_is_on_the_page_by_its_cells_or_by_the_command_that_fills_it(path, cheap):
    known = loaded(path)
    known["sets"] = {name: {"normal": "a"} for name in NAMES}
    filled(known, map(measured, planned(known, NAMES, 2)), path)
    spec = importlib.util.spec_from_file_location("pages", ROOT / "docs" / "pages.py")
    pages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pages)
    page = pages.medmnist(path)
    for name in SETS:
        assert (f"\n{name}\n---" in page) == (name in NAMES) != (f"``python -m benchmarks.medmnist {name}``" in page)
    for rows in known["summary"].values():
        for found in rows.values():
            assert f"- {found['auroc']:.3f}\n" in page
