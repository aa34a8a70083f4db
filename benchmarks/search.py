"""What the search of a latent space costs, beside one query at a time and beside its bare arithmetic.

Times are the processor's, summed over threads, but for one. Then AUROC against steps, on pixels and on contrastive
features: nines among the other digits of MNIST.

UNLIKELIHOOD_DATA=... python -m benchmarks.search [models/gan]

Without the folder of a fitted `DCGAN`, one of a width of 16 is trained for 10 epochs first.
"""

import copy
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch

from unlikelihood import DCGAN, MNIST, AdamDescent, Contrastive, EncoderSearch, LatentSearch, load
from unlikelihood.metrics.ranking import auroc
from unlikelihood.recipes.mnist_gan import gan_of_embeddings
from unlikelihood.storage.provenance import provenance
from unlikelihood.training.devices import memory_format

RESULTS = Path(__file__).parent / "results" / "search.json"
QUERIES, STEPS, ROUNDS, ALONE = 450, 100, 3, 3


def bare(generator: DCGAN, X: np.ndarray, z: torch.Tensor, at_once: int) -> None:
    """Forward and backward passes alone, as many as a search makes: no loss maps, no optimiser, no results."""
    net = generator.net_.requires_grad_(False)
    for x, start in zip(torch.from_numpy(X).split(at_once), z.split(at_once), strict=True):
        x = x.contiguous(memory_format=memory_format(X.shape[1:]))
        f = net.critic.features(x)[-1]
        at = start.clone().requires_grad_(True)
        for _ in range(STEPS):
            made = net.average(at)
            loss = (x - made).abs().sum() + (f - net.critic.features(made)[-1]).abs().sum()
            torch.autograd.grad(loss, at)
        with torch.no_grad():
            net.critic.features(net.average(at))
    net.requires_grad_(True)


def refining(encoder: EncoderSearch, steps: int) -> EncoderSearch:
    """Return the fitted detector with another number of refinement steps."""
    return copy.copy(encoder).set_params(refine=steps)


def seconds(function, *arguments) -> float:
    """Seconds of the processor, of all threads: what else runs on the machine does not count."""
    start = time.process_time()
    function(*arguments)
    return time.process_time() - start


def wall(function, *arguments) -> float:
    """Seconds of the clock, with the machine's cores to itself or not."""
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def one_at_a_time(detector: LatentSearch, X: np.ndarray) -> None:
    for query in X:
        detector.search(query[None])


def curve(space: str, detectors, X: np.ndarray, label: np.ndarray) -> list[dict[str, str | float]]:
    """AUROC and seconds a query over the steps of the search."""
    points = []
    for detector in detectors:
        start = time.process_time()
        scores = detector.score_samples(X)
        points.append(
            {
                "detector": f"{type(detector).__name__} on {space}",
                "steps": detector.steps if isinstance(detector, LatentSearch) else detector.refine,
                "auroc": round(float(auroc(label, -scores)), 4),
                "processor_milliseconds_a_query": round(1e3 * (time.process_time() - start) / len(X), 2),
            }
        )
        print(points[-1], flush=True)
    return points


def main() -> None:
    split = MNIST().split()
    train, test = split.train.pixels, split.test
    generator = load(sys.argv[1]) if len(sys.argv) > 1 else DCGAN(width=16, epochs=10, device="cpu").fit(train)
    detector = LatentSearch(generator, STEPS).fit(train)
    queries = np.ascontiguousarray(test.pixels[:QUERIES])
    starts = generator.draw(QUERIES)
    rounds = []
    for _ in range(ROUNDS):
        alone = seconds(bare, generator, queries, starts, 256)
        ours = seconds(detector.search, queries)
        single = seconds(one_at_a_time, detector, queries[:ALONE]) / ALONE * QUERIES
        rounds.append({"bare": round(alone, 2), "ours": round(ours, 2), "one at a time": round(single, 2)})
        print(rounds[-1], flush=True)
    encoder = EncoderSearch(generator, 0, descent=AdamDescent(0.1), width=16, epochs=3).fit(train)
    encoder.score_samples(queries)
    passes = [seconds(encoder.score_samples, queries) for _ in range(ROUNDS)]
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    walls = [wall(encoder.score_samples, queries) for _ in range(2 * ROUNDS)]
    torch.set_num_threads(threads)
    searches = [LatentSearch(generator, steps).fit(train) for steps in (0, 3, 10, 30, 100, 200)]
    refined = [refining(encoder, steps) for steps in (0, 3, 10, 30)]
    features = Contrastive().fit(train)
    on_features = EncoderSearch(gan_of_embeddings(seed=0), 0).fit(features.embed(train))
    some, label = test.pixels[::3], test.label[::3]
    points = curve("pixels", [*searches, *refined], some, label) + curve(
        "contrastive features",
        [refining(on_features, steps) for steps in (0, 3, 10, 30, 100)],
        features.embed(some),
        label,
    )
    results = {
        "queries": QUERIES,
        "steps": STEPS,
        "width": generator.width,
        "epochs": generator.epochs,
        "rounds, processor seconds": rounds,
        "one at a time": f"extrapolated from {ALONE} queries",
        "ratio to the bare arithmetic": round(statistics.median(r["ours"] / r["bare"] for r in rounds), 3),
        "times faster than one at a time": round(statistics.median(r["one at a time"] / r["ours"] for r in rounds), 1),
        "EncoderSearch, k = 0, processor milliseconds a query": round(1e3 * statistics.median(passes) / QUERIES, 3),
        "the same by the clock, two threads, fastest of six": round(1e3 * min(walls) / QUERIES, 3),
        "milliseconds to embed a query": round(1e3 * seconds(features.embed, some) / len(some), 3),
        "AUROC against steps, every third test sample": points,
        "threads": threads,
        "provenance": provenance(),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
