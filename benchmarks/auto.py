"""What the default detector costs on drawings and on textures, in one process of one thread and in several.

UNLIKELIHOOD_DATA=... python -m benchmarks.auto [--sets drawings textures] [--seed 0]

Drawings are MNIST's normals, with nines to find; textures are 3,000 windows of 28x28 pixels of those of
`benchmarks.local`, with no anomaly. The members of both ways are the same to the bit; so are the scores, where a
processor rounds alike with one thread and with several, which score the held-out normals. Seconds are by the clock; the
load of the machine stands beside them.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.local import TEXTURES, shot
from benchmarks.speed import processor
from unlikelihood import MNIST, Auto
from unlikelihood.metrics.ranking import auroc
from unlikelihood.storage.files import replacing
from unlikelihood.storage.provenance import provenance

RESULTS = Path(__file__).parent / "results" / "auto.json"
CORES, TEXTURED, SIDE = 2, 3000, 28


def drawings(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the training normals, what is scored, and its labels, of MNIST."""
    split = MNIST(seed=seed).split()
    return split.train.pixels, split.test.pixels, split.test.label


def textures(seed: int) -> tuple[np.ndarray, np.ndarray, None]:
    """Return training normals, and others, of all textures alike."""
    rng = np.random.default_rng(seed)
    draws = list(TEXTURES.values())
    x = [shot(draws[number % len(draws)](rng), rng)[:, :SIDE, :SIDE] for number in range(TEXTURED + 500)]
    return np.array(x[:TEXTURED], np.float32), np.array(x[TEXTURED:], np.float32), None


SETS = {"drawings": drawings, "textures": textures}


def measured(normals: np.ndarray, others: np.ndarray, label: np.ndarray | None, seed: int) -> dict[str, object]:
    """Fit in one process and in several, and return what both took."""
    rows, scores = {}, []
    for name, threads in (("one process", 1), (f"{CORES} processes", CORES)):
        torch.set_num_threads(threads)
        load, wall = os.getloadavg()[0], time.perf_counter()
        auto = Auto(seed=seed, device="cpu").fit(normals)
        wall = time.perf_counter() - wall
        torch.set_num_threads(1)
        start = processor()
        scores.append(auto.score_samples(others))
        rows[name] = {
            "fit seconds": round(wall, 1),
            "load before and after": [round(value, 1) for value in (load, os.getloadavg()[0])],
            "score milliseconds a sample": round(1000 * (processor() - start) / len(others), 3),
        }
        if label is not None:
            rows[name]["auroc"] = round(float(auroc(label, -scores[-1])), 4)
        print(name, rows[name], flush=True)
    one, several = (row["fit seconds"] for row in rows.values())
    return {
        "rows": rows,
        "normals": len(normals),
        "reason": auto.reason_,
        "times faster": round(one / several, 2),
        "same bits": bool(np.array_equal(*scores)),
    }


def main() -> None:
    """Measure, and write what was found after each set."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sets", nargs="*", choices=SETS, default=list(SETS))
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    known = json.loads(asked.out.read_text(encoding="utf-8")) if asked.out.exists() else {"sets": {}}
    for name in asked.sets:
        found = measured(*SETS[name](asked.seed), asked.seed)
        known["sets"][name] = found | {"seed": asked.seed, "provenance": provenance()}
        with replacing(asked.out) as file:
            file.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(known, indent=1))


if __name__ == "__main__":
    main()
