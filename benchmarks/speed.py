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
from torch import nn

from unlikelihood import VAE
from unlikelihood.storage.provenance import provenance
from unlikelihood.training.devices import fabric_for, memory_format
from unlikelihood.training.loop import one_cycle, train
from unlikelihood.training.seeding import initialising

RESULTS = Path(__file__).parent / "results" / "speed.json"
PAIRS = 7


def bare(detector: VAE, net: nn.Module, X: np.ndarray) -> None:
    """Train as a script without this package would: nothing but torch."""
    optimizer = torch.optim.Adam(net.parameters(), lr=detector.learning_rate)
    data, layout = torch.from_numpy(X), memory_format(X.shape[1:])
    steps, step = detector.epochs * -(-len(X) // detector.batch_size), 0
    for _ in range(detector.epochs):
        for index in torch.randperm(len(X)).split(detector.batch_size):
            for group in optimizer.param_groups:
                group["lr"] = detector.learning_rate * one_cycle(step / steps)
            optimizer.zero_grad()
            loss = net.negative_elbo(data[index].contiguous(memory_format=layout))
            loss.backward()
            optimizer.step()
            step += 1


def ours(detector: VAE, net: nn.Module, X: np.ndarray) -> None:
    """Train with the package's loop."""
    fabric = fabric_for("cpu", "32-true")
    train(net, detector.objectives(net), X, epochs=detector.epochs, batch_size=detector.batch_size, fabric=fabric)


def seconds(function, *arguments) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def loop_against_bare(shape: tuple[int, ...], n: int) -> dict[str, object]:
    """Compare the samples per second of the loop with the bare one's on equal networks, pair by pair, in turn."""
    X = np.random.default_rng(0).random((n, *shape), dtype=np.float32)
    detector = VAE(epochs=2)
    detector.n_samples_ = n

    def fresh() -> nn.Module:
        with initialising(0):
            return detector.build(shape).to(memory_format=memory_format(shape))

    ours(detector, fresh(), X[:256]), bare(detector, fresh(), X[:256])
    pairs = [(seconds(bare, detector, fresh(), X), seconds(ours, detector, fresh(), X)) for _ in range(PAIRS)]
    return {
        "shape": shape,
        "samples": n,
        "samples_per_second": round(detector.epochs * n / statistics.median(mine for _, mine in pairs)),
        "ratio_to_bare_loop": round(statistics.median(theirs / mine for theirs, mine in pairs), 3),
        "ratios": [round(theirs / mine, 3) for theirs, mine in pairs],
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
