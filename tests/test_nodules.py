"""A cube shows what lies where the table says, whatever the scan's file and grid, or the row is rejected."""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from spheres import CENTRE, FORMATS, LUNG, OBLIQUE, TISSUE, middle_and_diameter, sphere, write_table
from unlikelihood import Nodules, Scan
from unlikelihood.cli.main import main
from unlikelihood.report import plots

CANDIDATES = ("seriesuid", "coordX", "coordY", "coordZ", "class")


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLIKELIHOOD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "crops"


@pytest.fixture(scope="module")
def balls(tmp_path_factory):
    """A folder with one ball in each format, and the table of them."""
    folder = tmp_path_factory.mktemp("ct")
    names = []
    for name in FORMATS:
        ball = sphere(patient="p1")
        ball.save(folder / name)
        names.append(Scan.read(folder / name).series)
    write_table(folder / "annotations.csv", [[name, *CENTRE, 14.0] for name in names])
    return folder


@pytest.fixture
def small(tmp_path, rng):
    """A folder with six small scans of noise, and a table of two centres in each."""
    rows = []
    for k in range(6):
        scan = Scan(rng.integers(-1000, 400, (12, 20, 20)), rng.normal(size=3) * 50, (0.8, 0.8, 2.0))
        scan.save(tmp_path / "ct" / f"{k}.mha")
        rows += [[k, *scan.centre + step, k % 2] for step in (-1.5, 2.0)]
    write_table(tmp_path / "ct" / "annotations.csv", rows, CANDIDATES)
    return tmp_path / "ct"


def small_cubes(path, **given):
    return Nodules(**{"path": path, "size": 6, "jobs": 1, **given})


