"""How many of the nearest neighbours are found where they are approximate, on MNIST.

python -m benchmarks.neighbours

The first test images are looked up among all training images, and among these and copies moved by a pixel to the left
and to the right, which takes more than the 256 MiB past which neighbours are approximate. k is the default of `KNN` and
of `LOF`. A run that is stopped goes on where it was.
"""

import json
import time
from pathlib import Path

import numpy as np

from unlikelihood import KNN, LOF, MNIST
from unlikelihood.contract import neighbours
from unlikelihood.contract.neighbours import Neighbours, divided
from unlikelihood.storage.provenance import provenance

RESULTS = Path(__file__).parent / "results" / "neighbours.json"
MOVES = {"training images": (0,), "and moved by a pixel": (0, -1, 1)}
QUERIES = 1000
AT_ONCE = 100  # queries that are compared with all


def images(moves: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors in [0, 1] to look among, and to look up."""
    digits = MNIST().digits()
    pixels = np.asarray(digits.pixels)
    train, test = pixels[digits.trainable], pixels[digits.testable][:QUERIES]
    moved = np.concatenate([np.roll(train, move, axis=2) for move in moves])
    return tuple(part.reshape(len(part), -1) / np.float32(255) for part in (moved, test))


def measure(name: str, k: int) -> dict[str, object]:
    """Compare approximate neighbours with exact ones."""
    train, test = images(MOVES[name])
    cells = divided(train, seed=0)
    found, timed = {}, {}
    for how, own in (("exact", {}), ("approximate", cells)):
        index = Neighbours(train, k, own)
        started = time.process_time()
        parts = [index.query(test[start : start + AT_ONCE]) for start in range(0, len(test), AT_ONCE)]
        timed[how] = time.process_time() - started
        found[how] = [np.concatenate(part) for part in zip(*parts, strict=True)]
    (exact, right), (distance, rows) = found["exact"], found["approximate"]
    hits = [len(set(a) & set(b)) / k for a, b in zip(right.tolist(), rows.tolist(), strict=True)]
    return {
        "recall": round(float(np.mean(hits)), 4),
        "queries of which all are found": round(float(np.mean(np.equal(hits, 1))), 4),
        "mean distance over exact": round(float(np.mean(distance.mean(axis=1) / exact.mean(axis=1))), 5),
        "cells": len(cells["centre"]),
        "searched": neighbours.SEARCHED,
        "processor ms a query, exact": round(1e3 * timed["exact"] / len(test), 2),
        "processor ms a query, approximate": round(1e3 * timed["approximate"] / len(test), 2),
    }


def main() -> None:
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {"rows": []}
    done = {(row["among"], row["k"]) for row in results["rows"]}
    for name in MOVES:
        for k in (KNN().n_neighbors, LOF().n_neighbors):
            if (name, k) not in done:
                n = 60_000 * len(MOVES[name])
                row = {"among": name, "n": n, "k": k, "queries": QUERIES} | measure(name, k)
                results["rows"].append(row)
                results["provenance"] = provenance()
                RESULTS.write_text(json.dumps(results, indent=1) + "\n")
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
