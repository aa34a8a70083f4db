"""Defects planted in synthetic textures: how well detectors find them and say where they are.

python -m benchmarks.local [words that "texture | detector | seed" contains ...]

Each texture is 200 normal images of 64x64 to train on, and a test of 100 normal ones and 20 with each of five kinds of
defect. What is found is kept, so that an interrupted run goes on where it stopped. One thread, one process.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial import cKDTree
from sklearn.metrics import roc_auc_score

import unlikelihood as u
from unlikelihood.metrics.places import aupro, pixel_auroc
from unlikelihood.storage.files import replacing
from unlikelihood.storage.provenance import provenance

RESULTS = Path(__file__).parent / "results" / "local.json"
Floats = NDArray[np.float64]
SIDE, TRAIN, NORMAL, DEFECTIVE, SEEDS = 64, 200, 100, 20, 5
GRID = np.mgrid[:SIDE, :SIDE].astype(float)


def noise(rng: np.random.Generator, side: int = SIDE) -> Floats:
    """Noise that is alike along one direction."""
    return standard(gaussian_filter(rng.normal(size=(side, side)), (1, 3), mode="wrap"))


def stripes(rng: np.random.Generator) -> Floats:
    """Waves across bent lines."""
    bent = gaussian_filter(rng.normal(size=(SIDE, SIDE)), 12, mode="wrap") * 40
    wave = np.sin(2 * np.pi * (GRID[0] + 0.4 * GRID[1] + bent) / 9 + rng.uniform(0, 2 * np.pi))
    return wave + 0.3 * rng.normal(size=(SIDE, SIDE))


def weave(rng: np.random.Generator) -> Floats:
    """Threads that go over and under one another."""
    y, x = (2 * np.pi * (axis + rng.uniform(0, 16)) / 8 * rng.normal(1, 0.02) for axis in GRID)
    over = np.sin(x / 2) * np.sin(y / 2) > 0
    return standard(np.where(over, np.abs(np.sin(x / 2)), 0.7 * np.abs(np.sin(y / 2)))) + 0.3 * rng.normal(
        size=(SIDE, SIDE)
    )


def cells(rng: np.random.Generator) -> Floats:
    """Walls half-way between points, each cell of its own brightness."""
    points = np.stack(np.meshgrid(*[np.arange(-1, 9) * 8.0] * 2), axis=-1).reshape(-1, 2)
    points = points + rng.uniform(0, 8, 2) + rng.normal(0, 2, points.shape)
    distance, nearest = cKDTree(points).query(GRID.reshape(2, -1).T, 2)
    wall = np.tanh((distance[:, 1] - distance[:, 0]) / 2) + 0.15 * rng.normal(size=len(points))[nearest[:, 0]]
    return standard(wall.reshape(SIDE, SIDE)) + 0.2 * rng.normal(size=(SIDE, SIDE))


def standard(x: Floats) -> Floats:
    return (x - x.mean()) / x.std()


TEXTURES: dict[str, Callable[[np.random.Generator], Floats]] = {
    "noise": noise,
    "stripes": stripes,
    "weave": weave,
    "cells": cells,
}


def disc(rng: np.random.Generator, smallest: float, largest: float) -> tuple[Floats, Floats, float]:
    """Return places from a random centre (2, H, W), how far they are from it, and a random radius; all within."""
    radius = rng.uniform(smallest, largest)
    away = GRID - rng.uniform(radius, SIDE - radius, 2)[:, None, None]
    return away, np.hypot(*away), radius


def hole(x: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """A dark spot."""
    _, r, radius = disc(rng, 2, 5)
    inside = np.clip(radius - r + 0.5, 0, 1)
    return x + inside * (np.quantile(x, 0.05) - x), inside > 0


def scratch(x: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """A thin bright or dark line."""
    away, _, half = disc(rng, 6, 14)
    angle = rng.uniform(0, np.pi)
    along, across = np.tensordot([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]], away, 1)
    line = np.clip(1.2 - abs(across), 0, 1) * np.clip(half - abs(along), 0, 1)
    return x + rng.choice([-1, 1]) * 1.2 * x.std() * line, line > 0


def bump(x: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """A smooth brighter or darker place."""
    _, r, radius = disc(rng, 5, 10)
    hill = np.exp(-2 * (r / radius) ** 2)
    return x + rng.choice([-1, 1]) * 1.2 * x.std() * hill, r < radius


def blur(x: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """A place out of focus."""
    _, r, radius = disc(rng, 5, 10)
    inside = np.clip((radius - r) / 2, 0, 1)
    return x + inside * (gaussian_filter(x, 1.5) - x), inside > 0


def twist(x: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """A place where space is turned, most in its middle."""
    away, r, radius = disc(rng, 7, 12)
    angle = rng.choice([-1, 1]) * 1.5 * np.clip(1 - r / radius, 0, 1)
    y, z = away
    moved = GRID - away + [np.cos(angle) * y - np.sin(angle) * z, np.sin(angle) * y + np.cos(angle) * z]
    return map_coordinates(x, moved, order=3, mode="mirror"), r < radius


DEFECTS: dict[str, Callable[[Floats, np.random.Generator], tuple[Floats, Floats]]] = {
    "hole": hole,
    "scratch": scratch,
    "bump": bump,
    "blur": blur,
    "twist": twist,
}


def shot(x: Floats, rng: np.random.Generator) -> Floats:
    """Return an image (1, H, W) from 0 to 1 of a texture, as light and contrast happen to be."""
    return np.clip(0.5 + rng.normal(0, 0.03) + 0.15 * np.exp(rng.normal(0, 0.1)) * x, 0, 1)[None]


def made(texture: str, seed: int) -> dict[str, NDArray[np.generic]]:
    """Return the images of a texture: train, normal, and for each kind of defect those with it, and where it is."""
    rng = np.random.default_rng([list(TEXTURES).index(texture), seed])
    draw = TEXTURES[texture]

    def normals(n: int) -> NDArray[np.float32]:
        return np.array([shot(draw(rng), rng) for _ in range(n)], np.float32)

    found: dict[str, NDArray[np.generic]] = {"train": normals(TRAIN), "normal": normals(NORMAL)}
    for name, plant in DEFECTS.items():
        planted = [plant(draw(rng), rng) for _ in range(DEFECTIVE)]
        found[name] = np.array([shot(x, rng) for x, _ in planted], np.float32)
        found[f"{name}, where"] = np.array([where for _, where in planted])
    return found


DETECTORS: dict[str, Callable[[int], u.Detector]] = {
    "PCAResidual": lambda seed: u.PCAResidual(seed=seed),
    "VAE": lambda seed: u.VAE(latent=20, width=16, likelihood=u.OptimalGaussian(), seed=seed),
    "Auto": lambda seed: u.Auto(seed=seed),
    "ForeignPatch": lambda seed: u.ForeignPatch(seed=seed),
}


def measure(texture: str, detector: u.Detector, seed: int) -> dict[str, object]:
    """Fit a detector to a texture; AUROC of images against normal ones, and of the pixels, and AUPRO, of every kind.

    Places are judged among the pixels of the images with a defect, of a detector with a map of its own: the map of
    any other takes a hundred scores an image and is no sharper than the windows that it covers.
    """
    images = made(texture, seed)
    detector = detector.fit(images["train"])
    started = time.perf_counter()
    normal = -detector.score_samples(images["normal"])
    row: dict[str, object] = {
        "fit seconds": round(detector.fit_seconds_, 1),
        "score milliseconds": round(1e3 * (time.perf_counter() - started) / len(normal), 2),
    }
    for kind in DEFECTS:
        score = np.concatenate([normal, -detector.score_samples(images[kind])])
        row[kind] = round(float(roc_auc_score(np.arange(len(score)) >= len(normal), score)), 4)
        if not detector.map_kind.own:
            continue
        where, maps = images[f"{kind}, where"], detector.anomaly_map(images[kind])
        row[f"{kind}, pixels"], row[f"{kind}, AUPRO"] = round(pixel_auroc(where, maps), 4), round(aupro(where, maps), 4)
    return row


def summary(cells: Mapping[str, Mapping[str, float]], names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the mean over textures and seeds of each figure, and its standard deviation, by detector."""
    table: dict[str, dict[str, str]] = {}
    for name in names:
        rows = [row for key, row in cells.items() if key.split(" | ")[1] == name]
        if not rows:
            continue
        of = {}
        for figure, suffix in (("images", ""), ("pixels", ", pixels"), ("AUPRO", ", AUPRO")):
            if not all(kind + suffix in row for kind in DEFECTS for row in rows):
                continue
            values = np.array([[row[kind + suffix] for kind in DEFECTS] for row in rows])
            of[figure] = spread(values.mean(axis=1))
            of |= {kind + suffix: spread(column) for kind, column in zip(DEFECTS, values.T, strict=True)}
        for texture in TEXTURES:
            if some := [row for key, row in cells.items() if key.startswith(f"{texture} | {name} |")]:
                of[texture] = spread(np.array([np.mean([row[kind] for kind in DEFECTS]) for row in some]))
        table[name] = of | {"fit seconds": f"{np.median([row['fit seconds'] for row in rows]):.0f}"}
    return table


def spread(values: Floats) -> str:
    """Return mean ± standard deviation (how many)."""
    deviation = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{deviation} ({len(values)})"


def run(results: Path, detectors: Mapping[str, Callable[[int], u.Detector]], seeds: int, words: Sequence[str]) -> None:
    """Measure what is not yet in a file of results, by one thread."""
    torch.set_num_threads(1)
    known = json.loads(results.read_text()) if results.exists() else {"provenance": provenance(), "cells": {}}
    for seed in range(seeds):
        for texture in TEXTURES:
            for name, make in detectors.items():
                cell = f"{texture} | {name} | {seed}"
                if cell in known["cells"] or not all(word.lower() in cell.lower() for word in words):
                    continue
                known["cells"][cell] = measure(texture, make(seed), seed)
                known["summary"] = summary(known["cells"], list(detectors))
                with replacing(results) as temporary:
                    temporary.write_text(json.dumps(known, indent=1) + "\n")
                print(cell, known["cells"][cell], flush=True)
    for name, row in known.get("summary", {}).items():
        print(name.ljust(14), *(f"{column}: {figure}" for column, figure in row.items()), sep="  ")


if __name__ == "__main__":
    run(RESULTS, DETECTORS, SEEDS, sys.argv[1:])
