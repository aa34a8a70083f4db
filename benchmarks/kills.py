"""Kills at random: of 300 processes that write, and of fits that resume, nothing may be lost or mixed.

``python -m benchmarks.kills`` writes ``benchmarks/results/kills.json``; an error names what was lost.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unlikelihood.storage.files import recover
from unlikelihood.storage.provenance import provenance

RESULTS = Path(__file__).parent / "results" / "kills.json"
WRITERS, FITS = 240, 60
WRITES = """
import sys
from pathlib import Path
from unlikelihood.storage.files import replacing

place, start = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
for version in range(start, start + 10**6):
    with replacing(place / "model", lasting=False) as folder:
        folder.mkdir()
        for name in "ab":
            (folder / name).write_text(str(version) * 50)
    with replacing(place / "head", lasting=False) as head:
        head.write_text(str(version))
        (head.parent / "body").write_text(str(version))
"""
FIT = """
import sys
import numpy as np, torch
from unlikelihood import VAE

torch.set_num_threads(1)
X = np.random.default_rng(0).random((64, 1, 8, 8), dtype=np.float32)
print("ready", flush=True)
where = {"checkpoint": sys.argv[2], "checkpoint_seconds": 0.0} if len(sys.argv) > 2 else {}
VAE(latent=2, width=2, epochs=40, batch_size=16, device="cpu", **where).fit(X).save(sys.argv[1])
"""


def started(code: str, *arguments: object) -> "subprocess.Popen[str]":
    """Return a process that runs `code` and has said that it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise RuntimeError("the process ended before it could be killed")
    return process


def version_of(place: Path) -> int | None:
    """Return the version of what is written in a folder, None if nothing is yet; an error if versions are mixed."""
    for name in ("model", "head"):
        recover(place / name)
    if not (place / "head").exists():
        return None
    found = [(place / "model" / name).read_text() for name in "ab"]
    pair = [(place / name).read_text() for name in ("head", "body")]
    if len(set(found)) > 1 or len(set(pair)) > 1:
        raise AssertionError(f"versions are mixed: {found} and {pair}")
    return int(pair[0])


def kill_writers(place: Path, kills: int) -> int:
    """Kill processes that write versions into a folder, and return the last; an error if one is lost or mixed."""
    rng, last = np.random.default_rng(0), 0
    for _ in range(kills):
        process = started(WRITES, place, last)
        time.sleep(0.02 + 0.1 * rng.random())
        process.kill()
        process.communicate()
        if (now := version_of(place)) is not None:
            if now < last:
                raise AssertionError(f"version {last} is lost, {now} is there")
            last = now
    return last


def kill_fits(place: Path, kills: int) -> int:
    """Kill a fit that resumes again and again, and return how many of the kills came before its end.

    An error if what the last one saved is not what an uninterrupted fit saves, to the bit.
    """
    rng, before = np.random.default_rng(1), 0
    started(FIT, place / "whole").communicate()
    for _ in range(kills):
        process = started(FIT, place / "model", place / "fit.checkpoint")
        time.sleep(0.5 * rng.random())
        before += process.poll() is None
        process.kill()
        process.communicate()
    started(FIT, place / "model", place / "fit.checkpoint").communicate()
    whole, resumed = ((place / name / "weights.safetensors").read_bytes() for name in ("whole", "model"))
    if whole != resumed:
        raise AssertionError("the resumed fit is not the uninterrupted one")
    return before


def main(arguments: Sequence[str] = ()) -> None:
    """Kill, and write how often."""
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        last = kill_writers(Path(first), WRITERS)
        before = kill_fits(Path(second), FITS)
        left = sorted(path.name for place in (first, second) for path in Path(place).iterdir())
    if left != ["body", "head", "model", "model", "whole"]:
        raise AssertionError(f"leftovers: {left}")
    found = {
        "kills of writers": WRITERS,
        "versions written": last,
        "kills of fits": FITS,
        "of them before the end of the fit": before,
        "lost or mixed": 0,
        "leftovers": 0,
        "provenance": provenance(),
    }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
