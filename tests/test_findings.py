"""Findings in DICOM reports are where the table says, and what the table says of them."""

import csv

import numpy as np
import pydicom
import pytest

from unlikelihood import KNN, Nodules, Phantom, Scan, save_findings
from unlikelihood.cli.main import main
from unlikelihood.data.ct.formats import UnreadableScan

highdicom = pytest.importorskip("highdicom")


@pytest.fixture
def scan(tmp_path):
    hu = np.random.default_rng(0).integers(-1000, 1000, (9, 20, 24)).astype(np.int16)
    made = Scan(hu, (-10, 20, 30), (0.7, 0.8, 2.5), np.eye(3), series="1.2.3", patient="p")
    made.save(tmp_path / "ct")
    return made


def told(file):
    """Return the names, the points (n, 3) and the measurements of a report, and what it refers to."""
    report = highdicom.sr.srread(file)
    groups = report.content.get_planar_roi_measurement_groups()
    names = [group.tracking_identifier for group in groups]
    points = np.array([group.roi.value[0] for group in groups])
    measured = [{each.name.meaning: each.value for each in group.get_measurements()} for group in groups]
    return report, names, points, measured


def test_points_and_numbers_come_back_as_they_were_given(tmp_path, scan, rng):
    centres, scores = 100 * rng.normal(size=(5, 3)), rng.normal(size=5)
    names = [f"one/{k:03d}" for k in range(5)]
    save_findings(tmp_path / "a.dcm", centres, tmp_path / "ct", {"anomaly score": scores, "p-value": scores**2}, names)
    report, found, points, measured = told(tmp_path / "a.dcm")
    assert found == names
    np.testing.assert_allclose(points, centres, rtol=1e-6)
    # A decimal string has 16 characters.
    np.testing.assert_allclose([one["anomaly score"] for one in measured], scores, rtol=1e-9)
    np.testing.assert_allclose([one["p-value"] for one in measured], scores**2, rtol=1e-9)
    first = pydicom.dcmread(tmp_path / "ct" / "0000.dcm")
    groups = report.content.get_planar_roi_measurement_groups()
    assert {group.roi.frame_of_reference_uid for group in groups} == {first.FrameOfReferenceUID}
    assert (report.StudyInstanceUID, report.PatientID) == (first.StudyInstanceUID, "p")
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert (evidence.SeriesInstanceUID, len(evidence.ReferencedSOPSequence)) == ("1.2.3", 9)
    assert (report.CompletionFlag, report.VerificationFlag) == ("PARTIAL", "UNVERIFIED")


def test_a_report_is_no_scan_and_the_same_findings_have_the_same_uids(tmp_path, scan):
    for name, score in (("a", 1.0), ("b", 1.0), ("c", 2.0)):
        save_findings(tmp_path / f"{name}.dcm", scan.centre, tmp_path / "ct" / "0003.dcm", {"anomaly score": [score]})
    a, b, c = (pydicom.dcmread(tmp_path / f"{name}.dcm").SOPInstanceUID for name in "abc")
    assert a == b != c
    (tmp_path / "a.dcm").rename(tmp_path / "ct" / "a.dcm")
    np.testing.assert_array_equal(Scan.read(tmp_path / "ct").hu, scan.hu)


def test_what_has_no_place_or_number_is_refused_and_nothing_written(tmp_path, scan):
    def refused(match, *given, raised=ValueError):
        with pytest.raises(raised, match=match):
            save_findings(tmp_path / "a.dcm", *given)

    refused("centres has no rows", [], tmp_path / "ct", {})
    refused("p-value has the shape", [[1, 2, 3]], tmp_path / "ct", {"p-value": [0.1, 0.2]})
    refused("p-value has the shape", [[1, 2, 3]], tmp_path / "ct", {"p-value": [np.nan]})
    scan.save(tmp_path / "nifti" / "a.nii.gz")
    refused("holds no CT images", [[1, 2, 3]], tmp_path / "nifti", {}, raised=UnreadableScan)
    for file in (tmp_path / "ct").iterdir():
        data = pydicom.dcmread(file)
        del data.FrameOfReferenceUID
        data.save_as(file)
    refused("no frame of reference", [[1, 2, 3]], tmp_path / "ct", {})
    assert not (tmp_path / "a.dcm").exists()


def test_score_writes_a_report_of_each_series_that_equals_its_table(tmp_path, capsys):
    table = Phantom(seed=2, size=24.0).write(tmp_path / "ct", 2, "")
    nodules = {"path": tmp_path / "ct", "size": 8.0, "cache": tmp_path / "cache", "jobs": 1}
    images = Nodules(**nodules).read()
    KNN(n_neighbors=1).fit(images.pixels + np.float32(0.01)).calibrate(images.pixels).save(tmp_path / "model")
    data = ["--data", "Nodules", "--data.path", str(table.parent), "--data.size", "8", "--data.jobs", "1"]
    data += ["--data.cache", str(tmp_path / "cache"), "--out", str(tmp_path / "a.csv")]
    assert main(["score", str(tmp_path / "model"), *data, "--findings", str(tmp_path / "sr")]) == 0
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    files = list((tmp_path / "sr").rglob("*.dcm"))
    assert len(files) == 2
    for file in files:
        _, names, points, measured = told(file)
        for name, point, numbers in zip(names, points, measured, strict=True):
            row = rows.pop(name)
            np.testing.assert_allclose(point, [float(row[axis]) for axis in ("x_mm", "y_mm", "z_mm")], rtol=1e-6)
            assert numbers["anomaly score"] == pytest.approx(float(row["anomaly_score"]), rel=1e-9)
            assert numbers["p-value"] == pytest.approx(float(row["p_value"]), rel=1e-9)
    assert not rows
    other = ["--data", "Folder", "--data.path", str(tmp_path), "--out", str(tmp_path / "b.csv")]
    assert main(["score", str(tmp_path / "model"), *other, "--findings", str(tmp_path / "no")]) == 1
    assert "expected with Nodules or Candidates, not Folder" in capsys.readouterr().err
