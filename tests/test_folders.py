"""Folders as people keep them: every layout in every format, and what is made of it."""

import csv
import json
import shutil
from collections import Counter
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    generate_uid,
)

from unlikelihood import CentreCrop, Folder, Letterbox, Pad, Parts, Resize, load
from unlikelihood.cli.main import main
from unlikelihood.data.layouts import LAYOUTS
from unlikelihood.evaluation.evaluation import Evaluation

SIDE = 12


def picture(k, side=SIDE):
    """Return a smooth grey image, another for every k."""
    y, x = np.mgrid[:side, :side]
    return (60 + 50 * np.sin(0.3 * x + k) + 40 * np.cos(0.2 * y * (k % 5 + 1))).astype(np.uint8)


def dicom(file, image, photometric="MONOCHROME2", bits=8, **tags):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.Modality, dataset.PhotometricInterpretation = "DX", photometric
    dataset.Rows, dataset.Columns = image.shape
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 * image.itemsize, bits, bits - 1
    dataset.PixelData = image.tobytes()
    for tag, value in tags.items():
        setattr(dataset, tag, value)
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)


def pillow(file, image):
    lossless = {".webp": {"lossless": True}, ".jpg": {"quality": 100}}
    Image.fromarray(image).save(file, **lossless.get(file.suffix, {}))


def jpeg2000(file, image):
    file.write_bytes(imagecodecs.jpeg2k_encode(image))


# How a file is written, and how far its intensities may be off after reading, of 255.
FORMATS = {
    "png": (pillow, 0),
    "jpg": (pillow, 3),
    "tif": (tifffile.imwrite, 0),
    "webp": (pillow, 0),
    "bmp": (pillow, 0),
    "gif": (pillow, 0),
    "jp2": (jpeg2000, 0),
    "npy": (np.save, 0),
    "dcm": (dicom, 0),
    "DCM": (dicom, 0),
}

# What lies in the folder, how many of it; what the layout is called; (train, calibration, normal, anomalous) in the
# split; what is left out of it.
TREES = {
    "flat": ({"": 10}, {}, "one folder without labels", (8, 2, 0, 0), 0),
    "normals alone": ({"good": 10}, {}, "class folders (normal good)", (8, 2, 0, 0), 0),
    "normal and anomalous": (
        {"normal": 10, "anomalous": 3},
        {},
        "class folders (normal normal; anomalous anomalous)",
        (6, 2, 2, 3),
        0,
    ),
    "several defects": (
        {"Good": 5, "crack": 3, "hole": 2, "scratch": 4},
        {"anomalous": ("crack", "hole")},
        "class folders (normal Good; anomalous crack, hole)",
        (3, 1, 1, 5),
        4,
    ),
    "classes": (
        {"cat": 5, "cow": 5, "dog": 3},
        {"anomalous": "dog"},
        "class folders (normal cat, cow; anomalous dog)",
        (6, 2, 2, 3),
        0,
    ),
    "all is normal": (
        {"patient1": 5, "patient2": 5},
        {"anomalous": ()},
        "class folders (normal patient1, patient2)",
        (8, 2, 0, 0),
        0,
    ),
    "MVTec": (
        {"train/good": 8, "test/good": 3, "test/crack": 2, "test/hole": 2, "ground_truth/crack": 2},
        {},
        "published parts train, test (normal good; anomalous crack, hole)",
        (6, 2, 3, 4),
        2,
    ),
    "MVTec, one defect": (
        {"train/good": 8, "test/good": 3, "test/crack": 2, "test/hole": 2},
        {"anomalous": "hole"},
        "published parts train, test (normal good; anomalous hole)",
        (6, 2, 3, 2),
        2,
    ),
    "BMAD": (
        {"train/good": 4, "valid/good/img": 3, "valid/Ungood/img": 2, "test/good/img": 3, "test/Ungood/img": 3},
        {},
        "published parts train, valid, test (normal good; anomalous Ungood)",
        (4, 3, 3, 3),
        2,
    ),
    "train without classes": (
        {"train": 4, "test/good": 2, "test/bad": 2},
        {},
        "published parts train, test (normal good; anomalous bad)",
        (3, 1, 2, 2),
        0,
    ),
}


