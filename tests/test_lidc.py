"""The folds of the LIDC nodules leave patients out."""

import numpy as np
import pytest

from unlikelihood import LIDC
from unlikelihood.data.source import DataUnavailable


@pytest.fixture
def file(tmp_path):
    rng = np.random.default_rng(0)
    volumes = rng.integers(0, 256, (20, 4, 4, 4)).astype(np.uint8)
    np.savez(tmp_path / "cubes.npz", volumes=volumes, malignancy=np.arange(20) % 5 + 1)
    return tmp_path / "cubes.npz"


def test_ratings_are_labels_and_the_indeterminate_are_left_out(file):
    images = LIDC(path=file).read()
    assert images.label.tolist() == [0, 0, 1, 1] * 4
    assert images.shape == (1, 4, 4, 4)
    assert images.orientation is None
    assert 0 <= images.pixels.min() < images.pixels.max() <= 1


def test_every_normal_is_tested_once_and_never_in_training_then(file):
    splits = [LIDC(path=file, folds=4, seed=fold).split() for fold in range(4)]
    tested = np.concatenate([split.test.normal.name for split in splits])
    assert sorted(tested) == sorted(LIDC(path=file).read().normal.name)
    for split in splits:
        assert len(split.train) == 6
        assert len(split.test.anomalous) == 8
        assert not set(split.train.name) & set(split.test.name)
    assert set(LIDC(path=file, folds=4, seed=4).split().test.normal.name) != set(splits[0].test.normal.name)


def test_what_is_not_there_is_said(file, tmp_path, monkeypatch):
    monkeypatch.setenv("UNLIKELIHOOD_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("UNLIKELIHOOD_CACHE", str(tmp_path / "nothing"))
    with pytest.raises(DataUnavailable, match="is not at hand"):
        LIDC().split()
    with pytest.raises(ValueError, match="folds=9: expected at least 2"):
        LIDC(path=file, folds=9).split()
