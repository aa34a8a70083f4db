"""Of damaged voxels nothing is read: every format, every kind of damage, an error that names the file in one line."""

import gzip
import shutil
import struct
import zlib

import imagecodecs
import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from unlikelihood import Scan, Volumes
from unlikelihood.data.ct.formats import UnreadableScan

ENCODERS = {
    JPEG2000Lossless: lambda plane: imagecodecs.jpeg2k_encode(plane, level=0, reversible=True, codecformat="J2K"),
    JPEGLSLossless: imagecodecs.jpegls_encode,
    JPEGLosslessSV1: lambda plane: imagecodecs.ljpeg_encode(plane, bitspersample=16),
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("UNLIKELIHOOD_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def noise():
    hu = np.random.default_rng(0).integers(-1000, 1000, (6, 20, 24)).astype(np.int16)
    return Scan(hu, (-10, 20, 30), (0.7, 0.8, 2.5), patient="p")


def compressed(folder, syntax):
    """Compress the slices of a DICOM folder."""
    for file in sorted(folder.iterdir()):
        data = pydicom.dcmread(file)
        stored = (data.pixel_array + 1024).astype(np.uint16)
        data.PixelRepresentation, data.RescaleIntercept, data.PixelData = 0, "-1024", stored.tobytes()
        if syntax == RLELossless:
            data.compress(syntax, generate_instance_uid=False)
        else:
            data.PixelData = pydicom.encaps.encapsulate([bytes(ENCODERS[syntax](stored))])
            data["PixelData"].is_undefined_length = True
            data.file_meta.TransferSyntaxUID = syntax
        data.save_as(file)


def write(noise, folder, form):
    """Write a scan in a format; return what to read, and the file that its voxels are in."""
    folder.mkdir()
    if form.startswith("dicom"):
        noise.save(folder / "d")
        if form != "dicom":
            compressed(folder / "d", getattr(pydicom.uid, form[5:]))
        return folder / "d", folder / "d" / "0002.dcm"
    image, file = noise._image(), folder / f"a{form.removeprefix('packed')}"
    if form in (".hdr", ".nhdr"):
        SimpleITK.WriteImage(image, str(file if form == ".nhdr" else folder / "a.img"))
    else:
        SimpleITK.WriteImage(image, str(file), useCompression=form.startswith("packed"))
    (voxels,) = {one for one in folder.iterdir() if one != file} or {file}
    return file, voxels


FORMS = (
    ".nii",
    ".nii.gz",
    ".hdr",
    ".mha",
    "packed.mha",
    ".mhd",
    "packed.mhd",
    ".nrrd",
    "packed.nrrd",
    ".nhdr",
    "dicom",
    "dicomJPEG2000Lossless",
    "dicomJPEGLSLossless",
    "dicomJPEGLosslessSV1",
    "dicomRLELossless",
)
CHECKED = [".nii.gz", "packed.mha", "packed.mhd", "packed.nrrd"]  # which have a checksum


@pytest.mark.parametrize("form", FORMS)
def test_what_is_whole_is_read(tmp_path, noise, form):
    place, _ = write(noise, tmp_path / "ct", form)
    scan = Scan.read(place)
    np.testing.assert_array_equal(scan.hu, noise.hu)
    for field in ("origin", "spacing", "direction"):
        np.testing.assert_allclose(getattr(scan, field), getattr(noise, field), atol=1e-5)


def cut(file, share):
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])


