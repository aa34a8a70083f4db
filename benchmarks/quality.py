"""Every detector on every task: AUROC, seconds, parameters and memory.

python -m benchmarks.quality [--quick] [--workers N] [--ray ADDRESS] [words that "task | group | seed" contains ...]

A group is one detector, or several that share a part, which is fitted once: only the first of them has its time. Each
group runs on one thread in a process of its own, as many at once as there are processors, or as many as a Ray cluster
has, and is kept when it ends, so that an interrupted run goes on where it stopped. Every detector has one setting for
all tasks; those of the densities on pixels are small, for the table to take hours and not days. Nothing is chosen here.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from joblib.externals.loky import ProcessPoolExecutor
from sklearn.svm import OneClassSVM
from torch import nn

import unlikelihood as u
from benchmarks.memory import peak
from unlikelihood.data.splits import Split
from unlikelihood.metrics.intervals import delong
from unlikelihood.progress import plain
from unlikelihood.storage.files import replacing
from unlikelihood.storage.provenance import commit, provenance
from unlikelihood.storage.workers import ended, follow_parent

RESULTS = Path(__file__).parent / "results"

Group = Callable[[int], dict[str, u.Detector]]


def small(seed: int) -> u.VAE:
    """Return the VAE on pixels."""
    return u.VAE(latent=20, width=16, epochs=10, likelihood=u.OptimalGaussian(), seed=seed)


def vaes(seed: int) -> dict[str, u.Detector]:
    """One VAE on pixels, and the scores and corrections that take it as it is."""
    vae = small(seed)
    return {
        "VAE, reconstruction": vae,
        "VAE, input complexity": u.InputComplexity(vae, seed=seed),
        "VAE, typicality": u.Typicality(vae, seed=seed),
        "VAE, likelihood regret": u.LikelihoodRegret(vae, steps=20, seed=seed),
        "VAE, path statistics (DoSE)": u.PathStatistics(vae, seed=seed),
        "VAE, SAP": u.SAP(vae, seed=seed),
    }


def contrastive(seed: int) -> dict[str, u.Detector]:
    """One contrastive encoder: its neighbours, and densities of its embeddings."""
    encoder = u.Contrastive(seed=seed)

    def on(detector: u.Detector) -> u.Detector:
        return u.FeatureSpace(encoder, detector, seed=seed)

    return {
        "Contrastive": encoder,
        "VAE on contrastive features": on(
            u.VAE(
                latent=16,
                epochs=20,
                likelihood=u.OptimalGaussian(),
                prior=u.Exemplars(),
                scoring=u.LatentDensity(),
                seed=seed,
            )
        ),
        "Flow on contrastive features": on(u.Flow(seed=seed)),
        "Diffusion on contrastive features": on(u.Diffusion(seed=seed)),
    }


GROUPS: dict[str, Group] = {
    "TotalIntensity": lambda seed: {"TotalIntensity": u.TotalIntensity(seed=seed)},
    "KNN": lambda seed: {"KNN": u.KNN(seed=seed)},
    "TangentDistance": lambda seed: {"TangentDistance": u.TangentDistance(seed=seed)},
    "LOF": lambda seed: {"LOF": u.LOF(seed=seed)},
    "IsolationForest": lambda seed: {"IsolationForest": u.IsolationForest(seed=seed)},
    "PCAResidual": lambda seed: {"PCAResidual": u.PCAResidual(seed=seed)},
    "TotalVolume": lambda seed: {"TotalVolume": u.TotalVolume(seed=seed)},
    "RadialProfile": lambda seed: {"RadialProfile": u.RadialProfile(seed=seed)},
    "Radiomics": lambda seed: {"Radiomics": u.Radiomics(seed=seed)},
    "thickness": lambda seed: {"Radiomics, thickness": u.Radiomics([u.Thickness()], seed=seed)},
    "InsideDistance": lambda seed: {"InsideDistance": u.InsideDistance(seed=seed)},
    "Contrastive": contrastive,
    "Auto": lambda seed: {"Auto": u.Auto(seed=seed)},
    "VAE": vaes,
    # Each with a fit of its own, for they came later.
    "NAP": lambda seed: {"VAE, NAP": u.NAP(small(seed), seed=seed)},
    "GradientNorm": lambda seed: {"VAE, gradient norm": u.GradientNorm(small(seed), seed=seed)},
    "LikelihoodRatio": lambda seed: {"VAE, likelihood ratio": u.LikelihoodRatio(small(seed), seed=seed)},
    "Committee": lambda seed: {"Committee": u.Committee([u.KNN(), u.LOF(), u.PCAResidual()], seed=seed)},
    "Estimator": lambda seed: {"Estimator, one-class SVM": u.Estimator(OneClassSVM(), seed=seed)},
    "Flow": lambda seed: {"Flow": u.Flow(steps=4, width=16, epochs=2, seed=seed)},
    "Autoregressive": lambda seed: {"Autoregressive": u.Autoregressive(layers=4, width=8, epochs=2, seed=seed)},
    "Diffusion": lambda seed: {"Diffusion": u.Diffusion(width=8, epochs=3, seed=seed)},
}
MNIST9 = "MNIST 9"
TASKS: dict[str, tuple[Callable[[int], Split], int]] = {
    "Digits": (lambda seed: u.Digits(seed=seed).split(), 5),
    MNIST9: (lambda seed: u.MNIST(seed=seed).split(), 5),
    **{f"MNIST {digit}": (lambda seed, d=digit: u.MNIST(anomalous=(d,), seed=seed).split(), 1) for digit in range(9)},
    "AdrenalMNIST3D": (lambda seed: u.MedMNIST(name="adrenalmnist3d", seed=seed).split(), 3),
    "Phantom": (lambda seed: u.Phantom(seed=seed).split(), 3),
    "LIDC": (lambda seed: u.LIDC(seed=seed).split(), 5),
}
# On volumes, where one seed has to do.
SLOW = ("Contrastive", "VAE", "NAP", "GradientNorm", "LikelihoodRatio", "Flow", "Autoregressive", "Diffusion")
VOLUMES = ("AdrenalMNIST3D", "Phantom", "LIDC")
TEN = "MNIST, each digit"  # at seed 0
HEADS = (MNIST9, TEN, "AdrenalMNIST3D", "Phantom", "LIDC", "Digits")
COSTS = ("fit seconds", "score milliseconds", "weights", "peak MiB of the group")
# What two cores do in a quarter of an hour.
QUICK_TASKS = ("Digits", MNIST9, "AdrenalMNIST3D")
QUICK_GROUPS = ("TotalIntensity", "KNN", "LOF", "IsolationForest", "PCAResidual", "Radiomics", "thickness", "Auto")


def weights(part: object) -> int:
    """Count the weights of all networks in a detector, those of its parts included."""
    if isinstance(part, nn.Module):
        return sum(weight.numel() for weight in part.parameters())
    if isinstance(part, tuple | list):
        return sum(map(weights, part))
    return sum(map(weights, vars(part).values())) if isinstance(part, u.Detector) else 0


@plain()
def measure(task: str, group: str, seed: int) -> dict[str, dict[str, object]]:
    """Fit and judge the detectors of a group, on one thread."""
    torch.set_num_threads(1)
    split = TASKS[task][0](seed)
    rows: dict[str, dict[str, object]] = {}
    for name, detector in GROUPS[group](seed).items():
        if not hasattr(detector, "shape_"):
            detector.fit(split.train.pixels)
        started = time.perf_counter()
        score = detector.score_samples(split.test.pixels)
        seconds = time.perf_counter() - started
        area = delong(split.test.label, -score)
        rows[name] = {
            "auroc": round(area.value, 4),
            "interval": [round(area.low, 4), round(area.high, 4)],
            "fit seconds": round(detector.fit_seconds_, 1),
            "score milliseconds": round(1e3 * seconds / len(score), 3),
            "weights": weights(detector),
            "peak MiB of the group": round(peak()),
            "commit": commit(),
        }
        if isinstance(detector, u.Auto):
            rows[name]["members"] = members(detector, split.test)
    return rows


def members(auto: u.Auto, test: u.Images) -> list[dict[str, object]]:
    """Return the AUROC of each member of the committee alone, which the whole should not be far below."""
    log_p = auto.committee_.log_p_values(test.pixels)
    areas = [float(delong(test.label, -values).value) for values in log_p.T]
    return [
        {"class": type(member).__name__, "auroc": round(area, 4)}
        for member, area in zip(auto.committee_.detectors_, areas, strict=True)
    ]


def alone(task: str, group: str, seed: int) -> dict[str, dict[str, object]]:
    """Measure in a new process, for a worker's peak of memory would be that of all groups that it has measured."""
    with ProcessPoolExecutor(1, initializer=follow_parent) as process:
        return process.submit(measure, task, group, seed).result()


