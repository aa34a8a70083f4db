"""What the rule of `Auto` was chosen by: anomalies made of normals, never a test.

UNLIKELIHOOD_DATA=... python -m benchmarks.stand_ins [words that "digits 4 | seed" or "weave | seed" contains ...]

Digits: 4, 1 and 7 of MNIST's training file are held out in turn, where 9 is absent; the critics' views are chosen.
Textures: those of `benchmarks.local` at other seeds, with defects of other kinds, in a place or all over; how the
opinions on the whole and on places are combined is chosen. The p-values that each member gives are judged alone and
combined. What is found is kept, so that an interrupted run goes on where it stopped.
"""

import json
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from benchmarks.local import GRID, SIDE, TEXTURES, TRAIN, Floats, disc, shot
from unlikelihood import MNIST, Auto, Cauchy, Fisher, HarmonicMean
from unlikelihood.data.mapped import Mapped, held
from unlikelihood.detectors import auto as rule
from unlikelihood.metrics.ranking import auroc
from unlikelihood.nn.augment import Affine, Chain, Elastic, Stroke
from unlikelihood.storage.files import replacing
from unlikelihood.storage.provenance import provenance

RESULTS = Path(__file__).parent / "results" / "stand_ins.json"
DIGITS, ABSENT, EACH, TEST, SEEDS = (4, 1, 7), 9, 1024, 450, 3
VIEWS = {
    "affine": Affine(),
    "affine, elastic": Chain((Affine(), Elastic())),
    "affine, stroke": Chain((Affine(), Stroke())),
    "affine, elastic, stroke": Chain((Affine(), Elastic(), Stroke())),
}
FIRST_SEED = 100  # `benchmarks.local` has those from 0
NORMAL, PLANTED = 100, 20
Values = NDArray[np.float64]


def ranked(normal: Values, anomalous: Values) -> float:
    """Return the AUROC of scores, higher = more normal."""
    label = np.arange(len(normal) + len(anomalous)) >= len(normal)
    return round(float(auroc(label.astype(int), -np.concatenate([normal, anomalous]))), 4)


def digits(held_out: int, seed: int) -> dict[str, float]:
    """Return the AUROC of every choice of views where one digit is held out."""
    stored = MNIST().digits()
    rng = np.random.default_rng([held_out, seed])
    known = [np.asarray(rng.permutation(np.flatnonzero(stored.trainable & (stored.digit == one)))) for one in range(10)]
    normal = [one for one in range(10) if one not in (held_out, ABSENT)]
    further = rng.permutation(np.concatenate([known[one][EACH:] for one in normal]))[:TEST]

    def pixels(rows: NDArray[np.intp]) -> NDArray[np.float32]:
        return np.asarray(held(Mapped.of(stored.pixels).choose(rows)), np.float32)[:, None] / 255

    rule.VIEWS = tuple(VIEWS.values())
    fitted = Auto(seed=seed).fit(pixels(np.sort(np.concatenate([known[one][:EACH] for one in normal])))).committee_
    of_normals, of_anomalies = (fitted.log_p_values(pixels(rows)) for rows in (further, known[held_out][:TEST]))
    return {
        " + ".join(some): ranked(
            *(Fisher()(p[:, [list(VIEWS).index(one) for one in some]]) for p in (of_normals, of_anomalies))
        )
        for n in range(1, len(VIEWS) + 1)
        for some in combinations(VIEWS, n)
    }


def place(rng: np.random.Generator) -> Floats:
    """Return how much of a change each pixel has: all in a disc, with a soft edge."""
    _, r, radius = disc(rng, 5, 10)
    return np.clip((radius - r) / 2, 0, 1)


def grain(x: Floats, rng: np.random.Generator) -> Floats:
    """A place with more noise."""
    return x + place(rng) * rng.normal(0, 0.6, x.shape)


def pale(x: Floats, rng: np.random.Generator) -> Floats:
    """A place of less contrast."""
    return x + place(rng) * 0.6 * (gaussian_filter(x, 8) - x)


