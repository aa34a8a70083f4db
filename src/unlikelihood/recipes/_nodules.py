"""The data of the recipes about volumes: phantoms of lung nodules, adrenal glands and real nodules."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
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
from unlikelihood.detectors.wgangp import WGANGP
from unlikelihood.evaluation.experiment import Experiment, Shared
from unlikelihood.metrics.ranking import auroc
from unlikelihood.nn.latents import UniformLatents
from unlikelihood.nn.upscaling import UpsampledConvolution

Rows = Mapping[str, Callable[[int], Detector]]

SEARCH = "GAN-AD, thesis recipe"
PASSES = """Passes over the training cubes: {passes}, each of random sub-cubes of 28 mm, the thesis' one augmentation;
sub-cubes drawn of each cube: {drawn}. Samples that are 28 mm wide are taken whole. """
PHANTOM = """Synthetic nodules at the counts of the thesis' Table I: {train} benign ones to train on, {each} benign and
{each} malignant ones to test on, cubes of 32 mm. The thesis' figures are of NLST, other data, beside which a figure on
phantoms is only of the same kind. The true diameter alone, known of a phantom and of no patient, ranks these tests at
{size:.3f}. """
ADRENAL = """AdrenalMNIST3D: its 929 normal glands to train on, its official test of 229 normal glands and 69 masses.
The glands are masks, so only shape can tell. Some first defaults of this package came from figures that had been
measured on this test; which ones, was not written down. """
REAL = """Real nodules of LIDC-IDRI, one a patient, in 5 folds that leave patients out: about 21 benign cubes to train
on, about 5 others and all 67 malignant ones to test on. With 26 benign nodules in all no network can be trained and no
figure is precise: the rows prove the path on real grey levels, and the same 67 malignant nodules are in every fold, so
that even the wide intervals are too narrow. The volume that a radiologist outlined ranks all 93 at 0.78. """


def on_phantom(
    title: str, text: str, rows: Rows, references: Mapping[str, float], *, each: int, seeds: tuple[int, ...]
) -> Experiment:
    """Return the experiment on phantoms, `each` of a kind in the test, with the baselines of size and intensity."""
    data = PHANTOM.format(train=Phantom().train, each=each, size=true_size(seeds, each))
    return Experiment(
        title=f"{title} on phantoms of lung nodules",
        text=data + text,
        split=partial(phantoms, each=each),
        # The neck was chosen by how the volume follows the true diameters of benign nodules.
        detectors=dict(rows) | baselines(neck=3.0),
        references=references,
        seeds=seeds,
    )


def on_adrenals(title: str, text: str, rows: Rows, seeds: tuple[int, ...]) -> Experiment:
    """Return the experiment on adrenal glands; the seeds are of the detectors, the parts are the official ones."""
    return Experiment(
        title=f"{title} on AdrenalMNIST3D",
        text=ADRENAL + text,
        split=adrenals,
        detectors=dict(rows) | baselines(neck=0.0),
        seeds=seeds,
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


@dataclass(frozen=True)
class Budget:
    """How long and how wide the networks of a table are trained: all of them alike.

    Parameters
    ----------
    passes : int
        Over the training cubes.
    drawn : int
        Sub-cubes of each cube that they are shared by.
    width, batch : int
        Channels of the networks, and samples in a batch.
    """

    passes: int
    drawn: int
    width: int
    batch: int

    @property
    def epochs(self) -> int:
        """Of the sub-cubes."""
        return self.passes // self.drawn

    @property
    def text(self) -> str:
        """The budget in words."""
        shares = PASSES.format(passes=self.passes, drawn=self.drawn)
        return f"{shares}Width {self.width}, batches of {self.batch}. "


def generator_of_cubes(make: Callable[..., Generator], budget: Budget, **parameters: Any) -> Callable[[int], Crops]:
    """Return what makes the unfitted generator of random sub-cubes of a seed."""

    def made(seed: int) -> Crops:
        generator = make(width=budget.width, epochs=budget.epochs, batch_size=budget.batch, seed=seed, **parameters)
        return Crops(generator, drawn=budget.drawn, seed=seed)

    return made


def wgangp(budget: Budget) -> Callable[[int], Crops]:
    """Return what makes the thesis' WGAN-GP: 3D convolutions and up-sampling, 100 uniform latents."""
    return generator_of_cubes(WGANGP, budget, latent=100, latents=UniformLatents(), upscaling=UpsampledConvolution())


@lru_cache(maxsize=1)
def phantoms(seed: int, each: int = 120) -> Split:
    """Return the phantoms of a seed, with so many of each kind in the test."""
    return Phantom(seed=seed, evaluated=each).split()


@lru_cache(maxsize=1)
def adrenals(seed: int) -> Split:
    """Return the official parts of the adrenal glands."""
    return MedMNIST(name="adrenalmnist3d", seed=seed).split()


@lru_cache(maxsize=1)
def lidc(seed: int) -> Split:
    """Return the fold `seed` of the real nodules."""
    return LIDC(seed=seed).split()


def searched(made: Callable[[int], Crops], *, steps: int, encoder: Mapping[str, Any]) -> Rows:
    """Return the rows of one generator of crops: the thesis' search first, an encoder, and its critic.

    `made` maps a seed to the unfitted generator, which is trained once for all rows; `encoder` are the parameters of
    the `EncoderSearch`.
    """

    def row(around: Callable[[Any, int], Detector]) -> Shared:
        return Shared(made, lambda crops, seed: Crops(around(generator_in(crops), seed), drawn=1, seed=seed))

    return {
        SEARCH: row(lambda gan, seed: LatentSearch(gan, steps, seed=seed)),
        "encoder instead of a search": row(lambda gan, seed: EncoderSearch(gan, seed=seed, **encoder)),
        "critic": row(lambda gan, seed: gan),
    }


def generator_in(crops: Crops) -> Any:
    """Return the generator of crops, the fitted one if there is one."""
    return getattr(crops, "detector_", crops.detector)


def baselines(neck: float) -> dict[str, Callable[[int], Detector]]:
    """Return what a detector has to beat: size, the larger the more anomalous, and mean intensity, on either side."""
    return {
        "volume alone": lambda seed: TotalVolume(neck=neck, seed=seed),
        "mean intensity": lambda seed: TotalIntensity(seed=seed),
    }


def true_size(seeds: tuple[int, ...], each: int) -> float:
    """Return the mean AUROC of the true diameters over the tests of phantoms."""
    areas = []
    for seed in seeds:
        phantom = Phantom(seed=seed)
        first = phantom.train + phantom.calibration
        samples = np.concatenate([2 * np.arange(first, first + each), 2 * np.arange(each) + 1])
        areas.append(auroc(samples % 2, phantom.truth(samples)["diameter"].astype(float)))
    return float(np.mean(areas))
