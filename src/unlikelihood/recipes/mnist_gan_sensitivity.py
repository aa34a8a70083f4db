"""How fragile the thesis' GAN-AD on MNIST is, and what removes it."""

from collections.abc import Callable
from functools import cache

from unlikelihood.data.mnist import MNIST
from unlikelihood.data.splits import Split
from unlikelihood.detector import Detector
from unlikelihood.detectors.dcgan import DCGAN
from unlikelihood.detectors.feature_space import FeatureSpace
from unlikelihood.detectors.knn import KNN
from unlikelihood.detectors.latent_search import LatentSearch
from unlikelihood.experiment import Experiment
from unlikelihood.nn.contrast import Contrast

TEXT = """The thesis found its GAN-AD fragile to epochs, search steps, the discrimination weight λ and the number of
training samples. Each row changes one of them; all rows of as many epochs and samples share one DCGAN a seed, whose
time to fit is not in theirs. The last rows are of the contrastive discriminator's neighbours, over the same epochs."""


def experiment(quick: bool) -> Experiment:
    """Return the experiment; the quick one has an eighth of the width, fewer epochs, one seed and a third of the test.

    Parameters
    ----------
    quick : bool
        The small setting.

    Returns
    -------
    Experiment
    """
    width, epochs = (16, (3, 6, 12)) if quick else (128, (10, 25, 50))
    few, many = 128, 1024

    @cache
    def split(seed: int, samples: int) -> Split:
        return MNIST(seed=seed, train_per_digit=samples, test=150 if quick else 450).split()

    @cache
    def gan(seed: int, epochs: int, samples: int) -> DCGAN:
        return DCGAN(width=width, epochs=epochs, seed=seed).fit(split(seed, samples).train.pixels)

    def search(epochs: int, samples: int, **change: float) -> Callable[[int], Detector]:
        return lambda seed: LatentSearch(gan(seed, epochs, samples), seed=seed, **change)  # type: ignore[arg-type]

    def contrastive(epochs: int) -> Callable[[int], Detector]:
        def made(seed: int) -> Detector:
            gan = DCGAN(width=16 if quick else 32, epochs=epochs, learning_rate=5e-4, contrast=Contrast(), seed=seed)
            return FeatureSpace(gan, KNN(), seed=seed)

        return made

    last = epochs[-1]
    rows: dict[str, Callable[[int], Detector]] = {"thesis recipe": search(last, many)}
    rows |= {f"{steps} steps": search(last, many, steps=steps) for steps in (0, 10, 30, 300)}
    rows |= {f"λ {weight:g}": search(last, many, discrimination=weight) for weight in (0.0, 0.1, 0.9, 1.0)}
    rows |= {"4 restarts": search(last, many, restarts=4)}
    rows |= {f"{count} epochs": search(count, many) for count in epochs[:-1]}
    rows |= {f"{few} samples a digit": search(last, few)}
    rows |= {f"contrastive, {count} epochs": contrastive(count) for count in epochs}
    return Experiment(
        title="How fragile GAN-AD on MNIST is",
        text=TEXT,
        split=lambda seed: split(seed, many),
        detectors=rows,
        references={"thesis recipe": 0.66},
        seeds=(0,) if quick else (0, 1, 2, 3, 4),
    )
