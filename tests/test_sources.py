"""Sources read what is in the files, to the bit, and say so where they cannot."""

import csv
import gc
import pickle
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from unlikelihood.data.arrays import Arrays
from unlikelihood.data.ct.candidates import Candidates
from unlikelihood.data.ct.nodules import Nodules
from unlikelihood.data.ct.volumes import Volumes
from unlikelihood.data.digits import Digits
from unlikelihood.data.folder import Folder
from unlikelihood.data.npy import npy_map
from unlikelihood.data.parquet import Parquet
from unlikelihood.data.source import Source
from unlikelihood.data.webdataset import WebDataset
from unlikelihood.data.zarr import Zarr
from unlikelihood.storage import discovery

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("source", discovery.subclasses(Source, "data").values())
def test_a_source_is_plain_configuration_with_a_line_for_every_field(source):
    of_files = {Arrays, Candidates, Folder, Nodules, Parquet, Volumes, WebDataset, Zarr}
    needed = {"path": "nowhere"} if source in of_files else {}
    made = source(**needed, seed=3)
    assert made == pickle.loads(pickle.dumps(made)) != source(**needed, seed=4)
    documented = "\n".join(base.__doc__ for base in source.__mro__[:-1] if base.__doc__)
    for field in fields(source):
        assert re.search(rf"^    (\w+, )*{field.name}(, \w+)* : ", documented, re.MULTILINE)
        assert not isinstance(field.type, str), "the command line reads the types themselves"


class TestDigits:
    def test_every_part_holds_equally_many_of_each_digit_and_anomalies_only_the_test(self):
        split = Digits(anomalous=(3,)).split()
        assert (len(split.train), len(split.calibration), len(split.test)) == (900, 360, 324)
        assert split.test.label.sum() == 162
        assert split.train.pixels.min() == 0
        assert split.train.pixels.max() == 1
        assert split.train.shape == (1, 8, 8)

    @settings(deadline=None, max_examples=20)
    @given(anomalous=st.sets(st.integers(0, 9), min_size=1, max_size=8), seed=st.integers(0, 99))
    def test_a_seed_gives_one_split(self, anomalous, seed):
        one, again, other = (
            Digits(anomalous=tuple(anomalous), train_per_digit=20, test=100, seed=seed).split()
            for seed in (seed, seed, seed + 1)
        )
        for part in ("train", "calibration", "test"):
            assert getattr(one, part).name.tolist() == getattr(again, part).name.tolist()
        assert one.train.name.tolist() != other.train.name.tolist()

    @pytest.mark.parametrize("anomalous", [(), (10,), (-1, 2), tuple(range(10))])
    def test_what_is_anomalous_must_be_some_digits(self, anomalous):
        with pytest.raises(ValueError, match="anomalous="):
            Digits(anomalous=anomalous).split()

    @pytest.mark.parametrize("asked", [{"test": 181}, {"train_per_digit": 150}])
    def test_more_than_there_are_is_refused(self, asked):
        with pytest.raises(ValueError, match=f"{next(iter(asked))}=.*expected at most"):
            Digits(**asked).split()


