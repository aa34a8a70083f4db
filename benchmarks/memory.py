"""What fitting and scoring hold and take, as samples that lie in a file become more.

python -m benchmarks.memory [--largest N] [--detectors NAME ...] [--minutes M]

Images are 28x28 and volumes 28x28x28, 8 bits, in a memory map. Every row is a process of its own with one thread; a
small fit goes before, so that what libraries themselves take is not counted. Memory is what is the process's own, above
that: pages of the map are the kernel's cache, which it takes back when memory is short. Time is that of the processor.
Rows that would take more than so many minutes, by the next smaller one, are left out. A run that is stopped goes on
where it was.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from unlikelihood.storage.provenance import processor, provenance

RESULTS = Path(__file__).parent / "results" / "memory.json"
SIZES = {(1, 28, 28): (1_000, 10_000, 100_000, 1_000_000), (1, 28, 28, 28): (100, 1_000, 10_000)}
COMPARING = ("KNN", "LOF", "Contrastive", "Radiomics")  # whose score compares with all samples
SCORED = 10_000  # samples at most that are scored by these
SETTLED = 10_000  # samples from which the slope is fitted, for below that a fit is mostly what does not depend on them


def detectors() -> dict[str, Callable[[], object]]:
    import unlikelihood as u

    net = {"epochs": 1, "batch_size": 256, "width": 2}
    return {
        "PCAResidual": lambda: u.PCAResidual(8),
        "IsolationForest": lambda: u.IsolationForest(20),
        "TotalIntensity": lambda: u.TotalIntensity(),
        "VAE": lambda: u.VAE(2, likelihood=u.OptimalGaussian(), scoring=u.Reconstruction(1), **net),
        "KNN": lambda: u.KNN(),
        "Contrastive": lambda: u.Contrastive(8, views=u.Affine(), **net),
        "DCGAN": lambda: u.DCGAN(2, **net),
        "Flow": lambda: u.Flow(steps=2, **net),
        "Diffusion": lambda: u.Diffusion(**net),
        "Autoregressive": lambda: u.Autoregressive(layers=2, **net),
        "Committee": lambda: u.Committee([u.PCAResidual(8), u.IsolationForest(20)]),
        "LOF": lambda: u.LOF(5),
        "Radiomics": lambda: u.Radiomics(),
    }


def peak(process: int | str = "self") -> float:
    """Return the most memory that a process ever held, in MiB; getrusage would count what its parent held too."""
    return _status("VmHWM", process)


def _status(name: str, process: int | str = "self") -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0]) / 1024


class Held:
    """The most that is held beside files while a block runs, in MiB, and the time of the processor in seconds."""

    def __enter__(self) -> "Held":
        self.base = self.most = self.now()
        self.began, self.ended = time.process_time(), threading.Event()
        self.watch = threading.Thread(target=self.look, daemon=True)
        self.watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.process_time() - self.began
        self.ended.set()
        self.watch.join()

    def look(self) -> None:
        while not self.ended.wait(0.01):
            self.most = max(self.most, self.now())

    @staticmethod
    def now() -> float:
        return _status("RssAnon") + _status("RssShmem")


def write(path: Path, shape: tuple[int, ...], n: int) -> None:
    """Write noisy blobs of random brightness, no two alike."""
    rng = np.random.default_rng(0)
    axes = np.meshgrid(*[np.linspace(-1, 1, size) for size in shape[1:]], indexing="ij")
    places = rng.uniform(-0.5, 0.5, (64, len(axes)))
    blobs = np.stack([np.exp(-4 * sum((x - p) ** 2 for x, p in zip(axes, place, strict=True))) for place in places])
    X = np.lib.format.open_memmap(path, "w+", np.uint8, (n, *shape))
    step = max(1, 2**24 // int(np.prod(shape)))
    for start in range(0, n, step):
        many = min(step, n - start)
        bright = rng.uniform(100, 200, (many, *[1] * len(axes))).astype(np.float32)
        clean = bright * blobs.astype(np.float32)[rng.integers(0, 64, many)]
        X[start : start + many, 0] = clean + rng.integers(0, 50, clean.shape, np.uint8)


def measure(name: str, path: str, n: int) -> dict[str, object]:
    """Fit and score the first n samples of a file."""
    X = np.load(path, mmap_mode="r")
    detector = detectors()[name]()
    detector.fit(X[:40]).score_samples(X[:40])
    X = X[:n]
    with Held() as fitting:
        detector.fit(X)
    many = X[:SCORED] if name in COMPARING else X
    with Held() as scoring:
        scores = detector.score_samples(many)
    assert np.isfinite(scores).all()
    return {
        "fit_mib": round(fitting.most - fitting.base, 1),
        "score_mib": round(scoring.most - fitting.base, 1),
        "with_pages_of_the_file_mib": round(peak(), 1),
        "fit_us": round(1e6 * fitting.seconds / n, 2),
        "score_us": round(1e6 * scoring.seconds / len(many), 2),
        "scored": len(many),
    }


def slopes(rows: list[dict]) -> list[dict[str, object]]:
    """Return how time per sample grows with their number: the exponent, and the greatest over the least."""
    found = []
    for name, shape in dict.fromkeys((row["detector"], tuple(row["shape"])) for row in rows):
        own = [row for row in rows if row["detector"] == name and tuple(row["shape"]) == shape]
        settled = [row for row in own if row["n"] >= min(SETTLED, SIZES[shape][-2])]
        if len(settled) > 1:
            n = np.log([row["n"] for row in settled])
            found.append({"detector": name, "shape": shape, "from": settled[0]["n"], "to": settled[-1]["n"]})
            for what in ("fit_us", "score_us"):
                times = [row[what] for row in settled]
                found[-1][what] = {
                    "exponent": round(float(np.polyfit(n, np.log(times), 1)[0]), 3),
                    "most_over_least": round(max(times) / min(times), 2),
                }
    return found


def expected(name: str, shape: tuple[int, ...], n: int, rows: list[dict]) -> float:
    """Return how many minutes a row may take, by the next smaller one; 0 where there is none."""
    known = [row for row in rows if (row["detector"], tuple(row["shape"])) == (name, shape) and row["n"] < n]
    if not known:
        return 0.0
    last = max(known, key=lambda row: row["n"])
    scored = SCORED if name in COMPARING else n
    return (last["fit_us"] * n + last["score_us"] * min(n, scored)) / 60e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--largest", type=int, default=10**6, help="the most samples of a row")
    parser.add_argument("--detectors", nargs="*", default=list(detectors()), help="those to measure")
    parser.add_argument("--minutes", type=float, default=60.0, help="the most that a row may take")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one[0], given.one[1], int(given.one[2]))))
        return
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {"rows": []}
    done = {(row["detector"], tuple(row["shape"]), row["n"]) for row in results["rows"]}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    with tempfile.TemporaryDirectory() as folder:
        for shape, n in sorted(((s, n) for s, ns in SIZES.items() for n in ns), key=lambda at: at[1] * np.prod(at[0])):
            waiting = [
                name
                for name in given.detectors
                if (name, shape, n) not in done and expected(name, shape, n, results["rows"]) <= given.minutes
            ]
            if n > given.largest or not waiting:
                continue
            path = Path(folder) / "X.npy"
            write(path, shape, n)
            for name in waiting:
                command = [sys.executable, "-m", "benchmarks.memory", "--one", name, str(path), str(n)]
                ran = subprocess.run(command, capture_output=True, text=True, env=environment)
                if ran.returncode:
                    print(name, shape, n, ran.stderr.strip().splitlines()[-1:], file=sys.stderr)
                    continue
                row = {"detector": name, "shape": shape, "n": n} | json.loads(ran.stdout.splitlines()[-1])
                row["processor"] = processor()
                results["rows"].append(row)
                results["slopes"] = slopes(results["rows"])
                results["provenance"] = {"threads": 1} | provenance()  # of the last row
                RESULTS.write_text(json.dumps(results, indent=1) + "\n")
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
