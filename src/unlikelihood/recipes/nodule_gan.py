"""The thesis' GAN-AD in 3D: a WGAN-GP of nodules whose latent space is searched."""

from collections.abc import Callable

from unlikelihood.data.splits import Split
from unlikelihood.detectors.wgangp import WGANGP
from unlikelihood.experiment import Series
from unlikelihood.nn.latents import UniformLatents
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

    return Series(
        "GAN-AD on volumes",
        {
            "phantom": on_phantom("GAN-AD", text(epochs), rows(phantoms, epochs), {SEARCH: 0.58}, quick),
            "adrenal": on_adrenals("GAN-AD", text(epochs), rows(adrenals, epochs), quick),
            "lidc": on_lidc("GAN-AD", text(few), rows(lidc, few)),
        },
    )
