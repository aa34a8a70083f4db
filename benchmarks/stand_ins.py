"""What the rule of `Auto` was chosen by: anomalies made of normals, never a test.

UNLIKELIHOOD_DATA=... python -m benchmarks.stand_ins [words that "digits 4 | 0" or "wine 0 | 0" contains ...]

Digits: 4, 1 and 7 of MNIST's training file are held out in turn, where 9 is absent; the encoder's views are chosen.
Pairs: each digit but 9 is; how much a second critic of an encoder and a second encoder tell. Mirrored: the same
four, with encoders that also learn to tell normals from changed ones.
Textures: those of `benchmarks.local` at other seeds, with defects of other kinds, in a place or all over, and windows
of two photographs. How the opinions on the whole and on places are combined is chosen, and whether exposure is matched
first. Tables: each class of scikit-learn's small ones is held out in turn, and each digit but 9 as a vector; whether
features are standardised is chosen. Small images: each of those digits but 9 as 8x8 pixels, and 12x12 pixels from the
middle of the textures, with what is planted all over, and of the photographs; the members are chosen. The p-values that
each member gives are judged alone and combined. What is found is kept, so that an interrupted run goes on where it
stopped.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_sample_image, load_wine

from benchmarks.local import GRID, SIDE, TEXTURES, TRAIN, Floats, disc, shot
from unlikelihood import (
    KNN,
    LOF,
    MNIST,
    Auto,
    Cauchy,
    Committee,
    Contrastive,
    Fisher,
    HarmonicMean,
    Intensity,
    Radiomics,
    TangentDistance,
    Texture,
)
from unlikelihood.data.mapped import Mapped, held
from unlikelihood.detectors import auto as rule
from unlikelihood.metrics.ranking import auroc
from unlikelihood.nn.augment import Affine, Chain, Elastic, Flips, QuarterTurns, Reflections, Stroke
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
FURTHER = {"mirrored": Reflections(), "mirrored, turned": Chain((Flips(), QuarterTurns()))}
LOADERS = {"wine": load_wine, "iris": load_iris, "cancer": load_breast_cancer}
PHOTOGRAPHS, WINDOW, SMALL = ("china", "flower"), 32, 12
FIRST_SEED = 100  # `benchmarks.local` has those from 0
NORMAL, PLANTED = 100, 20
Values = NDArray[np.float64]


def ranked(normal: Values, anomalous: Values) -> float:
    """Return the AUROC of scores, higher = more normal."""
    label = np.arange(len(normal) + len(anomalous)) >= len(normal)
    return round(float(auroc(label.astype(int), -np.concatenate([normal, anomalous]))), 4)


def by_ways(ways: dict[str, list[int]], normal: Values, anomalous: Values) -> dict[str, float]:
    """Return the AUROC by some members' p-values together, for each choice of members."""
    return {way: ranked(*(Fisher()(p[:, some]) for p in (normal, anomalous))) for way, some in ways.items()}


def held_out_digit(digit: int, seed: int) -> list[NDArray[np.float32]]:
    """Return training normals, further ones, and those of the digit that is held out, of MNIST's training file."""
    stored = MNIST().digits()
    rng = np.random.default_rng([digit, seed])
    known = [np.asarray(rng.permutation(np.flatnonzero(stored.trainable & (stored.digit == one)))) for one in range(10)]
    normal = [one for one in range(10) if one not in (digit, ABSENT)]
    further = rng.permutation(np.concatenate([known[one][EACH:] for one in normal]))[:TEST]
    training = np.sort(np.concatenate([known[one][:EACH] for one in normal]))
    return [
        np.asarray(held(Mapped.of(stored.pixels).choose(rows)), np.float32)[:, None] / 255
        for rows in (training, further, known[digit][:TEST])
    ]


def digits(held_out: int, seed: int) -> dict[str, float]:
    """Return the AUROC of every choice of views where one digit is held out."""
    found: list[list[Values]] = [[], []]
    for views in VIEWS.values():
        with patch.multiple(rule, REDRAWN=views, ENCODERS=1):
            for each, p in zip(found, critics(held_out, seed), strict=True):
                each.append(p[:, :1])
    p_new, p = (np.concatenate(each, axis=1) for each in found)
    some_of = [some for n in range(1, len(VIEWS) + 1) for some in combinations(VIEWS, n)]
    return by_ways({" + ".join(some): [list(VIEWS).index(one) for one in some] for some in some_of}, p_new, p)


def pair(held_out: int, seed: int) -> dict[str, float]:
    """Return the AUROC of a critic, of two of an encoder or of two encoders, and of all four, for a digit held out."""
    ways = {"a critic": [0], "two critics": [0, 1], "two encoders": [0, 2], "all": [0, 1, 2, 3]}
    return by_ways(ways, *critics(held_out, seed))


def mirrored(held_out: int, seed: int) -> dict[str, float]:
    """Return the AUROC of all critics by what else their encoders see, where one digit is held out."""
    found = {}
    for name, augment in FURTHER.items():
        with patch.object(rule, "Contrastive", partial(Contrastive, augment=augment)):
            found |= by_ways({name: [0, 1, 2, 3]}, *critics(held_out, seed))
    return found