def plant(folder, tree, suffix="png"):
    """Write the images of a tree; return how many there are."""
    names = [f"{place}/{i:03}.{suffix}" if place else f"{i:03}.{suffix}" for place, n in tree.items() for i in range(n)]
    for k, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        FORMATS[suffix][0](folder / name, picture(k))
    return len(names)


def went(split):
    return tuple(split.counts[place] for place in ("train", "calibration", "test, normal", "test, anomalous"))


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("tree", TREES)
def test_every_layout_is_found_in_every_format_and_nothing_is_lost(tmp_path, tree, suffix):
    folders, said, layout, parts, lost = TREES[tree]
    written = plant(tmp_path, folders, suffix)
    source = Folder(tmp_path, **said)
    images, split = source.read(), source.split()
    assert images.layout == layout
    assert went(split) == parts
    assert sum(split.left_out.values()) == lost
    assert sum(split.counts.values()) == written
    stored = [picture(k)[None] / 255 for k in range(written)]
    off = np.abs(images.pixels[:, None] - np.array(stored)).max((2, 3, 4)).min(1)
    assert off.max() <= FORMATS[suffix][1] / 255 + 1e-6


def table(file, columns, rows):
    with file.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines).writerows([columns, *rows])


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_table_says_everything_in_every_format(tmp_path, suffix):
    plant(tmp_path, {"": 9, "masks": 1}, suffix)
    kinds = ["train"] * 4 + ["val"] * 2 + ["test"] * 2
    rows = [(f"{i:03}.{suffix}", int(i == 7), f"p{i}", part, "") for i, part in enumerate(kinds)]
    rows[7] = (*rows[7][:4], f"masks/000.{suffix}")
    table(tmp_path / "list.csv", ("file", "label", "group", "split", "mask"), rows)
    split = Folder(tmp_path).split()
    assert split.train.layout == "table list.csv"
    assert went(split) == (4, 2, 1, 1)
    assert split.counts["left out: images that the table does not list"] == 1
    assert split.test.mask.any((1, 2)).tolist() == [False, True]
    assert split.test.group.tolist() == ["p6", "p7"]


@pytest.mark.parametrize("called", ["valid", "val", "Validation", "calibration"])
def test_a_published_calibration_part_is_kept_from_training_whatever_it_is_called(tmp_path, called):
    apart = {"train/good": 9, f"{called}/good": 1, "test/good": 1, "test/bad": 1}  # other counts than a random split's
    plant(tmp_path / "folders", apart)
    assert went(Folder(tmp_path / "folders").split()) == (9, 1, 1, 1)
    plant(tmp_path / "listed", {"": 12})
    kinds = ["train"] * 9 + [called] + ["test"] * 2
    rows = [(f"{i:03}.png", int(i == 11), part) for i, part in enumerate(kinds)]
    table(tmp_path / "listed" / "list.csv", ("file", "label", "split"), rows)
    split = Folder(tmp_path / "listed").split()
    assert went(split) == (9, 1, 1, 1)
    assert [Path(name).name for name in split.calibration.name] == ["009.png"]


