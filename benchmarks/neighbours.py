"""How many of the nearest neighbours are found where they are approximate, on MNIST.

python -m benchmarks.neighbours

The first test images are looked up among all training images, and among these and copies moved by a pixel to the left
and to the right, which takes more than the 256 MiB past which neighbours are approximate. k is the default of `KNN` and
of `LOF`. A run that is stopped goes on where it was.
"""

import json
import os
import time
from pathlib import Path

import numpy as np

from unlikelihood import KNN, LOF, MNIST
from unlikelihood.contract.neighbours import SEARCHED, Neighbours, divided
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


def measure(name: str, ks: tuple[int, ...]) -> list[dict[str, object]]:
    """Compare approximate neighbours with exact ones, for each number k of them."""
    train, test = images(MOVES[name])
    cells = divided(train, seed=0)
    found, timed = {}, {}
    for how, own in (("exact", {}), ("approximate", cells)):
        index = Neighbours(train, max(ks), own)
        started = time.process_time()
        parts = [index.query(test[start : start + AT_ONCE]) for start in range(0, len(test), AT_ONCE)]
        timed[how] = round(1e3 * (time.process_time() - started) / len(test), 2)
        found[how] = [np.concatenate(part) for part in zip(*parts, strict=True)]
    rows = []
    for k in ks:
        (exact, right), (distance, near) = ([part[:, :k] for part in found[how]] for how in ("exact", "approximate"))
        hits = np.array([len(set(a) & set(b)) / k for a, b in zip(right.tolist(), near.tolist(), strict=True)])
        rows.append(
            {
                "among": name,
                "n": len(train),
                "queries": len(test),
                "k": k,
                "recall": round(float(hits.mean()), 4),
                "queries of which all are found": round(float((hits == 1).mean()), 4),
                "mean distance over exact": round(float((distance.mean(axis=1) / exact.mean(axis=1)).mean()), 5),
                "cells": len(cells["centre"]),
                "searched": SEARCHED,
                f"processor ms a query, {max(ks)} exact": timed["exact"],
                f"processor ms a query, {max(ks)} approximate": timed["approximate"],
            }
        )
    return rows


def main() -> None:
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {"rows": []}
    for name in MOVES:
        if name not in {row["among"] for row in results["rows"]}:
            rows = measure(name, (KNN().n_neighbors, LOF().n_neighbors))
            results["rows"] += rows
            results["provenance"] = {"threads": os.environ.get("OMP_NUM_THREADS")} | provenance()
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
            print(json.dumps(rows), flush=True)


if __name__ == "__main__":
    main()
