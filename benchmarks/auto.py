"""What the default detector costs on MNIST's nines, in one process of one thread and in several.

UNLIKELIHOOD_DATA=... python -m benchmarks.auto [--seed 0]

The scores of both must be the same to the bit. Seconds are by the clock; the load of the machine stands beside them.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.speed import processor
from unlikelihood import MNIST, Auto
from unlikelihood.metrics.ranking import auroc
from unlikelihood.storage.files import replacing
from unlikelihood.storage.provenance import provenance

RESULTS = Path(__file__).parent / "results" / "auto.json"
CORES = 2


def main() -> None:
    """Fit twice, and write what both took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    split = MNIST().split()
    rows, scores = {}, []
    for name, threads in (("one process", 1), (f"{CORES} processes", CORES)):
        torch.set_num_threads(threads)
        load, wall = os.getloadavg()[0], time.perf_counter()
        auto = Auto(seed=asked.seed, device="cpu").fit(split.train.pixels)
        wall = time.perf_counter() - wall
        torch.set_num_threads(1)
        start = processor()
        scores.append(auto.score_samples(split.test.pixels))
        scoring = (processor() - start) / len(split.test.pixels)
        rows[name] = {
            "fit seconds": round(wall, 1),
            "load before and after": [round(value, 1) for value in (load, os.getloadavg()[0])],
            "score milliseconds a sample": round(1000 * scoring, 3),
            "auroc": round(float(auroc(split.test.label, -scores[-1])), 4),
        }
        print(name, rows[name], flush=True)
    record = {
        "rows": rows,
        "normals": len(split.train.pixels),
        "seed": asked.seed,
        "times faster": round(rows["one process"]["fit seconds"] / rows[f"{CORES} processes"]["fit seconds"], 2),
        "same bits": bool(np.array_equal(*scores)),
        "provenance": provenance(),
    }
    with replacing(asked.out) as file:
        file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