class TestArrays:
    def test_a_npy_file_stays_on_disk(self, tmp_path):
        stored = RNG.integers(0, 4096, (6, 2, 5, 4), dtype=np.uint16)
        np.save(tmp_path / "a.npy", stored)
        images = Arrays(path=tmp_path / "a.npy", spacing=(0.5, 0.5), orientation="PL").read()
        assert isinstance(images.pixels, np.memmap)
        assert images.label is None
        assert (images.spacing, images.orientation) == ((0.5, 0.5), "PL")
        assert images.name[1] == "a.npy/00001"
        np.testing.assert_array_equal(images.pixels, stored)

    def test_threads_read_npy_files_at_the_same_time(self, tmp_path):
        np.save(tmp_path / "a.npy", np.zeros((3, 4)))

        def let_another_run(*told):  # while a header is parsed, where Python 3.11 fails in threads
            time.sleep(0)

        before = gc.get_threshold()
        gc.callbacks.append(let_another_run)
        gc.set_threshold(20)
        try:
            with ThreadPoolExecutor(4) as threads:
                shapes = list(threads.map(lambda _: npy_map(tmp_path / "a.npy").shape, range(400)))
        finally:
            gc.callbacks.remove(let_another_run)
            gc.set_threshold(*before)
        assert set(shapes) == {(3, 4)}

    @pytest.mark.parametrize(
        ("shape", "axis", "read"),
        [
            ((4, 7), 1, (7,)),
            ((4, 7), None, (7,)),
            ((4, 6, 5), None, (1, 6, 5)),
            ((4, 7, 6, 5), None, (1, 7, 6, 5)),
            ((4, 3, 6, 5), 1, (3, 6, 5)),
            ((4, 6, 5, 3), -1, (3, 6, 5)),
            ((4, 9, 6, 5), -3, (9, 6, 5)),
            ((4, 2, 7, 6, 5), 1, (2, 7, 6, 5)),
            ((4, 7, 6, 5, 2), 4, (2, 7, 6, 5)),
        ],
    )
    def test_the_channel_axis_is_said(self, tmp_path, shape, axis, read):
        np.save(tmp_path / "a.npy", np.zeros(shape))
        images = Arrays(path=tmp_path / "a.npy", channel_axis=axis).read()
        assert images.shape == read
        assert isinstance(images.pixels, np.memmap)

    @pytest.mark.parametrize(
        ("shape", "axis"),
        [
            *(((4, 1, 6, 5), axis) for axis in (0, 4, -4, -5)),
            ((4, 6, 5), 1),
            ((4, 28, 28, 28), 1),
            ((4, 1, 7, 6, 5), None),
            ((4,), 1),
            ((4, 1, 2, 3, 4, 5), 1),
        ],
    )
    def test_the_channel_axis_is_never_guessed(self, tmp_path, shape, axis):
        np.save(tmp_path / "a.npy", np.zeros(shape))
        with pytest.raises(ValueError, match=f"channel_axis={axis} for an array of shape"):
            Arrays(path=tmp_path / "a.npy", channel_axis=axis).read()

    def test_labels_and_groups_come_by_name_or_from_a_file(self, tmp_path):
        label, group = np.arange(20) % 5 == 0, np.repeat(np.arange(10), 2)
        np.savez(tmp_path / "a.npz", x=np.ones((20, 3)), y=label, patient=group.astype(str))
        np.save(tmp_path / "group.npy", group)
        named = Arrays(path=tmp_path / "a.npz", pixels="x", label="y", group="patient").read()
        assert named.label.tolist() == label.tolist()
        assert named.group.tolist() == group.astype(str).tolist()
        filed = Arrays(path=tmp_path / "a.npz", pixels="x", label="y", group=tmp_path / "group.npy")
        assert filed.read().group.tolist() == group.tolist()
        assert not set(filed.split().train.group) & set(filed.split().test.group)

    def test_a_window_maps_to_0_and_1(self, tmp_path):
        np.save(tmp_path / "ct.npy", np.array([[-2000, -1000, -300, 400, 3000]], dtype=np.int16))
        windowed = Arrays(path=tmp_path / "ct.npy", window=(-1000, 400)).read().pixels
        np.testing.assert_allclose(windowed, [[0, 0, 0.5, 1, 1]])

    def test_what_is_not_there_is_named(self, tmp_path):
        np.savez(tmp_path / "a.npz", x=np.ones((2, 3)))
        np.save(tmp_path / "a.npy", np.ones((2, 3)))
        with pytest.raises(ValueError, match=r"pixels='pixels': expected one of \['x'\]"):
            Arrays(path=tmp_path / "a.npz").read()
        with pytest.raises(ValueError, match=r"label='y': expected the path of a \.npy file"):
            Arrays(path=tmp_path / "a.npy", label="y").read()
        with pytest.raises(FileNotFoundError, match=r"label=.*no such file"):
            Arrays(path=tmp_path / "a.npy", label=tmp_path / "b.npy").read()
        with pytest.raises(FileNotFoundError, match=r"path=.*no such file"):
            Arrays(path=tmp_path / "b.npy").read()

    @pytest.mark.parametrize("suffix", ["npy", "npz"])
    def test_a_damaged_file_is_named(self, tmp_path, suffix):
        file = tmp_path / f"a.{suffix}"
        {"npy": np.save, "npz": np.savez}[suffix](file, np.ones((20, 30)))
        file.write_bytes(file.read_bytes()[:500])
        with pytest.raises(ValueError, match=rf"a\.{suffix}: cannot be read"):
            Arrays(path=file).read()

    def test_nothing_is_unpickled(self, tmp_path):
        np.save(tmp_path / "a.npy", np.array([{}, None]), allow_pickle=True)
        with pytest.raises(ValueError, match=r"a\.npy: cannot be read"):
            Arrays(path=tmp_path / "a.npy").read()
        np.savez(tmp_path / "a.npz", pixels=np.zeros((2, 3)), patient=np.array([{}, None]))
        with pytest.raises(ValueError, match=r"a\.npz: cannot be read as an archive of the array patient"):
            Arrays(path=tmp_path / "a.npz", group="patient").read()


