"""A sample of the table of faults: what comes of damage of every kind, whatever is read."""

import os
import re
import struct
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from benchmarks.faults import examples
from benchmarks.faults.damage import generic
from benchmarks.faults.formats import special
from benchmarks.faults.readers import Reader, facts, readers
from pydicom import dcmread

from unlikelihood import Arrays, Folder, Scan, Volumes
from unlikelihood.cli.main import main
from unlikelihood.data.walk import files_in
from unlikelihood.storage.reading import Unreadable, naming

READERS = {reader.name: reader for reader in readers() if not reader.name.startswith(("model", "evaluation"))}
# What is no file, and so is never opened: it would be waited for, or fill the memory.
NO_FILES = ("a FIFO", "a socket", "a link to nothing", "a link to itself", "a link to /dev/zero")
NO_FILES += ("sparse, 8 GiB of nothing behind it", "sparse, 8 GiB of nothing")
# Each is refused, by the reason.
LIES = {
    "PNG": {"size of 60000 x 60000": "claims 3600000000 bytes", "wrong sum of a chunk": ""},
    "JPEG": {"PNG under its name": ""},
    "TIFF": {
        "StripByteCounts of 0": "strips or tiles are not there",
        "StripOffsets of 0": "strips or tiles are not there",
        "StripByteCounts of 2147483648": "beyond its end",
        "ImageLength of 2147483647": "claims",
        "BitsPerSample of 7": "7 bits a value",
        "complex numbers": "values of type complex64",
        "beyond float32": "not finite in 32 bits",
    },
    "TIFF, deflated": {"ImageLength of 25": "1 strips or tiles, its header says 2"},
    "BMP": {"offset of 10": "its header says", "width of 12": "its header says"},
    "GIF": {"width of 25": "its first frame covers"},
    "WebP": {"PNG under its name": ""},
    "NPY of a folder": {"complex numbers": "type complex64", "no values": "its shape is (0, 24)", "objects": "Python"},
    "DICOM image": {
        "RescaleSlope of 1e39": "scaled by 1e+39",
        "PhotometricInterpretation of RGB": "1 values a pixel",
        "Rows of None": "",
        "PixelRepresentation of 7": "PixelRepresentation is 7",
    },
    "DICOM image, RLELossless": {"Rows of 19": "its runs make 1152 bytes"},
    "NIfTI": {
        "scl_slope of inf": "scaled by inf",
        "scl_slope of 1e-45": "scaled by 1.4013e-45",
        "scl_inter of 3e+38": "3e+38",
        "pixdim[1] of -0.7": "",
        "pixdim[1] of nan": "pixdim",
        "vox_offset of 0": "",
        "datatype of 32": "of 8 bytes each",
        "datatype of 128": "of 3 bytes each",
        "dim[0] of -1": "",
    },
    "MetaImage": {
        "NDims of '1000000'": "1000000 axes",
        "a million sizes": "",
        "DimSize of '30000 30000 30000'": "holds",
        "ElementSpacing of '-0.7 0.8 2.5'": "lengths above 0",
        "ElementSpacing of 'inf 1 1'": "numbers up to",
        "HeaderSize of '7'": "HeaderSize is 7",
        "ElementDataFile of '%n %n 1 2 1'": "names its voxels by '%n",
        "ElementDataFile of '%s 1 2 1'": "names its voxels by '%s",
        "ElementDataFile of 'a%03d.raw 1 1000000000 1'": "more than",
        "ElementDataFile of '../others/b.mha'": "expected a file in its folder",
        "ElementDataFile of '/etc/passwd'": "expected a file in its folder",
        "ElementDataFile of '.'": "a folder",
        "ElementNumberOfChannels of '-1'": "values a voxel",
    },
    "MetaImage, zlib": {"CompressedDataSize of '7'": "its header says 7", "1 byte appended": ""},
    "MetaImage .zraw": {"bit 4 at 30% flipped": "", "bit 6 at 50% flipped": "", "bit 1 at 88% flipped": ""},
    "NRRD": {
        "dimension of '1000000'": "1000000 axes",
        "space directions of 'none none none'": "0 vectors",
        "space directions of '(nan,0,0) (0,1,0) (0,0,1)'": "numbers up to",
        "byte skip of '-5'": "byte skip is -5",
        "data file of '%s 1 2 1'": "names its voxels by",
    },
    "DICOM series": {
        "RescaleSlope of 1e308": "scaled by",
        "BitsStored of 8": "",
        "PixelRepresentation of 0": "stored of 0002.dcm differs",
        "PixelSpacing of ['-0.8', '0.7']": "above 0",
        "PixelData of 2 bytes": "holds 2 bytes",
    },
    "DICOM, enhanced": {"NumberOfFrames of 1000000000": "its header says", "Columns of 0": ""},
    "NPY": {"its header says {'shape': (1000000000000, 1, 9, 9)}": "its header says 81000000000128"},
    "NPZ": {
        "pixels missing": "expected one of",
        "pixels: complex": "complex128",
        "pixels: nan": "not finite",
        "pixels: none": "expected (0,)",
        "pixels: one too few": "expected (7,)",
        "pixels: beyond float32": "not finite in 32 bits",
        "label: 2**40": "expected 0 (normal) or 1",
        "label: one too few": "expected (8,)",
        "label: structured": "",
        "a member that claims 160 GiB": "its header says",
        "encrypted": "",
        "unknown compression": "",
    },
    "MNIST": {"height of 2^31": "", "images of -1": ""},
    "MNIST, gzip": {"an image less, whole": "expected as many", "bit 4 at 30% flipped": ""},
    "MedMNIST": {"train_labels: 255": "label 255", "train_images: complex": "complex128", "train_labels missing": ""},
    "LIDC": {"malignancy: 7": "1 to 5", "malignancy: nan": "1 to 5", "volumes missing": "", "volumes: flat": ""},
    "table of images": {
        "a row twice": "line 6",
        "a column twice": "'label' is there twice",
        "a cell of 200 kB": "line 3",
        "a cell too few": "line 3: has 3 cells",
        "a quote that never ends": "line",
        "a name above the folder": "line 3: file='../in/../../etc/passwd'",
        "a name of the system": "line 3: file='/etc/passwd'",
        "a name with NUL": "line 3: holds NUL",
        "another label by another name": "line 6: file='./0.png' for the second time",
        "with an accent, in cp1252": "line 1 is not in UTF-8",
    },
    "candidates.csv": {"two last cells of one place": "line 5: the place of line 2 once more"},
    "annotations.csv": {"second cell 'nan'": "line 3", "second cell '1e400'": "line 3"},
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("UNLIKELIHOOD_CACHE", str(tmp_path_factory.mktemp("cache")))


def refused(reader: Reader, name: str, folder: Path) -> str:
    """Write a whole example, damage it and read it; return what is said of it, one line that names the file."""
    reader.write(folder)
    victim = folder / reader.victim
    damages = {damage.name: damage for damage in [*generic(), *special(reader.kinds, victim)]}
    damages[name].harm(victim)
    with pytest.raises((ValueError, OSError)) as error:
        reader.read(folder)
    said = str(error.value)
    assert victim.name in said or f"{victim.parent.name}," in said or f"{victim.parent.name}:" in said
    assert "\n" not in said.replace("cannot be read\n", "").replace("can be read\n", "").replace("\nline ", "")
    if reader.rest is not None:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            rest = reader.rest(folder)
        assert rest.left_out or any("skipped" in str(one.message) for one in heard)
    return said


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", NO_FILES)
def test_what_is_no_file_is_never_opened(tmp_path, reader, name):
    assert refused(READERS[reader], name, tmp_path)


@pytest.mark.parametrize(("reader", "name", "reason"), [(a, b, c) for a, row in LIES.items() for b, c in row.items()])
def test_what_a_file_says_is_checked_before_it_is_believed(tmp_path, reader, name, reason):
    assert reason in refused(READERS[reader], name, tmp_path)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", "<>")
def test_pages_that_lead_in_a_circle_are_not_followed(tmp_path, order, big):
    file = tmp_path / "a.tif"
    pages = np.arange(2 * 12 * 12, dtype=np.uint8).reshape(2, 12, 12)
    tifffile.imwrite(file, pages, byteorder=order, bigtiff=big, photometric="minisblack")
    read = Folder(tmp_path, anomalous=()).read().pixels
    np.testing.assert_allclose(255 * read[0].reshape(pages.shape), pages, atol=1e-3)
    with tifffile.TiffFile(file) as content:
        first, second = (page.offset for page in content.pages)
    # The last page ends with where the next one lies.
    form, count, tag = (f"{order}Q", f"{order}Q", 20) if big else (f"{order}I", f"{order}H", 12)
    found = bytearray(file.read_bytes())
    after = second + struct.calcsize(count) + struct.unpack_from(count, found, second)[0] * tag
    struct.pack_into(form, found, after, first)
    file.write_bytes(found)
    with pytest.raises(ValueError, match=r"a\.tif.*in a circle"):
        Folder(tmp_path, anomalous=()).read()


def test_a_class_that_dicom_has_not_is_a_damage_and_moves_no_cursor(tmp_path):
    examples.x_ray(tmp_path / "a.dcm", examples.picture(0))
    dataset = dcmread(tmp_path / "a.dcm")
    del dataset.Rows
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2\x1b[2J.840"
        dataset.save_as(tmp_path / "a.dcm", enforce_file_format=False)
    with pytest.raises(ValueError, match=r"a\.dcm") as error:
        Folder(tmp_path, anomalous=()).read()
    assert "\x1b" not in str(error.value)


@pytest.mark.parametrize(
    "raised", [KeyError("a"), TypeError(), MemoryError(), RecursionError("deep"), OSError(5, "io")]
)
def test_whatever_a_decoder_raises_is_one_line_that_names_the_file(tmp_path, raised):
    file = tmp_path / "a\nb"
    file.touch()
    message = rf"a\\nb: cannot be read as a thing \({type(raised).__name__}: "
    with pytest.raises(Unreadable, match=message) as error, naming(file, "a thing"):
        raise raised
    assert "\n" not in str(error.value)


def test_warnings_of_skipped_images_are_never_lost(tmp_path):
    """Those who read in threads set no filters of warnings, which threads would restore in the wrong order."""
    for k in range(40):
        examples.x_ray(tmp_path / f"{k}.dcm", examples.picture(k))
    (tmp_path / "3.dcm").write_bytes((tmp_path / "3.dcm").read_bytes()[:-9])
    for _ in range(5):
        with pytest.warns(UserWarning, match=r"1 of 40 images skipped\n.*3\.dcm"):
            Folder(tmp_path, skip_unreadable=True).read()


class TestLinks:
    def test_what_links_lead_to_is_read_once(self, tmp_path):
        for k, place in enumerate(("a", "b", "c")):
            (tmp_path / place).mkdir()
            examples.volume(k).save(tmp_path / place / f"{k}.mha")
            examples.pillow(tmp_path / place / f"{k}.png", examples.picture(k))
        for place in ("a", "b", "c"):
            for other in ("a", "b", "c"):
                (tmp_path / place / f"to_{other}").symlink_to(tmp_path / other, target_is_directory=True)
        assert [file.relative_to(tmp_path).as_posix() for file in files_in(tmp_path)] == [
            f"{place}/{k}.{kind}" for k, place in enumerate("abc") for kind in ("mha", "png")
        ]
        volumes = Volumes(tmp_path, jobs=1).read()
        assert volumes.name.tolist() == ["a/0.mha", "b/1.mha", "c/2.mha"]
        assert volumes.left_out["links to files that are read already"] > 0
        images = Folder(tmp_path, anomalous=()).read()
        assert images.name.tolist() == ["a/0.png", "b/1.png", "c/2.png"]
        assert images.left_out["links to files that are read already"] > 0

    @pytest.mark.parametrize("places", [("normal", "anomalous"), ("train/good", "test/good")])
    def test_a_file_in_two_classes_or_parts_is_named(self, tmp_path, places):
        first, other = (tmp_path / place for place in places)
        first.mkdir(parents=True)
        other.mkdir(parents=True)
        examples.pillow(first / "0.png", examples.picture(0))
        (other / "x.png").symlink_to(first / "0.png")
        with pytest.raises(ValueError, match=r"(0|x)\.png.* and .*(0|x)\.png.* are one file"):
            Folder(tmp_path).read()

    def test_a_folder_of_links_is_a_class(self, tmp_path):
        """As where the files lie elsewhere, by DVC or git-annex."""
        for k, label in enumerate(("normal", "normal", "anomalous")):
            for place in (".store", label):
                (tmp_path / place).mkdir(exist_ok=True)
            examples.pillow(tmp_path / ".store" / f"{k}.png", examples.picture(k))
            (tmp_path / label / f"{k}.png").symlink_to(tmp_path / ".store" / f"{k}.png")
        assert Folder(tmp_path).read().label.tolist() == [0, 0, 1]


class TestClasses:
    @pytest.mark.parametrize("source", [Folder, Volumes])
    def test_a_class_within_another_is_named(self, tmp_path, source):
        for place, k in (("normal", 0), ("anomalous/normal", 1)):
            (tmp_path / place).mkdir(parents=True)
            examples.pillow(tmp_path / place / f"{k}.png", examples.picture(k))
            examples.volume(k).save(tmp_path / place / f"{k}.mha")
        with pytest.raises(ValueError, match=r"anomalous/normal/1.* lies in 'anomalous' and in 'normal'"):
            source(tmp_path).read()

    def test_the_same_volume_in_both_classes_is_named(self, tmp_path):
        for place in ("normal", "anomalous"):
            (tmp_path / place).mkdir()
            examples.volume(0).save(tmp_path / place / f"{place[0]}.nii")
        with pytest.raises(ValueError, match=r"normal/n\.nii and anomalous/a\.nii are the same volume"):
            Volumes(tmp_path, jobs=1).read()

    def test_two_series_of_the_same_voxels_are_two_volumes(self, tmp_path):
        for k, place in enumerate(("normal", "anomalous")):
            replace(examples.volume(0), series=f"1.2.{k}").save(tmp_path / place / "slices")
        assert len(Volumes(tmp_path, jobs=1).read()) == 2

    def test_what_lies_beside_the_classes_and_the_table_is_counted(self, tmp_path):
        (tmp_path / "normal").mkdir()
        (tmp_path / "more").mkdir()
        for k, place in enumerate((".", "normal", "more")):
            examples.volume(k).save(tmp_path / place / f"{k}.mha")
        assert Volumes(tmp_path, jobs=1).read().left_out == {"files in no folder that is normal or anomalous": 2}
        (tmp_path / "t.csv").write_text("file\nmore/2.mha\n")
        left_out = Volumes(tmp_path, table=tmp_path / "t.csv", jobs=1).read().left_out
        assert left_out == {"scans that the table does not list": 2}


def test_a_scan_that_takes_too_much_memory_is_its_own_failure(tmp_path, monkeypatch):
    for k in range(2):
        examples.volume(k).save(tmp_path / f"{k}.mha")
    crop = Scan.crop

    def crop_or_fail(scan, *given, **how):
        if scan.series == "1":
            raise MemoryError("no more")
        return crop(scan, *given, **how)

    monkeypatch.setattr(Scan, "crop", crop_or_fail)
    with pytest.warns(UserWarning, match=r"1 of 2 volumes skipped\n1\.mha: takes more memory than there is"):
        assert Volumes(tmp_path, skip_unreadable=True, jobs=1).read().name.tolist() == ["0.mha"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_table_is_the_same_in_every_encoding_that_says_which_it_is(tmp_path, encoding):
    examples.folder_table(tmp_path)
    read = facts(Folder(tmp_path / "in", table=tmp_path / "in" / "table.csv").read())
    (tmp_path / "t.csv").write_text((tmp_path / "in" / "table.csv").read_text(), encoding=encoding)
    again = facts(Folder(tmp_path / "in", table=tmp_path / "t.csv").read())
    assert all(np.array_equal(read[name], again[name]) for name in ("pixels", "label", "group", "name"))


def test_a_sparse_file_whose_bytes_are_there_is_read(tmp_path):
    """A large file of zeros is no giant without content, unless next to nothing of it is stored."""
    pixels = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.uint8, (2**20 + 1, 1, 32, 32))
    pixels[:: 2**8] = 1
    pixels.flush()
    assert os.path.getsize(tmp_path / "a.npy") > 2**30
    assert len(Arrays(tmp_path / "a.npy").read()) == 2**20 + 1


@pytest.mark.parametrize("raised", [KeyError("lost"), TypeError("no"), MemoryError()])
def test_the_command_line_has_one_line_for_every_error(tmp_path, monkeypatch, capsys, raised):
    def fails(self):
        raise raised

    monkeypatch.setattr(Folder, "read", fails)
    assert main(["show", "--data", "Folder", "--data.path", str(tmp_path)]) == 1
    assert re.fullmatch(rf"unlikelihood: error: {type(raised).__name__}: .+\n", capsys.readouterr().err)
