"""A scan is where its file says that it is, in HU, or it is refused."""

import shutil
import sys
from dataclasses import replace

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
from scipy.spatial.transform import Rotation

from spheres import CENTRE, FORMATS, LUNG, OBLIQUE, TISSUE, middle_and_diameter, sphere
from unlikelihood import Scan, Volumes
from unlikelihood.cli.main import main
from unlikelihood.data.ct.formats import UnreadableScan
from unlikelihood.data.ct.scan_files import find_scans


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("UNLIKELIHOOD_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def ball():
    return sphere(patient="p1")


@pytest.fixture
def dicom(tmp_path, ball):
    ball.save(tmp_path / "dicom")
    return tmp_path / "dicom"


def change(file, **tags):
    """Write other values of some tags into a DICOM file."""
    data = pydicom.dcmread(file)
    for tag, value in tags.items():
        setattr(data, tag, value)
    data.save_as(file)


def slices(folder):
    return sorted(folder.glob("*.dcm"))


def same(scan, other):
    """Return whether two scans have the same voxels in the same place."""
    return np.array_equal(scan.hu, other.hu) and all(
        np.allclose(getattr(scan, field), getattr(other, field), atol=1e-4)
        for field in ("origin", "spacing", "direction")
    )


# How far a ball lies from the middle of its scan, in mm towards each side of the patient.
AWAY = {"L": 9, "R": -9, "P": 6, "A": -6, "S": 4, "I": -4}
ORIENTATIONS = {
    "SPL": np.eye(3),
    "SAR": np.diag([-1, -1, 1]),
    "IPL": np.diag([1, 1, -1]),
    "PIL": np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "LSP": np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]]),
    "RIA": -np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]]),
}


def off_centre(direction):
    return sphere(diameter=10.0, shape=(14, 40, 36), spacing=(1.1, 1.0, 2.5), direction=direction, off=(9, 6, 4))


def assert_ball_lies(share, spacing, orientation, atol=0.6):
    """Check where a ball lies in an array of which the letters say where its axes grow to."""
    for axis, (letter, size) in enumerate(zip(orientation, spacing, strict=True)):
        along = share.sum(axis=tuple({0, 1, 2} - {axis}))
        mm = (np.arange(len(along)) - (len(along) - 1) / 2) * size
        assert along @ mm / along.sum() == pytest.approx(AWAY[letter], abs=atol)


