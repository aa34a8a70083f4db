"""Marks and maps as DICOM segmentations lie in the patient where SimpleITK says that their voxels are."""

from dataclasses import replace

import numpy as np
import pydicom
import pytest
import SimpleITK
from scipy.spatial import cKDTree

from spheres import OBLIQUE
from test_study import enhanced
from unlikelihood import Scan, marked, save_segmentation
from unlikelihood.data.ct.formats import UnreadableScan

pytest.importorskip("highdicom")


@pytest.fixture
def scan(tmp_path):
    hu = np.random.default_rng(0).integers(-1000, 1000, (9, 20, 24)).astype(np.int16)
    made = Scan(hu, (-10, 20, 30), (0.7, 0.8, 2.5), OBLIQUE, series="1.2.3", patient="p")
    made.save(tmp_path / "ct")
    return made


def points(file):
    """Return the physical points (x, y, z) of what is not 0 in an image file, by SimpleITK."""
    image = SimpleITK.ReadImage(str(file))
    set_at = np.argwhere(SimpleITK.GetArrayFromImage(image))[:, ::-1]
    return np.array([image.TransformIndexToPhysicalPoint(at.tolist()) for at in set_at])


def apart(one, other):
    """Return how far a point of one of two sets is from the nearest of the other, at most."""
    return max(cKDTree(a).query(b)[0].max() for a, b in ((one, other), (other, one)))


def test_marks_are_balls_in_the_patient(scan):
    centre, far = scan.to_world((4, 9, 11)), scan.to_world((-9, 0, 0))
    marks = marked(scan, [centre, far], [6, 0.1])
    inside = np.argwhere(marks.hu)
    away = np.linalg.norm(scan.to_world(np.argwhere(np.ones_like(marks.hu))) - centre, axis=1)
    np.testing.assert_array_equal(marks.hu.ravel() > 0, away <= 3)
    assert len(inside) > 20
    assert marked(scan, centre, 0.01).hu.sum() == 1


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".dcm"])
def test_marks_lie_where_simpleitk_finds_them(tmp_path, scan, suffix):
    marks = marked(scan, [scan.to_world((1, 9, 11)), scan.to_world((7, 3, 20))], [6, 3])  # none in slices between
    if suffix == ".dcm":
        save_segmentation(tmp_path / "marks.dcm", marks, tmp_path / "ct")
    else:
        marks.save(tmp_path / f"marks{suffix}")
    found = points(tmp_path / f"marks{suffix}")
    assert len(found) == marks.hu.sum()
    assert apart(found, scan.to_world(np.argwhere(marks.hu))) < 0.01


def test_a_map_of_a_crop_lies_where_it_was_cut(tmp_path, scan):
    values = np.zeros((8, 8, 8), np.float32)
    values[2:6, 2:6, 2:6] = 0.3
    crop = Scan.of_crop(values, scan.centre)
    save_segmentation(tmp_path / "map.dcm", crop, tmp_path / "ct" / "0003.dcm")
    found = points(tmp_path / "map.dcm")
    every = scan.to_world(np.argwhere(np.ones_like(scan.hu)))
    expected = every[(np.abs(every - scan.centre) < 2).all(1)]
    assert len(expected) > 10
    assert apart(found, expected) < 0.01


