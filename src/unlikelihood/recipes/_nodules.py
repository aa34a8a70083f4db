"""The data of the recipes about volumes: phantoms of lung nodules, adrenal glands and real nodules."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from unlikelihood.contract.detector import Detector
from unlikelihood.contract.trained import Generator
from unlikelihood.data.ct.phantom import Phantom
from unlikelihood.data.lidc import LIDC
from unlikelihood.data.medmnist import MedMNIST
from unlikelihood.data.splits import Split
from unlikelihood.detectors.crops import Crops
from unlikelihood.detectors.encoder_search import EncoderSearch
from unlikelihood.detectors.latent_search import LatentSearch
from unlikelihood.detectors.total_intensity import TotalIntensity
from unlikelihood.detectors.total_volume import TotalVolume
from unlikelihood.evaluation.experiment import Experiment
from unlikelihood.metrics.ranking import auroc
from unlikelihood.nn.augment import Chain, Flips, QuarterTurns

Rows = Mapping[str, Callable[[int], Detector]]

SEARCH = "GAN-AD, thesis recipe"
TURNS = Chain((Flips(), QuarterTurns()))  # a nodule has no upright position
PHANTOM = """Synthetic nodules at the counts of the thesis' Table I: {train} benign ones to train on, {each} benign and
{each} malignant ones to test on, cubes of 32 mm. The thesis' figures are of NLST, other data, beside which a figure on
phantoms is only of the same kind. The true diameter alone, known of a phantom and of no patient, ranks these tests at
{size:.3f}. """
ADRENAL = """AdrenalMNIST3D: its 929 normal glands to train on, its official test of 229 normal glands and 69 masses.
The glands are masks, so only shape can tell. """
REAL = """Real nodules of LIDC-IDRI, one a patient, in 5 folds that leave patients out: about 21 benign cubes to train
on, about 5 others and all 67 malignant ones to test on. With 26 benign nodules in all no network can be trained and no
figure is precise: the rows prove the path on real grey levels, and the same 67 malignant nodules are in every fold, so
that even the wide intervals are too narrow. The volume that a radiologist outlined ranks all 93 at 0.78. """


def on_phantom(title: str, text: str, rows: Rows, references: Mapping[str, float], quick: bool) -> Experiment:
    """Return the experiment on phantoms, with the baselines of size and intensity."""
    seeds = (0, 1, 2) if quick else (0, 1, 2, 3, 4)
    phantom = Phantom()
    data = PHANTOM.format(train=phantom.train, each=phantom.evaluated, size=true_size(seeds))
    return Experiment(
        title=f"{title} on phantoms of lung nodules",
        text=data + text,
        split=phantoms,
        # The neck was chosen by how the volume follows the true diameters of benign nodules.
        detectors=dict(rows) | baselines(neck=3.0),
        references=references,
        seeds=seeds,
    )


def on_adrenals(title: str, text: str, rows: Rows, quick: bool) -> Experiment:
    """Return the experiment on adrenal glands; the seeds are of the detectors, the parts are the official ones."""
    return Experiment(
        title=f"{title} on AdrenalMNIST3D",
        text=ADRENAL + text,
        split=adrenals,
        detectors=dict(rows) | baselines(neck=0.0),
        seeds=(0, 1, 2) if quick else (0, 1, 2, 3, 4),
    )


def on_lidc(title: str, text: str, rows: Rows) -> Experiment:
    """Return the experiment on the LIDC nodules, whose seeds are its folds."""
    return Experiment(
        title=f"{title} on real nodules of LIDC-IDRI",
        text=REAL + text,
        split=lidc,
        detectors=dict(rows) | baselines(neck=2.0),
        seeds=(0, 1, 2, 3, 4),
    )


@lru_cache(maxsize=1)
def phantoms(seed: int) -> Split:
    """Return the phantoms of a seed."""
    return Phantom(seed=seed).split()


@lru_cache(maxsize=1)
def adrenals(seed: int) -> Split:
    """Return the official parts of the adrenal glands."""
    return MedMNIST(name="adrenalmnist3d", seed=seed).split()


@lru_cache(maxsize=1)
def lidc(seed: int) -> Split:
    """Return the fold `seed` of the real nodules."""
    return LIDC(seed=seed).split()


def searched(
    made: Callable[[int], Generator], split: Callable[[int], Split], *, steps: int, encoder: Mapping[str, Any]
) -> dict[str, Callable[[int], Detector]]:
    """Return the rows of one generator of crops: the thesis' search first, an encoder, and its critic.

    Parameters
    ----------
    made : callable
        Makes the unfitted generator of a seed, which is trained once for all rows.
    split : callable
        Makes the split of a seed.
    steps : int
        Of the search.
    encoder : mapping
        Parameters of the `EncoderSearch`.
    """

    @lru_cache(maxsize=1)
    def fitted(seed: int) -> Generator:
        return Crops(made(seed), drawn=1, seed=seed).fit(split(seed).train.pixels).detector_

    def crops(detector: Detector) -> Crops:
        return Crops(detector, drawn=1, seed=detector.seed)

    return {
        SEARCH: lambda seed: crops(LatentSearch(fitted(seed), steps, seed=seed)),
        "encoder instead of a search": lambda seed: crops(EncoderSearch(fitted(seed), seed=seed, **encoder)),
        "critic": lambda seed: crops(fitted(seed)),
    }


def baselines(neck: float) -> dict[str, Callable[[int], Detector]]:
    """Return what a detector has to beat: size, the larger the more anomalous, and mean intensity, on either side."""
    return {
        "volume alone": lambda seed: TotalVolume(neck=neck, seed=seed),
        "mean intensity": lambda seed: TotalIntensity(seed=seed),
    }


def true_size(seeds: tuple[int, ...]) -> float:
    """Return the mean AUROC of the true diameters over the tests of phantoms."""
    areas = []
    for seed in seeds:
        phantom = Phantom(seed=seed)
        first, each = phantom.train + phantom.calibration, phantom.evaluated or phantom.malignant
        samples = np.concatenate([2 * np.arange(first, first + each), 2 * np.arange(each) + 1])
        areas.append(auroc(samples % 2, phantom.truth(samples)["diameter"].astype(float)))
    return float(np.mean(areas))
