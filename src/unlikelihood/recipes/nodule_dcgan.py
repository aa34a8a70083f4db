"""The thesis' first try at nodules: a 3D DCGAN, which did not converge there."""

from unlikelihood.detectors.dcgan import DCGAN
from unlikelihood.evaluation.experiment import Series
from unlikelihood.evaluation.generation import Generation
from unlikelihood.recipes._nodules import Budget, adrenals, generator_of_cubes, lidc, phantoms, wgangp
from unlikelihood.recipes.nodule_gan import FULL, QUICK

TEXT = """The thesis tried a 3D DCGAN before its WGAN-GP, says that it did not converge, and did not search it for
anomalies; so there is no AUROC here. This is the DCGAN paper's, with 3D convolutions and transposed ones, beside the
WGAN-GP of nodule-gan at the same budget. Whether it converges is shown by its samples, their distance to the normals,
the alarms about them and the losses. The test was not looked at, and no setting was chosen by a result. """


def experiment(quick: bool) -> Series:
    """Return the experiments; the quick ones take about a quarter of an hour of a processor instead of ten hours.

    Parameters
    ----------
    quick : bool
        3 passes over the data instead of 100, one seed instead of three.

    Returns
    -------
    Series
    """
    budget = QUICK if quick else FULL
    few = Budget(60 if quick else 1000, 1 if quick else 5, budget.width, budget.batch)
    seeds = (0,) if quick else (0, 1, 2)
    return Series(
        "A 3D DCGAN of volumes",
        {
            name: Generation(
                title=f"A 3D DCGAN of {what}",
                text=TEXT + budget.text,
                split=split,
                generators={"3D DCGAN": generator_of_cubes(DCGAN, budget), "3D WGAN-GP": wgangp(budget)},
                seeds=seeds,
            )
            for name, what, split, budget in (
                ("phantom", "phantoms of lung nodules", phantoms, budget),
                ("adrenal", "AdrenalMNIST3D", adrenals, budget),
                ("lidc", "real nodules of LIDC-IDRI", lidc, few),
            )
        },
    )