def test_slices_of_a_tilted_gantry_keep_their_places(tmp_path, scan):
    replace(scan, direction=np.eye(3)).save(tmp_path / "ct")
    for k, file in enumerate(sorted((tmp_path / "ct").iterdir())):
        data = pydicom.dcmread(file)
        x, y, z = map(float, data.ImagePositionPatient)
        data.ImagePositionPatient = [x, y + 0.9 * k, z]
        data.save_as(file)
    upright = Scan.read(tmp_path / "ct", resample=True)
    middle = upright.centre
    save_segmentation(tmp_path / "a.dcm", marked(upright, middle, 8), tmp_path / "ct")
    made, positions = pydicom.dcmread(tmp_path / "a.dcm"), {}
    for file in (tmp_path / "ct").iterdir():
        source = pydicom.dcmread(file)
        positions[source.SOPInstanceUID] = source.ImagePositionPatient
    for frame, plane in zip(made.PerFrameFunctionalGroupsSequence, made.pixel_array, strict=True):
        own = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        at = frame.PlanePositionSequence[0].ImagePositionPatient
        np.testing.assert_allclose(at, positions[own], atol=1e-6)
        rows, columns = np.nonzero(plane)
        world = np.array(at, float) + np.stack([columns * 0.7, rows * 0.8, 0 * rows], axis=1)
        assert np.linalg.norm(world - middle, axis=1).max() < 4 + 0.5 * np.linalg.norm((0.7, 0.8, 2.5))


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [3, 0, 5, 1, 4, 2]])
def test_marks_lie_in_the_frames_of_enhanced_ct_that_they_are_of(tmp_path, scan, order):
    upright = replace(scan, direction=np.eye(3), hu=scan.hu[:6])
    enhanced(upright, tmp_path / "ct" / "a.dcm", order)
    for file in (tmp_path / "ct").glob("0*"):
        file.unlink()
    marks = marked(upright, [upright.to_world((1, 9, 11)), upright.to_world((4, 3, 20))], [3, 3])
    save_segmentation(tmp_path / "marks.dcm", marks, tmp_path / "ct")
    found = points(tmp_path / "marks.dcm")
    assert len(found) == marks.hu.sum()
    assert apart(found, upright.to_world(np.argwhere(marks.hu))) < 0.01
    made = pydicom.dcmread(tmp_path / "marks.dcm")
    for frame, plane in zip(made.PerFrameFunctionalGroupsSequence, made.pixel_array, strict=True):
        source = frame.DerivationImageSequence[0].SourceImageSequence[0]
        np.testing.assert_array_equal(plane, marks.hu[order[source.ReferencedFrameNumber - 1]])


@pytest.mark.parametrize("place", ["e", "e/a.dcm"])
def test_which_of_two_stacks_of_enhanced_ct_is_not_guessed(tmp_path, scan, place):
    upright = replace(scan, direction=np.eye(3), hu=scan.hu[:6])
    (tmp_path / "e").mkdir()
    enhanced(upright, tmp_path / "e" / "a.dcm", range(6), stacks=2)
    with pytest.raises(UnreadableScan, match="holds 2 series"):
        save_segmentation(tmp_path / "marks.dcm", marked(upright, upright.centre, 6), tmp_path / place)


def test_enhanced_ct_in_several_objects_is_refused(tmp_path, scan):
    upright = replace(scan, direction=np.eye(3), hu=scan.hu[:6])
    (tmp_path / "e").mkdir()
    for name, order in (("a", [0, 1, 2]), ("b", [3, 4, 5])):
        enhanced(upright, tmp_path / "e" / f"{name}.dcm", order)
    with pytest.raises(UnreadableScan, match=r"a\.dcm: the series lies in 2 files of many frames, expected one"):
        save_segmentation(tmp_path / "marks.dcm", marked(upright, upright.centre, 6), tmp_path / "e")


def test_a_segmentation_is_no_scan_and_repeats_to_the_bit_of_its_pixels(tmp_path, scan):
    marks = marked(scan, scan.centre, 6)
    for name in ("a", "b"):
        save_segmentation(tmp_path / f"{name}.dcm", marks, tmp_path / "ct", label="Candidate")
    one, two = (pydicom.dcmread(tmp_path / f"{name}.dcm") for name in ("a", "b"))
    assert one.PixelData == two.PixelData
    assert one.SeriesInstanceUID == two.SeriesInstanceUID
    assert one.SegmentSequence[0].SegmentLabel == "Candidate"
    (tmp_path / "a.dcm").rename(tmp_path / "ct" / "a.dcm")
    np.testing.assert_array_equal(Scan.read(tmp_path / "ct").hu, scan.hu)


def test_what_has_no_place_is_refused(tmp_path, scan):
    with pytest.raises(ValueError, match=r"has nothing above 0 in the series 1\.2\.3"):
        save_segmentation(tmp_path / "a.dcm", replace(scan, hu=0 * scan.hu), tmp_path / "ct")
    scan.save(tmp_path / "nifti" / "a.nii.gz")
    with pytest.raises(UnreadableScan, match="holds no CT images"):
        save_segmentation(tmp_path / "a.dcm", scan, tmp_path / "nifti")
    assert not (tmp_path / "a.dcm").exists()