class TestCubes:
    @pytest.mark.parametrize("jobs", [1, 2])
    def test_a_ball_comes_out_in_the_middle_with_its_diameter_from_every_format(self, balls, jobs):
        images = Nodules(path=balls, jobs=jobs).read()
        assert images.shape == (1, 32, 32, 32)
        assert images.spacing == (1, 1, 1)
        assert images.label is None
        assert images.group.tolist() == ["a", "b", "c", "d", "e", "p1"]
        for cube in images.pixels[:, 0]:
            middle, diameter = middle_and_diameter(cube * 1400.0 - 1000)
            assert np.abs(middle).max() < 0.5
            assert diameter == pytest.approx(14, abs=1)
            profile = cube[16, 16] * 1400 - 1000
            assert np.count_nonzero(profile > (LUNG + TISSUE) / 2) == pytest.approx(14, abs=1)

    def test_through_the_command_line(self, balls, tmp_path, capsys, monkeypatch):
        drawn, gallery = [], plots.gallery
        monkeypatch.setattr(plots, "gallery", lambda *given, **how: [drawn.append(given[0]), gallery(*given, **how)][1])
        out = tmp_path / "gallery.png"
        assert main(["show", "--data", "Nodules", "--data.path", str(balls), "--data.jobs=1", "--out", str(out)]) == 0
        said = capsys.readouterr().out
        assert "6 samples without labels" in said
        assert "1 x 1 x 1 mm" in said
        assert out.read_bytes().startswith(b"\x89PNG")
        for cube in drawn[0][:, 0]:
            middle, diameter = middle_and_diameter(cube * 1400.0 - 1000)
            assert np.abs(middle).max() < 0.5
            assert diameter == pytest.approx(14, abs=1)

    def test_the_axes_are_z_y_x_and_grow_to_head_back_and_left(self, tmp_path):
        # A second, smaller ball lies 10 mm to the left, 6 mm to the back and 4 mm towards the head.
        two, aside = sphere(), sphere(np.add(CENTRE, (10, 6, 4)), 5.0, off=(13, 4, 8))
        assert np.allclose(two.origin, aside.origin)
        Scan(np.maximum(two.hu, aside.hu), two.origin, two.spacing, OBLIQUE).save(tmp_path / "ct" / "a.nii.gz")
        write_table(tmp_path / "ct" / "annotations.csv", [["a", *CENTRE, 14]])
        images = Nodules(path=tmp_path / "ct", window=None, jobs=1).read()
        assert images.orientation == "SPL"
        hu = images.pixels[0, 0]
        assert hu[16 + 4, 16 + 6, 16 + 10] > -100
        assert hu[16 - 4, 16 - 6, 16 - 10] < -800

    def test_hu_is_kept_and_the_window_changes_at_no_cost(self, balls, kept, monkeypatch):
        hu = Nodules(path=balls, window=None, jobs=1).read().pixels
        assert isinstance(hu, np.memmap)
        assert hu.dtype == np.int16
        assert (hu.min(), hu.max()) == (LUNG, TISSUE)
        monkeypatch.setattr(Scan, "read", None)  # nothing is read again
        monkeypatch.setattr(Scan, "stack", None)
        for low, high in ((-1000, 400), (-200, 100)):
            windowed = Nodules(path=balls, window=(low, high), jobs=1).read().pixels
            np.testing.assert_allclose(windowed, np.clip((hu.astype(float) - low) / (high - low), 0, 1), atol=1e-6)
        with pytest.raises(ValueError, match=r"window=\(3, 2\)"):
            Nodules(path=balls, window=(3, 2), jobs=1).read()

    def test_hu_between_voxels_is_rounded(self, small):
        cubes = small_cubes(small, window=None).read()
        between = Scan.read(small / "0.mha").crop(cubes.centre[0], (6, 6, 6))
        np.testing.assert_array_equal(cubes.pixels[0, 0], np.rint(between))

    def test_size_spacing_and_outside_are_said(self, balls):
        images = Nodules(path=balls, size=24, spacing=0.5, window=None, jobs=1).read()
        assert images.shape == (1, 48, 48, 48)
        middle, diameter = middle_and_diameter(images.pixels[0, 0], 0.5)
        assert np.abs(middle).max() < 0.5
        assert diameter == pytest.approx(14, abs=0.5)
        larger = Nodules(path=balls, size=96, spacing=2, outside=-3000, window=None, jobs=1).read().pixels
        assert (larger[:, 0, 0] == -3000).all()
        with pytest.raises(ValueError, match="expected a whole number of voxels"):
            Nodules(path=balls, size=32, spacing=0.7).read()
        with pytest.raises(ValueError, match="spacing is 0, expected a number above 0"):
            Nodules(path=balls, spacing=0).read()
        with pytest.raises(ValueError, match=r"outside is -40000, expected a number at least -32768"):
            Nodules(path=balls, outside=-40000).read()


# As LUNA16's, to the digit.
ONE = "1.3.6.1.4.1.14519.5.2.1.6279.6001.100225287222365663678666836860"
TWO = "1.3.6.1.4.1.14519.5.2.1.6279.6001.100398138793540579077826395208"
LUNA16 = {
    "annotations.csv": f"""seriesuid,coordX,coordY,coordZ,diameter_mm
{ONE},-128.6994211,-175.3192718,-298.3875064,5.651470635
{TWO},69.63901724,-140.9445859,876.3744957,5.786347814
""",
    "candidates.csv": f"""seriesuid,coordX,coordY,coordZ,class
{ONE},-128.699421965,-175.319272343,-298.387506405,1
{TWO},69.63,-140.94,876.37,0
""",
}