DAMAGE = {
    "last byte lost": lambda file: file.write_bytes(file.read_bytes()[:-2].rstrip(b"\0")[:-1]),
    "a tenth lost": lambda file: cut(file, 0.9),
    "most lost": lambda file: cut(file, 0.3),
    "empty": lambda file: file.write_bytes(b""),
    "zeros": lambda file: file.write_bytes(bytes(file.stat().st_size // 2)),
    "text": lambda file: file.write_text("no scan"),
    "gone": lambda file: [file.unlink(), file.symlink_to(file.parent / "nowhere")],
    "a folder": lambda file: [file.unlink(), file.mkdir()],
}


def assert_refused(place, voxels, folder):
    """Check that no way of reading is silent, that the message is one line, and that damage may be skipped."""
    with pytest.raises((UnreadableScan, FileNotFoundError)) as error:
        Scan.read(place)
    assert "\n" not in str(error.value)
    assert place.name in str(error.value) or voxels.name in str(error.value)
    Scan(np.zeros((2, 3, 4))).save(folder / "good.mha")
    with pytest.warns(UserWarning, match="1 of 2 volumes skipped"):
        assert len(Volumes(path=folder, skip_unreadable=True, jobs=1).read()) == 1


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("damage", DAMAGE)
def test_no_damage_is_silent(tmp_path, noise, form, damage):
    place, voxels = write(noise, tmp_path / "ct", form)
    if damage == "a folder" and (place == voxels or form.startswith("dicom")):
        pytest.skip("which is then no file of a scan")
    DAMAGE[damage](voxels)
    assert_refused(place, voxels, tmp_path / "ct")


@pytest.mark.parametrize(
    ("at", "value"),
    [(0, 3), (0, 2**31), (4, 0), (4, 2**31), (8, 64), (8, 0xFF7F0000)],
    ids=["a segment more", "many segments", "the first in the head", "the first outside", "an empty one", "outside"],
)
def test_a_run_length_coded_slice_is_read_inside_its_frame_alone(tmp_path, noise, at, value):
    place, voxels = write(noise, tmp_path / "ct", "dicomRLELossless")
    content = voxels.read_bytes()
    head = content.index(struct.pack("<2I", 2, 64)) + at  # two segments, of which the first follows the head
    voxels.write_bytes(content[:head] + struct.pack("<I", value) + content[head + 4 :])
    with pytest.raises(UnreadableScan, match="its head says"):
        Scan.read(place)


@pytest.mark.parametrize("form", CHECKED)
@pytest.mark.parametrize("at", [0.4, 0.6, 0.8, 0.999])
def test_a_flipped_bit_fails_the_checksum(tmp_path, noise, form, at):
    place, voxels = write(noise, tmp_path / "ct", form)
    content = bytearray(voxels.read_bytes())
    content[int(at * len(content))] ^= 0x10
    voxels.write_bytes(content)
    assert_refused(place, voxels, tmp_path / "ct")


def refusal(place):
    """Return why a scan cannot be read, None if it can; any other error is one of ours."""
    try:
        Scan.read(place)
    except UnreadableScan as error:
        return str(error)
    return None


@pytest.mark.parametrize("form", [".nii", ".hdr", ".mha", ".mhd", ".nrrd", ".nhdr"])
@pytest.mark.parametrize("seed", range(12))
def test_no_byte_of_a_header_makes_another_error(tmp_path, noise, form, seed):
    place, _ = write(noise, tmp_path / "ct", form)
    rng = np.random.default_rng(seed)
    content = bytearray(place.read_bytes())
    for _ in range(3):
        content[rng.integers(min(len(content), 320))] = rng.integers(256)
    place.write_bytes(content)
    said = refusal(place)
    assert said is None or (place.name in said and "\n" not in said)


@pytest.mark.parametrize("seed", range(12))
def test_no_byte_of_a_dicom_header_makes_another_error(tmp_path, noise, seed):
    place, file = write(noise, tmp_path / "ct", "dicom")
    rng = np.random.default_rng(seed)
    content = bytearray(file.read_bytes())
    for _ in range(3):
        content[rng.integers(132, len(content) - 1000)] = rng.integers(256)
    file.write_bytes(content)
    said = refusal(place)
    assert said is None or "\n" not in said


def test_a_header_that_asks_for_more_than_there_is_allocates_nothing(tmp_path, noise):
    noise.save(tmp_path / "a.nii")
    header = bytearray((tmp_path / "a.nii").read_bytes())
    header[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
    (tmp_path / "a.nii").write_bytes(header)
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(bytes(header)))
    for name in ("a.nii", "b.nii.gz"):
        with pytest.raises(UnreadableScan, match=rf"{name}: cannot be read as a scan \(holds 5760 bytes of voxels"):
            Scan.read(tmp_path / name)


def test_a_raw_file_that_is_too_long_is_not_the_one_of_its_header(tmp_path, noise):
    noise.save(tmp_path / "a.mhd")
    with (tmp_path / "a.raw").open("ab") as voxels:
        voxels.write(bytes(20 * 24 * 2))
    with pytest.raises(UnreadableScan, match=r"a\.mhd: .*holds 6720 bytes of voxels, 24 x 20 x 6 of 2 bytes"):
        Scan.read(tmp_path / "a.mhd")


def test_voxels_packed_in_two_ways_are_read(tmp_path, noise):
    noise.save(tmp_path / "a.mhd")
    raw = (tmp_path / "a.raw").read_bytes()
    (tmp_path / "a.zraw").write_bytes(zlib.compress(raw))
    header = (tmp_path / "a.mhd").read_text().replace("CompressedData = False", "CompressedData = True")
    size = len(zlib.compress(raw))
    header = header.replace("a.raw", "a.zraw").replace("TransformM", f"CompressedDataSize = {size}\nTransformM")
    (tmp_path / "b.mhd").write_text(header)
    np.testing.assert_array_equal(Scan.read(tmp_path / "b.mhd").hu, noise.hu)


def test_a_multi_part_mhd_is_read_and_its_parts_counted(tmp_path, noise):
    noise.save(tmp_path / "a.mhd")
    raw = (tmp_path / "a.raw").read_bytes()
    for k in range(6):
        (tmp_path / f"s{k:02d}.raw").write_bytes(raw[k * 960 : (k + 1) * 960])
    header = (tmp_path / "a.mhd").read_text()
    for said in ("s%02d.raw 0 5 1", "LIST\n" + "\n".join(f"s{k:02d}.raw" for k in range(6))):
        (tmp_path / "b.mhd").write_text(header.replace("a.raw", said))
        np.testing.assert_array_equal(Scan.read(tmp_path / "b.mhd").hu, noise.hu)
    cut(tmp_path / "s03.raw", 0.5)
    with pytest.raises(UnreadableScan, match=r"b\.mhd: cannot be read as a scan"):
        Scan.read(tmp_path / "b.mhd")


def test_any_failure_of_a_decoder_is_one_line(tmp_path, noise, monkeypatch):
    noise.save(tmp_path / "ct" / "a.nii")
    Scan(np.zeros((2, 3, 4))).save(tmp_path / "ct" / "good.mha")

    def fails(*given, **how):
        raise MemoryError("two\nlines")

    monkeypatch.setattr(nibabel, "load", fails)
    with pytest.raises(UnreadableScan, match=r"a\.nii: cannot be read as a scan \(MemoryError: two lines\)"):
        Scan.read(tmp_path / "ct" / "a.nii")
    with pytest.warns(UserWarning, match="1 of 2 volumes skipped"):
        assert len(Volumes(path=tmp_path / "ct", skip_unreadable=True, jobs=1).read()) == 1


def test_a_damaged_slice_spoils_its_own_series_alone(tmp_path, noise):
    for series in ("1.2.3", "1.2.4"):
        Scan(noise.hu, noise.origin, noise.spacing, series=series).save(tmp_path / series)
    (tmp_path / "both").mkdir()
    for series in ("1.2.3", "1.2.4"):
        for file in (tmp_path / series).iterdir():
            shutil.copy(file, tmp_path / "both" / f"{series}-{file.name}")
    cut(tmp_path / "both" / "1.2.3-0002.dcm", 0.8)
    with pytest.raises(UnreadableScan, match=r"1\.2\.3-0002\.dcm"):
        Scan.read(tmp_path / "both", series="1.2.3")
    np.testing.assert_array_equal(Scan.read(tmp_path / "both", series="1.2.4").hu, noise.hu)
    data = pydicom.dcmread(tmp_path / "1.2.3" / "0002.dcm")
    del data.PixelSpacing
    data.save_as(tmp_path / "both" / "1.2.3-0002.dcm")
    np.testing.assert_array_equal(Scan.read(tmp_path / "both", series="1.2.4").hu, noise.hu)
    with pytest.warns(UserWarning, match="1 of 2 volumes skipped"):
        Volumes(path=tmp_path / "both", skip_unreadable=True, jobs=1).read()
