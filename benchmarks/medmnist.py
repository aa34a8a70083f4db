"""Sets of MedMNIST: one-class AUROC of size alone, of `Auto` and of every generative family, beside supervised ones.

python -m benchmarks.medmnist [--seeds N] [names of sets ...]

Without names it fills the sets that are on this machine; a set that is named is downloaded if it is not. A cell is a
set, a row and a seed. It runs on one thread, as many of them at once as there are processors, and is kept when it ends,
so that an interrupted run goes on where it stopped.

Everything is trained on the official training part, at most 2000 normals of it, and judged on the official test, at
most 1000 images of it, both drawn at random. Networks have what takes about a minute of one core to fit, found by
timing them on noise, and nothing was chosen by a result: the only rule is that a set of two values has the likelihood
of two values. Intervals are DeLong's, by image, for the sets publish no patients.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from threadpoolctl import threadpool_limits

import unlikelihood as u
from benchmarks.supervised import BoostedRadiomics, Network
from unlikelihood.data.images import Images
from unlikelihood.data.medmnist_sets import SETS
from unlikelihood.metrics.intervals import Interval, delong, seeds_interval
from unlikelihood.metrics.ranking import anomaly_score
from unlikelihood.storage.files import replacing
from unlikelihood.storage.provenance import provenance

RESULTS = Path(__file__).parent / "results" / "medmnist.json"
COMMAND = "python -m benchmarks.medmnist"
TRAIN, TEST = 2000, 1000  # at most so many normals, and so many images


class Data(NamedTuple):
    """What a set gives: normals, the same with the training anomalies for supervised references, and the test."""

    normals: Images
    labelled: Images
    test: Images

    @property
    def binary(self) -> bool:
        """Whether the normals are masks."""
        return len(np.unique(self.normals.pixels)) <= 2

    @property
    def volumes(self) -> bool:
        """Whether there are three spatial axes."""
        return len(self.normals.shape) == 4


Row = u.Detector | BoostedRadiomics | Network


def vae(data: Data, seed: int) -> u.Detector:
    likelihood = u.Bernoulli() if data.binary else u.OptimalGaussian()
    return u.VAE(latent=20, width=16, epochs=8 if data.volumes else 40, batch_size=64, likelihood=likelihood, seed=seed)


def searched(gan: u.DCGAN | u.WGANGP, seed: int) -> u.Detector:
    return u.LatentSearch(gan.set_params(batch_size=32, seed=seed), steps=30, seed=seed)


def dcgan(data: Data, seed: int) -> u.Detector:
    return searched(u.DCGAN(width=8, epochs=5) if data.volumes else u.DCGAN(width=16, epochs=15), seed)


def wgangp(data: Data, seed: int) -> u.Detector:
    # Fewer steps of the critic and a faster rate than the paper's, for so few steps in all.
    gan = partial(u.WGANGP, critic_steps=3, learning_rate=3e-4)
    return searched(gan(width=8, epochs=3) if data.volumes else gan(width=16, epochs=15), seed)


def flow(data: Data, seed: int) -> u.Detector:
    return u.Flow(steps=2, width=8, epochs=2 if data.volumes else 8, seed=seed)


def autoregressive(data: Data, seed: int) -> u.Detector:
    size = {"layers": 3, "width": 4, "epochs": 2} if data.volumes else {"layers": 4, "width": 8, "epochs": 6}
    return u.Autoregressive(u.Binary() if data.binary else None, seed=seed, **size)


def diffusion(data: Data, seed: int) -> u.Detector:
    return u.Diffusion(width=4, epochs=2, seed=seed) if data.volumes else u.Diffusion(width=8, epochs=5, seed=seed)


def network(data: Data, seed: int) -> Network:
    return Network(width=8, epochs=20, seed=seed) if data.volumes else Network(width=16, epochs=40, seed=seed)


ROWS: dict[str, Callable[[Data, int], Row]] = {
    "total volume, larger = anomalous": lambda data, seed: u.TotalVolume(seed=seed),
    "total intensity, two-sided": lambda data, seed: u.TotalIntensity(seed=seed),
    "supervised: boosted trees on radiomics": lambda data, seed: BoostedRadiomics(seed=seed),
    "supervised: convolutional network": network,
    "PCAResidual": lambda data, seed: u.PCAResidual(seed=seed),
    "KNN": lambda data, seed: u.KNN(seed=seed),
    "Auto": lambda data, seed: u.Auto(seed=seed),
    "VAE, reconstruction": vae,
    "LatentSearch on DCGAN": dcgan,
    "LatentSearch on WGANGP": wgangp,
    "Flow": flow,
    "Autoregressive": autoregressive,
    "Diffusion": diffusion,
}

Cell = tuple[str, str, int]


@lru_cache(maxsize=1)
def read(name: str) -> Data:
    """Return the official parts of a set, cut to the sizes that the table has."""
    images = u.MedMNIST(name=name).read()
    part = np.array([name.split("/")[0] for name in images.name])
    train = images[part == "train"]
    normals = drawn(train.normal, TRAIN)
    anomalies = drawn(train.anomalous, TRAIN)
    labelled = Images(
        pixels=np.concatenate([normals.pixels, anomalies.pixels]),
        label=np.concatenate([normals.label, anomalies.label]),
    )
    return Data(normals, labelled, drawn(images[part == "test"], TEST))


def drawn(images: Images, most: int) -> Images:
    """Return at most so many images, always the same, in their order."""
    return images[np.sort(np.random.default_rng(0).permutation(len(images))[:most])]


def measure(cell: Cell) -> dict[str, Any]:
    """Return a cell of the table; times are the processor's, which count nothing else that runs."""
    name, row, seed = cell
    torch.set_num_threads(1)
    data = read(name)
    with threadpool_limits(1):
        started = time.process_time()
        detector = ROWS[row](data, seed)
        detector.fit(data.normals.pixels if isinstance(detector, u.Detector) else data.labelled)
        fitted = time.process_time()
        score = anomaly_score(detector.score_samples(data.test.pixels))
        scored = time.process_time()
    return figures(delong(data.test.label, score)) | {
        "seconds to fit": round(fitted - started, 1),
        "milliseconds to score one": round(1e3 * (scored - fitted) / len(score), 3),
        "setting": " ".join(repr(detector).split()),
        "alarms": list(getattr(getattr(detector, "generator_", detector), "alarms_", ())),
        "provenance": provenance(),
    }


