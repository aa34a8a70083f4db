"""Planted bugs: how many of them the tests catch.

python -m benchmarks.mutants [--only NAME ...] [--out FILE]

Each file under ``benchmarks/planted`` holds bugs of one part of the package, as somebody might make them: a file, the
lines in it, what stands there instead, and the tests that should fail, which are those that a reader would run after a
change to that file. A bug is caught if one of them fails. What was run is kept, so that an interrupted run goes on.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from unlikelihood.progress import progress
from unlikelihood.storage.files import replacing
from unlikelihood.storage.provenance import provenance

ROOT = Path(__file__).parent.parent
PLANTED = Path(__file__).parent / "planted"
RESULTS = Path(__file__).parent / "results" / "mutants.json"
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
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

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


def caught(mutant: Mutant) -> tuple[bool, str]:
    """Return whether a test fails, and which, or what else ended the run."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(
            ROOT, copy, ignore=shutil.ignore_patterns(".*", "reports", "_build", "generated", "__pycache__")
        )
        mutant.plant(copy)
        environment = os.environ | {"PYTHONPATH": f"{copy / 'src'}{os.pathsep}{copy / 'tests'}{os.pathsep}{copy}"}
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *mutant.tests]
        try:
            run = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return True, f"no end in {SECONDS} s"
    failed = [
        line.partition(" ")[2].partition(" - ")[0] for line in run.stdout.splitlines() if line.startswith("FAILED")
    ]
    if run.returncode not in (0, 1, 2):
        raise RuntimeError(f"{mutant.name}: pytest ended with {run.returncode}: {run.stdout[-500:]}{run.stderr[-500:]}")
    return run.returncode != 0, failed[0] if failed else run.stdout.strip().rpartition("\n")[2] * (run.returncode != 0)


def main() -> None:
    """Run what was not run yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=None, help="names of bugs to run again")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    record = json.loads(given.out.read_text(encoding="utf-8")) if given.out.exists() else {"mutants": {}}
    every = list(planted())
    rows = {one.name: record["mutants"][one.name] for one in every if one.name in record["mutants"]}
    due = [one for one in every if (one.name in given.only if given.only else one.name not in rows)]
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
            total = {"planted": len(every), "run": len(rows), "caught": sum(row["caught"] for row in rows.values())}
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
