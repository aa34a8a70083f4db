"""What people keep samples in is taken for an array, or refused in a sentence that says what to pass."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from unlikelihood import KNN, Conformal, Digits, Images, evaluate
from unlikelihood.data.as_array import as_array

X = np.random.default_rng(0).random((7, 1, 6, 5)).astype(np.float32)


class Mapped(Dataset):
    def __init__(self, make=torch.from_numpy):
        self.make = make

    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        if i >= len(X):
            raise IndexError(i)
        return self.make(X[i]), i % 2


class Streamed(IterableDataset):
    def __iter__(self):
        return iter(torch.from_numpy(X))


@pytest.mark.parametrize(
    "given",
    [
        X,
        torch.from_numpy(X).requires_grad_(),
        TensorDataset(torch.from_numpy(X)),
        Mapped(),
        Mapped(np.asarray),
        Streamed(),
        DataLoader(Mapped(), batch_size=3),
        DataLoader(Streamed(), batch_size=3),
    ],
    ids=["array", "tensor", "tensors", "mapped", "arrays", "streamed", "loader", "stream loader"],
)
def test_samples_come_in_order(given):
    np.testing.assert_array_equal(as_array(given), X)


def test_a_memory_map_stays_one(tmp_path):
    np.save(tmp_path / "a.npy", X)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert as_array(mapped) is mapped


class Foreign:
    """Stands for Hugging Face's datasets.Dataset, whose shape is that of its table."""

    shape = (7, 2)


Foreign.__module__ = "datasets.arrow_dataset"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (DataLoader(Mapped(), shuffle=True), "RandomSampler .*expected one in order.*shuffle=False"),
        (DataLoader(Mapped(), batch_size=3, drop_last=True), "drop_last=True"),
        (Mapped(str), r"items of type str, expected tensors or arrays \(C, H, W\)"),
        (Images(X), r"X is a Images.*pass images\.pixels, to fit images\.normal\.pixels"),
        (Digits(), r"source\.split\(\)\.train\.pixels to fit"),
        (Digits().split(), r"split\.test\.pixels to score"),
        (Foreign(), r'with_format\("numpy"\)'),
        (iter(X), r"pass np\.stack\(list\(X\)\)"),
        ("scans/", r"X is a str.*pass Folder\(X\)\.read\(\)\.pixels"),
        ({"pixels": X}, "pass one of its arrays"),
    ],
)
def test_other_things_are_refused_with_what_to_pass(given, message):
    with pytest.raises(TypeError, match=message):
        as_array(given)
    detector = KNN().fit(X)
    for taken in (KNN().fit, detector.score_samples, detector.calibrate, Conformal(detector, alpha=0.5).fit):
        with pytest.raises(TypeError, match=message):
            taken(given)


def test_every_call_takes_what_holds_arrays(tmp_path):
    def mapped(part):
        np.save(tmp_path / f"{len(part)}.npy", part)
        return np.load(tmp_path / f"{len(part)}.npy", mmap_mode="r")

    plain = KNN().fit(X[:4]).calibrate(X[4:])
    expected = Conformal(plain, alpha=0.5).fit().p_value(X)
    for made in (torch.from_numpy, lambda part: TensorDataset(torch.from_numpy(part)), mapped):
        detector = KNN().fit(made(X[:4]))
        decide = Conformal(detector, alpha=0.5).fit(made(X[4:]))
        np.testing.assert_array_equal(detector.score_samples(made(X)), plain.score_samples(X))
        np.testing.assert_array_equal(decide.p_value(made(X)), expected)
    with pytest.raises(TypeError, match=r"split is a Tensor, expected a Split: pass source\.split\(\), or Split"):
        evaluate(plain, torch.from_numpy(X))
    with pytest.raises(TypeError, match=r"split is a Digits, expected a Split"):
        evaluate(plain, Digits())


@pytest.mark.parametrize("shape", [(4, 8, 8, 3), (4, 8, 8, 1), (4, 8, 8, 4), (4, 9, 8, 7, 3)])
def test_channels_that_come_last_are_refused_with_the_line_that_mends_them(shape):
    with pytest.raises(ValueError, match=r"X has shape .*np\.moveaxis\(X, -1, 1\)"):
        as_array(np.zeros(shape))
    with pytest.raises(ValueError, match=r"np\.moveaxis\(pixels, -1, 1\)"):
        Images(np.zeros(shape))
    assert as_array(np.moveaxis(np.zeros(shape), -1, 1)).shape[1] == shape[-1]


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 8, 3), (4, 1, 9, 9, 3), (4, 64, 4, 4), (4, 3, 8, 8)])
def test_other_shapes_are_let_through(shape):
    assert as_array(np.zeros(shape)).shape == shape
