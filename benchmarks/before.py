"""The package of another commit beside this one, in one run: what fitting and scoring cost, and whether ranks stay.

``python -m benchmarks.speed --against REV`` calls it. Each package fits and scores in a process of its own, by its own
code and defaults, and they take turns: a process is sent a line to run, and answers with the seconds of the processor.
They are fitted to digits of MNIST without nines, and score others with nines.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
TRAIN, TEST = 512, 128
DETECTORS = {
    "VAE": "VAE(epochs=2)",
    "Flow": "Flow(epochs=1)",
    "Autoregressive": "Autoregressive(epochs=1)",
    "Diffusion": "Diffusion(epochs=1)",
    "Contrastive": "Contrastive(epochs=2)",
    "ForeignPatch": "ForeignPatch(epochs=1)",
    "LatentSearch of a WGANGP": "LatentSearch(WGANGP(width=16, epochs=4), steps=50)",
    "Auto": "Auto(steps=16, workers=1)",
}


def serve(source: str, data: str, scores: str) -> None:
    """Run the lines that come in, beside the package in a folder and the data: the process of a `Package`."""
    space: dict[str, Any] = {name: np.load(Path(data) / f"{name}.npy") for name in ("train", "test")}
    exec("import unlikelihood; from unlikelihood import *", space)
    assert Path(space["unlikelihood"].__file__).is_relative_to(source)
    for line in sys.stdin:
        start = time.process_time()
        exec(line, space)
        print(time.process_time() - start, flush=True)
        if "scores" in space:
            np.save(scores, space.pop("scores"))


class Package:
    """A process with the package in a folder, and with what it fitted."""

    def __init__(self, source: Path, data: Path) -> None:
        self.scores = data / f"scores of {source.parent.name}.npy"
        environment = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        command = [sys.executable, "-P", __file__, source, data, self.scores]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, text=True, env=environment, **pipes)

    def seconds(self, line: str) -> float:
        """Return the seconds of the processor that it takes to run a line there."""
        print(line, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())


def git(*words: str) -> bytes:
    return subprocess.run(["git", *words], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout


def compared(revision: str, rounds: int) -> dict[str, Any]:
    """Return what both cost, how many times as fast it is now, and the rank correlation of the scores."""
    from scipy.stats import spearmanr

    from unlikelihood import MNIST

    split, rows = MNIST().split(), {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        np.save(folder / "train.npy", split.train.pixels[:TRAIN])
        np.save(folder / "test.npy", split.test.pixels[:: max(1, len(split.test) // TEST)])
        archive = git("archive", "--prefix=before/", revision, "src")
        subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
        packages = {who: Package(root / "src", folder) for who, root in (("before", folder / "before"), ("now", ROOT))}
        for name, made in DETECTORS.items():
            lines = {"fit": f"detector = {made}.fit(train)", "score": "scores = detector.score_samples(test)"}
            taken: dict[str, list[tuple[float, float]]] = {what: [] for what in lines}
            for turn in range(rounds + 1):
                for what, line in lines.items():
                    took = {who: packages[who].seconds(line) for who in sorted(packages, reverse=turn % 2 == 0)}
                    taken[what].append((took["before"], took["now"]))
            rows[name] = {what: faster(times[1:]) for what, times in taken.items()}
            for package in packages.values():
                package.seconds("pass")  # by which the scores are written
            scores = [np.load(package.scores) for package in packages.values()]
            rows[name]["rank correlation"] = round(float(spearmanr(*scores).statistic), 4)
            print(name, rows[name], flush=True)
        for package in packages.values():
            package.process.communicate()
    commit = git("rev-parse", "--short=12", revision).decode().strip()
    return {"commit": commit, "digits to fit": TRAIN, "digits to score": len(scores[0]), "rows": rows}


def faster(times: list[tuple[float, float]]) -> dict[str, Any]:
    """Return the median seconds, and the ratio of the two: the median over the rounds, the lowest and the highest."""
    before, now = zip(*times, strict=True)
    ratios = sorted(then / this for then, this in times)
    return {
        "seconds before": round(median(before), 4),
        "seconds now": round(median(now), 4),
        "times as fast": [round(value, 2) for value in (median(ratios), ratios[0], ratios[-1])],
    }


if __name__ == "__main__":
    serve(*sys.argv[1:])
