"""What volumes cost: latent search at 28x28x28, beside the thesis' minute an image, and the memory of training.

Times are the processor's, summed over threads, for what else runs on the machine does not count there; wall times are
beside them.

python -m benchmarks.volumes [training]

With that word the search is left as it was measured, and only the memory of training is.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.memory import peak
from unlikelihood import DCGAN, VAE, WGANGP, EncoderSearch, LatentSearch, Phantom
from unlikelihood.contract.detector import Detector
from unlikelihood.metrics.ranking import auroc
from unlikelihood.storage.provenance import provenance

RESULTS = Path(__file__).parent / "results" / "volumes.json"
THESIS = 60.0  # seconds an image, of 200 steps
STEPS, BATCH, QUERIES = 200, 64, 64
TRAIN, WIDTH, EPOCHS = 512, 8, 4
TRAINED = {
    "VAE": VAE(epochs=1, batch_size=BATCH, device="cpu"),
    "DCGAN": DCGAN(epochs=1, batch_size=BATCH, width=64, device="cpu"),
    "WGANGP": WGANGP(epochs=1, batch_size=BATCH, width=64, critic_steps=1, device="cpu"),
}


def train(name: str, size: int) -> None:
    """Train for two steps of a batch of 64 and print the peak memory; run in a process of its own."""
    X = np.random.default_rng(0).random((2 * BATCH, 1, *(size,) * 3), dtype=np.float32)
    before = peak()
    start = time.process_time()
    TRAINED[name].fit(X)
    print(
        json.dumps(
            {
                "peak GiB": round(peak() / 1024, 2),
                "of which before training": round(before / 1024, 2),
                "processor seconds a step": round((time.process_time() - start) / 2, 2),
            }
        )
    )


def memory() -> list[dict[str, object]]:
    """Peak memory of training, each detector and size in a process of its own."""
    rows = []
    for size in (28, 32):
        for name, detector in TRAINED.items():
            command = [sys.executable, "-m", "benchmarks.volumes", name, str(size)]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            rows.append({"detector": name, "width": detector.width, "size": size, "batch": BATCH} | json.loads(printed))
            print(rows[-1], flush=True)
    return rows


def score(detector: Detector, X: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """Cost and AUROC of scoring in batches of 64."""
    wall, processor = time.perf_counter(), time.process_time()
    scores = np.concatenate([detector.score_samples(X[at : at + BATCH]) for at in range(0, len(X), BATCH)])
    spent, wall = (time.process_time() - processor) / len(X), (time.perf_counter() - wall) / len(X)
    return {
        "processor milliseconds an image": round(1e3 * spent, 2),
        "wall milliseconds an image": round(1e3 * wall, 2),
        "times faster than the thesis' minute, by the processor": round(THESIS / spent),
        "AUROC": round(float(auroc(label, -scores)), 3),
        "peak GiB": round(peak() / 1024, 2),
    }


def main() -> None:
    phantom = Phantom(size=28)
    first = phantom.train + phantom.calibration
    X = phantom.images(2 * np.arange(TRAIN)).pixels
    test = phantom.images([*(2 * np.arange(first, first + QUERIES // 2)), *(2 * np.arange(QUERIES // 2) + 1)])
    # More and shorter steps than the paper's, for a generator that has learnt something after a few minutes.
    gan = WGANGP(width=WIDTH, epochs=EPOCHS, batch_size=16, critic_steps=3, learning_rate=3e-4, device="cpu").fit(X)
    search = LatentSearch(gan, STEPS).fit(X)
    encoder = EncoderSearch(gan, 0, width=WIDTH, epochs=EPOCHS, batch_size=BATCH, device="cpu").fit(X)
    results: dict[str, object] = {
        "generator": f"WGANGP of width {WIDTH}, {EPOCHS} epochs of {TRAIN} phantoms of 28 x 28 x 28",
        "queries": f"{QUERIES}, half of them malignant, in batches of {BATCH}",
        f"LatentSearch, {STEPS} steps": score(search, test.pixels, test.label),
        "EncoderSearch, k = 0": score(encoder, test.pixels, test.label),
        "threads": torch.get_num_threads(),
        "provenance": provenance(),
    }
    write(results)
    add_training()


def add_training() -> None:
    """Measure the memory of training, and keep it beside what the file has."""
    write(json.loads(RESULTS.read_text(encoding="utf-8")) | {"training": memory()})


def write(results: dict[str, object]) -> None:
    """Keep the results."""
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=1, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            main()
        case ["training"]:
            add_training()
        case [name, size]:
            train(name, int(size))