@pytest.mark.parametrize(
    ("tree", "said", "message"),
    [
        ({"cat": 2, "dog": 2}, {}, r"sub-folders \['cat', 'dog'\] whose images have no label: expected anomalous"),
        ({"good": 2, "hole": 2}, {"anomalous": ("hole", "crack")}, r"anomalous='crack': expected some of .*'hole'"),
        ({"good": 2}, {"normal": "good", "anomalous": "good"}, "both name 'good'"),
        ({"train/a": 2, "test/b": 2}, {}, r"sub-folders \['test', 'train'\]"),
        ({"train": 2, "test": 2}, {}, "label=None: expected labelled images in the published test"),
        ({}, {}, r"holds no \.png"),
        ({"": 2}, {"channels": 2}, r"channels=2: expected 1 \(grey\) or 3"),
        ({"": 2}, {"size": 0}, "size=0: expected at least 1"),
        ({"": 2}, {"size": (4, 4, 4)}, r"000\.png: image with 2 spatial axes, expected 3"),
        ({"": 2}, {"size": 99, "sizing": CentreCrop()}, r"000\.png: image of \(12, 12\) pixels, expected at least"),
        ({"": 2}, {"size": 9, "sizing": Pad()}, r"000\.png: image of \(12, 12\) pixels, expected at most"),
    ],
)
def test_what_cannot_be_told_is_asked_for(tmp_path, tree, said, message):
    plant(tmp_path, tree)
    with pytest.raises(ValueError, match=message):
        Folder(tmp_path, **said).split()


def test_unlabelled_folders_can_be_scored(tmp_path):
    plant(tmp_path, {"a": 2, "b/c": 2})
    images = Folder(tmp_path).read()
    assert (len(images), images.label, images.layout) == (4, None, "folders without labels")


def test_masks_are_carried_by_indexing_and_missing_ones_are_counted(tmp_path):
    plant(tmp_path, {"test/good": 2, "test/hole": 3, "train/good": 4})
    for i in range(3):
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[i : i + 4, 5] = 255
        (tmp_path / "ground_truth" / "hole").mkdir(parents=True, exist_ok=True)
        pillow(tmp_path / "ground_truth" / "hole" / f"{i:03}_mask.png", mask)
    images = Folder(tmp_path).read()
    assert images[images.label == 1][1:].mask.sum((1, 2)).tolist() == [4, 4]
    assert images[images.label == 1][2].mask[0, :, 5].nonzero()[0].tolist() == [2, 3, 4, 5]
    assert not images.normal.mask.any()
    assert Folder(tmp_path, size=6).read().mask.shape == (9, 6, 6)
    (tmp_path / "ground_truth" / "hole" / "001_mask.png").unlink()
    images = Folder(tmp_path).read()
    assert images.mask is None
    assert images.left_out == {"masks, as some anomalies have none, such as test/hole/001.png": 2}
    pillow(tmp_path / "ground_truth" / "hole" / "001_mask.png", mask[1:])
    with pytest.raises(ValueError, match=r"001_mask\.png: mask of \(11, 12\) pixels, expected \(12, 12\) as in .*001"):
        Folder(tmp_path).read()


def test_other_files_hidden_ones_and_loops_are_counted(tmp_path):
    plant(tmp_path, {"good": 3, "good/deep": 1})
    (tmp_path / "good" / "notes.txt").touch()
    (tmp_path / "good" / "._001.png").touch()
    (tmp_path / "good" / "deep" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "001.dcm.bak").touch()
    images = Folder(tmp_path).read()
    assert len(images) == 4
    assert images.left_out == {
        "files that are no images (.txt)": 1,
        "files that are no images (.bak)": 1,
        "hidden files and folders": 1,
        "links to a folder that they lie in": 1,
    }


def test_dicom_objects_that_hold_no_image_are_counted(tmp_path):
    for k in range(2):
        dicom(tmp_path / f"{k}.dcm", picture(k))
    for name in ("test-SR.dcm", "rtplan.dcm", "DICOMDIR", "rtdose_1frame.dcm"):
        shutil.copy(get_testdata_file(name, download=False), tmp_path / name)
    images = Folder(tmp_path).read()
    assert len(images) == 2
    assert images.left_out == {
        "DICOM files: Comprehensive SR Storage": 1,
        "DICOM files: RT Plan Storage": 1,
        "DICOM files: Media Storage Directory Storage": 1,
        "DICOM files: RT Dose Storage": 1,
    }


