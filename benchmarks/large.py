"""The default detector on images of 1024x1024: whether it finds a place of a few pixels, and what that takes.

python -m benchmarks.large [--seed 0]

Noise that is alike along one direction: 60 normal images to fit to, and a test of 20 normal ones and 8 with each kind
of defect of `benchmarks.local`, planted in a window of 64x64 somewhere. One seed, and few images: see the intervals.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.local import DEFECTS, SIDE, noise, shot
from benchmarks.memory import peak
from unlikelihood import Auto
from unlikelihood.metrics.intervals import delong
from unlikelihood.metrics.places import aupro, pixel_auroc
from unlikelihood.storage.files import replacing
from unlikelihood.storage.provenance import provenance

RESULTS = Path(__file__).parent / "results" / "large.json"
LENGTH, TRAIN, NORMAL, DEFECTIVE = 1024, 60, 20, 8


def planted(kind: str, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return an image (1, H, W) with a defect, and where it is (H, W)."""
    x, where = noise(rng, LENGTH), np.zeros((LENGTH, LENGTH), bool)
    window = tuple(slice(start, start + SIDE) for start in rng.integers(LENGTH - SIDE, size=2))
    x[window], where[window] = DEFECTS[kind](x[window], rng)
    return shot(x, rng).astype(np.float32), where


def measured(seed: int) -> dict[str, object]:
    """Fit, score and map, and return how well and at what cost."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    started = time.process_time()
    auto = Auto(seed=seed, workers=1).fit(np.array([shot(noise(rng, LENGTH), rng) for _ in range(TRAIN)], np.float32))
    fitted = time.process_time()
    normal = auto.score_samples(np.array([shot(noise(rng, LENGTH), rng) for _ in range(NORMAL)], np.float32))
    scored = time.process_time()
    row: dict[str, object] = {
        "reason": auto.reason_,
        "processor seconds to fit": round(fitted - started),
        "processor seconds to score one": round((scored - fitted) / NORMAL, 1),
    }
    for kind in DEFECTS:
        images, where = map(np.array, zip(*(planted(kind, rng) for _ in range(DEFECTIVE)), strict=True))
        area = delong(np.arange(NORMAL + DEFECTIVE) >= NORMAL, -np.concatenate([normal, auto.score_samples(images)]))
        maps = auto.anomaly_map(images)
        row[kind] = {
            "auroc": round(area.value, 3),
            "interval": [round(area.low, 3), round(area.high, 3)],
            "pixels": round(pixel_auroc(where, maps), 3),
            "AUPRO": round(aupro(where, maps), 3),
        }
        print(kind, row[kind], flush=True)
    return row | {"peak GiB": round(peak() / 1024, 2)}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    found = {"seed": asked.seed, "train": TRAIN, "normal": NORMAL, "of each kind": DEFECTIVE, **measured(asked.seed)}
    with replacing(RESULTS) as temporary:
        temporary.write_text(json.dumps(found | {"provenance": provenance()}, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
