"""What the classical finder finds on phantom scans, and what is made of it."""

import csv

import numpy as np
import pytest

from spheres import LUNG, OBLIQUE, TISSUE, middle_and_diameter
from unlikelihood import Candidates, Nodules, Phantom, Scan
from unlikelihood.cli.main import main
from unlikelihood.data.ct.blobs import MATCHED, _maxima, find_blobs, lung_mask
from unlikelihood.metrics.froc import froc


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("UNLIKELIHOOD_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("ct")
    Phantom().write(place, 4)
    return place


def body(shape=(50, 90, 90), spacing=2.0):
    """Return a body of tissue in a room of air, with two lungs, a ball in one, a ball at its wall, and a tube."""
    z, y, x = ((at - (size - 1) / 2) * spacing for at, size in zip(np.indices(shape), shape, strict=True))
    hu = np.where((y / 60) ** 2 + (x / 80) ** 2 < 1, TISSUE, -1000.0)
    for side in (-1, 1):
        hu[((y / 40) ** 2 + ((x - 38 * side) / 30) ** 2 < 1) & (np.abs(z) < 42)] = LUNG
    hu[(x - 38) ** 2 + y**2 + (z - 10) ** 2 < 36] = TISSUE
    hu[(x + 38) ** 2 + (y + 35) ** 2 + (z + 10) ** 2 < 36] = TISSUE
    hu[((x + 38) ** 2 + y**2 < 9) & (np.abs(z) < 38)] = TISSUE
    return hu.astype(np.float32)


class TestBlobs:
    def test_the_lungs_are_what_is_neither_body_nor_room(self):
        hu = body()
        lungs = lung_mask(hu, 2.0)
        low = hu == LUNG
        assert (lungs & low).sum() > 0.99 * low.sum()
        assert not lungs[hu == -1000].any()
        assert lungs.sum() < 1.1 * low.sum()
        assert lungs[30, 45, 64]  # in the ball, which is closed
        assert not lung_mask(np.full((8, 8, 8), 40.0, np.float32), 1.0).any()

    @pytest.mark.parametrize("direction", [np.eye(3), np.diag([-1, 1, -1]), OBLIQUE])
    def test_balls_come_before_tubes_wherever_the_scan_lies(self, direction):
        scan = Scan(body(), (7, -30, 100), (2, 2, 2), direction)
        middle = (np.array(scan.hu.shape) - 1) / 2
        first, second, *_ = find_blobs(scan, 10)
        balls = [scan.to_world(middle + np.array(at) / 2) for at in ((10, 0, 38), (-10, -35, -38))]
        away = [min(float(np.linalg.norm(ball - one.centre)) for one in (first, second)) for ball in balls]
        assert max(away) < 4
        assert first.diameter == pytest.approx(12, rel=0.4)
        assert first.score > second.score

    def test_a_ball_answers_at_its_own_diameter(self):
        distance = np.linalg.norm(np.indices((31, 31, 31)) - 15, axis=0)
        ratios = []
        for diameter in np.geomspace(5, 12, 9):
            ball = np.clip(diameter / 2 - distance + 0.5, 0, 1).astype(np.float32) * 900
            found = dict(_maxima(ball, np.ones(ball.shape, bool)))
            ratios.append(found[15, 15, 15] * MATCHED / diameter)
        assert np.exp(np.log(ratios).mean()) == pytest.approx(0.9, abs=0.1)  # of two Gaussians, the wider one is larger

    def test_nothing_is_found_where_there_is_no_lung(self):
        assert find_blobs(Scan(np.full((20, 20, 20), 40)), 10) == []


class TestCandidates:
    def test_nodules_are_found_in_cubes_of_their_own(self, folder):
        source = Candidates(path=folder, per_scan=5, size=16, jobs=1, window=None)
        images = source.read()
        assert images.shape == (1, 16, 16, 16)
        assert images.label is None
        assert len(set(images.group)) == 4
        with (folder / "annotations.csv").open() as lines:
            rows = list(csv.DictReader(lines))
        found = {one.scan.series: one.candidates for one in source.found()}
        for row in rows:
            centre = [float(row[f"coord{axis}"]) for axis in "XYZ"]
            away = [np.linalg.norm(np.subtract(one.centre, centre)) for one in found[row["seriesuid"]]]
            assert min(away) < float(row["diameter_mm"]) / 2
        for name, cube in zip(images.name, images.pixels[:, 0], strict=True):
            if "/001 (" in name:  # a nodule in the middle
                assert cube[6:10, 6:10, 6:10].mean() > cube.mean() + 300

    def test_a_name_says_where(self, tmp_path):
        scan = Scan(body(), (7, -30, 100), (2, 2, 2))
        scan.save(tmp_path / "a.nii.gz")
        images = Candidates(path=tmp_path, per_scan=1, jobs=1, size=24, window=None).read()
        (name,) = images.name
        x, y, z = map(float, name.partition("(")[2].strip(")").split(","))
        middle, diameter = middle_and_diameter(scan.crop((x, y, z), (24, 24, 24)))
        assert name.startswith("a.nii.gz/001 (")
        assert np.abs(middle).max() < 1.5
        assert diameter == pytest.approx(12, abs=1.5)

    def test_marks_are_a_table_that_nodules_reads(self, folder, tmp_path):
        source = Candidates(path=folder, per_scan=3, size=16, jobs=1)
        source.save_marks(tmp_path / "marks.csv")
        again = Nodules(path=folder, table=tmp_path / "marks.csv", size=16, jobs=1).read()
        np.testing.assert_allclose(again.pixels, source.read().pixels, atol=0.01)

    def test_a_scan_is_searched_once(self, folder, monkeypatch):
        source = Candidates(path=folder, per_scan=2, size=16, jobs=1)
        first = source.found()
        monkeypatch.setattr(Scan, "read", None)
        assert source.found() == first

    def test_a_broken_scan_is_named_or_skipped_and_counted(self, folder, tmp_path):
        for file in folder.glob("*000.mha"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
        (tmp_path / "bad.nii").write_text("no scan")
        source = {"path": tmp_path, "per_scan": 2, "size": 16, "jobs": 1}
        with pytest.raises(ValueError, match=r"1 of 3 centres give no cube.*\n.*bad\.nii: cannot be read"):
            Candidates(**source).read()
        with pytest.warns(UserWarning, match=r"1 of 3 centres skipped"):
            images = Candidates(**source, skip_rejected=True).read()
        assert (len(images), images.left_out["centres that give no cube"]) == (2, 1)
        with pytest.raises(ValueError, match="Nodules reads a table"):
            Candidates(**source, table=tmp_path / "t.csv").read()

    def test_one_command_makes_a_ranked_report_of_a_folder_of_ct(self, folder, tmp_path, capsys):
        data = ["--data=Candidates", "--data.per_scan=4", "--data.size=8", "--data.jobs=1"]
        healthy = tmp_path / "healthy"
        Phantom(seed=1).write(healthy, 2)
        assert main(["fit", *data, f"--data.path={healthy}", "--detector=PCAResidual", f"--out={tmp_path / 'm'}"]) == 0
        for file in folder.glob("*.mha"):
            (tmp_path / "new" / file.stem).mkdir(parents=True)
            (tmp_path / "new" / file.stem / "SCAN.MHA").write_bytes(file.read_bytes())
        (tmp_path / "new" / "notes.txt").touch()
        ranked = [f"--data.path={tmp_path / 'new'}", f"--out={tmp_path / 's.csv'}", f"--report={tmp_path / 'report'}"]
        assert main(["score", str(tmp_path / "m"), *data, *ranked]) == 0
        assert "score: samples=16" in capsys.readouterr().out
        with (tmp_path / "report" / "ranked.csv").open() as lines:
            rows = list(csv.DictReader(lines))
        scores = [float(row["anomaly_score"]) for row in rows]
        assert [int(row["rank"]) for row in rows] == [*range(1, 17)]
        assert scores == sorted(scores, reverse=True)
        with (tmp_path / "s.csv").open() as lines:
            table = {row["name"]: float(row["anomaly_score"]) for row in csv.DictReader(lines)}
        assert {row["name"]: score for row, score in zip(rows, scores, strict=True)} == table
        page = (tmp_path / "report" / "report.html").read_text()
        assert all(name in page for name in table)
        assert "SPL" in page
        pictures = {file.name for file in (tmp_path / "report" / "figures").iterdir()}
        assert pictures == {"first.png", "first-planes.png"}


class TestFROC:
    def test_a_curve_by_hand(self):
        # Two scans with three lesions; the second hit of lesion 0 counts as nothing.
        lesion, score = [0, -1, 0, 1, -1, -1, -1, -1, 2], [9, 8, 7, 6, 5, 4, 3, 2, 1]
        rates = froc(lesion, score, lesions=3, scans=2, false_positives=(0, 0.5, 1, 2.5))
        assert rates == pytest.approx({0: 1 / 3, 0.5: 2 / 3, 1: 2 / 3, 2.5: 1})
        assert froc(lesion, score, lesions=6, scans=2, false_positives=(8,)) == {8: 0.5}

    def test_marks_of_one_score_are_taken_together(self):
        assert froc([0, -1, -1], [1, 1, 1], lesions=1, scans=1, false_positives=(1, 2)) == {1: 0, 2: 1}

    def test_nothing_found_is_nothing(self):
        assert froc([], [], lesions=2, scans=1) == {1: 0, 4: 0, 8: 0}

    @pytest.mark.parametrize(
        "wrong", [{"lesions": 0}, {"scans": 0}, {"score": [np.nan]}, {"lesion": [7]}, {"score": []}]
    )
    def test_what_makes_no_curve_is_refused(self, wrong):
        with pytest.raises(ValueError, match=r"expected|finite"):
            froc(**{"lesion": [0], "score": [1.0], "lesions": 1, "scans": 1, **wrong})