def crack(x: Floats, rng: np.random.Generator) -> Floats:
    """A dark line that goes astray."""
    angle = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.3, 24))
    line = np.cumsum([np.cos(angle), np.sin(angle)], axis=1) + rng.uniform(16, 48, 2)[:, None]
    away = np.hypot(*(GRID[:, None] - line[:, :, None, None])).min(axis=0)
    return x - 1.2 * x.std() * np.clip(1.2 - away, 0, 1)


def dust(x: Floats, rng: np.random.Generator) -> Floats:
    """A few bright points, near one another."""
    away = GRID[:, None] - (rng.uniform(8, SIDE - 8, 2)[:, None] + rng.normal(0, 4, (2, 6)))[:, :, None, None]
    return x + 2 * x.std() * np.exp(-np.square(away).sum(axis=0)).max(axis=0)


def coarse(x: Floats, rng: np.random.Generator) -> Floats:
    """All of it larger."""
    return map_coordinates(x, (GRID - SIDE / 2) / 1.2 + SIDE / 2, order=3, mode="mirror")


def noisy(x: Floats, rng: np.random.Generator) -> Floats:
    """More noise all over."""
    return x + rng.normal(0, 0.3 * x.std(), x.shape)


def soft(x: Floats, rng: np.random.Generator) -> Floats:
    """All of it a little out of focus."""
    return gaussian_filter(x, 0.6)


PLANTS: dict[str, Callable[[Floats, np.random.Generator], Floats]] = {
    plant.__name__: plant for plant in (grain, pale, crack, dust, coarse, noisy, soft)
}


def texture(name: str, seed: int) -> dict[str, dict[str, float]]:
    """Return the AUROC of each kind of defect by each opinion, and by ways to combine them."""
    rng = np.random.default_rng([list(TEXTURES).index(name), FIRST_SEED + seed])

    def drawn(n: int, plant: Callable[[Floats, np.random.Generator], Floats] = lambda x, rng: x) -> NDArray[np.float32]:
        return np.array([shot(plant(TEXTURES[name](rng), rng), rng) for _ in range(n)], np.float32)

    fitted = Auto(seed=seed).fit(drawn(TRAIN)).committee_
    normal = fitted.log_p_values(drawn(NORMAL))
    found: dict[str, dict[str, float]] = {}
    for kind, plant in PLANTS.items():
        planted = fitted.log_p_values(drawn(PLANTED, plant))
        found[kind] = {
            "whole": ranked(normal[:, 0], planted[:, 0]),
            "places": ranked(normal[:, 1], planted[:, 1]),
            **{type(way).__name__: ranked(way(normal), way(planted)) for way in (Fisher(), HarmonicMean(), Cauchy())},
        }
    return found


def main(words: list[str]) -> None:
    """Measure what is not yet in the results' file."""
    torch.set_num_threads(2)
    cells: dict[str, Callable[[], Any]] = {}
    for seed in range(SEEDS):
        cells |= {f"digits {digit} | {seed}": lambda d=digit, s=seed: digits(d, s) for digit in DIGITS}
        cells |= {f"{name} | {seed}": lambda n=name, s=seed: texture(n, s) for name in TEXTURES}
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {"cells": {}}
    for cell, measured in cells.items():
        if cell in known["cells"] or not all(word in cell for word in words):
            continue
        known["cells"][cell] = measured()
        known["provenance"] = provenance()
        with replacing(RESULTS) as file:
            file.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
        print(cell, json.dumps(known["cells"][cell]), flush=True)
    means: dict[str, list[float]] = {}
    for cell, rows in known["cells"].items():
        if cell.startswith("digits"):
            rows = {"digits": rows}
        for kind, row in rows.items():
            for way, value in row.items():
                means.setdefault(f"{kind}: {way}", []).append(value)
    for name, values in means.items():
        print(f"{name:60} {np.mean(values):.4f} ({len(values)})")


if __name__ == "__main__":
    main(sys.argv[1:])
