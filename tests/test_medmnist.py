"""Every set of MedMNIST is read in its official parts and classes, or refused by file and array."""

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from medmnist_files import COUNTS, write
from unlikelihood.data import medmnist
from unlikelihood.data.download import content_md5
from unlikelihood.data.mapped import Mapped
from unlikelihood.data.medmnist import MedMNIST
from unlikelihood.data.medmnist_sets import SETS
from unlikelihood.data.source import DataUnavailable

ADRENAL = Path(os.environ.get("UNLIKELIHOOD_DATA", "")) / "adrenalmnist3d.npz"


def expected(published, has):
    """Return for every row of labels what it stands for, one by one: 0 normal, 1 anomalous, None neither."""
    normal = set(published.normal)
    anomalous = set(range(len(published.classes))) - normal if published.anomalous is None else set(published.anomalous)
    kinds = []
    for row in has:
        mine = set(np.flatnonzero(row).tolist()) if published.multi_label else set(row.tolist())
        kinds.append(1 if mine & anomalous else 0 if mine <= normal else None)
    return kinds


@pytest.mark.parametrize("name", SETS)
def test_every_set_is_read_in_its_official_parts(tmp_path, name):
    arrays = write(tmp_path, name)
    published, split = SETS[name], MedMNIST(name=name, path=tmp_path).split()
    kinds = {part: expected(published, arrays[f"{part}_labels"]) for part in COUNTS}
    assert len(split.train) == kinds["train"].count(0) > 0
    assert len(split.calibration) == kinds["val"].count(0) > 0
    assert split.test.label.tolist() == [kind for kind in kinds["test"] if kind is not None]
    assert set(split.test.label) == {0, 1}
    assert split.train.shape == (published.channels, *(28,) * published.axes)
    assert split.train.group is None
    place = kinds["val"].index(0)
    stored = arrays["val_images"][place]
    stored = np.moveaxis(stored, -1, 0) if published.channels == 3 else stored[None]
    np.testing.assert_array_equal(split.calibration.pixels[0], stored / np.float32(255))
    assert split.calibration.name[0] == f"val/{place:05}"
    read = MedMNIST(name=name, path=tmp_path).read()
    assert len(read) + read.left_out.get("images of other classes", 0) == sum(map(len, kinds.values()))


@pytest.mark.parametrize("name", SETS)
def test_what_is_published_is_whole(name):
    published = SETS[name]
    assert list(published.md5) == ([28, 64] if published.axes == 3 else [28, 64, 128, 224])
    assert all(len(md5) == 32 for md5 in published.md5.values())
    known = set(range(len(published.classes)))
    assert set(published.normal) | set(published.anomalous or known) <= known
    assert name in MedMNIST.__doc__


def test_no_two_files_have_one_hash():
    hashes = [md5 for published in SETS.values() for md5 in published.md5.values()]
    assert len(set(hashes)) == len(hashes) == 12 * 4 + 6 * 2


@pytest.mark.parametrize(("name", "size"), [("breastmnist", 64), ("pathmnist", 128), ("adrenalmnist3d", 64)])
def test_other_sizes_lie_in_files_of_their_own(tmp_path, name, size):
    write(tmp_path, name, size)
    images = MedMNIST(name=name, size=size, path=tmp_path).read()
    assert images.shape == (SETS[name].channels, *(size,) * SETS[name].axes)
    with pytest.raises(FileNotFoundError, match=rf"{name}\.npz"):
        MedMNIST(name=name, path=tmp_path).read()


def test_a_voxel_shrinks_as_the_size_grows(tmp_path):
    write(tmp_path, "adrenalmnist3d", 64)
    write(tmp_path, "adrenalmnist3d", 28)
    small, large = (MedMNIST(path=tmp_path, size=size).read().spacing for size in (28, 64))
    np.testing.assert_allclose(np.multiply(small, 28), np.multiply(large, 64))


