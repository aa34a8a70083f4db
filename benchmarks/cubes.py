"""What cutting cubes out of a thousand scans costs, in time and memory, and what a kill in the middle loses.

python -m benchmarks.cubes

The scans are small: 40×96×96 voxels of 0.8 × 0.8 × 2.5 mm, noise with two balls. Peak memory is that of the process
that reads, and of the largest of those that cut; Linux tells it.
"""

import csv
import hashlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.memory import peak
from unlikelihood import Nodules, Scan
from unlikelihood.progress import progress
from unlikelihood.storage.provenance import provenance

RESULTS = Path(__file__).parent / "results" / "cubes.json"
COUNTS = (125, 250, 500, 1000)
JOBS = 2
SHAPE, SPACING = (40, 96, 96), (0.8, 0.8, 2.5)


def write_scans(folder: Path, count: int) -> None:
    """Write scans with two balls each, and a table of the first n of them for each n."""
    rng = np.random.default_rng(0)
    rows = []
    noise = rng.normal(-850, 60, SHAPE).astype(np.float32)
    with progress("Writing scans", total=count) as update:
        for i in range(count):
            scan = Scan(noise, rng.uniform(-100, 100, 3), SPACING)
            hu = np.roll(noise, int(rng.integers(noise.size))).copy()
            for _ in range(2):
                index = rng.uniform(0.3, 0.7, 3) * SHAPE
                at, half = scan.to_world(index), rng.uniform(2, 8)
                z, y, x = (np.arange(n) - middle for n, middle in zip(SHAPE, index, strict=True))
                z, y, x = (np.square(axis * mm) for axis, mm in zip((z, y, x), SPACING[::-1], strict=True))
                hu[z[:, None, None] + y[:, None] + x <= half**2] += 900
                rows.append([f"scan{i:04d}", *at, 2 * half])
            Scan(np.rint(hu).astype(np.int16), scan.origin, SPACING).save(folder / f"scan{i:04d}.mha")
            update()
    for n in COUNTS:
        with (folder / f"{n}.csv").open("w", newline="") as lines:
            table = csv.writer(lines)
            table.writerow(["seriesuid", "coordX", "coordY", "coordZ", "diameter_mm"])
            table.writerows(rows[: 2 * n])


def processor_seconds(process: int | str = "self") -> float:
    user, system = Path(f"/proc/{process}/stat").read_text().rsplit(")")[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def read(folder: Path, n: int) -> None:
    """Cut the cubes of the first n scans and print what it cost: the work of one process."""
    before, start = peak(), time.perf_counter()
    images = Nodules(path=folder, table=folder / f"{n}.csv", jobs=JOBS, window=None).read()
    seconds, after = time.perf_counter() - start, peak()
    cutters = [int(pid) for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()]
    digest = hashlib.blake2b(digest_size=16)
    for cube in images.pixels:
        digest.update(np.ascontiguousarray(cube))
    results = {
        "scans": n,
        "cubes": len(images),
        "seconds": round(seconds, 1),
        "processor_seconds": round(sum(map(processor_seconds, ["self", *cutters])), 1),
        "MiB before": round(before, 1),
        "peak MiB of the reader": round(after, 1),
        "peak MiB of a cutter": round(max(map(peak, cutters), default=0), 1),
        "hash": digest.hexdigest(),
    }
    print(json.dumps(results))


def started(folder: Path, n: int, cache: Path) -> subprocess.Popen:
    environment = {**os.environ, "UNLIKELIHOOD_CACHE": str(cache)}
    command = [sys.executable, "-m", "benchmarks.cubes", str(folder), str(n)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)


def finished(process: subprocess.Popen) -> dict[str, object]:
    out, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"exit status {process.returncode}")
    print(out, flush=True)
    return json.loads(out)


def done(cache: Path) -> dict[str, int]:
    """Return the scans that are cut, and when."""
    return {file.parent.name: file.stat().st_mtime_ns for file in cache.glob("crops/*/facts.json")}


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "ct"
        write_scans(folder, COUNTS[-1])
        runs = [finished(started(folder, n, Path(place) / f"cache{n}")) for n in COUNTS]
        again = finished(started(folder, COUNTS[-1], Path(place) / f"cache{COUNTS[-1]}"))
        cache = Path(place) / "killed"
        process = started(folder, COUNTS[-1], cache)
        while len(done(cache)) < COUNTS[-1] // 2:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        before = done(cache)
        resumed = finished(started(folder, COUNTS[-1], cache))
        after = done(cache)
        left = [path.name for path in (cache / "crops").glob(".*")]
    results = {
        "runs, each with an empty cache": runs,
        "the last again, with all in the cache": again,
        "processor milliseconds a scan between the smallest and the largest run": round(
            1e3
            * (runs[-1]["processor_seconds"] - runs[0]["processor_seconds"])
            / (runs[-1]["scans"] - runs[0]["scans"]),
            1,
        ),
        "killed halfway": {
            "cut before the kill": len(before),
            "of these cut again": sum(after[name] != when for name, when in before.items()),
            "cut after": len(after) - len(before),
            "half-written folders left": len(left),
            "resumed": resumed,
            "cubes equal those of the uninterrupted run": resumed["hash"] == runs[-1]["hash"],
        },
        "processes": JOBS,
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "provenance": provenance(),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    read(Path(sys.argv[1]), int(sys.argv[2])) if len(sys.argv) > 1 else main()
