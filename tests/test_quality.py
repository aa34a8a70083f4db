"""The quality table goes on where it stopped."""

import json

import pytest
import torch
from benchmarks import quality


@pytest.fixture
def measured(tmp_path, monkeypatch):
    seen, threads = [], torch.get_num_threads()
    monkeypatch.setattr(quality, "RESULTS", tmp_path)
    monkeypatch.setattr(quality, "alone", lambda *cell: seen.append(quality.named(*cell)) or quality.measure(*cell))
    yield seen
    torch.set_num_threads(threads)


def test_cells_that_were_measured_are_kept_in_order(measured, tmp_path):
    quality.run(True, ["digits | totalintensity"])
    before = json.loads((tmp_path / "quality--quick.json").read_text())["cells"]
    quality.run(True, ["digits", "al"])
    after = json.loads((tmp_path / "quality--quick.json").read_text())["cells"]
    assert measured == [*before, *(cell for cell in after if cell not in before)]
    assert before.items() < after.items()
    assert list(after) == sorted(after, key=lambda name: quality.place((name, None)))
