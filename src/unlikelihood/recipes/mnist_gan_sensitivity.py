"""How fragile the thesis' GAN-AD on MNIST is, and what removes it."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from unlikelihood.contract.detector import Detector
from unlikelihood.data.mnist import MNIST
from unlikelihood.data.splits import Split
from unlikelihood.detectors.contrastive import Contrastive
from unlikelihood.detectors.dcgan import DCGAN
from unlikelihood.detectors.encoder_search import EncoderSearch
from unlikelihood.detectors.feature_space import FeatureSpace
from unlikelihood.detectors.knn import KNN
from unlikelihood.detectors.latent_search import LatentSearch
from unlikelihood.detectors.wgangp import WGANGP
from unlikelihood.evaluation.experiment import Experiment
from unlikelihood.recipes.mnist_gan import gan_of_embeddings
from unlikelihood.recipes.mnist_vae import VIEWS

Rows = dict[str, Callable[[int], Detector]]

TEXT = (
    "The thesis found its GAN-AD fragile to epochs, search steps, the discrimination weight λ and the number of "
    "training samples. Each row changes one of them, for the thesis' recipe and for the GAN-AD on contrastive features "
    "of mnist-gan; its critic's neighbours have no steps and no λ to change. Rows of as many epochs and samples share "
    "one GAN a seed, and one encoder, whose time to fit is not in theirs. A fit is flagged where the samples of its "
    "generator show a fault after training: a collapse, mostly. A single fit does not repeat on another processor, "
    "where rounding takes a GAN another way; the mean over seeds does, within its interval."
)
SMALL = (
    " This is the small setting: three seeds, 100 normals and 100 nines, a DCGAN an eighth as wide as the paper's, "
    "fewer epochs of it and fewer rows. It shows which way a change moves a small GAN, which is not the thesis' own."
)
FEW, MANY = 128, 1024  # training samples of each digit


def experiment(quick: bool) -> Experiment:
    """Return the experiment; the quick one takes about three quarters of an hour on one core.

    Parameters
    ----------
    quick : bool
        Three seeds, an eighth of the width, fewer epochs, two ninths of the test, and fewer rows.

    Returns
    -------
    Experiment
    """
    width, epochs = (16, (2, 5, 10)) if quick else (128, (10, 25, 50))
    embedded = (25, 50, 100)
    weights = (0.0, 1.0) if quick else (0.0, 0.1, 0.9, 1.0)

    @cache
    def split(seed: int, samples: int = MANY) -> Split:
        few: dict[str, Any] = {"calibration_per_digit": 5, "test": 100} if quick else {}
        return MNIST(seed=seed, train_per_digit=samples, **few).split()

    @cache
    def dcgan(seed: int, epochs: int, samples: int) -> DCGAN:
        return DCGAN(width=width, epochs=epochs, seed=seed).fit(split(seed, samples).train.pixels)

    @cache
    def encoder(seed: int, samples: int) -> Contrastive:
        return Contrastive(views=VIEWS, seed=seed).fit(split(seed, samples).train.pixels)

    @cache
    def wgan(seed: int, epochs: int, samples: int) -> WGANGP:
        return gan_of_embeddings(seed, epochs).fit(encoder(seed, samples).embed(split(seed, samples).train.pixels))

    def on_pixels(seed: int, epochs: int, samples: int, **search: Any) -> LatentSearch:
        return LatentSearch(dcgan(seed, epochs, samples), seed=seed, **search)

    def on_features(seed: int, epochs: int, samples: int, **search: Any) -> FeatureSpace:
        searcher = EncoderSearch(wgan(seed, epochs, samples), seed=seed, **{"refine": 30} | search)
        return FeatureSpace(encoder(seed, samples), searcher, seed=seed)

    def neighbours(seed: int, epochs: int, samples: int) -> FeatureSpace:
        detector = FeatureSpace(wgan(seed, epochs, samples), KNN(), seed=seed)
        return FeatureSpace(encoder(seed, samples), detector, seed=seed)

    name = f"thesis' search, width {width}"
    thesis = {f"{steps} steps": {"steps": steps} for steps in (0, 10, 30, *(() if quick else (300,)))}
    ours = {f"{steps} steps": {"refine": steps} for steps in (0, *(() if quick else (10,)), 100)}
    either = {f"λ {weight:g}": {"discrimination": weight} for weight in weights}
    more: dict[str, Any] = {} if quick else {"4 restarts": {"restarts": 4}}
    return Experiment(
        title="How fragile GAN-AD on MNIST is",
        text=TEXT + (SMALL if quick else ""),
        split=split,
        detectors=varied(name, on_pixels, epochs, thesis | either | more)
        | varied("contrastive features, search", on_features, embedded, ours | either)
        | varied("contrastive features, critic", neighbours, embedded, {}),
        references={name: 0.66},
        seeds=(0, 1, 2) if quick else (0, 1, 2, 3, 4),
    )


def varied(
    name: str, make: Callable[..., Detector], epochs: Sequence[int], searches: dict[str, dict[str, Any]]
) -> Rows:
    """Return the row of a detector, `name`, and those in which one thing is changed.

    `make` maps a seed, epochs, samples of each digit and changes of the search to a detector. The last of `epochs` are
    those of all other rows; `searches` maps what the table says to changes of the search.
    """

    def row(count: int = epochs[-1], samples: int = MANY, **search: Any) -> Callable[[int], Detector]:
        return lambda seed: make(seed, count, samples, **search)

    rows = {name: row()}
    rows |= {f"{name}, {change}": row(**search) for change, search in searches.items()}
    rows |= {f"{name}, {count} epochs": row(count) for count in epochs[:-1]}
    return rows | {f"{name}, {FEW} samples a digit": row(samples=FEW)}
