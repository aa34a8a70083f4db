"""The phantom's nodules are what its truth says, and their kinds overlap as its difficulty says."""

import csv

import numpy as np
import pytest
from scipy.ndimage import label
from scipy.spatial.transform import Rotation

from unlikelihood import Phantom, Scan
from unlikelihood.metrics.ranking import auroc

FEW = {"train": 3, "calibration": 2, "benign": 4, "malignant": 3, "evaluated": 2}


def test_a_sample_follows_from_the_seed_and_its_number_alone():
    phantom = Phantom(size=16)
    together = phantom.images([4, 7, 20])
    np.testing.assert_array_equal(phantom.images([20]).pixels, together.pixels[2:])
    np.testing.assert_array_equal(Phantom(**FEW, size=16).images([7]).pixels, together.pixels[1:2])
    assert not np.array_equal(Phantom(size=16, seed=1).images([20]).pixels, together.pixels[2:])


def test_the_parts_share_no_patient_and_their_counts_are_table_ones():
    split = Phantom(**FEW, size=16).split()
    assert [len(part) for part in (split.train, split.calibration, split.test)] == [3, 2, 4]
    assert split.test.label.tolist() == [0, 0, 1, 1]
    assert len(Phantom(**FEW, size=16).read()) == 3 + 2 + 4 + 3
    assert (split.test.spacing, split.test.orientation) == ((1, 1, 1), "SPL")
    defaults = Phantom()
    assert (defaults.train, defaults.calibration, defaults.benign, defaults.malignant) == (1722, 431, 539, 143)
    assert 115 <= defaults.evaluated <= 120


def test_a_nodule_is_where_and_as_wide_as_the_truth_says():
    phantom = Phantom(difficulty=1)
    solid = [i for i in range(0, 400, 2) if is_plain(phantom.nodule(i))][:12]
    for sample in solid:
        nodule, patch = phantom.nodule(sample), phantom.patch(sample)
        at = tuple(np.round(nodule.centre).astype(int))
        assert patch[at] > -300
        parts, _ = label(patch > -400)
        found = np.argwhere(parts == parts[at])
        # A vessel that touches the nodule belongs to its part: only the voxels within reach of it are compared.
        near = found[np.linalg.norm(found - nodule.centre, axis=1) < nodule.diameter / 2 + 1]
        assert np.linalg.norm(near.mean(0) - nodule.centre) < 0.75
        assert abs(2 * (3 * len(near) / (4 * np.pi)) ** (1 / 3) - nodule.diameter) < 1


def test_the_mask_is_the_nodule_of_malignant_samples_alone():
    phantom = Phantom(size=24)
    images = phantom.images([2, 3, 5])
    assert phantom.images([2, 4]).mask is None
    assert images.mask.any(axis=(1, 2, 3)).tolist() == [False, True, True]
    for mask, sample in zip(images.mask[1:], (3, 5), strict=True):
        nodule = phantom.nodule(sample)
        inside = np.linalg.norm(np.argwhere(np.ones(mask.shape)) - nodule.centre, axis=1).reshape(mask.shape)
        assert mask[inside < nodule.diameter / 2 - 1].all()
        assert np.argwhere(mask).mean(0) == pytest.approx(nodule.centre, abs=1.5)


@pytest.mark.parametrize("suffix", [".mha", ".nii.gz", ""])
def test_a_written_scan_is_read_with_its_nodules_where_the_table_says(suffix, tmp_path):
    phantom = Phantom(difficulty=1, seed=3)
    with phantom.write(tmp_path / "ct", 2, suffix).open(encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    assert [row["malignant"] for row in rows] == ["0", "0", "1", "1"]
    for row in rows:
        scan = Scan.read(tmp_path / "ct" / f"{row['seriesuid']}{suffix}")
        assert scan.hu.dtype == np.int16
        np.testing.assert_array_equal(scan.hu, phantom.scan(int(row["malignant"]))[0].hu)
        assert_nodule_at(scan, [float(row[f"coord{axis}"]) for axis in "XYZ"], float(row["diameter_mm"]))


def test_a_scan_may_be_oblique():
    scan, nodules = Phantom(seed=2).scan(0, (0.8, 0.9, 1.5), Rotation.from_euler("xyz", (0.3, -0.2, 0.4)).as_matrix())
    for one in nodules:
        assert_nodule_at(scan, one.centre, one.diameter)


def assert_nodule_at(scan, world, diameter):
    index = np.stack(np.indices(scan.hu.shape), -1)
    distance = np.linalg.norm(scan.to_world(index) - world, axis=-1)
    core, shell = distance < 0.3 * diameter, (distance > 0.7 * diameter) & (distance < diameter)
    assert scan.hu[core].mean() > scan.hu[shell].mean() + 150


def is_plain(nodule):
    return nodule.spicules == 0 and nodule.lobulation < 0.1 and nodule.density > -100 and nodule.diameter > 6


def test_size_says_little_and_the_other_traits_say_the_rest_unless_it_is_difficult():
    samples = np.arange(2000)
    for difficulty, least, most in ((0.0, 0.95, 1.0), (0.5, 0.8, 0.9), (1.0, 0.45, 0.55)):
        truth = Phantom(difficulty=difficulty).truth(samples)
        assert 0.6 < auroc(truth["malignant"].astype(int), truth["diameter"]) < 0.7
        for trait in ("spicules", "lobulation", "heterogeneity"):
            assert least < auroc(truth["malignant"].astype(int), truth[trait].astype(float)) < most


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"difficulty": 2}, "difficulty=2: expected a number from 0 to 1"),
        ({"size": 4}, "size=4: expected at least 8"),
        ({"evaluated": 5}, "evaluated=5: expected at most 3"),
        ({"train": -1}, "train=-1: expected an integer of at least 0"),
    ],
)
def test_settings_out_of_their_bounds_are_refused_by_name(wrong, message):
    with pytest.raises(ValueError, match=message):
        Phantom(**FEW | wrong).split()
