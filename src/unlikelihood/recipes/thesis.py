"""The thesis, whole: every experiment, figure and table of it in its order, on one page."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from unlikelihood.data.ct.phantom import Phantom
from unlikelihood.data.lidc import LIDC
from unlikelihood.data.medmnist import MedMNIST
from unlikelihood.data.mnist import MNIST
from unlikelihood.data.source import DataUnavailable, Source
from unlikelihood.detectors.dcgan import DCGAN
from unlikelihood.evaluation.experiment import Experiment
from unlikelihood.evaluation.reproduction import Reproduction, Run, Shown, Varied
from unlikelihood.recipes import mnist_gan, mnist_gan_sensitivity, mnist_vae, nodule_gan, nodule_vae
from unlikelihood.recipes._nodules import generator_of_cubes, phantoms
from unlikelihood.report import plots
from unlikelihood.report.page import Plate, Section, Table

TEXT = (
    "Santos Buitrago, Modeling anomaly detection for imbalanced datasets with deep generative models, TU Eindhoven, "
    "2018: its experiments, each run once, with the numbers of its figures as far as their descriptions tell them. "
    "The thesis' nodules are of NLST, whose access is controlled; synthetic ones at the same counts stand in for them, "
    "so its figures on nodules are of other data."
)
SMALL = (
    " This is the quick setting: narrow networks and a few epochs, so no verdict on the method. Without --quick all "
    "run in the full settings of the single recipes. On one core, the 3D WGAN-GP and the 3D DCGAN take about 40 "
    "minutes each there, the 3D VAE about 20."
)
WALKS = {"Latent walk": "walk", "Latent search": "path"}
GAN, VAE, NODULE_GAN, NODULE_VAE = (
    "GAN-AD on MNIST",
    "VAE-AD on MNIST",
    "GAN-AD on lung nodules",
    "VAE-AD on lung nodules",
)


def experiment(quick: bool) -> Reproduction:
    """Return the thesis; the quick one takes about half an hour of a processor, by steps that were timed.

    Parameters
    ----------
    quick : bool
        The quick settings of the single recipes, one seed each.

    Returns
    -------
    Reproduction
    """
    return Reproduction(
        "The thesis, reproduced",
        TEXT + (SMALL if quick else ""),
        [
            Shown("Digits", digits),
            Shown("Nodules", nodule),
            Shown("Table I: how many of each", counts),
            *on_digits(quick),
            *on_nodules(quick),
        ],
    )


def on_digits(quick: bool) -> list[Run | Varied]:
    """Return the chapters on MNIST."""
    text = "A DCGAN of digits; 100 steps of gradient descent with momentum search its latents for each sample."
    figures = {"Figure 4": "densities", "Figure 5": "roc", "Generated": "generated", "Losses": "training"}
    gan = of_row(GAN, text, mnist_gan.experiment(quick), figures | WALKS)
    text = "A convolutional VAE with summed squared error, scored by its reconstruction term."
    figures = {"Figure 6": "reconstructed", "Figure 7": "densities", "Figure 8": "roc"}
    vae = of_row(VAE, text, mnist_vae.experiment(quick), figures | WALKS | {"Layers": "architecture"})
    return [gan, varied(quick), vae]


def on_nodules(quick: bool) -> list[Run]:
    """Return the chapters on lung nodules."""
    of_gans = nodule_gan.QUICK if quick else nodule_gan.FULL
    of_vaes = nodule_vae.QUICK if quick else nodule_vae.FULL
    dcgan = Run(
        "3D DCGAN of lung nodules",
        "The first try: the thesis says that it did not converge, and did not search it. " + of_gans.text,
        split=partial(phantoms, 0),
        detector=partial(generator_of_cubes(DCGAN, of_gans), 0),
        figures={"Generated": "generated", "In training": "snapshots", "Losses": "training"},
        judged=False,
    )
    gan = Run(
        NODULE_GAN,
        "A WGAN-GP with 3D convolutions and up-sampling, 100 uniform latents, 100 steps of search; 120 benign "
        "and 120 malignant phantoms to test on. " + of_gans.text,
        split=partial(phantoms, 0),
        detector=partial(nodule_gan.thesis(of_gans), 0),
        figures={
            "Figure 9": "generated",
            "Figure 10": "densities",
            "Figure 11": "architecture",
            "Figure 12": "roc",
            **WALKS,
            "In training": "snapshots",
            "Losses": "training",
        },
        published=0.58,
    )
    vae = Run(
        NODULE_VAE,
        "A VAE with 3D convolutions and up-sampling; 115 benign and 115 malignant phantoms to test on. " + of_vaes.text,
        split=partial(phantoms, 0, each=115),
        detector=partial(nodule_vae.rows(of_vaes)[nodule_vae.THESIS], 0),
        figures={
            "Figure 13": "densities",
            "Figure 14": "roc",
            "Figure 15": "architecture",
            "Figure 16": "reconstructed",
            **WALKS,
        },
        published=0.62,
    )
    return [dcgan, gan, vae]


def of_row(title: str, text: str, whole: Experiment, figures: Mapping[str, str]) -> Run:
    """Return the thesis' row of an experiment, which is the one with a published figure, at its first seed."""
    name, published = next(iter(whole.references.items()))
    seed = whole.seeds[0]
    return Run(title, text, partial(whole.split, seed), partial(whole.detectors[name], seed), figures, published)


