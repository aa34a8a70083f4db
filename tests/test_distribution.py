"""What is handed out: the wheel, and what comes with it."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
# What may be passed on with a program under the Apache licence, whole or linked.
PERMISSIVE = (
    r"Apache[- ](Software License|2\.0)( WITH LLVM-exception)?|MIT(-0|-CMU| License)?|(3-Clause )?BSD( License)?|"
    r"BSD-[23]-Clause|0BSD|BSL-1\.0|Zlib|CC0-1\.0|PSF-2\.0|Python Software Foundation License|"
    r"Mozilla Public License 2\.0 \(MPL 2\.0\)"  # of files that stay as they are
)


def needed(name, extras=(), found=None):
    """Return the installed distributions that one needs, with the extras, by name."""
    found = {} if found is None else found
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return found
    key = canonicalize_name(name)
    if key in found and not extras:
        return found
    found[key] = distribution
    for line in distribution.requires or ():
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            needed(requirement.name, tuple(requirement.extras), found)
    return found


def licences(distribution):
    meta = distribution.metadata
    if expression := meta.get("License-Expression"):
        return re.split(r" AND | OR ", expression)
    named = [line for line in meta.get_all("Classifier", []) if line.startswith("License :: OSI Approved :: ")]
    return [line.rpartition(" :: ")[2] for line in named] or [(meta.get("License") or "unknown").partition("\n")[0]]


def test_all_that_is_installed_with_the_package_has_a_permissive_licence():
    extras = importlib.metadata.metadata("unlikelihood").get_all("Provides-Extra")
    found = needed("unlikelihood", tuple(set(extras) - {"dev", "docs"}))
    assert {"torch", "scikit-learn", "pydicom"} <= set(found)
    others = {name: licences(one) for name, one in found.items()}
    odd = {name: said for name, said in others.items() if not all(re.fullmatch(PERMISSIVE, one) for one in said)}
    assert odd == {}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    made = []
    for number in range(2):
        folder = tmp_path_factory.mktemp("wheel")
        command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, env={"PYTHONHASHSEED": str(number)})
        made.append(next(folder.glob("*.whl")))
    return made


def test_the_wheel_is_the_same_bytes_whenever_it_is_built(wheels):
    first, second = wheels
    assert first.read_bytes() == second.read_bytes()


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheels):
    with zipfile.ZipFile(wheels[0]) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
        assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel.namelist())
    tracked = subprocess.run(["git", "ls-files", "src"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    if not tracked:
        pytest.skip("not in its repository")
    assert packed == {name.removeprefix("src/") for name in tracked}


def test_the_lock_pins_the_versions_of_the_constraints_but_torch():
    def pins(file):
        lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
        return dict(re.match(r"([\w.-]+)==([\w.]+)", line).groups() for line in lines if re.match(r"[\w.-]+==", line))

    locked = {canonicalize_name(name): version for name, version in pins("lock.txt").items()}
    constrained = {canonicalize_name(name): version for name, version in pins("constraints.txt").items()}
    assert constrained.items() >= locked.items()
    assert {"torch"} <= set(constrained) - set(locked)


def test_the_conda_recipe_is_of_this_version_and_needs_what_the_package_does():
    recipe = yaml.safe_load((ROOT / "conda" / "recipe.yaml").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert recipe["context"]["version"] == project["version"]
    conda = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
    wanted = {canonicalize_name(each.name): each for each in map(Requirement, project["dependencies"])}
    signatures = [
        Requirement(line.partition(";")[0])
        for line in importlib.metadata.requires("jsonargparse")
        if "signatures" in line and "[" not in line
    ]
    wanted |= {canonicalize_name(each.name): each for each in signatures}
    named = {canonicalize_name(conda.get(name, name)): set(each.specifier) for name, each in wanted.items()}
    lines = [line.partition(" ") for line in recipe["requirements"]["run"]]
    found = {canonicalize_name(name): set(SpecifierSet(versions)) for name, _, versions in lines}
    assert found.pop("python") == set(SpecifierSet(project["requires-python"]))
    assert found == named
