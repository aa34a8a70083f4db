"""A setting of the VAE on MNIST, and what it is measured on: other digits in the nines' place."""

import copy
import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlikelihood.data.mnist import MNIST
from unlikelihood.data.splits import draw
from unlikelihood.detectors.vae import VAE
from unlikelihood.metrics.intervals import delong
from unlikelihood.nn.likelihoods import THESIS_SIGMA, Gaussian
from unlikelihood.nn.scores import Reconstruction
from unlikelihood.storage.provenance import provenance

STANDINS = (4, 7)
BEYOND = 50  # "values greater than 50 are highly probably anomalies", of the thesis' figure of the scores' densities


@dataclass(frozen=True)
class Cell:
    """A setting of what is open.

    Parameters
    ----------
    form : type
        The VAE's layers and optimiser.
    latent, width, epochs, learning_rate
        The VAE's.
    scale : float
        How much more a squared error counts than on [0, 1]: 4 on [-1, 1], 10.5 of pixels with a deviation of 1.
    """

    form: type[VAE] = VAE
    latent: int = 20
    width: int = 8
    epochs: int = 10
    scale: float = 1.0
    learning_rate: float = 1e-3

    @property
    def name(self) -> str:
        """What the results call it."""
        return json.dumps(self.plain)

    @property
    def plain(self) -> dict[str, Any]:
        """The setting, as JSON holds it."""
        return {**vars(self), "form": self.form.__name__}

    def detector(self, seed: int = 0) -> VAE:
        """Return the unfitted VAE."""
        return self.form(
            latent=self.latent,
            width=self.width,
            epochs=self.epochs,
            # The same as of pixels that are that much wider, since the loss sums squared errors over 2σ².
            likelihood=Gaussian(THESIS_SIGMA / math.sqrt(self.scale)),
            learning_rate=self.learning_rate,
            seed=seed,
        )


@dataclass(frozen=True)
class Stage:
    """Samples to train on and to judge by, pixels (n, 1, 28, 28) in [0, 1]."""

    train: NDArray[np.float32]
    normal: NDArray[np.float32]
    anomalous: Mapping[str, NDArray[np.float32]]


@cache
def standins() -> Stage:
    """Return fours and sevens in the nines' place, and no nine; all of the training file."""
    source = MNIST(anomalous=(*STANDINS, 9), train_per_digit=1317, calibration_per_digit=65)
    split, digits = source.split(), source.digits()

    def some(digit: int) -> NDArray[np.float32]:
        found = np.flatnonzero(digits.trainable & (digits.digit == digit))
        chosen = found[draw(digits.digit[found], 450, np.random.default_rng(digit))]
        return (digits.pixels[chosen, None] / np.float32(source.full_scale)).astype(np.float32)

    return Stage(split.train.pixels, split.calibration.pixels, {str(digit): some(digit) for digit in STANDINS})


@cache
def alone(digit: int) -> Stage:
    """Return the thesis' protocol, with any digit in the nines' place."""
    split = MNIST(anomalous=(digit,)).split()
    normal, anomalous = (split.test.pixels[split.test.label == label] for label in (0, 1))
    return Stage(split.train.pixels, normal, {str(digit): anomalous})


def measure(cell: Cell, stage: Stage) -> dict[str, Any]:
    """Return the AUROCs and errors of a setting, fitted and judged."""
    started = time.process_time()
    detector = cell.detector().fit(stage.train)
    # The same normals for all cells, as many as there are unseen ones.
    chosen = np.random.default_rng(0).choice(len(stage.train), len(stage.normal), replace=False)
    seen = errors(detector, stage.train[chosen])
    unseen = errors(detector, stage.normal)
    anomalous = {digit: errors(detector, pixels) for digit, pixels in stage.anomalous.items()}
    single = copy.copy(detector).set_params(scoring=Reconstruction(samples=1))
    once = errors(single, stage.normal)
    return {
        "setting": cell.plain,
        "auroc": {digit: area(unseen, found) for digit, found in anomalous.items()},
        "auroc against seen normals": {digit: area(seen, found) for digit, found in anomalous.items()},
        "auroc, L = 1": {digit: area(once, errors(single, pixels)) for digit, pixels in stage.anomalous.items()},
        "unseen normals": spread(unseen),
        "seen normals": spread(seen),
        "anomalies": {digit: spread(found) for digit, found in anomalous.items()},
        "processor seconds": round(time.process_time() - started, 1),
        "provenance": provenance(),
    }


def errors(detector: VAE, X: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the summed squared errors (n,), over 2σ²: the score without what is the same for all samples."""
    sigma = detector.likelihood.sigma  # type: ignore[attr-defined]
    return -detector.score_samples(X) - X[0].size / 2 * math.log(2 * math.pi * sigma**2)


def area(normal: NDArray[np.float64], anomalous: NDArray[np.float64]) -> dict[str, float]:
    """Return the AUROC of anomaly scores, with its interval."""
    label = np.repeat([0, 1], [len(normal), len(anomalous)])
    found = delong(label, np.concatenate([normal, anomalous]))
    return {key: round(value, 4) for key, value in asdict(found).items()}


def spread(found: NDArray[np.float64]) -> dict[str, float]:
    """Return the median and the 95 % quantile of errors, and how many lie below the thesis' 50."""
    median, quantile = np.quantile(found, [0.5, 0.95])
    return {
        "median": round(float(median), 2),
        "95 % quantile": round(float(quantile), 2),
        f"share below {BEYOND}": round(float(np.mean(found < BEYOND)), 4),
    }
