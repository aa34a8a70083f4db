"""The thesis' first try at nodules: a 3D DCGAN, which did not converge there."""

from collections.abc import Callable

from unlikelihood.data.splits import Split
from unlikelihood.detectors.dcgan import DCGAN
from unlikelihood.evaluation.experiment import Series
from unlikelihood.recipes._nodules import (
    Rows,
    adrenals,
    lidc,
    on_adrenals,
    on_lidc,
    on_phantom,
    phantoms,
    searched,
)

TEXT = """The thesis tried a 3D DCGAN before its WGAN-GP and says that it did not converge. This is the DCGAN paper's,
with 3D convolutions, on random 28 mm sub-cubes: whether it converges is shown by the alarms about its samples, the
curves of both losses and the snapshots of its training in the report of a row, and by no AUROC. Its latent space is
searched for {steps} steps as the thesis does; the time to fit the generator, one a seed for all three rows, is not in
theirs.
No setting was chosen by a result. {epochs} epochs, width {width}, batches of {batch}. """


def experiment(quick: bool) -> Series:
    """Return the experiments; the quick ones take about a quarter of an hour of a processor instead of days.

    Parameters
    ----------
    quick : bool
        An eighth of the paper's width, a few epochs and a short search, three seeds all the same.

    Returns
    -------
    Series
    """
    steps, width, batch = (10, 8, 32) if quick else (200, 64, 64)
    epochs, few = (2, 60) if quick else (100, 1000)

    def rows(split: Callable[[int], Split], epochs: int) -> Rows:
        def gan(seed: int) -> DCGAN:
            return DCGAN(width=width, epochs=epochs, batch_size=batch, seed=seed)

        return searched(gan, split, steps=steps, encoder={"width": width, "batch_size": 64, "epochs": epochs})

    def text(epochs: int) -> str:
        return TEXT.format(steps=steps, epochs=epochs, width=width, batch=batch)

    return Series(
        "A 3D DCGAN on volumes",
        {
            "phantom": on_phantom("DCGAN", text(epochs), rows(phantoms, epochs), {}, quick),
            "adrenal": on_adrenals("DCGAN", text(epochs), rows(adrenals, epochs), quick),
            "lidc": on_lidc("DCGAN", text(few), rows(lidc, few)),
        },
    )