class TestTable:
    @pytest.mark.parametrize(("table", "label"), [("annotations.csv", None), ("candidates.csv", [1, 0])])
    def test_the_tables_of_luna16_parse_as_they_are(self, tmp_path, table, label):
        (tmp_path / table).write_text(LUNA16[table])
        for series, centre in ((ONE, (-128.70, -175.32, -298.39)), (TWO, (69.64, -140.94, 876.37))):
            sphere(centre, 5.7, (30, 60, 60), (0.6, 0.6, 1.25), np.diag([-1, -1, 1])).save(tmp_path / f"{series}.mhd")
        images = Nodules(path=tmp_path, table=tmp_path / table, window=None, jobs=1).read()
        assert (images.label is None) if label is None else (images.label.tolist() == label)
        assert images.group.tolist() == [ONE, TWO]
        for cube in images.pixels[:, 0, 8:24, 8:24, 8:24]:
            middle, diameter = middle_and_diameter(cube)
            assert np.abs(middle).max() < 0.5
            assert diameter == pytest.approx(5.7, abs=1)

    def test_candidates_have_classes(self, small):
        images = small_cubes(small).read()
        assert images.label.tolist() == [0, 0, 1, 1] * 3
        assert images.name[:3].tolist() == ["0/00002", "0/00003", "1/00004"]
        split = small_cubes(small, fractions=(0.5, 0, 0.5)).split()
        assert not set(split.train.group) & set(split.test.group)

    def test_columns_labels_and_patients_are_mapped(self, small, tmp_path):
        lines = (small / "annotations.csv").read_text().splitlines()[1:]
        rows = [line.split(",") for line in lines]
        verdict = {"0": "benign", "1": "malignant"}
        mapped = [[f"p{int(row[0]) // 2}", row[3], row[2], row[1], f"{row[0]}.mha", verdict[row[4]]] for row in rows]
        table = write_table(tmp_path / "t.csv", mapped[::-1], ("who", "z", "y", "x", "file", "finding"))
        images = small_cubes(
            small,
            table=table,
            scan="file",
            centre=("x", "y", "z"),
            label="finding",
            group="who",
            normal="benign",
            anomalous="malignant",
        ).read()
        plain = small_cubes(small).read()
        np.testing.assert_array_equal(images.pixels, plain.pixels[::-1])
        assert images.label.tolist() == plain.label[::-1].tolist()
        assert images.group.tolist() == [f"p{k // 2}" for k in range(5, -1, -1) for _ in range(2)]

    def test_rows_of_a_scan_may_lie_apart(self, small, tmp_path):
        head, *lines = (small / "annotations.csv").read_text().splitlines()
        order = [4, 0, 2, 1, 3, 5]
        (tmp_path / "t.csv").write_text("\n".join([head, *(lines[i] for i in order)]))
        mixed, plain = (small_cubes(small, table=table, window=None).read() for table in (tmp_path / "t.csv", None))
        np.testing.assert_array_equal(mixed.pixels, plain.pixels[order])

    @pytest.mark.parametrize(
        ("columns", "rows", "message"),
        [
            (("seriesuid", "x"), [["0", 1]], r"expected \['coordX', 'coordY', 'coordZ'\] too"),
            (CANDIDATES, [["0", 1, "?", 3, 0]], r"line 2: coordX, coordY, coordZ=\['1', '\?', '3'\], expected three"),
            (CANDIDATES, [["0", 1, "nan", 3, 0]], "expected three numbers in mm"),
            (CANDIDATES, [["0", 1, 2, 3, 4]], r"line 2: class='4', expected one of 0, 1"),
            (CANDIDATES, [["", 1, 2, 3, 0]], "line 2: seriesuid='', expected a name"),
            (CANDIDATES, [], "has no rows"),
        ],
    )
    def test_a_wrong_table_is_an_error_whatever_may_be_skipped(self, small, tmp_path, columns, rows, message):
        table = write_table(tmp_path / "t.csv", rows, columns)
        with pytest.raises(ValueError, match=message):
            small_cubes(small, table=table, skip_rejected=True).read()

    def test_without_a_table_it_says_what_to_do(self, small):
        (small / "annotations.csv").unlink()
        with pytest.raises(FileNotFoundError, match=r"table=None and there is no .* Volumes reads whole scans"):
            small_cubes(small / "0.mha").read()

    def test_one_scan_and_its_table(self, small):
        head, first, *_ = (small / "annotations.csv").read_text().splitlines()
        (small / "annotations.csv").write_text(f"{head}\n{first}\n")
        assert len(small_cubes(small / "0.mha").read()) == 1