def test_a_folder_of_other_things_names_the_source_that_reads_them(tmp_path):
    (tmp_path / "scan.nii.gz").touch()
    with pytest.raises(ValueError, match=r"but 1 files that are no images \(\.gz\); the source Volumes reads CT scans"):
        Folder(tmp_path).read()


def test_the_same_image_in_both_classes_is_named(tmp_path):
    plant(tmp_path, {"normal": 3, "anomalous": 2})
    pillow(tmp_path / "anomalous" / "copy.bmp", picture(1))
    with pytest.raises(
        ValueError, match=r"normal/001\.png \(normal\) and anomalous/copy\.bmp \(anomalous\) are the same"
    ):
        Folder(tmp_path).read()


class TestSizesAndColours:
    @pytest.fixture
    def mixed(self, tmp_path):
        for i, (h, w) in enumerate([(12, 12), (20, 30), (31, 9)]):
            x = np.mgrid[:h, :w][1]
            pillow(tmp_path / f"{i}.png", (255 * (x / w < 0.5)).astype(np.uint8))
        return tmp_path

    @pytest.mark.parametrize("sizing", [Resize(), Letterbox()])
    def test_mixed_sizes_are_brought_to_one(self, mixed, sizing):
        with pytest.raises(ValueError, match=r"1\.png.*size=\(H, W\), or --data\.size=128, brings all to one size"):
            Folder(mixed).read()
        images = Folder(mixed, size=(16, 14), sizing=sizing).read()
        assert images.shape == (1, 16, 14)
        assert images.pixels.min() >= 0
        assert images.pixels.max() <= 1

    def test_resizing_is_anti_aliased(self, tmp_path):
        pillow(tmp_path / "a.png", np.tile(np.array([[0, 255], [255, 0]], np.uint8), (32, 32)))
        np.testing.assert_allclose(Folder(tmp_path, size=8).read().pixels[..., 1:-1, 1:-1], 0.5, atol=0.02)

    def test_padding_and_cropping_keep_the_middle(self):
        image = np.arange(1, 10, dtype=np.float32).reshape(1, 3, 3)
        padded = Pad(fill=-1)(image, (5, 6))
        np.testing.assert_array_equal(CentreCrop()(padded, (3, 4))[:, :, :3], image)
        assert (padded == -1).sum() == 30 - 9
        assert CentreCrop()(image, (1, 1)).ravel().tolist() == [5]

    def test_letterbox_keeps_proportions(self):
        boxed = Letterbox(fill=-1)(np.ones((1, 4, 8), np.float32), (6, 6))
        assert (boxed[0] == -1).all(1).tolist() == [True, False, False, False, True, True]

    def test_grey_and_colour_are_mixed_by_channels(self, tmp_path):
        colour = np.zeros((SIDE, SIDE, 3), np.uint8)
        colour[..., 1] = 200
        pillow(tmp_path / "a.png", picture(0))
        pillow(tmp_path / "b.png", colour)
        with pytest.raises(ValueError, match=r"b\.png.*channels=1 or channels=3"):
            Folder(tmp_path).read()
        grey, three = (Folder(tmp_path, channels=n).read().pixels for n in (1, 3))
        np.testing.assert_allclose(grey[1], 0.587 * 200 / 255, rtol=1e-5)
        np.testing.assert_allclose(three[0], np.repeat(picture(0)[None] / 255, 3, 0), rtol=1e-5)
        assert three[1, :, 0, 0].tolist() == pytest.approx([0, 200 / 255, 0])

    @pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
    @pytest.mark.parametrize("mode", ["LA", "RGBA"])
    def test_alpha_is_dropped_composited_or_refused_but_no_channel(self, tmp_path, suffix, mode):
        image = Image.new(mode, (4, 4), (100, 255) if mode == "LA" else (100, 100, 100, 255))
        lossless = {"lossless": True, "exact": True} if suffix == "webp" else {}
        image.save(tmp_path / f"a.{suffix}", **lossless)
        colours = 1 if mode == "LA" and suffix != "webp" else 3  # WebP knows no grey
        assert Folder(tmp_path).read().shape == (colours, 4, 4)
        image.putpixel((0, 0), (100, 0) if mode == "LA" else (100, 100, 100, 0))
        image.save(tmp_path / f"a.{suffix}", **lossless)
        with pytest.raises(ValueError, match=rf"a\.{suffix}: .*transparent in places; background=0 puts it on black"):
            Folder(tmp_path).read()
        white = Folder(tmp_path, background=1).read().pixels
        assert white[0, :, 0, 0].tolist() == [1] * colours
        np.testing.assert_allclose(white[0, :, 1, 1], 100 / 255, rtol=1e-6)

    def test_printing_inks_are_refused(self, tmp_path):
        Image.new("CMYK", (8, 8)).save(tmp_path / "a.jpg")
        with pytest.raises(ValueError, match=r"a\.jpg: .*CMYK; expected grey or RGB"):
            Folder(tmp_path).read()


