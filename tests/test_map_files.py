"""Maps in files hold the values, under the names of their samples, and where these lie in the patient."""

import json
import sys

import numpy as np
import pytest
import tifffile

from tiny import normals, tiny
from unlikelihood import Nodules, PCAResidual, Phantom, Scan, Volumes
from unlikelihood.cli.main import main
from unlikelihood.contract.maps import RESIDUAL
from unlikelihood.data.image_files import read_image
from unlikelihood.data.images import Images
from unlikelihood.evaluation.columns import table_of
from unlikelihood.report.map_files import INDEX, check_mappable, scan_of, stems_of, write_maps
from unlikelihood.storage.extras import MissingPackage


def image_folder(folder, X):
    folder.mkdir()
    for row, x in enumerate(X):
        tifffile.imwrite(folder / f"{row:02d}.tif", x[0])
    return folder


def test_maps_of_images_hold_the_values_and_a_picture_of_them(tmp_path, rng):
    images = Images(normals((1, 8, 9), n=3), name=["a/one.png", "a/two.tif", "2.25.3"])
    maps = rng.random((3, 8, 9), dtype=np.float32)
    write_maps(tmp_path / "maps", images, maps, RESIDUAL)
    known = json.loads((tmp_path / "maps" / INDEX).read_text(encoding="utf-8"))
    assert known["files"] == ["a/one.tif", "a/two.tif", "2.25.3.tif"]
    assert (known["map"], known["unit"]) == (RESIDUAL.words, RESIDUAL.unit)
    for file, expected in zip(known["files"], maps, strict=True):
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "maps" / file), expected)
        assert read_image((tmp_path / "maps" / file).with_suffix(".png"), background=0).shape == (3, 8, 9)


def test_names_stay_in_the_folder_and_do_not_meet():
    def named(*names):
        return Images(normals((1, 8, 8), n=len(names)), name=list(names))

    assert stems_of(named("../up.png", "/root/x.nii.gz", "b:c")) == ["up", "root/x", "b_c"]
    assert stems_of(Images(normals((1, 8, 8), n=2))) == ["0", "1"]
    with pytest.raises(ValueError, match="two samples would have the map a"):
        stems_of(named("a.png", "A.tif"))


def test_what_fails_leaves_nothing_and_what_was_there_stays(tmp_path, rng):
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "mine.txt").write_text("mine")
    images = Images(normals((1, 8, 8), n=2), name=["0", "1"])
    maps = rng.random((2, 8, 8), dtype=np.float32)
    with pytest.raises(IndexError):
        write_maps(tmp_path / "maps", images, maps[:1], RESIDUAL)
    assert [file.name for file in (tmp_path / "maps").iterdir()] == ["mine.txt"]
    assert [place.name for place in tmp_path.iterdir()] == ["maps"]
    write_maps(tmp_path / "maps", images, maps, RESIDUAL)
    assert (tmp_path / "maps" / "mine.txt").read_text() == "mine"
    with pytest.raises(ValueError, match="these are vectors"):
        write_maps(tmp_path / "maps", Images(normals((6,))), normals((6,)), RESIDUAL)


@pytest.mark.parametrize("orientation", ["SPL", "IAR", "LPS"])
def test_a_map_lies_where_its_volume_does(orientation, rng):
    images = Images(
        normals((1, 4, 5, 6), n=2), spacing=(3, 2, 1), orientation=orientation, centre=[[1, 2, 3], [7, 8, 9]]
    )
    scan = scan_of(images, 1, rng.random((4, 5, 6)))
    np.testing.assert_allclose(scan.centre, [7, 8, 9])
    assert scan.orientation == orientation
    assert scan.spacing.tolist() == [1, 2, 3]


def test_maps_of_cubes_and_of_volumes_lie_in_the_patient(tmp_path):
    table = Phantom(seed=2).write(tmp_path / "ct", 1, ".nii.gz")
    cubes = Nodules(path=table.parent, size=16, cache=tmp_path / "cache", jobs=1).read()
    rows = np.loadtxt(table, delimiter=",", skiprows=1, usecols=(1, 2, 3))
    np.testing.assert_allclose(cubes.centre, rows, atol=1e-3)
    whole = Volumes(path=table.parent, spacing=2, cache=tmp_path / "cache", jobs=1, anomalous=()).read()
    scan = Scan.read(next(table.parent.glob("*.nii.gz")))
    np.testing.assert_allclose(whole.centre, [scan.centre], atol=1e-3)
    # A map that is the cube itself is what the scan has there.
    write_maps(tmp_path / "maps", cubes, cubes.pixels[:, 0], RESIDUAL)
    first = Scan.read(tmp_path / "maps" / f"{cubes.name[0]}.nii.gz")
    np.testing.assert_allclose(first.centre, rows[0], atol=1e-2)
    np.testing.assert_allclose(first.hu, cubes.pixels[0, 0], atol=1e-6)
    np.testing.assert_allclose(cubes[1:].centre, cubes.centre[1:])


def test_score_writes_maps_where_it_is_asked_to(tmp_path, capsys):
    folder = image_folder(tmp_path / "images", normals((1, 8, 8), n=5, seed=1))
    detector = tiny("PCAResidual").fit(normals((1, 8, 8)))
    detector.save(tmp_path / "model")
    data = ["--data", "Folder", "--data.path", str(folder)]
    out = ["--out", str(tmp_path / "a.csv"), "--maps", str(tmp_path / "maps")]
    assert main(["score", str(tmp_path / "model"), *data, *out]) == 0
    assert "maps, residual of the reconstruction: " in capsys.readouterr().out
    expected = detector.anomaly_map(normals((1, 8, 8), n=5, seed=1))
    np.testing.assert_allclose(tifffile.imread(tmp_path / "maps" / "03.tif"), expected[3], rtol=1e-5)
    assert not list(tmp_path.glob(".*"))


def test_score_computes_nothing_for_maps_that_cannot_be_written(tmp_path, monkeypatch, capsys):
    tiny("PCAResidual").fit(normals((6,))).save(tmp_path / "model")
    np.save(tmp_path / "new.npy", normals((6,)))
    monkeypatch.setattr(PCAResidual, "score_samples", lambda *_: pytest.fail("scored"))
    data = ["--data", "Arrays", "--data.path", str(tmp_path / "new.npy")]
    out = ["--out", str(tmp_path / "a.csv"), "--maps", str(tmp_path / "maps")]
    assert main(["score", str(tmp_path / "model"), *data, *out]) == 1
    assert "these are vectors" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(MissingPackage, match="needs SimpleITK"):
        check_mappable(Images(normals((1, 4, 4, 4))))


def test_tables_say_where_in_the_patient_a_crop_lies(tmp_path):
    table = Phantom(seed=2).write(tmp_path / "ct", 1, ".mha")
    images = Nodules(path=tmp_path / "ct", table=table, label="malignant").read()
    rows = np.genfromtxt(table, delimiter=",", names=True, dtype=None, encoding="utf-8")
    found = table_of(images, np.zeros(len(images)))
    given = np.stack([rows[name] for name in ("coordX", "coordY", "coordZ")], axis=1)
    np.testing.assert_allclose(np.stack([found[name] for name in ("x_mm", "y_mm", "z_mm")], axis=1), given, atol=1e-3)