class TestClasses:
    @pytest.mark.parametrize(
        ("given", "kinds"),
        [
            ({"normal": (0,)}, [0, 1, 1, 1]),
            ({"anomalous": (0, 2)}, [1, 0, 1, 0]),
            ({"normal": (3, 1), "anomalous": (2,)}, [None, 0, 1, 0]),
        ],
    )
    def test_the_others_are_of_the_kind_that_is_not_given(self, tmp_path, given, kinds):
        write(tmp_path, "octmnist")
        split = MedMNIST(name="octmnist", path=tmp_path, **given).split()
        assert split.test.label.tolist() == 3 * [kind for kind in kinds if kind is not None]
        assert split.test.layout.startswith("octmnist: normal ")
        left_out = {"images of other classes": 9 * kinds.count(None)} if None in kinds else {}
        assert {key: n for key, n in split.left_out.items() if "classes" in key} == left_out

    @pytest.mark.parametrize(
        ("given", "normals", "anomalies"),
        [
            ({}, [0], [*range(1, 16)]),
            ({"anomalous": (4, 5)}, [0], [5, 6, 15]),
            ({"normal": (13,)}, [0, 14], [*range(1, 14), 15]),
            ({"normal": (0,), "anomalous": (13,)}, [0, 1], [14, 15]),
        ],
    )
    def test_no_finding_is_normal(self, tmp_path, given, normals, anomalies):
        # Rows are no label, each of the 14 alone, and all of them.
        write(tmp_path, "chestmnist")
        read = MedMNIST(name="chestmnist", path=tmp_path, **given).read()
        row = np.array([int(name.split("/")[1]) % 16 for name in read.name])
        assert sorted(set(row[read.label == 0])) == normals
        assert sorted(set(row[read.label == 1])) == anomalies

    @pytest.mark.parametrize(
        "given", [{"anomalous": (7,)}, {"anomalous": ()}, {"normal": (0, 1, 2, 3)}, {"normal": ()}, {"normal": (-1,)}]
    )
    def test_labels_that_are_not_there_or_leave_nothing_are_refused(self, tmp_path, given):
        write(tmp_path, "octmnist")
        with pytest.raises(ValueError, match="expected some, but not all, of the labels of octmnist: 0 choroidal"):
            MedMNIST(name="octmnist", path=tmp_path, **given).read()

    def test_a_label_is_not_both(self, tmp_path):
        write(tmp_path, "octmnist")
        with pytest.raises(ValueError, match=r"normal=\(0, 1\) and anomalous=\(1, 2\) both name 1"):
            MedMNIST(name="octmnist", path=tmp_path, normal=(0, 1), anomalous=(1, 2)).read()