class TestFormats:
    def test_of_a_gif_the_first_frame_is_read(self, tmp_path):
        frames = [Image.fromarray(picture(k)) for k in range(3)]
        frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
        np.testing.assert_array_equal(np.rint(Folder(tmp_path, channels=1).read().pixels[0, 0] * 255), picture(0))

    def test_a_tiff_stack_is_a_volume_and_turned_as_it_says(self, tmp_path):
        stack = np.stack([picture(k)[:, :7] for k in range(5)])
        tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
        np.testing.assert_array_equal(np.rint(Folder(tmp_path).read().pixels[0, 0] * 255), stack)
        assert Folder(tmp_path, size=(3, 6, 6)).read().shape == (1, 3, 6, 6)
        turned = [(274, "H", 1, 6, True)]
        tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", extratags=turned)
        read = Folder(tmp_path).read().pixels[0, 0]
        np.testing.assert_array_equal(np.rint(read * 255), np.rot90(stack, -1, (1, 2)))

    @pytest.mark.parametrize("shape", [(3, 9, 9), (9, 9, 4), (9,), (1, 1, 9, 9)])
    def test_an_array_that_could_be_two_things_is_refused(self, tmp_path, shape):
        np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
        with pytest.raises(ValueError, match=r"a\.npy: .*expected \(H, W\), \(H, W, 3\)"):
            Folder(tmp_path).read()

    @pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
    @pytest.mark.parametrize("name", ["a.dcm", "1.2.840.77", "IMG00001"])
    def test_an_x_ray_is_shown_through_its_window(self, tmp_path, photometric, name):
        stored = np.array([[0, 1000, 1500], [2000, 3000, 4095]], np.uint16)
        tags = {"WindowCenter": 2000.5, "WindowWidth": 2001, "RescaleSlope": 1, "RescaleIntercept": 0}
        dicom(tmp_path / name, stored, photometric, bits=12, **tags)
        shown = np.array([[0, 0, 0.25], [0.5, 1, 1]])
        expected = shown if photometric == "MONOCHROME2" else 1 - shown
        np.testing.assert_allclose(Folder(tmp_path).read().pixels[0, 0], expected, atol=1e-3)

    def test_without_a_window_the_stored_bits_are_the_scale(self, tmp_path):
        dicom(tmp_path / "a.dcm", np.array([[0, 1023]], np.uint16), bits=12, RescaleSlope=2, RescaleIntercept=-100)
        np.testing.assert_allclose(Folder(tmp_path).read().pixels[0, 0], [[0, 1023 / 4095]], rtol=1e-6)

    def test_an_x_ray_may_be_compressed(self, tmp_path):
        codecs = {JPEGLosslessSV1: "ljpeg_encode", JPEGLSLossless: "jpegls_encode", JPEG2000Lossless: "jpeg2k_encode"}
        stored = (picture(0).astype(np.uint16) << 4) + 5
        for k, (syntax, codec) in enumerate(codecs.items()):
            dicom(tmp_path / f"{k}.dcm", stored, bits=12)
            dataset = pydicom.dcmread(tmp_path / f"{k}.dcm")
            dataset.PixelData = pydicom.encaps.encapsulate([bytes(getattr(imagecodecs, codec)(stored))])
            dataset["PixelData"].is_undefined_length = True
            dataset.file_meta.TransferSyntaxUID = syntax
            dataset.save_as(tmp_path / f"{k}.dcm")
        read = Folder(tmp_path).read().pixels[:, 0]
        np.testing.assert_allclose(read, np.stack([stored / 4095] * 3), rtol=1e-6)

    @pytest.mark.parametrize("name", ["examples_palette.dcm", "SC_rgb_rle_16bit.dcm", "SC_rgb_rle.dcm"])
    def test_colours_of_dicom_are_from_0_to_1_too(self, tmp_path, name):
        shutil.copy(get_testdata_file(name, download=False), tmp_path)
        images = Folder(tmp_path).read()
        assert images.shape[0] == 3
        assert 0.5 < images.pixels.max() <= 1

    @pytest.mark.parametrize(
        ("tags", "message"),
        [
            ({"Modality": "CT"}, "a slice of CT, which the source Volumes reads"),
            ({"NumberOfFrames": 2}, "2 frames, expected one"),
            ({"PixelData": b"\0\0"}, "holds 2 bytes of voxels, its header says 144"),
        ],
    )
    def test_other_dicom_is_refused(self, tmp_path, tags, message):
        dicom(tmp_path / "a.dcm", picture(0), **tags)
        with pytest.raises(ValueError, match=rf"a\.dcm: .*{message}"):
            Folder(tmp_path).read()