class TestRejections:
    @pytest.fixture
    def broken(self, small):
        """Scan 1 is cut off, scan 2 is there twice, scan 7 is not, and a centre lies outside scan 3."""
        file = small / "1.mha"
        file.write_bytes(file.read_bytes()[:2000])
        (small / "again").mkdir()
        (small / "again" / "2.mha").write_bytes((small / "2.mha").read_bytes())
        with (small / "annotations.csv").open("a") as lines:
            lines.write("7,0,0,0,1\n3,900,0,0,1\n")
        return small

    def test_every_row_without_a_cube_is_named(self, broken, kept):
        with pytest.raises(ValueError, match=r"6 of 14 centres give no cube, all are in .*skip_rejected=True") as error:
            small_cubes(broken).read()
        assert "line 4, scan 1" in str(error.value)
        reasons = {one.line: one.reason for one in small_cubes(broken).rejections()}
        assert list(reasons) == [4, 5, 6, 7, 14, 15]
        assert "1.mha: cannot be read as a scan" in reasons[4]
        assert "2 scans of this name" in reasons[6]
        assert "2.mha, again/2.mha" in reasons[7]
        assert "no scans of this name" in reasons[14]
        assert "the centre is outside the scan" in reasons[15]
        (table,) = kept.glob("rejected-*.csv")
        assert table.read_text().splitlines()[-1].startswith('15,3,900.0,0.0,0.0,"the centre is outside')

    def test_a_lost_slice_is_a_rejection_unless_it_may_be_interpolated(self, tmp_path):
        sphere(patient="p1").save(tmp_path / "ct" / "dicom")
        (tmp_path / "ct" / "dicom" / "0009.dcm").unlink()
        write_table(tmp_path / "ct" / "annotations.csv", [["dicom", *CENTRE, 14]])  # by its folder, not its UID
        (rejection,) = small_cubes(tmp_path / "ct").rejections()
        assert "1 slice(s) missing, 5 mm between 0008.dcm and 0010.dcm" in rejection.reason
        images = small_cubes(tmp_path / "ct", size=32, resample=True, window=None).read()
        middle, diameter = middle_and_diameter(images.pixels[0, 0])
        assert np.abs(middle).max() < 0.5
        assert diameter == pytest.approx(14, abs=1)

    def test_they_are_skipped_and_counted(self, small, broken):
        with pytest.warns(UserWarning, match=r"6 of 14 centres skipped"):
            images = small_cubes(broken, skip_rejected=True).read()
        assert images.name.tolist() == [f"{k}/{2 + 2 * k + i:05d}" for k in (0, 3, 4, 5) for i in (0, 1)]
        assert len(images.pixels) == len(images.label) == 8

    def test_something_must_be_left(self, small):
        for file in small.glob("*.mha"):
            file.write_text("no scan")
        with pytest.raises(ValueError, match="none of 12 centres gives a cube"):
            small_cubes(small, skip_rejected=True).read()

    def test_a_repaired_scan_is_cropped(self, small):
        whole = (small / "1.mha").read_bytes()
        (small / "1.mha").write_bytes(whole[:2000])
        assert len(small_cubes(small).rejections()) == 2
        (small / "1.mha").write_bytes(whole)
        assert small_cubes(small).rejections() == []


RUN = """
import os, signal, sys
from unlikelihood import Nodules, Scan
path, log, stop = sys.argv[1:]
read, crop, cubes = Scan.read, Scan.crop, []

def logged(file, **given):
    with open(log, "a") as lines:
        print(file.name, file=lines)
    return read(file, **given)

def killed(scan, *given):
    cubes.append(scan)
    if len(cubes) == int(stop):
        os.kill(os.getpid(), signal.SIGKILL)
    return crop(scan, *given)

Scan.read, Scan.crop = logged, killed
Nodules(path=path, size=6, jobs=1, window=None).read()
"""