def filled(known: dict[str, Any], cells: Iterable[tuple[Cell, dict[str, Any]]], path: Path) -> dict[str, Any]:
    """Add cells to the results as they come, and keep the results in the file after each."""
    for cell, found in cells:
        known["cells"] = dict(sorted((known["cells"] | {named(cell): found}).items(), key=place))
        keep(known, path)
        print(named(cell), found["auroc"], found["interval"], flush=True)
    return known


def keep(known: dict[str, Any], path: Path) -> None:
    """Write the results, with what follows from the cells."""
    known["summary"] = summary(known["cells"])
    left = {name: [row for row in ROWS if row not in rows] for name, rows in known["summary"].items()}
    known["unfinished"] = {name: rows for name, rows in left.items() if rows}
    known["missing"] = {name: f"{COMMAND} {name}" for name in SETS if name not in known["summary"]}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def measured(cell: Cell) -> tuple[Cell, dict[str, Any]]:
    """Return which cell it is, and what is in it."""
    return cell, measure(cell)


def planned(known: dict[str, Any], names: Iterable[str], seeds: int) -> list[Cell]:
    """Return the cells that are not there yet, seed by seed, so that what an interrupted run leaves is even."""
    plan = [(name, row, seed) for seed in range(seeds) for name in names for row in ROWS]
    return [cell for cell in plan if named(cell) not in known["cells"]]


def named(cell: Cell) -> str:
    """Return the name of a cell."""
    return " | ".join(map(str, cell))


def place(item: tuple[str, object]) -> tuple[int, int, int]:
    """Return where in the file a cell goes: by set, row and seed."""
    name, row, seed = item[0].split(" | ")
    return list(SETS).index(name), list(ROWS).index(row), int(seed)


def summary(cells: dict[str, dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return by set and row the mean AUROC over the seeds, with an interval that holds the sampling of the test."""
    areas: dict[str, dict[str, list[Interval]]] = {}
    for key, found in cells.items():
        name, row, _ = key.split(" | ")
        area = Interval(found["auroc"], *found["interval"])
        areas.setdefault(name, {}).setdefault(row, []).append(area)
    return {
        name: {row: figures(seeds_interval(of, same_test=True)) | {"seeds": len(of)} for row, of in rows.items()}
        for name, rows in areas.items()
    }


def figures(area: Interval) -> dict[str, Any]:
    """Return an AUROC and its interval as they are written."""
    return {"auroc": round(area.value, 4), "interval": [round(area.low, 4), round(area.high, 4)]}


def loaded(path: Path) -> dict[str, Any]:
    """Return the results so far."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"sets": {}, "cells": {}}


def counts(name: str) -> dict[str, Any]:
    """Return what is normal in a set, and how much of it the table uses."""
    data = read(name)
    return {
        "normal": SETS[name].words(SETS[name].normal),
        "training normals": len(data.normals),
        "training anomalies, for supervised references alone": len(data.labelled.anomalous),
        "test normals": len(data.test.normal),
        "test anomalies": len(data.test.anomalous),
    }


def main(arguments: list[str]) -> None:
    """Measure what is not yet in the results' file."""
    parser = argparse.ArgumentParser(prog=COMMAND)
    parser.add_argument("names", nargs="*", choices=[[], *SETS], metavar="name")
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args(arguments)
    known = loaded(RESULTS)
    names = given.names or [name for name in SETS if u.MedMNIST(name=name).file()]
    known["sets"] |= {name: counts(name) for name in names if name not in known["sets"]}  # which downloads them
    keep(known, RESULTS)
    if plan := planned(known, names, given.seeds):
        workers = min(len(plan), len(os.sched_getaffinity(0)))
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            filled(known, pool.imap_unordered(measured, plan), RESULTS)
    for name, rows in known["summary"].items():
        print(name, *(f"  {row}: {found['auroc']} {found['interval']}" for row, found in rows.items()), sep="\n")
    print("Sets that are not here:", *known["missing"].values(), sep="\n  ")


if __name__ == "__main__":
    main(sys.argv[1:])