class TestParts:
    def test_folders_are_given_apart(self, tmp_path):
        plant(tmp_path, {"healthy": 5, "later": 2, "mixed/normal": 3, "mixed/anomalous": 2})
        split = Parts(tmp_path / "healthy", tmp_path / "later", Folder(tmp_path / "mixed")).split()
        assert went(split) == (5, 2, 3, 2)
        assert split.train.name[0] == "train/000.png"
        assert "train: one folder without labels\ncalibration: one" in split.summary()

    def test_calibration_is_taken_from_train_unless_given(self, tmp_path):
        plant(tmp_path, {"healthy": 8, "mixed/normal": 3, "mixed/anomalous": 2})
        parts = Parts(train=tmp_path / "healthy", test=tmp_path / "mixed")
        assert went(parts.split()) == (6, 2, 3, 2)
        assert went(Parts(train=parts.train, test=parts.test, fractions=(1, 0, 0)).split()) == (8, 0, 3, 2)

    def test_what_does_not_go_together_is_refused(self, tmp_path):
        plant(tmp_path, {"a": 2, "b/normal": 2})
        with pytest.raises(ValueError, match=r"test: class folders.*: shape is \(1, 6, 6\), expected \(1, 12, 12\)"):
            Parts(train=tmp_path / "a", test=Folder(tmp_path / "b", size=6)).read()
        with pytest.raises(ValueError, match="expected one of them at least"):
            Parts().read()
        with pytest.raises(ValueError, match="expected labelled images in the published test"):
            Parts(train=tmp_path / "a", test=tmp_path / "a").split()


