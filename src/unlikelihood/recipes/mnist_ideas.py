"""What the thesis left for later work, on its MNIST: other densities, others' features, an inception-like score."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

from unlikelihood.contract.detector import Detector
from unlikelihood.data.digits import Digits
from unlikelihood.data.mnist import MNIST
from unlikelihood.data.splits import Split
from unlikelihood.detectors.contrastive import Contrastive
from unlikelihood.detectors.dcgan import DCGAN
from unlikelihood.detectors.feature_space import FeatureSpace
from unlikelihood.detectors.flow import Flow
from unlikelihood.detectors.knn import KNN
from unlikelihood.detectors.nade import NADE, RNADE
from unlikelihood.detectors.vae import VAE
from unlikelihood.detectors.wgangp import WGANGP
from unlikelihood.evaluation.experiment import Experiment, Series
from unlikelihood.evaluation.samples import Samples
from unlikelihood.nn.conditionals import LogisticMixture
from unlikelihood.nn.flows import AffineAutoregressive, AffineCoupling
from unlikelihood.nn.masks import Multiscale
from unlikelihood.nn.posteriors import DiagonalGaussian, InverseAutoregressive, Posterior
from unlikelihood.nn.scores import IWAE
from unlikelihood.recipes.mnist_vae import DIGITS, VIEWS

TEXT = (
    "The thesis names NADE, RNADE, Real NVP, MAF and posteriors of inverse autoregressive flows as later work, and the "
    "features of another network to fit them to. Nines are anomalous and the other digits normal, as in its VAE-AD. On "
    "pixels NADE sees them made binary, RNADE has mixtures of logistics over the 256 levels, since a density of grey "
    "levels that are taken as continuous has no bound, and the flows dequantise them; both VAEs are scored by the "
    "importance-weighted bound. On features, the same normals went through a contrastive encoder that is trained once "
    "a seed, whose time to fit is not in the rows'. It is that of mnist-vae, which says what its design knew of nines; "
    "everything else is the first that was tried."
)
SAMPLES = (
    "The thesis' inception-like score: the features are those of a contrastive encoder that was trained on the "
    "normals, in which clusters of normals are the kinds that a classifier tells apart. Unseen normals show what can "
    "be had. MAF is not among the generators, because it draws with a pass of its networks for every pixel."
)
SIZES = (
    " Epochs: {pixels} on pixels and five times as many of VAEs and adversarial networks, {features} on features, "
    "{encoder} of the encoder. Width {width}, {hidden} hidden units, {maf} steps of MAF on pixels."
)


@dataclass(frozen=True)
class Budget:
    """Sizes and epochs of one setting."""

    pixels: int
    features: int
    encoder: int
    width: int
    hidden: int
    maf: int
    seeds: tuple[int, ...]

    @property
    def text(self) -> str:
        """What a reader has to know of it."""
        return SIZES.format(**vars(self))


FULL = Budget(pixels=20, features=50, encoder=16, width=16, hidden=200, maf=5, seeds=(0, 1, 2))
QUICK = Budget(pixels=1, features=10, encoder=4, width=8, hidden=32, maf=2, seeds=(0,))
SMALL = Budget(pixels=20, features=20, encoder=20, width=8, hidden=32, maf=5, seeds=(0,))


def experiment(quick: bool) -> Series:
    """Return the experiments; the quick ones take about a quarter of an hour of a core, the full ones a day.

    Parameters
    ----------
    quick : bool
        One seed, small networks and an epoch or a few. Without MNIST the densities are those of small digits, and the
        generators are left out.

    Returns
    -------
    Series
    """
    budget = QUICK if quick else FULL

    @lru_cache(maxsize=1)
    def split(seed: int) -> Split:
        return MNIST(seed=seed).split()

    def digits(seed: int) -> Split:
        return Digits(seed=seed).split()

    encoder = encoders(budget, split)
    small = ranked(SMALL, digits, encoders(SMALL, digits), DIGITS) if quick else None
    return Series(
        "The thesis' ideas for later work, on MNIST",
        {
            "densities": ranked(budget, split, encoder, TEXT, small),
            "generators": Samples(
                title="How good generators of digits are",
                text=SAMPLES + budget.text,
                split=split,
                encoder=encoder,
                generators=generators(budget),
                seeds=budget.seeds,
            ),
        },
    )


def encoders(budget: Budget, split: Callable[[int], Split]) -> Callable[[int], Contrastive]:
    """Return what gives the fitted encoder of a seed, trained once."""

    @cache
    def encoder(seed: int) -> Contrastive:
        return Contrastive(views=VIEWS, epochs=budget.encoder, seed=seed).fit(split(seed).train.pixels)

    return encoder


def ranked(
    budget: Budget,
    split: Callable[[int], Split],
    encoder: Callable[[int], Contrastive],
    text: str,
    otherwise: Experiment | None = None,
) -> Experiment:
    """Return the experiment of the densities, on pixels and on the features of another detector."""

    def on_features(detector: Callable[[int], Detector]) -> Callable[[int], Detector]:
        return lambda seed: FeatureSpace(encoder(seed), detector(seed), seed=seed)

    epochs = budget.features
    return Experiment(
        title="Densities, nines against the other digits",
        text=text + budget.text,
        split=split,
        detectors={
            **densities(budget),
            "RNADE on contrastive features": on_features(lambda seed: RNADE(epochs=epochs, seed=seed)),
            "Real NVP on contrastive features": on_features(
                lambda seed: Flow(AffineCoupling(slope=0.2, masks=Multiscale()), epochs=epochs, seed=seed)
            ),
            "MAF on contrastive features": on_features(
                lambda seed: Flow(AffineAutoregressive(slope=0.2), epochs=epochs, seed=seed)
            ),
            "contrastive features alone": on_features(lambda seed: KNN(seed=seed)),
            "nearest neighbours": lambda seed: KNN(seed=seed),
        },
        seeds=budget.seeds,
        otherwise=otherwise,
    )


def densities(budget: Budget) -> dict[str, Callable[[int], Detector]]:
    """Return the densities of pixels."""
    return {
        **drawable(budget),
        "MAF": lambda seed: Flow(
            AffineAutoregressive(slope=0.2), steps=budget.maf, width=budget.width, epochs=budget.pixels, seed=seed
        ),
    }


def drawable(budget: Budget) -> dict[str, Callable[[int], Detector]]:
    """Return those that draw about as fast as they score."""
    hidden, width, epochs = budget.hidden, budget.width, budget.pixels

    def vae(seed: int, posterior: Posterior) -> VAE:
        return VAE(20, width, scoring=IWAE(64), posterior=posterior, epochs=5 * epochs, seed=seed)

    return {
        "NADE": lambda seed: NADE(hidden=hidden, epochs=epochs, seed=seed),
        "RNADE": lambda seed: RNADE(LogisticMixture(), hidden=hidden, epochs=epochs, seed=seed),
        "Real NVP": lambda seed: Flow(
            AffineCoupling(slope=0.2, masks=Multiscale()), steps=16, width=width, epochs=epochs, seed=seed
        ),
        "VAE": lambda seed: vae(seed, DiagonalGaussian()),
        "VAE, inverse autoregressive posterior": lambda seed: vae(seed, InverseAutoregressive()),
    }


def generators(budget: Budget) -> Mapping[str, Callable[[int], Detector]]:
    """Return the generators of digits."""
    width, epochs = 2 * budget.width, 5 * budget.pixels
    return {
        **drawable(budget),
        "DCGAN": lambda seed: DCGAN(width=width, epochs=epochs, seed=seed),
        "WGAN-GP": lambda seed: WGANGP(width=width, epochs=epochs, seed=seed),
    }
