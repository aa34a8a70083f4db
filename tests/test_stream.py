"""What arrives in a folder is scored once, in rows that are whole or absent, with the evidence of drift."""

import csv
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from tiny import normals
from unlikelihood import Folder, Martingale, PCAResidual, load
from unlikelihood.cli.main import main
from unlikelihood.distributed import stream
from unlikelihood.distributed.stream import Record, arriving, watch

SHAPE = (1, 8, 8)


@pytest.fixture
def model(tmp_path):
    X = normals(SHAPE, n=160)
    PCAResidual(3).fit(X[:60]).calibrate(X[60:]).save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder in which 12 images have arrived, which is looked into without a pause."""
    monkeypatch.setattr(stream, "INTERVAL", 0.0)
    (tmp_path / "in coming").mkdir()
    for number, image in enumerate((255 * normals(SHAPE, n=12, seed=1)).astype(np.uint8)):
        Image.fromarray(image[0]).save(tmp_path / "in coming" / f"{number:02d}.png")
    return tmp_path / "in coming"


def rows_of(file):
    with open(file, newline="") as opened:
        return list(csv.DictReader(opened))


def test_every_image_is_a_row_with_the_score_of_the_detector_and_the_evidence_so_far(model, folder, tmp_path):
    (folder / "05.png").write_bytes(b"no image")
    out = tmp_path / "scores.csv"
    assert main(["watch", str(model), str(folder), "--out", str(out), "--alpha", "0.1", "--once"]) == 0
    rows = rows_of(out)
    assert [row["name"] for row in rows] == [f"{number:02d}.png" for number in range(12)]
    assert "cannot be read as an image" in rows[5]["reason"]
    assert rows[5]["anomaly_score"] == rows[5]["decision"] == ""
    good = [row for row in rows if not row["reason"]]
    detector = load(model)
    images = Folder(folder, skip_unreadable=True)
    with pytest.warns(UserWarning, match="1 of 12 images skipped"):
        pixels = images.read().pixels
    alone = np.array([detector.score_samples(x[None])[0] for x in pixels])
    assert [-float(row["anomaly_score"]) for row in good] == alone.tolist()
    verdict = Martingale().test(detector.calibration_, alone)
    assert [float(row["evidence"]) for row in good] == verdict.evidence.tolist()


def test_after_any_end_the_table_goes_on_as_if_there_had_been_none(model, folder, tmp_path):
    images, whole, out = Folder(folder), tmp_path / "whole.csv", tmp_path / "scores.csv"
    list(watch(model, images, whole, alpha=0.1, once=True))
    content = whole.read_bytes()
    for end in (0, 10, 200, len(content) // 2, len(content) - 1, len(content)):
        out.write_bytes(content[:end])
        list(watch(model, images, out, alpha=0.1, once=True))
        assert out.read_bytes() == content


def test_a_table_of_another_model_is_left_alone(model, folder, tmp_path):
    out = tmp_path / "scores.csv"
    list(watch(model, Folder(folder), out, once=True))
    before = out.read_bytes()
    X = normals(SHAPE, n=60, seed=9)
    PCAResidual(2).fit(X[:40]).calibrate(X[40:]).save(tmp_path / "other")
    with pytest.raises(ValueError, match="scores of another model"):
        list(watch(tmp_path / "other", Folder(folder), out, once=True))
    with pytest.raises(ValueError, match=r"scores\.csv: cannot be read as a table of scores"):
        list(watch(model, Folder(folder), out, alpha=0.1, once=True))
    assert out.read_bytes() == before


def test_a_row_that_does_not_fit_on_the_disk_leaves_none_of_it(tmp_path, monkeypatch):
    record = Record(tmp_path / "table.csv", ["name", "reason"])
    record.append({"name": "a"})
    before = (tmp_path / "table.csv").read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        record.append({"name": "b" * 1000})
    assert (tmp_path / "table.csv").read_bytes() == before


def test_a_file_that_still_grows_waits_until_it_is_at_rest(folder):
    looks = arriving(folder, {f"{number:02d}.png" for number in range(1, 12)}, once=True)
    states = [b"1", b"12", b"123"]
    stat = stream.Path.stat

    def growing(path, **given):
        if path.name == "00.png" and states:
            path.write_bytes(states.pop(0))
        return stat(path, **given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream.Path, "stat", growing)
        assert list(looks) == ["00.png"]
    assert not states
    assert (folder / "00.png").read_bytes() == b"123"


def test_drift_is_said_once(model, folder, tmp_path, capsys):
    for number in range(60):
        Image.new("L", (8, 8), 255 - number).save(folder / f"x{number:02d}.png")
    assert main(["watch", str(model), str(folder), "--out", str(tmp_path / "scores.csv"), "--once"]) == 0
    said = capsys.readouterr()
    assert said.err.count("drift at x") == 1
    assert "drift=yes" in said.out


def test_sigterm_ends_it_after_a_whole_row_and_a_second_watch_of_the_table_is_refused(model, folder, tmp_path):
    out = tmp_path / "scores.csv"
    command = [sys.executable, "-m", "unlikelihood", "watch", str(model), str(folder), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and (not out.exists() or out.read_bytes().count(b"\n") < 13):
        time.sleep(0.05)
    with pytest.raises(TimeoutError, match="is held by process"):
        list(watch(model, Folder(folder), out, once=True))
    time.sleep(1)  # until the disk holds the last row too, which would be taken back
    process.send_signal(signal.SIGTERM)
    said, errors = process.communicate()
    assert process.returncode == 143
    assert "watch: rows=12 refused=0" in said
    assert "Traceback" not in errors
    assert len(rows_of(out)) == 12
