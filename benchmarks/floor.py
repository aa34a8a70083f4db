"""How much of the time to fit and to score is arithmetic that cannot be left out, and what the rest is.

python -m benchmarks.floor [--only NAME ...] [--rounds 3]

The floor is the time that the products of matrices and the convolutions of a run would take, forward, backward and in
gradients of gradients, if all of them went as fast as the fastest product of two large matrices: float32, one thread,
measured anew in every round. The figure is the floor over the processor time of all of `fit` or `score_samples`.

torch counts these operations by their definition. So a convolution that is computed by fewer, as Winograd's, may beat
the floor; masked weights count as if they were none. Not counted, and so no part of the floor: what is element by
element, normalisation, sums, resampling, noise, the optimiser, products with a vector, and all that is outside torch.
The kinds of operation share the time of another, profiled run; the profiler lengthens Python's part.
"""

import argparse
import json
import re
import statistics
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.memory import write
from unlikelihood import WGANGP, Auto, Detector, LatentSearch
from unlikelihood.contract.trained import Learner
from unlikelihood.storage.discovery import subclasses
from unlikelihood.storage.files import replacing
from unlikelihood.storage.provenance import provenance

RESULTS = Path(__file__).parent / "results" / "floor.json"
SAMPLES: dict[tuple[int, ...], int] = {(1, 28, 28): 128, (1, 16, 16, 16): 32}
GROUND = 0.35  # below which a sample is 0, so that it is a drawing to `Auto`
SIZES = (256, 512, 1024)  # of the matrices whose product is the fastest that there is
PRODUCTS, OUTSIDE = "products", "Python"  # of matrices, and convolutions; what it calls beside torch is Python too
# The first kind that matches the name of an operation is its own.
KINDS = {
    PRODUCTS: r"conv|mm$|linear|matmul",
    "normalisation": r"(batch|group|layer)_norm",
    "optimiser": r"adam|optimizer|foreach",
    "noise": r"::(normal_|uniform_|bernoulli|rand|random_)",
    "resampling": r"grid_sampler|upsample|interpol|pool",
    "sums": r"::(cum)?sum|mean|::std|::var|vector_norm|logsumexp|softmax|cummax|::a?m(in|ax)$|sort|topk",
    "moving data": r"copy|::(cat|stack|clone|contiguous|to|index|gather|scatter|select|slice|empty|zero|fill_|new_|ones"
    r"|flip|roll|pad|constant_pad|reflection|replication|as_strided|view|reshape|expand|permute|transpose|t$|resize)",
    "element by element": r"^aten::",
}


class Operations(FlopCounterMode):
    """Counts the floating-point operations inside the block."""

    def __init__(self) -> None:
        super().__init__(display=False)
        # What tells the modules apart hooks into their gradients, and so stands no gradient of a gradient.
        self.mod_tracker: Any = nullcontext()
        self.mod_tracker.parents = {"Global"}


def operations(work: Callable[[], object]) -> int:
    """Return how many floating-point operations the products and convolutions of a call have."""
    with Operations() as counter:
        work()
    return counter.get_total_flops()


def rate() -> float:
    """Return the floating-point operations a second of the fastest product of matrices."""
    best = 0.0
    for size in SIZES:
        a, b = torch.rand(2, size, size)
        for _ in range(4):
            best = max(best, 2 * size**3 / seconds(lambda a=a, b=b: a @ b))
    return best


def seconds(work: Callable[[], object]) -> float:
    """Return the seconds of the processor that a call takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def shares(work: Callable[[], object]) -> dict[str, float]:
    """Return the share of each kind of operation in the time of a call, the largest first."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        start = time.perf_counter_ns()
        work()
        whole = (time.perf_counter_ns() - start) / 1000
    found: Counter[str] = Counter()
    for event in profiled.key_averages():
        found[kind(event.key)] += event.self_cpu_time_total
    found[OUTSIDE] = whole - sum(time for name, time in found.items() if name != OUTSIDE)
    return {name: round(time / whole, 3) for name, time in found.most_common()}


def kind(operation: str) -> str:
    """Return the kind of an operation, by its name in torch."""
    return next((name for name, pattern in KINDS.items() if re.search(pattern, operation.lower())), OUTSIDE)


def measured(work: Callable[[], object], rounds: int) -> dict[str, Any]:
    """Return what of the time of a call is its floor."""
    counted = operations(work)
    rates, times = zip(*((rate(), seconds(work)) for _ in range(rounds)), strict=True)
    floors = sorted(counted / fastest / taken for fastest, taken in zip(rates, times, strict=True))
    return {
        "GFLOP": float(f"{counted / 1e9:.4g}"),
        "processor seconds": round(statistics.median(times), 4),
        "GFLOP/s of the fastest product": round(statistics.median(rates) / 1e9, 1),
        "floor over time": [round(value, 4) for value in (statistics.median(floors), floors[0], floors[-1])],
        "shares of time": shares(work),
    }


def detectors(X: np.ndarray) -> dict[str, Detector]:
    """Return all that have a network, as they are by default but for one pass and the GANs' width, and what uses one.

    Searches are of a generator that is fitted, so that their rows are of the search.
    """
    gan = WGANGP(width=32, epochs=1).fit(X)
    changes: dict[str, dict[str, Any]] = {
        "DCGAN": {"width": 32},
        "WGANGP": {"width": 32},
        "EncoderSearch": {"generator": gan},
    }
    found = {name: made(epochs=1, **changes.get(name, {})) for name, made in subclasses(Learner, "detectors").items()}
    return found | {"LatentSearch": LatentSearch(gan, steps=20), "Auto": Auto(steps=8, workers=1)}


def drawings(shape: tuple[int, ...], n: int) -> np.ndarray:
    """Return blobs on a ground of zero, in [0, 1]."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "X.npy", shape, n)
        X = np.load(Path(folder) / "X.npy").astype(np.float32) / 255
    return np.where(X < GROUND, np.float32(0), X)


def main() -> None:
    """Measure, and write the results after each detector."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="*", help="detectors to measure, by their class")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows = json.loads(asked.out.read_text(encoding="utf-8"))["rows"] if asked.out.exists() else {}
    for shape, n in SAMPLES.items():
        X, of_shape = drawings(shape, n), rows.setdefault("x".join(map(str, shape[1:])), {})
        for name, detector in detectors(X).items():
            if asked.only is not None and name not in asked.only:
                continue
            fit, score = partial(detector.fit, X), partial(detector.score_samples, X)
            fit()
            works = {"score": score} if name == "LatentSearch" else {"fit": fit, "score": score}
            of_shape[name] = {what: measured(work, asked.rounds) for what, work in works.items()}
            print(shape, name, json.dumps(of_shape[name]), flush=True)
            with replacing(asked.out) as file:
                record = {"samples": list(SAMPLES.values()), "rows": rows, "provenance": provenance()}
                file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