def varied(quick: bool) -> Varied:
    """Return how the thesis' GAN-AD on MNIST changes with its epochs, steps, λ and training samples."""
    whole = mnist_gan_sensitivity.experiment(quick)
    name = next(iter(whole.references))
    rows = {row: make for row, make in whole.detectors.items() if row.startswith(name)}
    text = "Each row changes one thing, at one seed; mnist-gan-sensitivity has more of them, and ours beside."
    return Varied(f"{GAN}, how fragile", replace(whole, text=text, detectors=rows, seeds=whole.seeds[:1]))


def digits() -> Section:
    """Return some normal digits and some nines."""
    split = MNIST().split()
    anomalies = split.test.pixels[split.test.label == 1]
    few = [pixels[np.linspace(0, len(pixels) - 1, 40).astype(int)] for pixels in (split.train.pixels, anomalies)]
    names = (("Figure 1", "Digits 0 to 8, the normals"), ("Figure 2", "Nines, the anomalies"))
    plates = [
        Plate(f"digits-{number}", f"{figure}. {what}", plots.gallery(pixels, columns=8))
        for number, ((figure, what), pixels) in enumerate(zip(names, few, strict=True))
    ]
    return Section("", "28 by 28 pixels; nine of the ten digits are normal, the tenth is what is to be found.", plates)


def nodule() -> Section:
    """Return one cube slice by slice, and some in three planes."""
    images = Phantom().images([0, 1])
    inside = images.pixels[:, :, 2:30, 2:30, 2:30]
    geometry: dict[str, Any] = {"spacing": images.spacing, "orientation": images.orientation}
    plates = [
        Plate(f"nodule-{number}", f"Figure 3. 25 slices of the middle 28 mm of a {kind} nodule", figure)
        for number, (kind, figure) in enumerate(
            (kind, plots.montage(cube, **geometry)) for kind, cube in zip(("benign", "malignant"), inside, strict=True)
        )
    ]
    plates.append(Plate("nodule-planes", "The same two in three planes", plots.triptych(inside, **geometry)))
    return Section("", "Synthetic nodules: cubes of 32 mm, of which networks see 28.", plates)


def counts() -> Section:
    """Return the counts of the thesis' Table I, and of all data that stand beside or for it."""
    phantom = Phantom()
    test = f"{phantom.benign:,} and {phantom.malignant:,}"
    rows = [
        ("NLST, as published", "1,722 and 460", "431 and 115", "539 and 143"),
        ("Phantom, in its place", f"{phantom.train:,} and 0", f"{phantom.calibration:,} and 0", test),
    ]
    sources: dict[str, Callable[[], Source]] = {
        "MNIST": MNIST,
        "AdrenalMNIST3D": lambda: MedMNIST(name="adrenalmnist3d"),
        "LIDC-IDRI, one of five folds": LIDC,
    }
    missing = []
    for name, source in sources.items():
        try:
            split = source().split()
        except DataUnavailable:
            missing.append(name)
            continue
        found = split.counts
        test = f"{found['test, normal']:,} and {found['test, anomalous']:,}"
        rows.append((name, f"{found['train']:,} and 0", f"{found['calibration']:,} and 0", test))
    text = (
        "Normal and anomalous samples of each part. No anomaly is trained on, neither there nor here; the thesis "
        "lists those of its training and validation parts, which here are made or kept only for the test. Of the test "
        "on nodules GAN-AD scores 120 of each kind and VAE-AD 115, as the thesis does. "
    )
    text += f"Not at hand: {', '.join(missing)}." if missing else ""
    return Section("", text.strip(), table=Table(("", "train", "validation", "test"), rows))
