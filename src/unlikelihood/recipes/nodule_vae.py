"""The thesis' VAE-AD in 3D: nodules, benign against malignant, and other volumes."""

from unlikelihood.contract.detector import Detector
from unlikelihood.detectors.crops import Crops
from unlikelihood.detectors.feature_space import FeatureSpace
from unlikelihood.detectors.inside_distance import InsideDistance
from unlikelihood.detectors.radiomics import Radiomics
from unlikelihood.detectors.vae import VAE
from unlikelihood.evaluation.experiment import Series
from unlikelihood.nn.likelihoods import Bernoulli, CorrelatedGaussian, OptimalGaussian
from unlikelihood.nn.priors import Exemplars
from unlikelihood.nn.scores import IWAE
from unlikelihood.nn.statistics import Thickness
from unlikelihood.recipes._nodules import TURNS, Rows, on_adrenals, on_lidc, on_phantom

THESIS = "VAE, thesis recipe"
SETTING = """The thesis' recipe has {epochs} epochs of {drawn} sub-cubes of each cube and a width of {width}, ours
{ours} epochs and a width of {our_width}. """
NODULES = """The thesis' recipe is a 3D VAE of random 28 mm sub-cubes with summed squared error, scored by its
reconstruction of the central one. Ours sees the central 14 mm, turned and mirrored at random, and whitens its
residual. Width of the crop and rank were chosen on phantoms of the seeds 1000 to 1003, 115 of each kind, with none of
which anything in the table was trained or tested. """
GLANDS = """The thesis' recipe has a Bernoulli likelihood here. A VAE of the distance to the surface sees thickness as
brightness; another one has the statistics of that thickness, 4 latents and the importance-weighted bound as its score:
that was chosen on the 259 masses of the training part, which nothing trains on. """


def experiment(quick: bool) -> Series:
    """Return the experiments; the quick ones take about ten minutes of a processor instead of many hours.

    Parameters
    ----------
    quick : bool
        Narrow networks and a few epochs, three seeds all the same.

    Returns
    -------
    Series
    """
    epochs, drawn, width, our_width = (3, 1, 4, 8) if quick else (20, 5, 32, 32)
    glands = 5 if quick else 100
    ours, few = (6, 40) if quick else (100, 400)

    def crops(seed: int, size: int, drawn: int, **change: object) -> Crops:
        return Crops(VAE(batch_size=64, seed=seed, **change), size=size, drawn=drawn, seed=seed)  # type: ignore[arg-type]

    def whitened(seed: int, epochs: int) -> Detector:
        likelihood = CorrelatedGaussian()
        return crops(seed, 14, 0, width=our_width, epochs=epochs, likelihood=likelihood, augment=TURNS)

    def rows(epochs: int, our_epochs: int) -> Rows:
        return {
            THESIS: lambda seed: crops(seed, 28, drawn, width=width, epochs=epochs),
            "VAE, whitened residual of 14 mm": lambda seed: whitened(seed, our_epochs),
        }

    adrenals: Rows = {
        THESIS: lambda seed: VAE(
            width=width, epochs=glands, batch_size=64, likelihood=Bernoulli(), augment=TURNS, seed=seed
        ),
        "VAE of the inside distance": lambda seed: FeatureSpace(
            InsideDistance(power=1.0),
            VAE(width=width, epochs=glands, batch_size=64, likelihood=OptimalGaussian(), seed=seed),
            seed=seed,
        ),
        "VAE of the thickness": lambda seed: FeatureSpace(Radiomics((Thickness(),)), of_statistics(seed), seed=seed),
    }
    setting = SETTING.format(epochs=epochs, drawn=drawn, width=width, ours=ours, our_width=our_width)
    title = "VAE-AD"
    return Series(
        "VAE-AD on volumes",
        {
            "phantom": on_phantom(title, NODULES + setting, rows(epochs, ours), {THESIS: 0.62}, quick),
            "adrenal": on_adrenals(title, GLANDS + f"{glands} epochs, width {width}.", adrenals, quick),
            "lidc": on_lidc(title, f"{few} epochs of what the rows say.", rows(few, few)),
        },
    )


def of_statistics(seed: int) -> VAE:
    """Return the VAE that is fitted to statistics of the samples."""
    return VAE(latent=4, epochs=30, likelihood=OptimalGaussian(), prior=Exemplars(), scoring=IWAE(), seed=seed)