class TestScan:
    @pytest.mark.parametrize("name", FORMATS)
    @pytest.mark.parametrize("orientation", ORIENTATIONS)
    def test_left_stays_left(self, tmp_path, name, orientation):
        written = off_centre(ORIENTATIONS[orientation])
        assert written.orientation == orientation
        written.save(tmp_path / "ct" / name)
        scan = Scan.read(tmp_path / "ct" / name)
        if name != "dicom":  # whose slices are put in the order of their normal, so that no scan is left-handed
            assert scan.orientation == orientation
        assert_ball_lies(scan.hu - float(LUNG), scan.spacing[::-1], scan.orientation)
        images = Volumes(path=tmp_path / "ct", shape=(34, 34, 34), outside=LUNG, window=None, jobs=1).read()
        assert images.orientation == "SPL"
        assert_ball_lies(images.pixels[0, 0] - float(LUNG), images.spacing, images.orientation)

    def test_an_oblique_scan_has_the_nearest_directions_and_its_crop_exact_ones(self, tmp_path):
        scan = off_centre(OBLIQUE @ ORIENTATIONS["PIL"])
        assert scan.orientation == "PIL"
        share = scan.crop(scan.centre, (34, 34, 34), outside=LUNG) - LUNG
        assert_ball_lies(share, (1, 1, 1), "SPL")

    @pytest.mark.parametrize("seed", range(20))
    def test_the_nearest_directions_are_those_that_nibabel_names(self, seed):
        any_turn, slight = Rotation.random(random_state=seed), Rotation.from_rotvec(np.eye(3)[seed % 3] * 0.5)
        code = Scan(np.zeros((2, 2, 2)), direction=any_turn.as_matrix()).orientation
        assert [len(set(pair) & set(code)) for pair in ("LR", "PA", "SI")] == [1, 1, 1]
        for direction in ORIENTATIONS.values():
            turned = slight.as_matrix() @ direction
            x, y, z = nibabel.aff2axcodes(np.diag([-1, -1, 1, 1]) @ np.pad(turned, (0, 1)))
            assert Scan(np.zeros((2, 2, 2)), direction=turned).orientation == z + y + x

    @pytest.mark.parametrize("name", FORMATS)
    def test_what_is_written_comes_back(self, tmp_path, ball, name):
        ball.save(tmp_path / name)
        again = Scan.read(tmp_path / name)
        assert same(again, ball)
        assert again.hu.dtype == np.int16
        assert again.patient == ("p1" if name == "dicom" else "")
        assert name == "dicom" or again.series == name[0]
        assert not [place for place in tmp_path.iterdir() if place.name.startswith(".")]

    def test_indices_and_places_are_inverse(self, ball, rng):
        index = rng.uniform(-5, 80, (50, 3))
        np.testing.assert_allclose(ball.to_index(ball.to_world(index)), index)
        np.testing.assert_allclose(ball.to_world((0, 0, 1)) - ball.to_world((0, 0, 0)), 0.7 * OBLIQUE[:, 0])
        np.testing.assert_allclose(ball.to_world((1, 0, 0)) - ball.to_world((0, 0, 0)), 2.5 * OBLIQUE[:, 2])
        assert ball.hu[tuple(ball.to_index(CENTRE).round().astype(int))] == TISSUE
        assert CENTRE in ball
        assert ball.to_world((-0.6, 0, 0)) not in ball

    @pytest.mark.parametrize("spacing", [0.5, 1.0, 2.0])
    def test_a_straight_line_stays_one(self, spacing):
        # Linear interpolation and means of it are exact for a linear function of the place.
        scan = Scan(np.zeros((12, 30, 31)), (3, 5, 7), (0.7, 0.6, 2.5), OBLIQUE)
        world = scan.to_world(np.moveaxis(np.indices(scan.hu.shape), 0, -1))
        linear = Scan(world @ (3.0, -2.0, 1.0), scan.origin, scan.spacing, OBLIQUE)
        at = scan.centre + np.array([0.3, -0.2, 0.9])
        box = linear.crop(at, (6, 5, 4), spacing)
        z, y, x = ((np.arange(n) - (n - 1) / 2) * spacing for n in box.shape)
        expected = 3 * (at[0] + x) - 2 * (at[1] + y)[:, None] + (at[2] + z)[:, None, None]
        np.testing.assert_allclose(box, expected, atol=1e-3)

    def test_a_box_with_the_grid_of_the_scan_is_the_scan(self, rng):
        scan = Scan(rng.normal(size=(4, 5, 6)), (1, 2, 3))
        np.testing.assert_allclose(scan.crop(scan.centre, (4, 5, 6)), scan.hu, atol=1e-5)
        padded = scan.crop(scan.centre, (6, 7, 8), outside=-7)
        assert (padded == -7).sum() == 6 * 7 * 8 - 4 * 5 * 6
        np.testing.assert_allclose(padded[1:-1, 1:-1, 1:-1], scan.hu, atol=1e-5)

    def test_a_fine_grid_is_averaged_not_picked_from(self):
        checks = np.indices((16, 16, 16)).sum(axis=0) % 2 * 1000
        fine = Scan(checks, spacing=(0.5, 0.5, 0.5))
        np.testing.assert_allclose(fine.crop(fine.centre, (6, 6, 6)), 500)

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"hu": np.zeros((3, 4))}, r"hu of shape \(3, 4\): expected \(D, H, W\)"),
            ({"hu": np.full((2, 2, 2), np.nan)}, "not finite"),
            ({"spacing": (1, 0, 1)}, "spacing="),
            ({"origin": (1, 2)}, "origin="),
            ({"direction": np.diag([1, 2, 1])}, "direction="),
        ],
    )
    def test_what_is_no_grid_is_refused(self, wrong, message):
        with pytest.raises(ValueError, match=message):
            Scan(**{"hu": np.zeros((2, 2, 2)), **wrong})

    def test_nifti_is_ras_in_the_file_and_lps_here(self, tmp_path, ball):
        affine = np.eye(4)
        affine[:3, :3] = np.diag([-1, -1, 1]) @ OBLIQUE * ball.spacing
        affine[:3, 3] = np.diag([-1, -1, 1]) @ ball.origin
        image = nibabel.Nifti1Image(ball.hu.transpose(2, 1, 0), affine)
        nibabel.save(image, tmp_path / "a.nii.gz")
        assert same(Scan.read(tmp_path / "a.nii.gz"), ball)

    def test_nifti_without_a_place_or_with_time_is_refused(self, tmp_path):
        image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), None)
        nibabel.save(image, tmp_path / "a.nii")
        with pytest.raises(UnreadableScan, match=r"a\.nii: does not say how it lies in the patient"):
            Scan.read(tmp_path / "a.nii")
        nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6, 2), np.int16), np.eye(4)), tmp_path / "b.nii")
        with pytest.raises(UnreadableScan, match=r"b\.nii: hu of shape"):
            Scan.read(tmp_path / "b.nii")

    @pytest.mark.parametrize("name", FORMATS[:-1])
    def test_capital_letters_in_a_name_change_nothing(self, tmp_path, ball, name):
        ball.save(tmp_path / name)
        (tmp_path / name).rename(tmp_path / name.upper())
        assert same(Scan.read(tmp_path / name.upper()), ball)
        (found,) = find_scans(tmp_path / name.upper())
        assert found.series == name[0].upper()

    @pytest.mark.parametrize("suffix", [".nii", ".mha", ".nrrd"])
    def test_an_axis_of_time_with_one_moment_is_left_out(self, tmp_path, suffix):
        stored = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
        if suffix == ".nii":
            nibabel.save(nibabel.Nifti1Image(stored.T[..., None], np.diag([-1, -1, 1, 1])), tmp_path / "a.nii")
        else:
            SimpleITK.WriteImage(
                SimpleITK.GetImageFromArray(stored[None], isVector=False), str(tmp_path / f"a{suffix}")
            )
        np.testing.assert_array_equal(Scan.read(tmp_path / f"a{suffix}").hu, stored)

    def test_other_data_with_the_suffix_of_a_scan_are_refused(self, tmp_path):
        axis = nibabel.cifti2.BrainModelAxis.from_mask(np.ones((2, 2, 2)), affine=np.eye(4))
        cifti = nibabel.cifti2.Cifti2Image(np.zeros((1, 8)), (nibabel.cifti2.ScalarAxis(["a"]), axis))
        nibabel.save(cifti, tmp_path / "a.dscalar.nii")
        nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)), tmp_path / "b.nii")
        header = bytearray((tmp_path / "b.nii").read_bytes())
        header[123] = 7  # a unit that there is not
        (tmp_path / "b.nii").write_bytes(header)
        for name in ("a.dscalar.nii", "b.nii"):
            with pytest.raises(UnreadableScan, match=f"{name}: cannot be read as a scan"):
                Scan.read(tmp_path / name)

    @pytest.mark.parametrize("unit", ["um", "mm"])
    def test_lengths_of_an_nrrd_file_are_in_mm_or_refused(self, tmp_path, ball, unit):
        ball.save(tmp_path / "a.nrrd")
        head, _, voxels = (tmp_path / "a.nrrd").read_bytes().partition(b"\n\n")
        units = " ".join([f'"{unit}"'] * 3).encode()
        (tmp_path / "a.nrrd").write_bytes(head + b"\nspace units: " + units + b"\n\n" + voxels)
        if unit == "mm":
            assert same(Scan.read(tmp_path / "a.nrrd"), ball)
        else:
            with pytest.raises(UnreadableScan, match=r'its lengths are in "um".*expected mm'):
                Scan.read(tmp_path / "a.nrrd")

    @pytest.mark.parametrize("name", FORMATS[:-1])
    def test_half_a_file_is_named(self, tmp_path, ball, name):
        ball.save(tmp_path / name)
        file = tmp_path / (name if name != "b.mhd" else "b.raw")
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        with pytest.raises(UnreadableScan, match=rf"{name}: cannot be read as a scan"):
            Scan.read(tmp_path / name)

    def test_an_unknown_suffix_is_refused(self, tmp_path, ball):
        with pytest.raises(ValueError, match=r"a\.png.*expected \.mha"):
            ball.save(tmp_path / "a.png")
        with pytest.raises(FileNotFoundError, match=r"path=.*no such file"):
            Scan.read(tmp_path / "none.mha")

    def test_a_folder_of_other_things_is_not_replaced(self, tmp_path, ball):
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(FileExistsError, match=r"holds notes\.txt"):
            ball.save(tmp_path)
        for _ in range(2):
            ball.save(tmp_path / "slices")
        assert (tmp_path / "notes.txt").read_text() == "mine"
        assert len(list((tmp_path / "slices").iterdir())) == len(ball.hu)

    def test_the_extra_is_named_where_it_is_missing(self, dicom, tmp_path, ball, monkeypatch):
        places = {"pydicom": dicom, "SimpleITK": tmp_path / "a.mha", "nibabel": tmp_path / "a.nii"}
        for place in list(places.values())[1:]:
            ball.save(place)
        for module, place in places.items():
            with monkeypatch.context() as without:
                without.setitem(sys.modules, module, None)
                with pytest.raises(ImportError, match=rf"{module}: pip install .unlikelihood\[ct\]"):
                    Scan.read(place)


