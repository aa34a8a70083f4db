"""What the training loop and the start-up cost, each beside a named alternative measured in the same run.

python -m benchmarks.speed
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from unlikelihood import VAE
from unlikelihood.provenance import provenance
from unlikelihood.training import memory_format, one_cycle, seeded

RESULTS = Path(__file__).parent / "results" / "speed.json"
PAIRS = 7


def bare(detector: VAE, X: np.ndarray) -> None:
    """Train the detector's own network as a script without this package would: nothing but torch."""
    with seeded(detector.seed):
        net = detector.build(X.shape[1:]).to(memory_format=memory_format(X.shape[1:]))
        optimizer = torch.optim.Adam(net.parameters(), lr=detector.learning_rate)
        data = torch.from_numpy(X)
        steps, step = detector.epochs * -(-len(X) // detector.batch_size), 0
        for _ in range(detector.epochs):
            for index in torch.randperm(len(X)).split(detector.batch_size):
                for group in optimizer.param_groups:
                    group["lr"] = detector.learning_rate * one_cycle(step / steps)
                loss = net.negative_elbo(data[index].contiguous(memory_format=memory_format(X.shape[1:])))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                step += 1


def seconds(function, *arguments) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def loop_against_bare(shape: tuple[int, ...], n: int) -> dict[str, object]:
    """Samples per second of `fit` over those of the bare loop, pair by pair, in turn."""
    X = np.random.default_rng(0).random((n, *shape), dtype=np.float32)
    detector = VAE(epochs=1, device="cpu")
    detector.n_samples_ = n
    detector.fit(X[:256]), bare(detector, X[:256])
    pairs = [(seconds(bare, detector, X), seconds(detector.fit, X)) for _ in range(PAIRS)]
    return {
        "shape": shape,
        "samples": n,
        "samples_per_second": round(n / statistics.median(ours for _, ours in pairs)),
        "ratio_to_bare_loop": round(statistics.median(theirs / ours for theirs, ours in pairs), 3),
        "ratios": [round(theirs / ours, 3) for theirs, ours in pairs],
    }


def whole_process(*command: str) -> float:
    return statistics.median(
        seconds(lambda: subprocess.run(command, check=True, capture_output=True)) for _ in range(7)
    )


def main() -> None:
    python = whole_process(sys.executable, "-c", "pass")
    results = {
        "training loop": [loop_against_bare((1, 28, 28), 4608), loop_against_bare((32,), 16384)],
        "import unlikelihood, seconds over bare python": round(
            whole_process(sys.executable, "-c", "import unlikelihood") - python, 3
        ),
        "unlikelihood --help, seconds": round(
            whole_process(str(Path(sys.executable).with_name("unlikelihood")), "--help"), 3
        ),
        "threads": torch.get_num_threads(),
        "provenance": provenance(),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
