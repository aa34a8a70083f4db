"""Planted bugs: how many of them the tests catch.

python -m benchmarks.mutants [--only NAME ...] [--control] [--out FILE]

Each file under ``benchmarks/planted`` holds bugs of one part of the package, as somebody might make them: a file, the
lines in it, what stands there instead, and the tests that should fail, which are those that a reader would run after a
change to that file. A bug is caught if one of them fails. What was run is kept, so that an interrupted run goes on.
"""

import argparse
import compileall
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

from unlikelihood.progress import progress
from unlikelihood.storage.files import replacing
from unlikelihood.storage.provenance import provenance

ROOT = Path(__file__).parent.parent
PLANTED = Path(__file__).parent / "planted"
RESULTS = Path(__file__).parent / "results" / "mutants.json"
SLOW = ("torch", "lightning_fabric", "zuko.transforms", "sklearn.ensemble", "sklearn.pipeline", "scipy.stats", "jinja2")
SECONDS = 900  # after which the tests count as failed, as they would in CI


@dataclass(frozen=True)
class Mutant:
    """A planted bug.

    Parameters
    ----------
    name : str
        What is wrong, in a few words; unique.
    file : str
        The file below ``src/unlikelihood``.
    old, new : str
        What stands in it once, and what takes its place.
    tests : tuple of str
        Arguments of pytest, such as ``tests/test_vae.py``.
    first : str
        Whether the tests ``caught`` or ``missed`` it when it was first planted: those that missed it grew for it.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    first: str = "caught"

    def plant(self, root: Path) -> None:
        """Put the bug into a copy of the repository; a ValueError says that its place is gone, or not the only one."""
        path = root / "src" / "unlikelihood" / self.file
        text = path.read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.file} holds {self.old!r} {text.count(self.old)} times, expected once")
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")


def planted() -> Iterator[Mutant]:
    """Yield all bugs."""
    for path in sorted(PLANTED.glob("*.toml")):
        for one in tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]:
            yield Mutant(**one | {"tests": tuple(one["tests"])})


@contextmanager
def copied() -> Iterator[Path]:
    """Yield a copy of the repository, with what is compiled: only a file that is changed is compiled anew."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "reports", "_build", "generated"))
        yield copy


def caught(mutant: Mutant) -> tuple[bool, str]:
    """Return whether a test fails, and which, or what else ended the run."""
    with copied() as copy:
        mutant.plant(copy)
        try:
            code, said = tested(copy, mutant.tests)
        except TimeoutError:
            return True, f"no end in {SECONDS} s"
    failed = [line.partition(" ")[2].partition(" - ")[0] for line in said.splitlines() if line.startswith("FAILED")]
    if code not in (0, 1, 2):
        raise RuntimeError(f"{mutant.name}: pytest ended with {code}: {said[-1000:]}")
    return code != 0, failed[0] if failed else said.strip().rpartition("\n")[2] * (code != 0)


def control(tests: Sequence[str]) -> None:
    """Raise if a test that catches a bug fails without any."""
    with copied() as copy:
        code, said = tested(copy, tests)
    if code:
        raise RuntimeError(f"pytest ended with {code} without a bug: {said[-1000:]}")


def tested(copy: Path, tests: Sequence[str]) -> tuple[int, str]:
    """Return what pytest ends with in a copy of the repository, and what it says.

    It runs in a fork of this process, which has imported already what takes longer to import than most tests take.
    """
    with tempfile.TemporaryFile("w+") as output:
        if not (process := os.fork()):
            _test(copy, tests, output.fileno())
        deadline = time.monotonic() + SECONDS
        try:
            while (ended := os.waitpid(process, os.WNOHANG))[0] == 0:
                if time.monotonic() > deadline:
                    raise TimeoutError
                time.sleep(0.05)
        except BaseException:  # Ctrl-C too
            os.killpg(process, signal.SIGKILL)
            os.waitpid(process, 0)
            raise
        output.seek(0)
        return os.waitstatus_to_exitcode(ended[1]), output.read()


def _test(copy: Path, tests: Sequence[str], output: int) -> NoReturn:
    os.setsid()
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(copy)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("unlikelihood", "benchmarks")]:
        del sys.modules[name]
    sys.path[:0] = places = [str(copy / "src"), str(copy / "tests"), str(copy)]
    os.environ["PYTHONPATH"] = os.pathsep.join(places)  # of the processes that tests start
    code = 3
    try:
        code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests]))
    finally:
        sys.stdout.flush()
        os._exit(code)


def main() -> None:
    """Run what was not run yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=None, help="names of bugs to run again")
    parser.add_argument("--control", action="store_true", help="run the tests that caught bugs without these instead")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    record = json.loads(given.out.read_text(encoding="utf-8")) if given.out.exists() else {"mutants": {}}
    every = list(planted())
    rows = {one.name: record["mutants"][one.name] for one in every if one.name in record["mutants"]}
    due = [one for one in every if (one.name in given.only if given.only else one.name not in rows)]
    compileall.compile_dir(ROOT / "src", quiet=1)
    for package in SLOW:
        importlib.import_module(package)
    if given.control:
        control(sorted({row["by"] for row in rows.values() if "::" in row["by"]}))
        return
    with progress("Planting bugs", len(due)) as update:
        for one in due:
            started = time.perf_counter()
            found, by = caught(one)
            rows[one.name] = {
                "file": one.file,
                "caught": found,
                "by": by,
                "seconds": round(time.perf_counter() - started),
            }
            total = {
                "planted": len(every),
                "run": len(rows),
                "caught": sum(row["caught"] for row in rows.values()),
                "missed at first": [other.name for other in every if other.first == "missed"],
            }
            missed = [name for name, row in rows.items() if not row["caught"]]
            with replacing(given.out) as temporary:
                whole = total | {"missed": missed, "provenance": provenance(), "mutants": rows}
                temporary.write_text(json.dumps(whole, indent=1), encoding="utf-8")
            update(note=f"{total['caught']} of {total['run']} caught")
    print(
        json.dumps(
            {key: value for key, value in json.loads(given.out.read_text()).items() if key != "mutants"}, indent=1
        )
    )


if __name__ == "__main__":
    main()