def write(file, image):
    """Write an image (H, W) or (H, W, C)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    encode = {".png": imagecodecs.png_encode, ".jpg": imagecodecs.jpeg8_encode}.get(file.suffix.lower())
    if encode is None:
        tifffile.imwrite(file, image, photometric="rgb" if image.shape[-1] in (3, 4) else "minisblack")
    else:
        file.write_bytes(encode(image))


def drawn(shape=(6, 5), dtype=np.uint8):
    """Return an image of noise over the whole range of its type."""
    return RNG.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


class TestFolder:
    @pytest.mark.parametrize("suffix", ["png", "tif"])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    @pytest.mark.parametrize("channels", [(), (3,)])
    def test_every_bit_comes_back(self, tmp_path, suffix, dtype, channels):
        stored = [drawn((6, 5, *channels), dtype) for _ in range(3)]
        for i, image in enumerate(stored):
            write(tmp_path / f"{i}.{suffix}", image)
        images = Folder(path=tmp_path).read()
        assert images.name.tolist() == [f"{i}.{suffix}" for i in range(3)]
        assert images.label is None
        assert images.pixels.dtype == np.float32
        first = np.moveaxis(np.reshape(stored, (3, 6, 5, -1)), -1, 1)
        scale = 255 if dtype == np.uint8 else 1
        np.testing.assert_array_equal(images.pixels, first / np.float32(scale))
        np.testing.assert_array_equal(np.rint(images.pixels * scale).astype(dtype), first)

    @pytest.mark.parametrize("byteorder", ["<", ">"])
    def test_floating_point_stays_as_it_is(self, tmp_path, byteorder):
        stored = RNG.normal(size=(6, 5)).astype(np.float32)
        tifffile.imwrite(tmp_path / "a.tiff", stored, byteorder=byteorder)
        np.testing.assert_array_equal(Folder(path=tmp_path).read().pixels[0, 0], stored)

    def test_planes_become_channels(self, tmp_path):
        stored = drawn((3, 6, 5), np.uint16)
        tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", planarconfig="separate")
        np.testing.assert_array_equal(Folder(path=tmp_path).read().pixels[0], stored)

    def test_jpeg_comes_back_nearly(self, tmp_path):
        smooth = np.add.outer(np.arange(32), np.arange(40)).astype(np.uint8) * 3
        write(tmp_path / "a.jpg", smooth)
        np.testing.assert_allclose(Folder(path=tmp_path).read().pixels[0, 0] * 255, smooth, atol=3)

    def test_a_window_maps_to_0_and_1(self, tmp_path):
        write(tmp_path / "a.png", np.array([[0, 1000, 2000, 3000, 65535]], dtype=np.uint16))
        images = Folder(path=tmp_path, window=(1000, 3000), spacing=(0.1, 0.2)).read()
        np.testing.assert_allclose(images.pixels, [[[[0, 0, 0.5, 1, 1]]]])
        assert images.spacing == (0.1, 0.2)

    def test_sub_folders_are_labels(self, tmp_path):
        for name in ("good/b.png", "good/patient/a.PNG", "bad/c.png", "good/._b.png", "masks/m.png"):
            write(tmp_path / name, drawn())
        (tmp_path / "good" / "notes.txt").touch()
        images = Folder(path=tmp_path, normal="good", anomalous="bad").read()
        assert images.name.tolist() == ["good/b.png", "good/patient/a.PNG", "bad/c.png"]
        assert images.label.tolist() == [0, 0, 1]
        assert images.left_out == {"hidden files and folders": 1, "masks of images that are not read": 1} | {
            "files that are no images (.txt)": 1
        }

    def test_a_table_labels_and_groups(self, tmp_path):
        for name in "abcd":
            write(tmp_path / "scans" / f"{name}.png", drawn())
        rows = [
            ("d.png", "anomalous", "p1"),
            ("a.png", "0", "p1"),
            ("b.png", "normal", "p2"),
            ("c.png", "1", "p3"),
        ]
        table(tmp_path / "table.csv", ("file", "label", "group"), rows)
        source = Folder(path=tmp_path / "scans", table=tmp_path / "table.csv", fractions=(0.5, 0, 0.5))
        images = source.read()
        assert images.name.tolist() == ["d.png", "a.png", "b.png", "c.png"]
        assert images.label.tolist() == [1, 0, 0, 1]
        assert images.group.tolist() == ["p1", "p1", "p2", "p3"]
        split = source.split()
        assert split.train.name.tolist() == ["b.png"], "a belongs to the patient of d, who is tested"
        assert len(split.test) == 3

    @pytest.mark.parametrize(
        ("columns", "rows", "message"),
        [
            (("name", "label"), [("a.png", "0")], r"columns \['name', 'label'\], expected \['file'\] too"),
            (
                ("file", "label"),
                [("a.png", "0"), ("b.png", "sick")],
                r"line 3: label='sick', expected one of 0, 1",
            ),
            (
                ("file", "label"),
                [("a.png", "0"), ("a.png", "1")],
                r"line 3: file='a.png' for the second time",
            ),
            (("file", "label", "group"), [("a.png", "0", "")], r"line 2: group='', expected one"),
            (("file", "label"), [("lost.png", "0")], r"lost.png: cannot be read.*is not there"),
            (("file", "label"), [], r"table=.* has no rows"),
        ],
    )
    def test_a_wrong_table_is_refused_by_line(self, tmp_path, columns, rows, message):
        write(tmp_path / "a.png", drawn())
        table(tmp_path / "table.csv", columns, rows)
        with pytest.raises(ValueError, match=message):
            Folder(path=tmp_path, table=tmp_path / "table.csv").read()

    @pytest.mark.parametrize(
        ("suffix", "image", "lost"),
        [
            ("png", drawn(), 40),
            ("jpg", drawn((64, 64)), 100),
            ("jpg", drawn((64, 64)), 2),
            ("tif", drawn(), 10),
            ("png", drawn(), None),
            ("tif", drawn(), None),
            ("png", drawn((7, 5)), 0),
            ("png", drawn(dtype=np.uint16), 0),
            ("tif", drawn((2, 6, 5)), 0),
        ],
        ids=[
            "cut png",
            "cut jpg",
            "jpg without end",
            "cut tif",
            "no png",
            "no tif",
            "shape",
            "type",
            "pages",
        ],
    )
    def test_a_bad_image_is_named_or_skipped_and_counted(self, tmp_path, suffix, image, lost):
        write(tmp_path / "normal" / "a.png", drawn())
        write(tmp_path / "normal" / "c.png", drawn())
        bad = tmp_path / "normal" / f"b.{suffix}"
        write(bad, image)
        whole = bad.read_bytes()
        bad.write_bytes(b"not an image" if lost is None else whole[: len(whole) - lost])
        with pytest.raises(ValueError, match=rf"normal.{bad.name}: "):
            Folder(path=tmp_path).read()
        with pytest.warns(UserWarning, match=rf"1 of 3 images skipped\n.*{bad.name}"):
            images = Folder(path=tmp_path, skip_unreadable=True).read()
        assert images.name.tolist() == ["normal/a.png", "normal/c.png"]
        assert images.label.tolist() == [0, 0]

    @pytest.mark.parametrize("value", range(1, 9))
    @pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
    def test_images_are_turned_as_every_viewer_turns_them(self, tmp_path, suffix, value):
        stored = Image.fromarray(np.arange(0, 240, 5, np.uint8).reshape(6, 8).repeat(8, 0).repeat(8, 1))
        exif = stored.getexif()
        exif[0x0112] = value
        stored.save(tmp_path / f"a.{suffix}", exif=exif, **({"quality": 100} if suffix == "jpg" else {}))
        seen = np.asarray(ImageOps.exif_transpose(stored))
        np.testing.assert_allclose(Folder(path=tmp_path).read().pixels[0, 0] * 255, seen, atol=2)

    def test_a_link_to_nothing_is_an_image_that_cannot_be_read(self, tmp_path):
        write(tmp_path / "normal" / "a.png", drawn())
        (tmp_path / "normal" / "b.png").symlink_to(tmp_path / "gone.png")
        with pytest.raises(ValueError, match=r"b\.png: cannot be read"):
            Folder(path=tmp_path).read()
        with pytest.warns(UserWarning, match="1 of 2 images skipped"):
            assert len(Folder(path=tmp_path, skip_unreadable=True).read()) == 1

    def test_something_must_be_readable(self, tmp_path):
        with pytest.raises(ValueError, match=r"holds no \.png"):
            Folder(path=tmp_path).read()
        (tmp_path / "normal").mkdir()
        with pytest.raises(ValueError, match=r"holds no \.png"):
            Folder(path=tmp_path).read()
        (tmp_path / "normal" / "a.png").write_text("not an image")
        with pytest.raises(ValueError, match=r"none of 1 images can be read\n.*a\.png"):
            Folder(path=tmp_path, skip_unreadable=True).read()

    def test_intensities_are_finite_and_not_coded(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", np.full((4, 4), np.nan, np.float32))
        with pytest.raises(ValueError, match=r"a\.tif: .*holds intensities that are not finite"):
            Folder(path=tmp_path).read()
        tifffile.imwrite(tmp_path / "a.tif", drawn(), photometric="miniswhite")
        with pytest.raises(ValueError, match=r"a\.tif: .*MINISWHITE"):
            Folder(path=tmp_path).read()


def table(file, columns, rows):
    """Write a CSV table as Excel does, with its mark at the beginning."""
    with file.open("w", newline="", encoding="utf-8-sig") as lines:
        csv.writer(lines).writerows([columns, *rows])