def test_mvtec_with_masks_and_two_defects_end_to_end(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "bottle"
    plant(data, {"train/good": 100, "test/good": 8, "test/crack": 4, "test/hole": 4})
    for k, (defect, i) in enumerate((defect, i) for defect in ("crack", "hole") for i in range(4)):
        image = picture(k)
        image[2:9, 2:9] = 255
        pillow(data / "test" / defect / f"{i:03}.png", image)
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[2:9, 2:9] = 255
        (data / "ground_truth" / defect).mkdir(parents=True, exist_ok=True)
        pillow(data / "ground_truth" / defect / f"{i:03}_mask.png", mask)
    (data / "license.txt").touch()
    source = ["--data", "Folder", "--data.path", "bottle", "--data.size=8", "--data.sizing=Letterbox"]
    assert main(["fit", *source, "--detector", "KNN", "--out", "model"]) == 0
    said = capsys.readouterr().out
    assert "published parts train, test (normal good; anomalous crack, hole)" in said
    for line in ("75 train", "25 calibration", "8 test, normal", "8 test, anomalous", "1 left out: files that are no"):
        assert line in said
    assert load("model").shape_ == (1, 8, 8)
    defects = ["--data", "Folder", "--data.path", "bottle/test", "--data.size=8", "--data.sizing=Letterbox"]
    defects += ['--data.anomalous=["crack","hole"]']
    assert main(["score", "model", *defects, "--out", "scores.csv"]) == 0
    with open("scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert Counter(row["label"] for row in rows) == {"normal": 8, "anomalous": 8}
    for split in (source, [*defects, "--data.fractions=[0,0,1]"]):
        assert main(["evaluate", "model", *split, "--out", "report", "--overwrite"]) == 0
        record = json.loads(Path("report/evaluation.json").read_text())
        assert record["metrics"]["auroc"]["value"] > 0.9
        monkeypatch.setattr(Evaluation, "save", Evaluation.write)  # one page is enough
    capsys.readouterr()
    assert main(["show", *source]) == 0
    assert "left out    1 files that are no images (.txt)" in capsys.readouterr().out
    assert main(["fit", *defects, "--data.fractions=[0,0,1]", "--detector", "KNN", "--out", "none"]) == 1
    assert "train is empty: expected normals" in capsys.readouterr().err


def test_parts_are_given_apart_on_the_command_line(tmp_path, capsys):
    plant(tmp_path, {"healthy": 5, "later": 3, "mixed/good": 3, "mixed/hole": 2})
    parts = ["--data", "Parts", f"--data.train={tmp_path / 'healthy'}", f"--data.calibration={tmp_path / 'later'}"]
    parts += ["--data.test=Folder", f"--data.test.path={tmp_path / 'mixed'}", "--data.test.anomalous=hole"]
    assert main(["fit", *parts, "--detector", "KNN", "--out", str(tmp_path / "model")]) == 0
    said = capsys.readouterr().out
    for line in ("5 train", "3 calibration", "3 test, normal", "2 test, anomalous"):
        assert line in said


class TestPartsOnTheCommandLine:
    @pytest.fixture
    def folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        plant(tmp_path, {"healthy": 30, "later": 20, "mixed/normal": 6, "mixed/anomalous": 5})
        for k in range(5):
            image = picture(k)
            image[3:9, 3:9] = 255
            pillow(tmp_path / "mixed" / "anomalous" / f"{k:03}.png", image)
        (tmp_path / "later" / "notes.txt").touch()
        return tmp_path

    def test_folders_are_named_by_part_and_counted_in_every_record(self, folder, capsys):
        given = ["--train", "healthy", "--calibration=later", "--detector", "KNN", "--out", "model"]
        assert main(["fit", *given, "--data.size=8"]) == 0
        said = capsys.readouterr().out
        lost = "left out: files that are no images (.txt)"
        for line in ("30 train", "20 calibration", f"1 {lost}", "train: one folder", "calibration: one folder"):
            assert line in said
        fitted = json.loads(Path("model/data.json").read_text())
        assert fitted["parts"] == {"train": 30, "calibration": 20, "test, normal": 0, "test, anomalous": 0, lost: 1}
        assert load("model").shape_ == (1, 8, 8)
        assert len(load("model").calibration_) == 20
        assert main(["evaluate", "model", "--test=mixed", "--data.size=8", "--out", "report"]) == 0
        assert "6 test, normal" in capsys.readouterr().out
        record = json.loads(Path("report/evaluation.json").read_text())
        assert record["data"]["parts"] == {"train": 0, "calibration": 0, "test, normal": 6, "test, anomalous": 5}
        assert record["data"]["layout"] == "test: class folders (normal normal; anomalous anomalous)"
        page = Path("report/report.html").read_text()
        assert "train: 0; calibration: 0; test, normal: 6; test, anomalous: 5" in page
        assert record["data"]["layout"] in page
        assert record["metrics"]["auroc"]["value"] > 0.9

    def test_calibration_comes_out_of_train_or_not_at_all(self, folder, capsys):
        given = ["fit", "--train", "healthy", "--detector=KNN"]
        assert main([*given, "--out", "a"]) == 0
        assert main([*given, "--data.fractions=[1,0,0]", "--out", "b"]) == 0
        parts = [json.loads(Path(f"{name}/data.json").read_text())["parts"] for name in "ab"]
        assert [(part["train"], part["calibration"]) for part in parts] == [(24, 6), (30, 0)]
        assert not hasattr(load("b"), "calibration_")

    def test_another_source_may_read_them(self, folder):
        np.save("a.npy", np.random.default_rng(0).random((9, 1, 6, 6)))
        assert main(["fit", "--data", "Arrays", "--train", "a.npy", "--detector=KNN", "--out", "a"]) == 0
        assert load("a").shape_ == (1, 6, 6)

    @pytest.mark.parametrize("source", ["Digits", "Parts"])
    def test_a_source_without_a_path_is_refused(self, folder, capsys, source):
        with pytest.raises(SystemExit):
            main(["fit", "--data", source, "--train", "healthy", "--out", "a"])
        assert f"--train: expected with a source of one path, such as Folder or Volumes, not {source}" in (
            capsys.readouterr().err
        )

    def test_what_is_missing_is_said(self, folder, capsys):
        assert main(["fit", "--calibration=later", "--out", "a"]) == 1
        assert "train is empty: expected normals" in capsys.readouterr().err
        assert main(["fit", "--train=nowhere", "--out", "a"]) == 1
        assert "error: --train='nowhere': no such file or folder" in capsys.readouterr().err


def test_a_layout_says_none_of_a_folder_of_another_kind():
    from unlikelihood.data.labels import Names
    from unlikelihood.data.tree import Tree

    found = [layout(Tree(Path(), ("a.png",)), Names(("good",))) for layout in LAYOUTS]
    assert [one is None for one in found] == [True, True, False]


@pytest.mark.parametrize("lost", [20, 0.5])  # the last 2 bytes of PNG and GIF hold no pixels
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_that_is_cut_short_is_named_in_every_format(tmp_path, suffix, lost):
    file = tmp_path / f"a.{suffix}"
    FORMATS[suffix][0](file, np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8))
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * lost) if lost < 1 else len(whole) - lost])
    with pytest.raises(ValueError, match=rf"a\.{suffix}: cannot be read as an image"):
        Folder(tmp_path).read()


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("harm", ["cut", "zeros", "hole"])
def test_a_jpeg_that_is_damaged_within_is_named(tmp_path, progressive, harm):
    y, x = np.mgrid[:200, :180]
    Image.fromarray(((x + y) // 2).astype(np.uint8)).save(tmp_path / "a.jpg", quality=95, progressive=progressive)
    whole = (tmp_path / "a.jpg").read_bytes()
    at = len(whole) // 2
    rest = {"cut": b"\xff\xd9", "zeros": bytes(300) + whole[at + 300 :], "hole": whole[at + 300 :]}[harm]
    (tmp_path / "a.jpg").write_bytes(whole[:at] + rest)
    with pytest.raises(ValueError, match=r"a\.jpg: cannot be read as an image"):
        Folder(tmp_path).read()


def test_a_tiff_that_lacks_a_strip_is_named(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", picture(0, 64), rowsperstrip=8)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as content:
        counts = content.pages.first.tags["StripByteCounts"]
        counts.overwrite([0 if k == 3 else n for k, n in enumerate(counts.value)])
    with pytest.raises(ValueError, match=r"a\.tif: .*some of its strips or tiles are not there"):
        Folder(tmp_path).read()