def named(task: str, group: str, seed: int) -> str:
    """Return the name of a cell."""
    return f"{task} | {group} | {seed}"


def place(item: tuple[str, object]) -> tuple[int, int, str]:
    """Return where in the file a cell goes: by task, group and seed."""
    task, group, seed = item[0].split(" | ")
    return list(TASKS).index(task), list(GROUPS).index(group), seed


def main() -> None:
    """Measure what is not yet in the results' file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="what the names of cells contain")
    parser.add_argument("--quick", action="store_true", help="what two cores do in a quarter of an hour")
    parser.add_argument("--workers", type=int, help="groups at once: as many as there are processors unless given")
    parser.add_argument("--ray", help="address of a Ray cluster that measures")
    given = parser.parse_args()
    if given.workers is None and given.ray is None:
        given.workers = len(os.sched_getaffinity(0))
    with u.workers(given.workers, given.ray):
        run(given.quick, [word.lower() for word in given.words])


def run(quick: bool, words: list[str]) -> None:
    """Measure what is not yet in the results' file, of the cells whose names contain all words."""
    path = RESULTS / ("quality--quick.json" if quick else "quality.json")
    known = json.loads(path.read_text()) if path.exists() else {"provenance": provenance(), "cells": {}}
    plan = [
        (task, group, seed)
        for task, (_, seeds) in TASKS.items()
        for group in GROUPS
        for seed in range(1 if quick or (group in SLOW and task in VOLUMES) else seeds)
        if not quick or (task in QUICK_TASKS and group in QUICK_GROUPS)
        if all(word in named(task, group, seed).lower() for word in words)
    ]
    # Seed by seed, so that what an interrupted run leaves is even.
    plan = sorted((cell for cell in plan if named(*cell) not in known["cells"]), key=lambda cell: cell[2])
    for number, rows in ended([partial(alone, *cell) for cell in plan], None, "Groups"):
        name = named(*plan[number])
        known["cells"] = dict(sorted((known["cells"] | {name: rows}).items(), key=place))
        known["summary"] = summary(known["cells"])
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(known, indent=1) + "\n")
        print(name, {name: row["auroc"] for name, row in rows.items()}, flush=True)
    for name, row in known["summary"].items():
        print(name.ljust(36), *(f"{task}: {cell}" for task, cell in row.items()), sep="  ")


