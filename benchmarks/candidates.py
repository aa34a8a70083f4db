"""How many nodules of phantom scans the classical finder of `Candidates` finds, at how many false marks a scan.

python -m benchmarks.candidates
"""

import csv
import json
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from unlikelihood import Candidates, Phantom
from unlikelihood.metrics.froc import froc
from unlikelihood.storage.provenance import provenance

RESULTS = Path(__file__).parent / "results" / "candidates.json"
SCANS, PER_SCAN, SEED = 40, 30, 15


def truth(table: Path) -> dict[str, list[tuple[np.ndarray, float]]]:
    """Centres in mm and radii in mm by scan."""
    nodules = defaultdict(list)
    with table.open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            centre = np.array([float(row[name]) for name in ("coordX", "coordY", "coordZ")])
            nodules[row["seriesuid"]].append((centre, float(row["diameter_mm"]) / 2))
    return nodules


def measured(folder: Path) -> dict[str, object]:
    nodules = truth(Phantom(seed=SEED).write(folder / "ct", SCANS))
    start = time.perf_counter()
    found = Candidates(path=folder / "ct", per_scan=PER_SCAN, cache=folder / "cache", jobs=1).found()
    seconds = time.perf_counter() - start
    number, lesion, score = 0, [], []
    for scan, candidates, _ in found:
        for one in candidates:
            # As LUNA16 counts: a mark hits a nodule if it lies within its radius.
            away = [np.linalg.norm(one.centre - centre) / radius for centre, radius in nodules[scan.series]]
            lesion.append(number + int(np.argmin(away)) if min(away) <= 1 else -1)
            score.append(one.score)
        number += len(nodules[scan.series])
    rates = froc(lesion, score, number, SCANS)
    return {
        "scans": SCANS,
        "nodules": number,
        "marks a scan": round(len(lesion) / SCANS, 1),
        "sensitivity at false positives a scan": {str(rate): round(share, 4) for rate, share in rates.items()},
        "seconds a scan": round(seconds / SCANS, 2),
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        figures = measured(Path(folder))
    said = "phantom scans of 60 x 60 x 100 mm, far easier than patients: a stand-in for a trained finder"
    RESULTS.write_text(json.dumps({"what": said, **figures, "provenance": provenance()}, indent=2) + "\n")
    print(json.dumps(figures, indent=2))
