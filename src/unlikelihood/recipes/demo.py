"""What this package does, on whatever data are at hand, with nothing chosen."""

from unlikelihood.data.ct.phantom import Phantom
from unlikelihood.data.digits import Digits
from unlikelihood.data.medmnist import MedMNIST
from unlikelihood.data.mnist import MNIST
from unlikelihood.detectors.auto import Auto
from unlikelihood.evaluation.showcase import Job, Showcase
from unlikelihood.recipes import mnist_vae

TEXT = (
    "Auto() is fitted to normals alone, other normals make its decisions, and then it ranks samples that it has never "
    "seen. Nothing was chosen for these data here; RESULTS.md has several seeds, and what Auto was developed on."
)
THESIS = " The last part is the VAE of the thesis beside what came after it."


def experiment(quick: bool) -> Showcase:
    """Return the showcase; the quick one is on small digits and few phantoms, without the experiment of the thesis.

    Parameters
    ----------
    quick : bool
        Small data.

    Returns
    -------
    Showcase
    """
    small = Job(
        "Digits of 8 × 8",
        "Nines are anomalous, the other digits normal.",
        lambda: Digits().split(),
        Auto,
    )
    digits = Job("MNIST", small.text, lambda: MNIST().split(), Auto, otherwise=small)
    nodules = Job(
        "Lung nodules",
        "Synthetic CT: benign nodules are normal, malignant ones anomalous.",
        lambda: (
            Phantom(train=300, calibration=100, benign=60, malignant=60, evaluated=60) if quick else Phantom()
        ).split(),
        Auto,
    )
    if quick:
        return Showcase("A quick look", TEXT, {"digits": small, "nodules": nodules})
    glands = Job(
        "Adrenal glands",
        "AdrenalMNIST3D: outlines of normal glands, and of glands with a mass, which are anomalous.",
        lambda: MedMNIST(name="adrenalmnist3d").split(),
        Auto,
    )
    return Showcase(
        "From normal samples to ranked cases",
        TEXT + THESIS,
        {"digits": digits, "glands": glands, "nodules": nodules},
        {"thesis": mnist_vae.experiment(quick=True)},
    )