def critics(held_out: int, seed: int) -> list[Values]:
    """Return the logarithms of the p-values that the critics of `Auto` give further normals and a held-out digit."""
    known, *others = held_out_digit(held_out, seed)
    encoders = Auto(seed=seed).fit(known).committee_.detectors_
    return [np.hstack([one.detector_.log_p_values(one.encoder_.embed(x)) for one in encoders]) for x in others]


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


def dark(x: Floats, rng: np.random.Generator) -> Floats:
    """All of it darker: what should not be found, unless exposure counts."""
    return x - 2


def texture(name: str, seed: int, exposure: bool) -> dict[str, dict[str, float]]:
    """Return the AUROC of each kind of defect by each opinion, and by ways to combine them."""
    rng = np.random.default_rng([list(TEXTURES).index(name), FIRST_SEED + seed])

    def drawn(n: int, plant: Callable[[Floats, np.random.Generator], Floats] = lambda x, rng: x) -> NDArray[np.float32]:
        return np.array([shot(plant(TEXTURES[name](rng), rng), rng) for _ in range(n)], np.float32)

    fitted = Auto(exposure=exposure, seed=seed).fit(drawn(TRAIN)).committee_
    normal = fitted.log_p_values(drawn(NORMAL))
    planted = {kind: fitted.log_p_values(drawn(PLANTED, plant)) for kind, plant in {**PLANTS, "dark": dark}.items()}
    return {kind: combined(normal, p) for kind, p in planted.items()}


def photograph(name: str, seed: int, exposure: bool) -> dict[str, dict[str, float]]:
    """Return the AUROC of windows of another photograph, where normals are windows of the left of one."""
    known, new, other = windows(name, seed, WINDOW)
    fitted = Auto(exposure=exposure, seed=seed).fit(known).committee_
    return {"another photograph": combined(*map(fitted.log_p_values, (new, other)))}


def windows(name: str, seed: int, side: int) -> list[NDArray[np.float32]]:
    """Return windows of a photograph's left part, of its right part, and of the other photograph."""
    rng = np.random.default_rng(FIRST_SEED + seed)
    one, other = (load_sample_image(f"{each}.jpg") for each in (name, *(set(PHOTOGRAPHS) - {name})))

    def cut(image: NDArray[np.uint8], n: int, left: float = 0, right: float = 1) -> NDArray[np.float32]:
        y = rng.integers(image.shape[0] - side, size=n)
        x = rng.integers(int(left * image.shape[1]), int(right * image.shape[1]) - side, n)
        found = [image[i : i + side, j : j + side] for i, j in zip(y, x, strict=True)]
        return np.moveaxis(np.array(found, np.float32) / 255, -1, 1)

    return [cut(one, 4 * TRAIN, right=0.6), cut(one, 4 * NORMAL, left=0.6), cut(other, 4 * NORMAL)]


def small_digit(held_out: int, seed: int) -> dict[str, dict[str, float]]:
    """Return the AUROC of a digit that is no normal, in 8x8 pixels, by members of small images."""
    digit = load_digits()
    pixels = np.asarray(digit.images[:, None] / 16, np.float32)
    normal = np.flatnonzero((digit.target != held_out) & (digit.target != ABSENT))
    known, new = np.split(np.random.default_rng([held_out, seed]).permutation(normal), [int(0.7 * len(normal))])
    return by_members(pixels[known], pixels[new], {"another digit": pixels[digit.target == held_out]}, seed)


