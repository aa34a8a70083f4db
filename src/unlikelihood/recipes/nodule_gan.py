"""The thesis' GAN-AD in 3D: a WGAN-GP of nodules whose latent space is searched."""

from collections.abc import Callable

from unlikelihood.data.splits import Split
from unlikelihood.detectors.encoder_search import EncoderSearch
from unlikelihood.detectors.feature_space import FeatureSpace
from unlikelihood.detectors.radiomics import Radiomics
from unlikelihood.detectors.wgangp import WGANGP, of_embeddings
from unlikelihood.evaluation.experiment import Series
from unlikelihood.nn.latents import UniformLatents
from unlikelihood.nn.statistics import Thickness
from unlikelihood.recipes._nodules import (
    SEARCH,
    TURNS,
    Rows,
    adrenals,
    lidc,
    on_adrenals,
    on_lidc,
    on_phantom,
    phantoms,
    searched,
)

TEXT = """The thesis' recipe is a 3D WGAN-GP of random 28 mm sub-cubes with 100 uniform latents, whose latent space is
searched for {steps} steps with a discrimination weight of 0.5. An encoder that was trained on the same generator
answers in one pass. The time to fit the generator, one a seed for all three rows, is not in theirs. No setting was
chosen by a result. {epochs} epochs, width {width}, batches of {batch}, {critic} steps of the critic for each of the
generator. """
GLANDS = """The last GAN-AD is of statistics of thickness instead of voxels, which were chosen on the masses of the
training part, that nothing trains on; its search is 30 steps from an encoder's answer. """


def experiment(quick: bool) -> Series:
    """Return the experiments; the quick ones take about a quarter of an hour of a processor instead of days.

    Parameters
    ----------
    quick : bool
        Narrow networks, a few epochs and a short search, three seeds all the same.

    Returns
    -------
    Series
    """
    steps = 10 if quick else 200
    width, batch, critic, rate = (8, 16, 3, 3e-4) if quick else (64, 64, 5, 1e-4)
    epochs, few = (3, 60) if quick else (100, 1000)

    def rows(split: Callable[[int], Split], epochs: int) -> Rows:
        def gan(seed: int) -> WGANGP:
            return WGANGP(
                latent=100,
                width=width,
                latents=UniformLatents(),
                critic_steps=critic,
                learning_rate=rate,
                epochs=epochs,
                batch_size=batch,
                augment=TURNS,
                seed=seed,
            )

        return searched(gan, split, steps=steps, encoder={"width": width, "batch_size": 64, "epochs": epochs})

    def text(epochs: int) -> str:
        return TEXT.format(steps=steps, epochs=epochs, width=width, batch=batch, critic=critic)

    glands: Rows = {**rows(adrenals, epochs), "GAN-AD of the thickness": of_thickness}
    return Series(
        "GAN-AD on volumes",
        {
            "phantom": on_phantom("GAN-AD", text(epochs), rows(phantoms, epochs), {SEARCH: 0.58}, quick),
            "adrenal": on_adrenals("GAN-AD", GLANDS + text(epochs), glands, quick),
            "lidc": on_lidc("GAN-AD", text(few), rows(lidc, few)),
        },
    )


def of_thickness(seed: int) -> FeatureSpace:
    """Return the thesis' GAN-AD on statistics of thickness."""
    gan = of_embeddings(latent=4, epochs=400, seed=seed)
    return FeatureSpace(Radiomics([Thickness()]), EncoderSearch(gan, refine=30, epochs=100, seed=seed), seed=seed)
