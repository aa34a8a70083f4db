"""The thesis' VAE-AD on MNIST: nines among the other nine digits."""

import sys

from unlikelihood.data.digits import Digits
from unlikelihood.data.mnist import MNIST
from unlikelihood.data.source import DataUnavailable
from unlikelihood.data.splits import Split
from unlikelihood.detectors.contrastive import Contrastive
from unlikelihood.detectors.feature_space import FeatureSpace
from unlikelihood.detectors.intensity import TotalIntensity
from unlikelihood.detectors.isolation import IsolationForest
from unlikelihood.detectors.knn import KNN
from unlikelihood.detectors.lof import LOF
from unlikelihood.detectors.pca import PCAResidual
from unlikelihood.detectors.vae import VAE
from unlikelihood.experiment import Experiment
from unlikelihood.nn.likelihoods import CorrelatedGaussian, OptimalGaussian
from unlikelihood.nn.priors import Exemplars
from unlikelihood.nn.scores import LatentDensity

TEXT = (
    "Nines are anomalous and the other digits normal: 9,216 normals to train on, 450 unseen normals and 450 nines to "
    "test on. The thesis' recipe is a convolutional VAE with summed squared error, 30 epochs, scored by its "
    "reconstruction term. The best VAE-AD is fitted to the embeddings of a contrastive encoder of the same normals and "
    "scored by the density of its latents, log p(z) under the prior of exemplars. Size and score were chosen with the "
    "digits 1, 4 and 7 held out in the nines' place. That the encoder needs batch normalisation was noticed when one "
    "seed on the nines fell short of a published figure; the remedy was judged on digit 7, and nothing changed since."
)


def experiment(quick: bool) -> Experiment:
    """Return the experiment; the quick one is a single seed with fewer epochs, on whatever digits are at hand.

    Parameters
    ----------
    quick : bool
        One seed, a third of the epochs.

    Returns
    -------
    Experiment
    """
    epochs, views = (6, 6) if quick else (30, 16)
    width = 16
    return Experiment(
        title="VAE-AD on MNIST, nines against the other digits",
        text=TEXT,
        split=digits_at_hand if quick else lambda seed: MNIST(seed=seed).split(),
        detectors={
            "VAE, thesis recipe": lambda seed: VAE(latent=20, width=width, epochs=epochs, seed=seed),
            "VAE, whitened residual": lambda seed: VAE(
                latent=20, width=width, epochs=epochs, likelihood=CorrelatedGaussian(), seed=seed
            ),
            "VAE on contrastive features": lambda seed: FeatureSpace(
                Contrastive(epochs=views, seed=seed),
                VAE(
                    latent=16,
                    epochs=20,
                    likelihood=OptimalGaussian(),
                    prior=Exemplars(),
                    scoring=LatentDensity(),
                    seed=seed,
                ),
                seed=seed,
            ),
            "nearest neighbours": lambda seed: KNN(seed=seed),
            "LOF": lambda seed: LOF(seed=seed),
            "isolation forest": lambda seed: IsolationForest(seed=seed),
            "PCA residual": lambda seed: PCAResidual(seed=seed),
            "ink": lambda seed: TotalIntensity(seed=seed),
        },
        references={"VAE, thesis recipe": 0.84},
        seeds=(0,) if quick else (0, 1, 2, 3, 4),
    )


def digits_at_hand(seed: int) -> Split:
    """Return the split of MNIST, or of scikit-learn's small digits where MNIST is neither here nor reachable."""
    try:
        return MNIST(seed=seed).split()
    except DataUnavailable:
        print("MNIST is neither at hand nor reachable: running on scikit-learn's 8x8 digits instead", file=sys.stderr)
        return Digits(seed=seed).split()