def summary(cells: dict[str, dict[str, dict[str, object]]]) -> dict[str, dict[str, str]]:
    """Return the table: by detector and task the AUROC, mean ± standard deviation over (how many) seeds or digits.

    The costs are medians over MNIST 9: seconds to fit, milliseconds to score one, weights, peak memory.
    """
    areas: dict[str, dict[str, list[float]]] = {}
    costs: dict[str, dict[str, list[float]]] = {}
    for key, rows in cells.items():
        task, _, seed = key.split(" | ")
        for name, row in rows.items():
            of = areas.setdefault(name, {})
            if task.startswith("MNIST") and seed == "0":
                of.setdefault(TEN, []).append(float(row["auroc"]))  # type: ignore[arg-type]
            if task in HEADS:
                of.setdefault(task, []).append(float(row["auroc"]))  # type: ignore[arg-type]
            if task == MNIST9:
                for cost in COSTS:
                    costs.setdefault(name, {}).setdefault(cost, []).append(float(row[cost]))  # type: ignore[arg-type]
    return {
        name: {head: spread(of[head]) for head in HEADS if head in of}
        | {cost: f"{np.median(found):.5g}" for cost, found in costs.get(name, {}).items()}
        for name, of in areas.items()
    }


def spread(found: list[float]) -> str:
    """Return mean ± standard deviation (how many)."""
    deviation = f" ± {np.std(found, ddof=1):.3f}" if len(found) > 1 else ""
    return f"{np.mean(found):.3f}{deviation} ({len(found)})"


if __name__ == "__main__":
    from benchmarks import quality  # under the name by which other processes find it

    quality.main()
