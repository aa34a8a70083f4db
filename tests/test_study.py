"""A study as it comes: what is a scan is read in HU and mm, what is not is counted, and what is odd is refused."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.pixels import apply_rescale
from pydicom.sequence import Sequence

from spheres import OBLIQUE
from unlikelihood import Scan, Volumes
from unlikelihood.cli.main import main
from unlikelihood.data.ct.decode import hounsfield_of
from unlikelihood.data.ct.dicom import header_of
from unlikelihood.data.ct.formats import UnreadableScan
from unlikelihood.data.ct.scan_files import find_scans, survey
from unlikelihood.data.dicom_pixels import stored_values

STUDY = Path(os.environ.get("UNLIKELIHOOD_DATA", "")) / "ct_qa"
SECONDARY = pydicom.uid.SecondaryCaptureImageStorage


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("UNLIKELIHOOD_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def noise():
    hu = np.random.default_rng(0).integers(-1000, 1000, (6, 20, 24)).astype(np.int16)
    return Scan(hu, (-10, 20, 30), (0.7, 0.8, 2.5), series="1.2.3", patient="p")


@pytest.fixture
def dicom(tmp_path, noise):
    noise.save(tmp_path / "ct")
    return tmp_path / "ct"


def change(file, lost=(), **tags):
    data = pydicom.dcmread(file)
    for tag in lost:
        del data[tag]
    for tag, value in tags.items():
        setattr(data, tag, value)
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.save_as(file)


def beside(dicom, name, series, lost=(), **tags):
    """Put another object into a folder, made of its first slice."""
    shutil.copy(sorted(dicom.glob("0*.dcm"))[0], dicom / name)
    change(dicom / name, lost, SeriesInstanceUID=series, SOPInstanceUID=f"{series}.1", **tags)


PLACE = ("ImagePositionPatient", "ImageOrientationPatient")
FOREIGN = {
    "dose report": ({"SOPClassUID": SECONDARY}, (*PLACE, "PixelSpacing"), "Secondary Capture Image Storage"),
    "structured report": (
        {"SOPClassUID": pydicom.uid.BasicTextSRStorage, "Modality": "SR"},
        (),
        "Basic Text SR Storage",
    ),
    "presentation state": (
        {"SOPClassUID": pydicom.uid.GrayscaleSoftcopyPresentationStateStorage, "Modality": "PR"},
        ("PixelData", "Rows", "Columns"),
        "Grayscale Softcopy Presentation State Storage",
    ),
    "scout": ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, (), "localizer"),
    "scout without a place": ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, PLACE, "localizer"),
    "MPR": ({"ImageType": ["DERIVED", "SECONDARY", "MPR"]}, (), "reformat"),
    "reformat": ({"ImageType": ["DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"]}, (), "reformat"),
    "derived": ({"ImageType": ["DERIVED", "SECONDARY"]}, PLACE, "derived image without a position"),
    "colour": ({"PhotometricInterpretation": "RGB"}, (), "colour image (RGB)"),
    "unnamed scout": ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, (), "single image"),
    "segmentation": ({"Modality": "SEG"}, (), "modality SEG"),
}


@pytest.fixture
def study(dicom):
    for k, (tags, lost, _) in enumerate(FOREIGN.values()):
        beside(dicom, f"x{k}.dcm", f"1.2.9.{k}", lost, **tags)
    (dicom / "notes.txt").write_text("not of DICOM")
    return dicom


class TestForeign:
    @pytest.mark.parametrize("kind", FOREIGN)
    def test_each_is_left_out_and_counted(self, dicom, noise, kind):
        tags, lost, reason = FOREIGN[kind]
        beside(dicom, "IM7", "1.2.9", lost, **tags)
        np.testing.assert_array_equal(Scan.read(dicom).hu, noise.hu)
        images = Volumes(path=dicom, jobs=1).read()
        assert (len(images), dict(images.left_out)) == (1, {f"DICOM files: {reason}": 1})

    @pytest.mark.parametrize("kind", sorted(FOREIGN.keys() - {"unnamed scout"}))
    def test_each_may_be_in_the_series_itself(self, dicom, noise, kind):
        tags, lost, _ = FOREIGN[kind]
        beside(dicom, "x.dcm", "1.2.3", lost, **tags)
        np.testing.assert_array_equal(Scan.read(dicom).hu, noise.hu)

    def test_all_at_once(self, study, noise, capsys, tmp_path):
        np.testing.assert_array_equal(Scan.read(study).hu, noise.hu)
        found = survey(study)
        assert [(one.series, len(one.files), one.damage) for one in found.scans] == [("1.2.3", 6, "")]
        assert sum(found.left_out.values()) == len(FOREIGN) + 1
        assert found.left_out["files that are no scans (.txt)"] == 1
        told = {series: what for _, series, _, what in found.contents()}
        assert told["1.2.3"] == "scan of 6 x 20 x 24 voxels (z, y, x)"
        assert all(told[f"1.2.9.{k}"] == f"foreign: {reason}" for k, (_, _, reason) in enumerate(FOREIGN.values()))
        assert main(["show", "--data=Volumes", f"--data.path={study}", f"--out={tmp_path / 'a.png'}"]) == 0
        assert "2 DICOM files: reformat" in capsys.readouterr().out

    def test_a_folder_without_a_scan_says_what_is_in_it(self, study):
        lone = f"x{[*FOREIGN].index('unnamed scout')}.dcm"  # which without others is a scan that lost the rest
        for file in [*study.glob("0*.dcm"), study / lone]:
            file.unlink()
        with pytest.raises(UnreadableScan, match=r"holds no CT images, but .*2 localizer"):
            Scan.read(study)
        with pytest.raises(ValueError, match=r"no DICOM series of CT.*; 2 DICOM files: localizer"):
            Volumes(path=study, jobs=1).read()

    def test_a_reformat_is_read_by_its_name(self, tmp_path, noise):
        noise.save(tmp_path / "a")
        for file in (tmp_path / "a").iterdir():
            change(file, ImageType=["DERIVED", "SECONDARY", "MPR"])
        with pytest.raises(UnreadableScan, match="holds no CT images, but 6 reformat"):
            Scan.read(tmp_path / "a")
        np.testing.assert_array_equal(Scan.read(tmp_path / "a", series="1.2.3").hu, noise.hu)

    def test_one_slice_of_another_study_is_a_scan_that_lost_the_others(self, dicom):
        beside(dicom, "x.dcm", "1.2.4", StudyInstanceUID="1.9", ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
        with pytest.raises(ValueError, match=r"1 of 2 volumes cannot be read\n.*1\.2\.4: holds one slice"):
            Volumes(path=dicom, jobs=1).read()

    def test_two_phases_are_two_scans(self, dicom, noise):
        replace(noise, hu=noise.hu // 2, series="1.2.4").save(dicom / "late")
        assert [len(one.files) for one in find_scans(dicom)] == [6, 6]
        assert len(Volumes(path=dicom, jobs=1).read()) == 2

    def phases(self, dicom, noise, tag, values):
        """Put scans of one place into one series; return what their intensities are raised by."""
        for file in dicom.iterdir():
            change(file, **{tag: values[0]})
        for k, value in enumerate(values[1:], start=1):
            replace(noise, hu=noise.hu + k).save(dicom / f"{k}")
            for file in (dicom / f"{k}").iterdir():
                change(file, **{tag: value}, StudyInstanceUID=pydicom.dcmread(dicom / "0000.dcm").StudyInstanceUID)

    @pytest.mark.parametrize(
        ("tag", "values"),
        [
            ("AcquisitionNumber", [1, 2, 3]),
            ("TemporalPositionIdentifier", [4, 5]),
            ("ConvolutionKernel", ["B30f", "B70f"]),
            ("ImageType", [["ORIGINAL", "PRIMARY", "AXIAL", "LOW"], ["ORIGINAL", "PRIMARY", "AXIAL", "HIGH"]]),
        ],
    )
    def test_phases_under_one_series_are_scans_of_their_own(self, dicom, noise, tag, values):
        self.phases(dicom, noise, tag, values)
        names = [f"1.2.3#{tag}={value if not isinstance(value, list) else '-'.join(value)}" for value in values]
        with pytest.raises(
            UnreadableScan, match=rf"holds {len(values)} series, expected series= one of 1\.2\.3#{tag}="
        ):
            Scan.read(dicom)
        for k, name in enumerate(names):
            scan = Scan.read(dicom, series=name)
            np.testing.assert_array_equal(scan.hu, noise.hu + k)
            assert scan.series == name
        np.testing.assert_array_equal(Scan.read(dicom / "0003.dcm").hu, noise.hu)
        assert [one.series for one in survey(dicom / "0003.dcm").scans] == names[:1]
        images = Volumes(path=dicom, jobs=1, window=None).read()
        assert len(images) == len(values)
        assert len({float(pixels.max()) for pixels in images.pixels}) == len(values)
        change(dicom / "0002.dcm", ["PixelSpacing"])
        with pytest.raises(ValueError, match=rf"{len(values)} of {len(values)} volumes cannot be read"):
            Volumes(path=dicom, jobs=1).read()

    def test_acquisitions_that_follow_one_another_are_one_scan(self, dicom, noise):
        for k, file in enumerate(sorted(dicom.iterdir())):
            change(file, AcquisitionNumber=1 + k // 3)
        np.testing.assert_array_equal(Scan.read(dicom).hu, noise.hu)

    @pytest.mark.parametrize(
        ("tag", "value", "message"),
        [
            ("PatientID", "q", "its slices are of 2 patients, 'p', 'q'"),
            ("FrameOfReferenceUID", "1.5", "its slices are of 2 frames of reference"),
            ("StudyInstanceUID", "1.5", "its slices are of 2 studies"),
        ],
    )
    def test_a_series_of_two_of_them_is_no_scan(self, dicom, tag, value, message):
        for file in sorted(dicom.iterdir())[3:]:
            change(file, **{tag: value})
        with pytest.raises(UnreadableScan, match=message):
            Scan.read(dicom)

    def test_a_slice_without_a_modality_is_one_by_its_class(self, dicom, noise):
        change(dicom / "0000.dcm", ["Modality"])
        np.testing.assert_array_equal(Scan.read(dicom).hu, noise.hu)

    def test_names_do_not_matter(self, dicom, noise):
        for k, file in enumerate(sorted(dicom.iterdir())):
            file.rename(dicom / f"{k}{('', '.DCM', '.IMA', '.123')[k % 4]}")
        (dicom / "round").symlink_to(dicom)
        np.testing.assert_array_equal(Scan.read(dicom).hu, noise.hu)

    @pytest.mark.skipif(not STUDY.is_dir(), reason="needs the CT quality set in $UNLIKELIHOOD_DATA")
    def test_a_real_study_is_read_series_by_series(self):
        found = survey(STUDY)
        assert [(one.name, len(one.files), one.damage) for one in found.scans] == [
            ("GE", 28, ""),
            ("Philips/S21610/S2010", 54, ""),
        ]
        assert found.left_out["DICOM files: localizer"] == 1
        assert found.left_out["DICOM files: Secondary Capture Image Storage"] == 5
        for _, _, _, what in found.contents()[:2]:
            assert "refused" in what
            assert "a gantry tilt of 18.5°" in what
        for one in found.scans:
            slices = [header_of(file).slices[0] for file in one.files[::9]]
            for hu, part in zip(hounsfield_of(slices), slices, strict=True):
                data = pydicom.dcmread(part.file)
                np.testing.assert_array_equal(hu, apply_rescale(data.pixel_array, data))


class TestHounsfield:
    @pytest.mark.parametrize("name", ["CT_small.dcm", "J2K_pixelrep_mismatch.dcm", "693_J2KI.dcm"])
    def test_the_files_of_pydicom(self, name):
        if not (file := get_testdata_file(name, download=False)):
            pytest.skip("which this version of pydicom has not got")
        data = pydicom.dcmread(file)
        hu = hounsfield_of(header_of(Path(file)).slices)[0]
        if name == "CT_small.dcm":  # the others need more to be decoded by pydicom itself
            expected = apply_rescale(data.pixel_array, data)
        else:
            expected = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(file))[0]
        np.testing.assert_array_equal(hu, expected)

    def test_the_studies_of_pydicom(self):
        root = Path(get_testdata_file("DICOMDIR", download=False)).parent
        found = survey(root)
        told = {Path(name).name: (files, what) for name, _, files, what in found.contents()}
        assert told["CT5N"] == (5, "scan of 5 x 16 x 16 voxels (z, y, x)")
        assert told["CT2"][0] == 4
        assert "161 slice(s) missing, 202.5 mm between 17106 and" in told["CT2"][1]
        assert found.left_out["DICOM files: localizer"] == 2  # of the series CT2N
        assert found.left_out["DICOM files: MR Image Storage"] == 17
        assert found.left_out["DICOM files: Computed Radiography Image Storage"] == 3
        assert found.left_out["DICOM files: Media Storage Directory Storage"] >= 1
        for one in found.scans:
            slices = [header_of(file).slices[0] for file in one.files]
            for hu, part in zip(hounsfield_of(slices) if slices else (), slices, strict=True):
                data = pydicom.dcmread(part.file)
                np.testing.assert_array_equal(hu, apply_rescale(data.pixel_array, data))

    @pytest.mark.parametrize(
        "name", ["MR_small_RLE", "MR_small_jp2klossless", "MR_small_jpeg_ls_lossless", "MR_small_bigendian", "MR_small"]
    )
    def test_one_image_in_every_encoding_of_pydicom(self, name):
        plain, coded = (pydicom.dcmread(get_testdata_file(f"{one}.dcm", download=False)) for one in ("MR_small", name))
        np.testing.assert_array_equal(stored_values(coded), plain.pixel_array)

    def test_photometric_interpretation_is_how_it_is_shown(self, dicom, noise):
        for file in dicom.iterdir():
            change(file, PhotometricInterpretation="MONOCHROME1", WindowCenter="40", WindowWidth="400")
        np.testing.assert_array_equal(Scan.read(dicom).hu, noise.hu)

    def test_each_slice_has_a_scale_of_its_own(self, dicom, noise):
        for k, file in enumerate(sorted(dicom.iterdir())):
            slope = 1 + k % 2
            stored = (noise.hu[k].astype(int) // slope + 100 * k).astype("<i2")
            change(file, RescaleSlope=slope, RescaleIntercept=-100 * k * slope, PixelData=stored.tobytes())
        steps = 1 + np.arange(6)[:, None, None] % 2
        np.testing.assert_array_equal(Scan.read(dicom).hu, noise.hu // steps * steps)

    def test_numbers_beyond_those_of_int32_are_kept(self, dicom, noise):
        stored = (noise.hu + 2500).astype("<i2")
        for k, file in enumerate(sorted(dicom.iterdir())):
            change(file, RescaleSlope=10**6, RescaleIntercept=0, PixelData=stored[k].tobytes())
        np.testing.assert_array_equal(Scan.read(dicom).hu, stored * np.float32(10**6))

    def test_bits_above_those_stored_are_not_of_the_voxel(self, dicom, noise):
        for k, file in enumerate(sorted(dicom.iterdir())):
            stored = (noise.hu[k] + 1024).astype("<u2") | (0xF000 if k % 2 else 0)  # an overlay
            tags = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0, "RescaleIntercept": -1024}
            change(file, **tags, PixelData=stored.tobytes())
        np.testing.assert_array_equal(Scan.read(dicom).hu, noise.hu)

    def test_padding_is_no_denser_than_air(self, dicom, noise):
        for file in dicom.iterdir():
            data = pydicom.dcmread(file)
            data.add_new("PixelPaddingValue", "SS", int(noise.hu.max()))
            data.save_as(file)
        hu = noise.hu.copy()
        hu[hu == hu.max()] = -1000
        np.testing.assert_array_equal(Scan.read(dicom).hu, hu)

    @pytest.mark.parametrize(
        ("tags", "lost", "message"),
        [
            ({}, ["RescaleSlope"], "its header lacks RescaleSlope"),
            ({"RescaleSlope": 0}, (), "its intensities are scaled by 0 and 0"),
            ({"RescaleType": "MGML"}, (), "its values are in MGML"),
            ({"ModalityLUTSequence": [Dataset()]}, (), "maps its values by a table"),
            ({"HighBit": 14}, (), "its highest bit is 14 of 16"),
            ({"PixelSpacing": [0, 1]}, (), "PixelSpacing is"),
            ({}, ["PixelData"], "holds no pixel data"),
            ({"Rows": 21}, (), "shape of 0002.dcm differs"),
        ],
    )
    def test_what_is_not_known_is_refused(self, dicom, tags, lost, message):
        change(dicom / "0002.dcm", lost, **tags)
        with pytest.raises(UnreadableScan, match=rf"0002\.dcm.*{message}|{message}"):
            Scan.read(dicom)


def functional(**tags):
    item = Dataset()
    for tag, value in tags.items():
        setattr(item, tag, value)
    return Sequence([item])


def enhanced(noise, file, order, stacks=1):
    """Write a scan as one object of enhanced CT, its frames in any order."""
    noise.save(file.parent / "plain")
    data = pydicom.dcmread(file.parent / "plain" / "0000.dcm")
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = pydicom.uid.EnhancedCTImageStorage
    for tag in (*PLACE, "PixelSpacing", "RescaleSlope", "RescaleIntercept", "RescaleType"):
        del data[tag]
    data.ImageType, data.NumberOfFrames = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], len(order) * stacks
    shared = Dataset()
    shared.PixelMeasuresSequence = functional(PixelSpacing=[0.8, 0.7], SliceThickness=2.5)
    shared.PlaneOrientationSequence = functional(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    frames, pixels = [], []
    for stack in range(stacks):
        for k in order:
            own = Dataset()
            own.PlanePositionSequence = functional(ImagePositionPatient=noise.to_world((k, 0, 0)).tolist())
            own.PixelValueTransformationSequence = functional(RescaleSlope=1, RescaleIntercept=-k, RescaleType="HU")
            own.FrameContentSequence = functional(StackID=str(stack + 1))
            own.CTImageFrameTypeSequence = functional(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])
            frames.append(own)
            pixels.append((noise.hu[k] + k + stack).astype("<i2").tobytes())
    data.PerFrameFunctionalGroupsSequence, data.PixelData = Sequence(frames), b"".join(pixels)
    data.save_as(file)
    shutil.rmtree(file.parent / "plain")


class TestEnhanced:
    def test_frames_lie_where_they_say(self, tmp_path, noise):
        enhanced(noise, tmp_path / "a.dcm", [3, 0, 5, 1, 4, 2])
        for place in (tmp_path, tmp_path / "a.dcm"):
            scan = Scan.read(place)
            np.testing.assert_array_equal(scan.hu, noise.hu)
            np.testing.assert_allclose(scan.origin, noise.origin)
            np.testing.assert_allclose(scan.spacing, noise.spacing)
        assert len(Volumes(path=tmp_path, jobs=1).read()) == 1

    def test_a_lost_frame_is_a_gap(self, tmp_path, noise):
        enhanced(noise, tmp_path / "a.dcm", [0, 1, 2, 4, 5])
        with pytest.raises(UnreadableScan, match=r"1 slice\(s\) missing"):
            Scan.read(tmp_path)

    def test_stacks_are_scans(self, tmp_path, noise):
        enhanced(noise, tmp_path / "a.dcm", range(6), stacks=2)
        first, second = (Scan.read(tmp_path, series=f"1.2.3#{k}.1") for k in (1, 2))
        np.testing.assert_array_equal(first.hu, noise.hu)
        np.testing.assert_array_equal(second.hu, noise.hu + 1)
        assert len(Volumes(path=tmp_path, jobs=1).read()) == 2
        with pytest.raises(UnreadableScan, match=r"holds 2 series, expected series= one of 1\.2\.3#1\.1"):
            Scan.read(tmp_path / "a.dcm")

    def test_half_of_it_is_refused(self, tmp_path, noise):
        enhanced(noise, tmp_path / "a.dcm", range(6))
        (tmp_path / "a.dcm").write_bytes((tmp_path / "a.dcm").read_bytes()[:-2000])
        with pytest.raises(UnreadableScan, match=r"a\.dcm: .* bytes of voxels"):
            Scan.read(tmp_path)


class TestConventions:
    def nifti(self, file, qform, sform, **header):
        image = nibabel.Nifti1Image(np.arange(480, dtype=np.int16).reshape(6, 8, 10), None)
        image.set_qform(qform, 1 if qform is not None else 0)
        image.set_sform(sform, 1 if sform is not None else 0)
        nibabel.save(image, file)
        if header:
            content = bytearray(file.read_bytes())
            content[112:120] = np.array([header["slope"], header["inter"]], "<f4").tobytes()
            file.write_bytes(content)
        return file

    def test_qform_and_sform_agree_or_are_refused(self, tmp_path):
        place, other = np.diag([-1.0, -1, 1, 1]), np.diag([1.0, -1, 1, 1])
        for qform, sform in ((place, None), (None, place), (place, place)):
            assert Scan.read(self.nifti(tmp_path / "a.nii", qform, sform)).orientation == "SPL"
        with pytest.raises(UnreadableScan, match=r"b\.nii: its qform and its sform put it 10 mm apart"):
            Scan.read(self.nifti(tmp_path / "b.nii", place, other))
        sheared = place.copy()
        sheared[0, 1] = 0.3
        with pytest.raises(UnreadableScan, match=r"c\.nii: direction="):
            Scan.read(self.nifti(tmp_path / "c.nii", None, sheared))

    @pytest.mark.parametrize(
        ("slope", "inter", "expected"), [(0, 0, 1), (0, 7, 1), (2, -3, 2), (np.nan, 0, None), (1, np.inf, None)]
    )
    def test_a_scale_is_applied_absent_or_refused(self, tmp_path, slope, inter, expected):
        file = self.nifti(tmp_path / "a.nii", None, np.eye(4), slope=slope, inter=inter)
        if expected is None:
            with pytest.raises(UnreadableScan, match=r"a\.nii: .*(its intensities are scaled by|invalid intercept)"):
                Scan.read(file)
        else:
            hu = Scan.read(file).hu
            assert hu.max() == (479 if slope == 0 else 2 * 479 - 3)

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("space: left-posterior-superior\n", "", "its space is unknown"),
            ("left-posterior-superior", "scanner-xyz", "its space is scanner-xyz"),
            ("kinds:", "# kinds:", ""),
            ("left-posterior-superior", "LPS", ""),
        ],
    )
    def test_an_nrrd_says_how_it_lies(self, tmp_path, noise, old, new, message):
        noise.save(tmp_path / "a.nrrd")
        content = (tmp_path / "a.nrrd").read_bytes()
        assert old.encode() in content
        (tmp_path / "a.nrrd").write_bytes(content.replace(old.encode(), new.encode()))
        if message:
            with pytest.raises(UnreadableScan, match=rf"a\.nrrd: {message}"):
                Scan.read(tmp_path / "a.nrrd")
        else:
            np.testing.assert_allclose(Scan.read(tmp_path / "a.nrrd").origin, noise.origin)

    def test_an_nrrd_in_another_space_lies_where_it_says(self, tmp_path, noise):
        noise.save(tmp_path / "a.nrrd")
        content = (tmp_path / "a.nrrd").read_bytes().replace(b"left-posterior", b"right-anterior")
        (tmp_path / "a.nrrd").write_bytes(content)
        scan = Scan.read(tmp_path / "a.nrrd")
        np.testing.assert_allclose(scan.origin, noise.origin * (-1, -1, 1))
        assert scan.orientation == "SAR"

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("NDims", "DistanceUnits = um\nNDims", "its lengths are in um"),
            ("ElementSpacing", "Comment", "does not say how it lies in the patient"),
            ("Offset", "Comment", "does not say how it lies in the patient"),
            ("TransformMatrix", "Comment", "does not say how it lies in the patient"),
            ("TransformMatrix = 1", "TransformMatrix = 2", "direction="),
            ("NDims", "Modality = MET_MOD_MR\nNDims", "its modality is MET_MOD_MR, expected CT"),
            ("NDims", "ElementToIntensityFunctionOffset = -1024\nNDims", "its values are scaled by 1 and -1024"),
        ],
    )
    def test_a_metaimage_says_how_it_lies(self, tmp_path, noise, old, new, message):
        noise.save(tmp_path / "a.mhd")
        header = (tmp_path / "a.mhd").read_text()
        assert old in header
        (tmp_path / "a.mhd").write_text(header.replace(old, new))
        with pytest.raises(UnreadableScan, match=rf"a\.mhd: .*{message}"):
            Scan.read(tmp_path / "a.mhd")

    @pytest.mark.parametrize(("unit", "read"), [("mm", True), ("unknown", True), ("micron", False), ("meter", False)])
    def test_lengths_of_a_nifti_file_are_in_mm_or_refused(self, tmp_path, unit, read):
        image = nibabel.Nifti1Image(np.zeros((6, 8, 10), np.int16), np.diag([-35.0, -35, 35, 1]))
        image.header.set_xyzt_units(unit)
        nibabel.save(image, tmp_path / "a.nii")
        if read:
            np.testing.assert_allclose(Scan.read(tmp_path / "a.nii").spacing, 35)
        else:
            with pytest.raises(UnreadableScan, match=rf"a\.nii: its lengths are in {unit}, expected mm"):
                Scan.read(tmp_path / "a.nii")

    def test_one_patient_of_all_scans_cannot_be_divided_and_is_named(self, tmp_path, noise):
        for k, kind in enumerate(("normal", "normal", "anomalous", "anomalous")):
            replace(noise, hu=noise.hu + k, series=f"1.2.{k}", patient="ANONYMOUS").save(tmp_path / kind / f"{k}")
        with pytest.raises(ValueError, match=r"train is empty: a group \(patient\) is never divided.*1 of 1 do"):
            Volumes(path=tmp_path, jobs=1).split()

    @pytest.mark.parametrize("spacing", [0.0007, 700.0])
    def test_lengths_of_no_patient_are_refused(self, tmp_path, noise, spacing):
        replace(noise, spacing=(spacing,) * 3).save(tmp_path / "a.nii")
        with pytest.raises(UnreadableScan, match=r"a\.nii: is .* mm long, expected lengths in mm"):
            Scan.read(tmp_path / "a.nii")


class TestCache:
    @pytest.mark.parametrize("form", [".mha", ".mhd", ".nii", ".hdr", ".nrrd", ".nhdr", "dicom"])
    @pytest.mark.parametrize("aside", [False, True])
    def test_every_byte_that_is_read_counts(self, tmp_path, noise, form, aside):
        # The same names, sizes and times of change; only the voxels differ.
        place = tmp_path / "ct"

        def write(scan):
            place.mkdir(exist_ok=True)
            if form == "dicom":
                scan.save(place / "d")
            else:
                SimpleITK.WriteImage(scan._image(), str(place / f"a{'.img' if form == '.hdr' else form}"))
            if aside and form in (".mhd", ".nhdr"):  # voxels in a folder that is not searched
                (place / ".far").mkdir(exist_ok=True)
                (voxels,) = {*place.iterdir()} - {place / f"a{form}", place / ".far"}
                header = (place / f"a{form}").read_text()
                voxels.rename(place / ".far" / "v.bin")
                (place / f"a{form}").write_text(header.replace(voxels.name, ".far/v.bin"))
            for file in tmp_path.rglob("*"):
                os.utime(file, (1e9, 1e9))
            return Volumes(path=place, jobs=1, window=None).read().pixels[0]

        first = np.array(write(noise))
        second = write(replace(noise, hu=noise.hu + 100))
        inside = slice(None), slice(1, -1), slice(1, -1), slice(1, -1)
        np.testing.assert_allclose(second[inside] - first[inside], 100, atol=1)

    def test_what_damages_a_scan_counts_wherever_it_lies(self, tmp_path, noise):
        noise.save(tmp_path / "d")
        Volumes(path=tmp_path, jobs=1).read()
        (tmp_path / "d" / "x.dcm").write_text("which may be one of its slices")
        with pytest.raises(ValueError, match=r"x\.dcm: cannot be read as DICOM"):
            Volumes(path=tmp_path, jobs=1).read()

    def test_what_remembers_headers_and_hashes_may_be_lost(self, tmp_path, noise):
        noise.save(tmp_path / "ct" / "d")
        source = Volumes(path=tmp_path / "ct", jobs=1, cache=tmp_path / "cache")
        first = source.read().pixels
        for k, file in enumerate((tmp_path / "cache").glob("*.json")):
            file.write_text("{half"[: 3 * k])
        np.testing.assert_array_equal(source.read().pixels, first)
        (voxels,) = (tmp_path / "cache").glob("*/hu.npy")
        voxels.write_bytes(voxels.read_bytes()[:-100])
        np.testing.assert_array_equal(source.read().pixels, first)  # it is made again

    @pytest.mark.parametrize("form", [".mhd", ".nhdr", ".img"])
    def test_files_that_are_no_scans_are_counted_and_those_of_voxels_are_none_of_them(self, tmp_path, noise, form):
        SimpleITK.WriteImage(noise._image(), str(tmp_path / f"a{form}"))
        for name in ("notes.txt", "x.png", "README", "annotations.csv", ".hidden"):
            (tmp_path / name).touch()
        images = Volumes(path=tmp_path, jobs=1).read()
        assert len(images) == 1
        assert images.left_out == {
            "files that are no scans (.txt)": 1,
            "files that are no scans (.png)": 1,
            "files that are no scans (no suffix)": 1,
            "hidden files and folders": 1,
        }

    def test_a_folder_that_moves_keeps_its_crops(self, tmp_path, noise, monkeypatch):
        noise.save(tmp_path / "a" / "x.nii")
        Volumes(path=tmp_path / "a", jobs=1).read()
        (tmp_path / "a").rename(tmp_path / "b")
        monkeypatch.setattr(Scan, "read", None)
        assert len(Volumes(path=tmp_path / "b", jobs=1).read()) == 1


class TestPatientSpace:
    @pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".nrrd"])
    def test_a_map_lies_where_the_scan_does(self, tmp_path, noise, suffix):
        scan = replace(noise, direction=OBLIQUE)
        replace(scan, hu=np.abs(scan.hu) / 7).save(tmp_path / f"map{suffix}")
        written = SimpleITK.ReadImage(str(tmp_path / f"map{suffix}"))
        for x, y, z in np.ndindex(3, 3, 3):
            at = (x * 8, y * 7, z * 2)
            np.testing.assert_allclose(
                written.TransformIndexToPhysicalPoint(at), scan.to_world(at[::-1]), rtol=0, atol=0.01
            )
        values = SimpleITK.GetArrayFromImage(written)
        np.testing.assert_allclose(values, np.abs(scan.hu) / 7, rtol=1e-6)

    def test_a_crop_lies_where_it_was_cut(self, tmp_path, noise):
        scan = replace(noise, direction=OBLIQUE)
        cube = scan.crop(scan.centre, (8, 10, 6), 0.5)
        made = Scan.of_crop(cube, scan.centre, 0.5)
        np.testing.assert_allclose(made.centre, scan.centre)
        assert made.orientation == "SPL"
        made.save(tmp_path / "cube.nii.gz")
        written = SimpleITK.ReadImage(str(tmp_path / "cube.nii.gz"))
        middle = written.TransformContinuousIndexToPhysicalPoint([2.5, 4.5, 3.5])
        np.testing.assert_allclose(middle, scan.centre, atol=0.01)
        np.testing.assert_allclose(made.crop(scan.centre, (8, 10, 6), 0.5), cube, atol=1e-3)


def test_a_table_that_names_two_scans_is_refused(tmp_path, noise):
    for name in ("one", "two"):
        noise.save(tmp_path / name / "a.nii")
    (tmp_path / "t.csv").write_text("file,label\na,0\n")
    with pytest.raises(ValueError, match=r"file='a' is the name of one/a\.nii, two/a\.nii"):
        Volumes(path=tmp_path, table=tmp_path / "t.csv", jobs=1).read()