class TestCache:
    def run(self, path, cache, log, stop=0):
        environment = {**os.environ, "UNLIKELIHOOD_CACHE": str(cache)}
        command = [sys.executable, "-c", RUN, str(path), str(log), str(stop)]
        return subprocess.run(command, env=environment, capture_output=True, text=True).returncode

    def test_a_killed_run_goes_on_with_nothing_lost_or_repeated(self, small, tmp_path):
        def content(cache):
            # Where the whole array is kept follows from where its parts are.
            assert not list(cache.glob("crops/.*"))
            crops = {file.parent for file in cache.glob("crops/*/facts.json")}
            files = [file for place in crops for file in place.iterdir()]
            (whole,) = (file for file in cache.glob("crops/*/hu.npy") if file.parent not in crops)
            return {file.relative_to(cache): file.read_bytes() for file in files}, whole.read_bytes()

        # In the fourth scan's second cube, so when its file is half-written.
        assert self.run(small, tmp_path / "killed", tmp_path / "first", stop=8) == -signal.SIGKILL
        assert len(list((tmp_path / "killed" / "crops").glob("*/facts.json"))) == 3
        assert self.run(small, tmp_path / "killed", tmp_path / "second") == 0
        assert self.run(small, tmp_path / "whole", tmp_path / "third") == 0
        assert content(tmp_path / "killed") == content(tmp_path / "whole")
        first, second, third = (Counter((tmp_path / log).read_text().split()) for log in ("first", "second", "third"))
        assert list(first) == ["0.mha", "1.mha", "2.mha", "3.mha"]
        assert first + second == third + Counter(["3.mha"])  # only the one that it was killed in

    def test_processes_make_the_same_cubes(self, small):
        one, two = (small_cubes(small, jobs=jobs, cache=small / str(jobs)).read() for jobs in (1, 2))
        np.testing.assert_array_equal(one.pixels, two.pixels)

    def test_runs_at_the_same_time_share_the_work(self, small, tmp_path):
        environment = {**os.environ, "UNLIKELIHOOD_CACHE": str(tmp_path / "shared")}
        command = [sys.executable, "-c", RUN, str(small), str(tmp_path / "log"), "0"]
        runs = [subprocess.Popen(command, env=environment) for _ in range(2)]
        assert [run.wait() for run in runs] == [0, 0]
        assert Counter((tmp_path / "log").read_text().split()) == Counter(f"{k}.mha" for k in range(6))

    @pytest.fixture
    def reads(self, monkeypatch):
        read, files = Scan.read, []
        monkeypatch.setattr(Scan, "read", lambda file, **given: [files.append(Path(file).name), read(file, **given)][1])
        return files

    def test_a_damaged_cube_is_cropped_again(self, small, kept, reads):
        whole = small_cubes(small, window=None, jobs=1).read().pixels
        expected = np.array(whole)
        del whole
        for file in kept.glob("*/hu.npy"):
            content = bytearray(file.read_bytes())
            content[-1] ^= 1
            file.write_bytes(content)
        np.testing.assert_array_equal(small_cubes(small, window=None, jobs=1).read().pixels, expected)
        assert sorted(reads) == sorted(2 * [f"{k}.mha" for k in range(6)])

    def test_only_what_is_new_is_read(self, small, reads, rng):
        before = small_cubes(small).read().pixels
        assert reads == [f"{k}.mha" for k in range(6)]
        small_cubes(small, window=(0, 1)).read()
        assert len(reads) == 6
        changed = Scan.read(small / "2.mha")
        reads.clear()
        Scan(changed.hu + 1, changed.origin, changed.spacing).save(small / "2.mha")
        after = small_cubes(small).read().pixels
        assert reads == ["2.mha"]
        np.testing.assert_array_equal(np.flatnonzero((after != before).any(axis=(1, 2, 3, 4))), [4, 5])

    @pytest.mark.parametrize("setting", [{"size": 8}, {"spacing": 2}, {"outside": 0}, {"resample": True}])
    def test_another_setting_is_cropped_anew(self, small, reads, setting):
        small_cubes(small).read()
        small_cubes(small, **setting).read()
        assert len(reads) == 12

    def test_another_centre_is_cropped_anew_in_its_scan(self, small, reads):
        small_cubes(small).read()
        reads.clear()
        text = (small / "annotations.csv").read_text()
        last = text.splitlines()[-1].split(",")
        (small / "annotations.csv").write_text(text + ",".join([last[0], str(float(last[1]) + 1), *last[2:]]))
        assert len(small_cubes(small).read()) == 13
        assert reads == ["5.mha"]