def test_a_large_part_is_mapped_as_it_is_stored(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLIKELIHOOD_CACHE", str(tmp_path / "cache"))
    n = 600
    large = np.zeros((n, 224, 224, 3), np.uint8)  # 86 MiB, of which the first pixel says which it is
    large[:, 0, 0, 2] = np.arange(n) % 251
    label = np.where(np.arange(n) % 9 == 0, 6, 7)[:, None]
    write(tmp_path, "pathmnist", 224, train_images=large, train_labels=label)
    del large
    tracemalloc.start()
    try:
        split = MedMNIST(name="pathmnist", size=224, path=tmp_path, normal=(7,)).split()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 86 * 2**20  # bytes: as float32 the large part alone takes four times that
    assert isinstance(split.train.pixels, Mapped)
    assert split.train.pixels.parts[0].values.dtype == np.uint8
    kept = np.flatnonzero(np.arange(n) % 9)
    np.testing.assert_array_equal(split.train.pixels[:, 2, 0, 0], (kept % 251).astype(np.uint8) / np.float32(255))
    assert split.train.name[5] == f"train/{kept[5]:05}"


def test_the_test_can_be_balanced(tmp_path):
    write(tmp_path, "retinamnist")
    split = MedMNIST(name="retinamnist", path=tmp_path, balanced=True).split()
    assert len(split.test) == 2 * split.test.label.sum() == 6


class TestRefusals:
    @pytest.mark.parametrize(
        ("changed", "error", "message"),
        [
            (
                {"val_images": np.zeros((8, 28, 28, 3), np.uint8)},
                ValueError,
                r"val_images: images of shape \(28, 28, 3\), ",
            ),
            ({"test_images": np.zeros((12, 32, 32), np.uint8)}, ValueError, r"shape \(32, 32\), expected \(28, 28\)"),
            (
                {"train_images": np.zeros((16, 28, 28))},
                ValueError,
                "train_images: images of type float64, expected uint8",
            ),
            ({"train_labels": np.zeros((3, 1), int)}, ValueError, r"labels of shape \(3, 1\), expected \(16, 1\)"),
            ({"train_labels": np.zeros((16, 14), int)}, ValueError, r"labels of shape \(16, 14\), expected \(16, 1\)"),
            ({"val_labels": np.full((8, 1), 4)}, ValueError, "val_labels: label 4, expected 0 to 3"),
            ({"val_labels": np.full((8, 1), 0.5)}, ValueError, r"val_labels: label 0\.5, expected 0 to 3"),
            ({"val_labels": np.full((8, 1), None)}, ValueError, "cannot be read as an archive of the array val_labels"),
        ],
    )
    def test_a_wrong_array_is_named_with_its_file(self, tmp_path, changed, error, message):
        write(tmp_path, "octmnist", **changed)
        with pytest.raises(error, match=rf"octmnist\.npz.*{message}"):
            MedMNIST(name="octmnist", path=tmp_path).split()

    def test_a_column_a_finding_holds_0_or_1(self, tmp_path):
        write(tmp_path, "chestmnist", val_labels=np.full((32, 14), 2))
        with pytest.raises(ValueError, match=r"chestmnist\.npz, val_labels: label 2, expected 0 to 1"):
            MedMNIST(name="chestmnist", path=tmp_path).read()

    def test_another_file_is_refused(self, tmp_path):
        np.savez(tmp_path / "octmnist.npz", volumes=np.zeros(3))
        with pytest.raises(ValueError, match=r"octmnist\.npz lacks \['train_images'"):
            MedMNIST(name="octmnist", path=tmp_path).read()

    def test_names_and_sizes_that_are_not_published_are_refused_before_any_download(self):
        with pytest.raises(ValueError, match="name='mnist': expected one of pathmnist, chestmnist"):
            MedMNIST(name="mnist").read()
        with pytest.raises(ValueError, match=r"size=128: expected one of \[28, 64\], in which adrenalmnist3d is"):
            MedMNIST(size=128).read()


class TestDownload:
    @pytest.fixture(autouse=True)
    def nothing_at_hand(self, tmp_path, monkeypatch):
        """Let a folder on this machine be the mirror of an empty cache."""
        monkeypatch.delenv("UNLIKELIHOOD_DATA", raising=False)
        monkeypatch.setenv("UNLIKELIHOOD_CACHE", str(tmp_path / "cache"))
        (tmp_path / "served").mkdir()

    def test_it_is_made_once_and_checked(self, tmp_path, monkeypatch):
        write(tmp_path / "served", "breastmnist", 64)
        source = MedMNIST(name="breastmnist", size=64, mirrors=((tmp_path / "served").as_uri(),))
        assert source.file() is None
        with pytest.raises(DataUnavailable, match=r"MD5 \w{32}, expected 742edef2a1fd1524b2efff4bd7ba9364"):
            source.read()
        assert source.file() is None
        md5 = content_md5(tmp_path / "served" / "breastmnist_64.npz")
        monkeypatch.setitem(medmnist.SETS["breastmnist"].md5, 64, md5)
        assert len(source.read()) == 2 * sum(COUNTS.values())
        assert source.file() == tmp_path / "cache" / "breastmnist_64.npz"
        assert len(MedMNIST(name="breastmnist", size=64, mirrors=()).read()) == 2 * sum(COUNTS.values())


@pytest.mark.skipif(not ADRENAL.is_file(), reason=f"no {ADRENAL}")
def test_adrenal_glands():
    split = MedMNIST(path=ADRENAL).split()
    assert (len(split.train), len(split.test), split.test.label.sum()) == (929, 298, 69)
    assert split.train.shape == (1, 28, 28, 28)
    assert split.train.spacing == pytest.approx((64 / 28,) * 3)
    assert content_md5(ADRENAL) == SETS["adrenalmnist3d"].md5[28]
