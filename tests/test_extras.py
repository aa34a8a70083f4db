"""Without the extras the main job runs, and what needs one says in a line which."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

from unlikelihood import KNN, Scan

PROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FOR_DEVELOPERS = {"docs", "dev"}
SERVE = "serve model"
EXPORT = "export model --to onnx"
ARCHIVE = "score model --data Arrays --data.path new.npy --out parts/"
# Of each extra, for each package in it, a command that needs it, or code where no command does.
NEEDS = {
    "ct": {
        "SimpleITK": "show --data Volumes --data.path a.mha",
        "nibabel": "show --data Volumes --data.path a.nii",
        "pydicom": "show --data Folder --data.path dicom/",
        "highdicom": "code: import unlikelihood; unlikelihood.save_findings('a.dcm', [[0, 0, 0]], 'dicom', {})",
    },
    "parquet": {"pyarrow": "score model --data Arrays --data.path new.npy --out scores.parquet"},
    "zarr": {"zarr": "show --data Zarr --data.path a.zarr"},
    "export": {"onnx": EXPORT, "onnxscript": EXPORT, "onnxruntime": EXPORT},
    "ray": {"ray": f"{ARCHIVE} --ray auto", "pyarrow": f"{ARCHIVE} --ray auto"},
    "serve": {"fastapi": SERVE, "uvicorn": SERVE, "python_multipart": SERVE, "prometheus_client": SERVE},
    "pyod": {"pyod": "code: import unlikelihood; unlikelihood.AsPyOD"},
    "sign": {"cryptography": "sign model --key private.pem"},
}
# Python imports sitecustomize.py as it starts, that of a worker too.
WITHOUT = """
import os, sys
from importlib.machinery import PathFinder

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        missing = os.environ["WITHOUT"].split()
        return None if name.partition(".")[0] in missing else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
"""
# One process has imported what takes long, as it scored, and none of the extras; each case is a fork of it, which lacks
# some packages and does what is typed, one after the other.
FORKS = """
import gc, json, os, sys
from unlikelihood.cli.main import main

main("score model --data Arrays --data.path new.npy --out first.csv".split())
gc.freeze()
cases = json.load(sys.stdin)
assert not {package for missing, _ in cases for package in missing} & set(sys.modules)
for number, (missing, commands) in enumerate(cases):
    if os.fork():
        with open(f"{number}.status", "w") as file:
            file.write(str(os.waitstatus_to_exitcode(os.wait()[1])))
        continue
    os.environ["WITHOUT"] = " ".join(missing)
    os.dup2(os.open(f"{number}.said", os.O_WRONLY | os.O_CREAT), 2)
    if commands[0].startswith("code: "):
        exec(commands[0].removeprefix("code: "))
        sys.exit()
    sys.exit(max(main(typed.split()) for typed in commands))
"""
CASES = [(extra, package, typed) for extra, packages in NEEDS.items() for package, typed in packages.items()]
MAIN_JOB = (
    "fit --train images/ --detector PCAResidual --out fitted",
    "score fitted --data Folder --data.path images/ --out scores.csv --maps maps/",
    "triage fitted --data Folder --data.path images/ --out triage/",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder with a model, files of the kinds that are read, and what processes without packages said."""
    folder = tmp_path_factory.mktemp("without")
    samples = np.random.default_rng(0).normal(size=(30, 1, 8, 8)).astype(np.float32)
    KNN().fit(samples).save(folder / "model")
    np.save(folder / "new.npy", samples)
    scan = Scan(np.zeros((4, 9, 9), np.int16), (0, 0, 0), (1, 1, 1))
    for name in ("a.mha", "a.nii", "dicom"):
        scan.save(folder / name)
    for name in ("images", "site", "a.zarr"):
        (folder / name).mkdir()
    (folder / "site" / "sitecustomize.py").write_text(WITHOUT, encoding="utf-8")
    for number, sample in enumerate(samples):
        grey = (127 + 30 * sample[0]).clip(0, 255).astype(np.uint8)
        Image.fromarray(grey).save(folder / "images" / f"{number}.png")
    paths = os.pathsep.join(filter(None, (str(folder / "site"), os.environ.get("PYTHONPATH"))))
    own = {"PYTHONPATH": paths, "WITHOUT": "", "UNLIKELIHOOD_CACHE": str(folder / "cache")}
    own["OMP_NUM_THREADS"] = "1"  # a fork lacks the others, and would wait for them
    # A process of joblib's that tidies up may be told late that something is tidied already.
    own["PYTHONWARNINGS"] = "ignore:resource_tracker"
    cases = [([package], [typed]) for _, package, typed in CASES] + [([package for _, package, _ in CASES], MAIN_JOB)]
    command, env = [sys.executable, "-c", FORKS], os.environ | own
    subprocess.run(command, cwd=folder, env=env, input=json.dumps(cases), text=True, timeout=300, check=True)
    return folder


def test_every_package_of_every_extra_has_a_case():
    extras = {name: lines for name, lines in PROJECT["optional-dependencies"].items() if name not in FOR_DEVELOPERS}
    named = {extra: {canonicalize_name(Requirement(line).name) for line in lines} for extra, lines in extras.items()}
    assert {extra: set(map(canonicalize_name, packages)) for extra, packages in NEEDS.items()} == named


def test_a_missing_package_is_one_line_that_says_what_to_install(place):
    for number, (extra, package, typed) in enumerate(CASES):
        *traceback, said = (place / f"{number}.said").read_text(encoding="utf-8").splitlines()
        assert said.endswith(f" needs {package}: pip install 'unlikelihood[{extra}]'"), typed
        if "code: " not in typed:
            assert ((place / f"{number}.status").read_text(), traceback) == ("2", []), typed


def test_without_any_extra_images_are_fitted_scored_and_ranked(place):
    assert (place / f"{len(CASES)}.status").read_text() == "0", (place / f"{len(CASES)}.said").read_text()
    assert len((place / "scores.csv").read_text(encoding="utf-8").splitlines()) == 31
    assert len(list((place / "maps").glob("*.png"))) == 30
    assert (place / "triage" / "report.html").is_file()