class TestDicom:
    def test_the_names_and_the_order_of_the_files_do_not_matter(self, dicom, ball, rng):
        files = slices(dicom)
        for i, file in zip(rng.permutation(len(files)), files, strict=True):
            file.rename(dicom / f"IM{i}")
        (dicom / "LICENSE").write_text("of the data")
        assert same(Scan.read(dicom), ball)
        assert same(Scan.read(dicom / "IM3"), ball)

    def test_pixels_that_are_not_square_stay_so(self, tmp_path, rng):
        scan = Scan(rng.integers(-1000, 400, (4, 6, 8)), (1, 2, 3), (0.5, 0.8, 2.0), OBLIQUE)
        scan.save(tmp_path / "dicom")
        assert pydicom.dcmread(slices(tmp_path / "dicom")[0]).PixelSpacing == [0.8, 0.5]  # DICOM says rows first
        np.testing.assert_allclose(Scan.read(tmp_path / "dicom").spacing, scan.spacing)

    def test_the_order_of_the_slices_may_run_down(self, tmp_path, ball):
        down = Scan(ball.hu[::-1], ball.to_world((19, 0, 0)), ball.spacing, OBLIQUE * (1, 1, -1))
        down.save(tmp_path / "dicom")
        assert same(Scan.read(tmp_path / "dicom"), ball)

    def test_slope_and_intercept_make_hu(self, dicom, ball):
        for k, file in enumerate(slices(dicom)):
            stored = ((ball.hu[k] + 1024) * 2).astype("<u2")
            change(
                file, RescaleSlope="0.5", RescaleIntercept="-1024", PixelRepresentation=0, PixelData=stored.tobytes()
            )
        np.testing.assert_array_equal(Scan.read(dicom).hu, ball.hu)

    def test_of_several_series_one_is_chosen(self, dicom, ball):
        other = Scan(ball.hu // 2, ball.origin, ball.spacing, OBLIQUE, series="1.2.3.4")
        other.save(dicom / "deeper" / "still")
        for file in slices(dicom):
            shutil.copy(dicom / "deeper" / "still" / file.name, dicom / f"x{file.name}")
        shutil.rmtree(dicom / "deeper")
        with pytest.raises(UnreadableScan, match=r"holds 2 series, expected series= one of 1\.2\.3\.4 \(20 slices"):
            Scan.read(dicom)
        assert same(Scan.read(dicom, series="1.2.3.4"), other)
        assert same(Scan.read(dicom / "x0003.dcm"), other)
        with pytest.raises(UnreadableScan, match=r"holds no series '5'"):
            Scan.read(dicom, series="5")
        assert len(find_scans(dicom)) == 2
        assert [one.series for one in find_scans(dicom / "x0003.dcm")] == ["1.2.3.4"]

    def test_headers_are_remembered_until_they_change(self, dicom, tmp_path, monkeypatch):
        index = tmp_path / "memory"
        (found,) = find_scans(dicom, index)
        with monkeypatch.context() as without:
            without.setattr(pydicom, "dcmread", None)
            assert find_scans(dicom, index) == [found]
        change(slices(dicom)[3], SeriesInstanceUID="1.2.3")
        assert [len(one.files) for one in find_scans(dicom, index)] == [1, 19]

    def test_what_is_not_ct_is_left_out(self, dicom, ball, tmp_path):
        ball.save(tmp_path / "more")
        for file, tags in zip(
            slices(tmp_path / "more"), [{"Modality": "SEG"}, {"ImageType": ["LOCALIZER"]}], strict=False
        ):
            change(file, SeriesInstanceUID="1.2.3", **tags)
            shutil.copy(file, dicom / f"more{file.name}")
        assert same(Scan.read(dicom), ball)

    def test_a_slice_without_the_mark_of_dicom_is_read(self, dicom, ball):
        for file in (slices(dicom)[0], slices(dicom)[-1]):
            data = pydicom.Dataset(pydicom.dcmread(file))
            pydicom.dcmwrite(dicom / f"IM{file.stem}", data, implicit_vr=True, little_endian=True)
            file.unlink()
        (dicom / "noise").write_bytes(b"\x08\0\x16\0" + bytes(200))
        assert same(Scan.read(dicom), ball)

    def test_a_dose_report_is_no_slice(self, dicom, ball):
        data = pydicom.dcmread(slices(dicom)[0])
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
        del data.ImagePositionPatient, data.ImageOrientationPatient, data.PixelSpacing
        data.SeriesInstanceUID = "1.2.3"
        data.save_as(dicom / "dose.dcm")
        assert same(Scan.read(dicom), ball)
        assert len(find_scans(dicom)) == 1

    def test_a_link_to_nothing_is_a_slice_that_cannot_be_read(self, dicom):
        slices(dicom)[3].unlink()
        (dicom / "0003.dcm").symlink_to(dicom.parent / "gone")
        with pytest.raises(UnreadableScan, match=r"0003\.dcm: is a link to .*gone, which is not there"):
            Scan.read(dicom)
        (found,) = find_scans(dicom)
        assert "0003.dcm: is a link to" in found.damage

    @pytest.mark.parametrize(
        ("lost", "message"),
        [
            ((7,), r"1 slice\(s\) missing, 5 mm between 0006\.dcm and 0008\.dcm where 2\.5 mm is usual"),
            ((7, 8), r"2 slice\(s\) missing, 7\.5 mm"),
        ],
    )
    def test_missing_slices_are_refused_or_interpolated(self, dicom, ball, lost, message):
        for k in lost:
            slices(dicom)[k - (len(ball.hu) - len(slices(dicom)))].unlink()
        with pytest.raises(UnreadableScan, match=message):
            Scan.read(dicom)
        scan = Scan.read(dicom, resample=True)
        kept = np.setdiff1d(np.arange(20), lost)
        np.testing.assert_array_equal(scan.hu[kept], ball.hu[kept])
        np.testing.assert_allclose(
            scan.hu[7],
            np.interp(7, [6, 9 if 8 in lost else 8], [0, 1])
            * (ball.hu[9 if 8 in lost else 8].astype(float) - ball.hu[6])
            + ball.hu[6],
            atol=0.1,
        )
        assert scan.spacing[2] == pytest.approx(2.5)

    def test_duplicate_slices_are_refused_or_left_out(self, dicom, ball):
        shutil.copy(slices(dicom)[4], dicom / "copy.dcm")
        with pytest.raises(UnreadableScan, match=r"duplicate slices, .*(0004|copy)\.dcm .* \(1 in all\)"):
            Scan.read(dicom)
        assert same(Scan.read(dicom, resample=True), ball)
        change(dicom / "copy.dcm", PixelData=np.zeros(ball.hu.shape[1:], "<i2").tobytes())
        with pytest.raises(UnreadableScan, match="which is right is not known"):
            Scan.read(dicom, resample=True)

    def test_uneven_slices_are_refused_or_interpolated(self, dicom, ball):
        normal = OBLIQUE[:, 2]
        depth = np.arange(20) * 2.5 + np.where(np.arange(20) >= 10, 1.0, 0)  # 3.5 mm once
        for k, file in enumerate(slices(dicom)):
            change(file, ImagePositionPatient=[f"{v:.8g}" for v in ball.origin + normal * depth[k]])
        with pytest.raises(UnreadableScan, match=r"uneven spacing of slices, 3\.5 mm between 0009\.dcm and 0010\.dcm"):
            Scan.read(dicom)
        scan = Scan.read(dicom, resample=True)
        assert scan.spacing[2] == pytest.approx(2.5)
        np.testing.assert_array_equal(scan.hu[:10], ball.hu[:10])
        after = ball.hu[10].astype(float) * 0.4 + ball.hu[11] * 0.6  # 27.5 mm lies 1.5 mm above 26, of 2.5
        np.testing.assert_allclose(scan.hu[11], after, atol=0.1)

    def test_a_gantry_tilt_is_refused_or_straightened(self, tmp_path):
        # Upright slices, each further back by the tangent of 20°; what is in them is where they say that they are.
        tangent, ball = np.tan(np.radians(20)), sphere(direction=np.eye(3), shape=(20, 90, 76))
        ball.save(tmp_path / "dicom")
        for k, file in enumerate(slices(tmp_path / "dicom")):
            shift = np.array([0, tangent * 2.5 * (k - 10), 0])
            at = np.indices(ball.hu.shape[1:]).astype(float)
            world = ball.to_world(np.stack([np.full_like(at[0], k), at[0], at[1]], axis=-1)) + shift
            plane = np.where(np.linalg.norm(world - CENTRE, axis=-1) < 7, TISSUE, LUNG).astype("<i2")
            position = [f"{v:.8g}" for v in ball.to_world((k, 0, 0)) + shift]
            change(file, ImagePositionPatient=position, PixelData=plane.tobytes())
        with pytest.raises(UnreadableScan, match=r"displaced sideways.*gantry tilt of 20\.0°"):
            Scan.read(tmp_path / "dicom")
        scan = Scan.read(tmp_path / "dicom", resample=True)
        middle, diameter = middle_and_diameter(scan.crop(CENTRE, (24, 24, 24)))
        assert np.abs(middle).max() < 0.5
        assert diameter == pytest.approx(14, abs=1)

    @pytest.mark.parametrize(
        ("tags", "message"),
        [
            ({"PixelSpacing": ["0.8", "0.7"]}, r"spacing of 0003\.dcm differs"),
            ({"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}, r"axes of 0003\.dcm differs"),
            ({"RescaleSlope": None}, r"0003\.dcm: its header lacks RescaleSlope"),
            ({"NumberOfFrames": 7}, r"0003\.dcm: holds many frames"),
        ],
    )
    def test_slices_that_do_not_go_together_are_named(self, dicom, tags, message):
        change(slices(dicom)[3], **tags)
        with pytest.raises(UnreadableScan, match=message):
            Scan.read(dicom)

    @pytest.mark.parametrize("left", [0, 100, 600, -100])
    def test_half_a_slice_is_named(self, dicom, left):
        file = slices(dicom)[3]
        file.write_bytes(file.read_bytes()[:left])
        with pytest.raises(UnreadableScan, match=r"0003\.dcm: "):
            Scan.read(dicom)
        (found,) = find_scans(dicom)
        with pytest.raises(UnreadableScan, match=r"0003\.dcm: "):
            found.read()

    def test_one_slice_is_no_volume(self, dicom):
        for file in slices(dicom)[1:]:
            file.unlink()
        with pytest.raises(UnreadableScan, match="holds one slice"):
            Scan.read(dicom)
        slices(dicom)[0].unlink()
        with pytest.raises(UnreadableScan, match="holds no CT images"):
            Scan.read(dicom)


class TestIntercept:
    """Files of HU with 1024 added, as many tools write them without a word, are refused until the user says so."""

    @staticmethod
    def save(file, hu):
        image = SimpleITK.GetImageFromArray(hu)
        image.SetSpacing((0.7, 0.7, 2.5))
        SimpleITK.WriteImage(image, str(file))

    @pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
    @pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
    def test_an_offset_is_refused_until_it_is_said(self, tmp_path, ball, name, dtype):
        self.save(tmp_path / name, (ball.hu.astype(int) + 1024).astype(dtype))
        with pytest.raises(UnreadableScan, match=rf"{name}: its values go from 174 to 1064, .*intercept=-1024"):
            Scan.read(tmp_path / name)
        scan = Scan.read(tmp_path / name, intercept=-1024)
        np.testing.assert_array_equal(scan.hu, ball.hu)
        assert scan.hu.dtype == (np.float32 if dtype == "float32" else np.int16)
        assert Scan.read(tmp_path / name, intercept=0).hu.max() == 1064

    def test_soft_tissue_alone_is_known_by_its_offset(self, tmp_path):
        self.save(tmp_path / "a.nrrd", np.random.default_rng(0).normal(1064, 15, (8, 30, 30)).astype(np.uint16))
        with pytest.raises(UnreadableScan, match="with soft tissue near 1024; expected HU"):
            Scan.read(tmp_path / "a.nrrd")

    @pytest.mark.parametrize("beyond", [-2000, -3024, -1050])
    def test_what_marks_the_outside_or_streaks_is_no_air(self, tmp_path, ball, beyond):
        hu = ball.hu + np.int16(1024)
        hu[0, 0, : 3 if beyond > -1500 else 70] = beyond
        self.save(tmp_path / "a.nii.gz", hu)
        with pytest.raises(UnreadableScan, match=f"its values go from {beyond} to 1064"):
            Scan.read(tmp_path / "a.nii.gz")

    @pytest.mark.parametrize(
        "hu",
        [
            [-1000, -850, 40, 1500],  # a chest
            [0, 0, 0, 1],  # a mask
            [0, 0.25, 0.5, 1],
            [0, 100, 200, 255],  # a window
            [30, 60, 90, 400],  # soft tissue
            [-100, 40, 300, 1500],  # bone, and the fat around it
            [-1024, 0, 0, 3071],  # an air bubble
            [0, 0, 0, 1000],  # a drawing
            range(3000),
        ],
    )
    def test_others_are_read_as_they_are(self, tmp_path, hu):
        stored = np.random.default_rng(0).choice(hu, (8, 30, 30))
        stored = stored.astype(np.float32 if 0.25 in hu else np.int16)
        self.save(tmp_path / "a.nii.gz", stored)
        np.testing.assert_array_equal(Scan.read(tmp_path / "a.nii.gz").hu, stored)

    def test_a_scale_in_the_header_is_taken(self, tmp_path, ball):
        image = nibabel.Nifti1Image(ball.hu.T + np.int16(1024), np.diag((0.7, 0.7, 2.5, 1)))
        image.header.set_slope_inter(1, -1024)
        image.to_filename(tmp_path / "a.nii.gz")
        np.testing.assert_array_equal(Scan.read(tmp_path / "a.nii.gz").hu, ball.hu)

    def test_a_folder_says_it_of_all_its_files_and_the_cache_knows(self, tmp_path, ball):
        (tmp_path / "ct").mkdir()
        for name in ("a.nii.gz", "b.mha"):
            self.save(tmp_path / "ct" / name, ball.hu + np.int16(1024))
        source = {"path": tmp_path / "ct", "shape": (30, 32, 34), "window": None, "jobs": 1}
        with pytest.raises(ValueError, match=r"2 of 2 volumes cannot be read\n.*a\.nii\.gz: its values go from 174"):
            Volumes(**source).read()
        assert next(what for *_, what in Volumes(**source).contents()).startswith("refused: ")
        stored, hu = (Volumes(**source, intercept=own).read().pixels for own in (0, -1024))
        inside = slice(12, 18)
        np.testing.assert_array_equal(hu[:, 0, inside, inside, inside], stored[:, 0, inside, inside, inside] - 1024)
        assert next(what for *_, what in Volumes(**source, intercept=0).contents()).startswith("scan of ")


class TestVolumes:
    @pytest.fixture
    def folder(self, tmp_path, ball):
        for k, kind in enumerate(("normal", "anomalous")):  # no volume is in both
            replace(ball, hu=ball.hu + k).save(tmp_path / kind / "a.nii.gz")
            Scan(ball.hu + k, ball.origin, ball.spacing, OBLIQUE, kind, patient="p7").save(tmp_path / kind / "b")
        return tmp_path

    def test_volumes_are_upright_isotropic_and_windowed(self, folder):
        images = Volumes(path=folder, shape=(30, 32, 34), jobs=1).read()
        assert images.shape == (1, 30, 32, 34)
        assert images.label.tolist() == [0, 0, 1, 1]
        assert images.name.tolist() == ["normal/a.nii.gz", "normal/b", "anomalous/a.nii.gz", "anomalous/b"]
        assert images.group.tolist() == ["normal/a.nii.gz", "p7", "anomalous/a.nii.gz", "p7"]
        assert images.spacing == (1, 1, 1)
        hu = images.pixels[:, 0].astype(float) * 1400 - 1000
        for volume in hu:
            middle, diameter = middle_and_diameter(volume)
            np.testing.assert_allclose(middle, (4, -2, 3), atol=0.5)  # the ball lies beside the middle, (z, y, x)
            assert diameter == pytest.approx(14, abs=1)

    def test_another_spacing_and_no_window(self, folder):
        images = Volumes(path=folder / "normal", shape=(30, 32, 34), spacing=2, window=None, jobs=1).read()
        assert isinstance(images.pixels, np.memmap)
        assert (images.shape, images.pixels.dtype, images.label) == ((1, 15, 16, 17), np.int16, None)
        assert images.pixels.min() == LUNG

    def test_the_whole_scan_is_kept_if_all_have_one_size(self, folder, ball):
        images = Volumes(path=folder, outside=LUNG, jobs=1, window=(LUNG, TISSUE)).read()
        assert images.shape[1:] == tuple(np.ceil(ball.extent))
        whole = ((ball.hu - float(LUNG)) / (TISSUE - LUNG)).sum() * np.prod(ball.spacing)
        assert images.pixels[0].sum() == pytest.approx(whole, rel=0.01)
        Scan(ball.hu[2:]).save(folder / "normal" / "c.mha")
        with pytest.raises(ValueError, match=r"shape=None: normal/c\.mha has \(18, 72, 76\) voxels of 1 mm, normal/a"):
            Volumes(path=folder, jobs=1).read()

    def test_a_table_labels_and_groups(self, folder, tmp_path):
        (tmp_path / "t.csv").write_text("file,label,group\nanomalous/b,1,x\nnormal/a.nii.gz,0,y\n")
        images = Volumes(path=folder, table=tmp_path / "t.csv", shape=(8, 8, 8), jobs=1).read()
        assert (images.label.tolist(), images.group.tolist()) == ([1, 0], ["x", "y"])
        (tmp_path / "t.csv").write_text("file,label\nnormal/c,1\n")
        with pytest.raises(ValueError, match="file='normal/c' is no volume"):
            Volumes(path=folder, table=tmp_path / "t.csv", jobs=1).read()

    def test_a_broken_volume_is_named_or_skipped_and_counted(self, folder):
        (folder / "normal" / "c.mha").write_text("no scan")
        source = {"path": folder, "shape": (8, 8, 8), "jobs": 1}
        with pytest.raises(ValueError, match=r"1 of 5 volumes cannot be read\n.*c\.mha"):
            Volumes(**source).read()
        with pytest.warns(UserWarning, match=r"1 of 5 volumes skipped\n.*c\.mha"):
            assert len(Volumes(**source, skip_unreadable=True).read()) == 4

    def test_a_link_to_nothing_is_a_volume_that_cannot_be_read(self, folder):
        (folder / "normal" / "c.nii.gz").symlink_to(folder / "gone")
        with pytest.raises(ValueError, match=r"1 of 5 volumes cannot be read\n.*c\.nii\.gz: is a link to"):
            Volumes(path=folder, shape=(8, 8, 8), jobs=1).read()

    def test_something_must_be_there(self, tmp_path):
        with pytest.raises(ValueError, match=r"holds no \.mha"):
            Volumes(path=tmp_path).read()

    def test_the_command_line_shows_them(self, folder, tmp_path, capsys):
        arguments = ["show", "--data", "Volumes", "--data.path", str(folder), "--data.shape", "[16, 16, 16]"]
        assert main([*arguments, "--data.jobs=1", "--out", str(tmp_path / "g.png")]) == 0
        assert "2 normal and 2 anomalous" in capsys.readouterr().out
