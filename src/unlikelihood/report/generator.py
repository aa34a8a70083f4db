"""The part of a page about an adversarial generator."""

from collections.abc import Mapping
from typing import Any

from unlikelihood.report import plots
from unlikelihood.report.exhibits import Exhibits
from unlikelihood.report.page import Plate, Section, Table

FIGURES = {
    "frechet": ("Fréchet distance (FID)", "0 for equal distributions, {variance:.3g} for their mean alone."),
    "kernel": ("Kernel distance (KID)", "0 in the mean for equal distributions."),
    "density": ("Density", "How densely normals lie around generated samples; 1 for normals."),
    "coverage": ("Coverage", "Share of the normals that have a generated sample near; dropped kinds lower it."),
    "diversity": ("Diversity", "Distance of two generated samples over that of two normals."),
    "missing": ("Missing kinds", "Share of the normals that are of kinds it leaves out; about 0 for unseen normals."),
    "copied": ("Copies", "Share of its samples nearer to a training sample than unseen normals are; 0 for those."),
    "inception": (
        "Inception-like score",
        "1 if all are of one kind, {kinds:.0f} if all kinds of normals occur equally often and none is in between.",
    ),
    "real_inception": ("Inception-like score of normals", "Of those that the kinds were learnt from."),
    "likeness": ("MS-SSIM of generated pairs", "Higher than that of normal pairs where the generator repeats itself."),
    "real_likeness": ("MS-SSIM of normal pairs", ""),
}


def generator(exhibits: Exhibits, geometry: Mapping[str, Any]) -> Section | None:
    """Return the section on how good an adversarial generator is and how it came to be, or None if there is none."""
    if exhibits.generator is None:
        return None
    moments, few, *shape = (snapshots := exhibits.generator.snapshots()).shape
    known = {key: value for key, value in exhibits.generator.quality_.items() if value is not None}
    rows = [
        (name, f"{known[key]:.3g}", meaning.format(**known)) for key, (name, meaning) in FIGURES.items() if key in known
    ]
    alarms = " ".join(f"{alarm[0].upper()}{alarm[1:]}." for alarm in exhibits.generator.alarms_)
    text = "Its samples beside the normals it was trained on, in the features of an encoder of those."
    if not rows:
        text = "Too few normals to tell how good its samples are."
    limits = plots.limits_of(exhibits.normals)
    picture = plots.gallery(snapshots.reshape(-1, *shape), columns=few, limits=limits, **geometry)
    middle = " (middle slices)" if len(shape) > 3 else ""
    caption = f"The same {few} latents at {moments} moments of training, the last at its end{middle}"
    return Section(
        "The generator",
        f"{alarms or 'No alarm.' if rows else ''} {text}".strip(),
        [Plate("snapshots", caption, picture)],
        Table(("", "value", ""), rows, words=True) if rows else None,
    )
