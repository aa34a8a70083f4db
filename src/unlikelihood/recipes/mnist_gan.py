"""The thesis' GAN-AD on MNIST: nines among the other nine digits."""

from unlikelihood.data.mnist import MNIST
from unlikelihood.detectors.dcgan import DCGAN
from unlikelihood.detectors.feature_space import FeatureSpace
from unlikelihood.detectors.knn import KNN
from unlikelihood.detectors.latent_search import LatentSearch
from unlikelihood.experiment import Experiment
from unlikelihood.nn.contrast import Contrast

TEXT = """Nines are anomalous, the other digits normal: 9,216 normals to train on, 450 unseen normals and 450 nines to
test on. The thesis' recipe is AnoGAN: a DCGAN of the paper's hyper-parameters, whose latent space is searched for 100
steps of gradient descent with momentum, with a discrimination weight of 0.5. Ours is a DCGAN whose discriminator also
learns to tell samples apart under affine changes, scored by the cosine distance of its last convolution to those of the
5 nearest training normals. Which layer was chosen with the training digits 4 and 7 held out as stand-ins for
anomalies; that a contrastive task helps on nines was known from elsewhere."""
SMALL = """ This is the small setting: a width of 16, an eighth of the paper's, and {thesis} and {ours} epochs."""


def experiment(quick: bool) -> Experiment:
    """Return the experiment; the quick one takes about an hour on two cores instead of more than a day.

    Parameters
    ----------
    quick : bool
        An eighth of the DCGAN paper's width, and fewer epochs: five seeds all the same.

    Returns
    -------
    Experiment
    """
    width, epochs = (16, 20) if quick else (128, 50)
    our_width, our_epochs = (16, 12) if quick else (32, 30)

    def thesis(seed: int) -> LatentSearch:
        return LatentSearch(DCGAN(width=width, epochs=epochs, seed=seed), steps=100, discrimination=0.5, seed=seed)

    def ours(seed: int) -> FeatureSpace:
        gan = DCGAN(width=our_width, epochs=our_epochs, learning_rate=5e-4, contrast=Contrast(), seed=seed)
        return FeatureSpace(gan, KNN(), seed=seed)

    return Experiment(
        title="GAN-AD on MNIST, nines against the other digits",
        text=TEXT + (SMALL.format(thesis=epochs, ours=our_epochs) if quick else ""),
        split=lambda seed: MNIST(seed=seed).split(),
        detectors={
            "GAN-AD, thesis recipe": thesis,
            "contrastive discriminator's neighbours": ours,
            "nearest neighbours": lambda seed: KNN(seed=seed),
        },
        references={"GAN-AD, thesis recipe": 0.66},
    )