def small_texture(name: str, seed: int) -> dict[str, dict[str, float]]:
    """Return the AUROC of what is planted all over 12x12 pixels of a texture, by members of small images."""
    rng = np.random.default_rng([list(TEXTURES).index(name), FIRST_SEED + seed])
    middle = slice((SIDE - SMALL) // 2, (SIDE + SMALL) // 2)

    def drawn(n: int, plant: Callable[[Floats, np.random.Generator], Floats] = lambda x, rng: x) -> NDArray[np.float32]:
        return np.array([shot(plant(TEXTURES[name](rng), rng), rng)[:, middle, middle] for _ in range(n)], np.float32)

    planted = {kind: drawn(2 * PLANTED, PLANTS[kind]) for kind in ("coarse", "noisy", "soft")}
    return by_members(drawn(TRAIN), drawn(NORMAL), planted, seed)


def small_photograph(name: str, seed: int) -> dict[str, dict[str, float]]:
    """Return the AUROC of 12x12 pixels of another photograph, by members of small images."""
    known, new, other = windows(name, seed, SMALL)
    return by_members(known, new, {"another photograph": other}, seed)


def by_members(
    known: NDArray[np.float32], new: NDArray[np.float32], planted: dict[str, NDArray[np.float32]], seed: int
) -> dict[str, dict[str, float]]:
    """Return the AUROC of each kind of anomaly by the members that small images may have, and by some of them."""
    members = {
        "neighbours": KNN(),
        "density": LOF(n_neighbors=5),
        "tangents": TangentDistance(),
        "texture": Radiomics([Intensity(), Texture()]),
    }
    fitted = Committee(list(members.values()), held_out=0.1, seed=seed).fit(known)
    p_new = fitted.log_p_values(new)
    found: dict[str, dict[str, float]] = {}
    for kind, x in planted.items():
        p = fitted.log_p_values(x)
        found[kind] = {name: ranked(p_new[:, at], p[:, at]) for at, name in enumerate(members)}
        for one, other in combinations(range(len(members)), 2):
            for way in (Fisher(), HarmonicMean()):
                said = f"{list(members)[one]}, {list(members)[other]} | {type(way).__name__}"
                found[kind][said] = ranked(*(way(each[:, [one, other]]) for each in (p_new, p)))
    return found


def table(name: str, held_out: int, seed: int) -> dict[str, float]:
    """Return the AUROC of a class that is no normal, in units of the features, in standard deviations, and in both.

    Units of "wine in other units" are drawn, from a hundredth to a hundred times the first; 64 pixels have one unit.
    """
    X, label = load_digits(return_X_y=True) if name == "pixels" else LOADERS[name.split()[0]](return_X_y=True)
    X, label = X[label != ABSENT], label[label != ABSENT]
    if name.endswith("in other units"):
        X = X * 10 ** np.random.default_rng(FIRST_SEED).uniform(-2, 2, X.shape[1])
    normal = np.random.default_rng([held_out, seed]).permutation(np.flatnonzero(label != held_out))
    known, new = np.split(normal, [int(0.7 * len(normal))])
    fitted = Auto(seed=seed).fit(X[known]).committee_
    p, planted = (fitted.log_p_values(X[rows]) for rows in (new, label == held_out))
    return by_ways({"own units": [0, 1], "standard deviations": [2, 3], "both": [0, 1, 2, 3]}, p, planted)


def combined(normal: Values, planted: Values) -> dict[str, float]:
    """Return the AUROC by the p-values of the opinion on the whole and that on places, and by both."""
    return {
        "whole": ranked(normal[:, 0], planted[:, 0]),
        "places": ranked(normal[:, 1], planted[:, 1]),
        **{type(way).__name__: ranked(way(normal), way(planted)) for way in (Fisher(), HarmonicMean(), Cauchy())},
    }


def so_far() -> dict[str, Any]:
    """Return what is in the results' file."""
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {"cells": {}}


def main(words: list[str]) -> None:
    """Measure what is not yet in the results' file."""
    torch.set_num_threads(2)
    cells: dict[str, Callable[[], Any]] = {}
    for seed in range(SEEDS):
        cells |= {f"digits {digit} | {seed}": lambda d=digit, s=seed: digits(d, s) for digit in DIGITS}
        for digit in range(ABSENT):
            cells[f"pair {digit} | {seed}"] = lambda d=digit, s=seed: pair(d, s)
            cells[f"mirrored {digit} | {seed}"] = lambda d=digit, s=seed: mirrored(d, s)
        for exposure, said in ((True, "as it is"), (False, "exposure matched")):
            for name in TEXTURES:
                cells[f"{name}, {said} | {seed}"] = lambda n=name, s=seed, e=exposure: texture(n, s, e)
            for name in PHOTOGRAPHS:
                cells[f"{name}, {said} | {seed}"] = lambda n=name, s=seed, e=exposure: photograph(n, s, e)
        for name in ("wine", "iris", "cancer", "wine in other units", "iris in other units", "cancer in other units"):
            classes = range(2 if name.startswith("cancer") else 3)
            cells |= {f"{name} {k} | {seed}": lambda n=name, k=k, s=seed: table(n, k, s) for k in classes}
        cells |= {f"pixels {k} | {seed}": lambda k=k, s=seed: table("pixels", k, s) for k in range(ABSENT)}
        cells |= {f"small {k}, digits | {seed}": lambda k=k, s=seed: small_digit(k, s) for k in range(ABSENT)}
        cells |= {f"small {k}, textures | {seed}": lambda k=k, s=seed: small_texture(k, s) for k in TEXTURES}
        cells |= {f"small {k}, textures | {seed}": lambda k=k, s=seed: small_photograph(k, s) for k in PHOTOGRAPHS}
    known = so_far()
    for cell, measured in cells.items():
        if cell in known["cells"] or not all(word in cell for word in words):
            continue
        found = measured()
        known = so_far()  # with what another run has found meanwhile
        known["cells"][cell] = found
        known["provenance"] = provenance()
        with replacing(RESULTS) as file:
            file.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
        print(cell, json.dumps(known["cells"][cell]), flush=True)
    means: dict[str, list[float]] = {}
    for cell, found in known["cells"].items():
        said = cell.partition(" | ")[0].partition(", ")[2]
        for kind, row in found.items() if said else [("", found)]:
            for way, value in row.items():
                means.setdefault(
                    " | ".join((said or cell.partition(" | ")[0].rstrip(" 0123456789"), kind, way)), []
                ).append(value)
    for name, values in means.items():
        print(f"{name:70} {np.mean(values):.4f} ({len(values)})")


if __name__ == "__main__":
    main(sys.argv[1:])
