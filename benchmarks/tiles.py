"""What `Tiles` holds in memory: images of 1024x1024 and volumes of 256x256x256, from a file, in a process of their own.

python -m benchmarks.tiles
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.memory import peak
from unlikelihood import PCAResidual, Tiles
from unlikelihood.storage.provenance import provenance

RESULTS = Path(__file__).parent / "results" / "tiles.json"
LIMIT = 2.0  # GiB
SAMPLES = {"1024x1024": ((1, 1024, 1024), 12, 64), "256x256x256": ((1, 256, 256, 256), 4, 32)}


def write(path: Path, shape: tuple[int, ...], n: int) -> np.memmap:
    """Return a file of `n` smooth random samples with a bright spot in the last."""
    rng = np.random.default_rng(0)
    X = np.lib.format.open_memmap(path, "w+", np.float32, (n, *shape))
    for x in X:
        x[...] = rng.standard_normal(shape, dtype=np.float32)
        for axis in range(1, len(shape)):
            for _ in range(2):
                x[...] = (x + np.roll(x, 1, axis) + np.roll(x, 2, axis)) / 3
    X[-1][(0, *(slice(length // 2, length // 2 + 5) for length in shape[1:]))] += 1
    return X


def measure(name: str) -> None:
    """Fit, score and map, and print the peak memory."""
    shape, n, size = SAMPLES[name]
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "X.npy", shape, n)
        X = np.load(Path(folder) / "X.npy", mmap_mode="r")
        started = time.process_time()
        tiles = Tiles(PCAResidual(20), size=size, drawn=40).fit(X[:-2])
        fitted = time.process_time()
        scores = tiles.score_samples(X[-2:])
        scored = time.process_time()
        maps = tiles.anomaly_map(X[-1:])
        mapped = time.process_time()
        strongest = np.unravel_index(int(maps[0].argmax()), maps[0].shape)
        row = {
            "samples": name,
            "windows": f"{size}, every {size // 2}",
            "peak GiB": round(peak() / 1024, 2),
            "processor seconds to fit": round(fitted - started, 1),
            "processor seconds to score one": round((scored - fitted) / 2, 1),
            "processor seconds to map one": round(mapped - scored, 1),
            "spot found": bool(scores[1] < scores[0]),
            "voxels from the spot to the peak of the map": int(
                max(abs(int(at) - length // 2 - 2) for at, length in zip(strongest, shape[1:], strict=True))
            ),
        }
        print(json.dumps(row))


def main() -> None:
    """Measure each and write the table; fail if one takes more than the limit."""
    rows = []
    for name in SAMPLES:
        command = [sys.executable, "-m", "benchmarks.tiles", name]
        rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        print(rows[-1], flush=True)
    RESULTS.write_text(json.dumps({"rows": rows, "seed": 0, "provenance": provenance()}, indent=1) + "\n")
    if over := [row["samples"] for row in rows if row["peak GiB"] > LIMIT]:
        raise SystemExit(f"more than {LIMIT} GiB: {', '.join(over)}")


if __name__ == "__main__":
    measure(sys.argv[1]) if sys.argv[1:] else main()
