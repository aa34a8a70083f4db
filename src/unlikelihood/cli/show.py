"""Summarise a data set."""

from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse import ArgumentParser

from unlikelihood.cli.arguments import add_data, add_out
from unlikelihood.cli.results import refuse_existing
from unlikelihood.data.source import Source
from unlikelihood.report import plots
from unlikelihood.storage.files import replacing

GALLERY = 40


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `show`."""
    add_data(parser)
    add_out(parser, "picture to write", default=Path("gallery.png"))
    parser.add_argument("--sample", type=int, default=0, help="index of the volume that is drawn slice by slice")


def run(data: Source, out: Path, overwrite: bool, sample: int) -> None:
    """Print a summary of a source and draw a gallery of it; of volumes, the slices of one as well."""
    refuse_existing(overwrite, out=out)
    images = data.read()
    volumes = images.pixels.ndim == 5
    if volumes and not 0 <= sample < len(images):
        raise ValueError(f"sample is {sample}, expected one from 0 to {len(images) - 1}")
    if images.label is None:
        counts = f"{len(images)} samples without labels"
    else:
        counts = f"{int((images.label == 0).sum())} normal and {int((images.label == 1).sum())} anomalous samples"
    facts = {
        "layout": images.layout or "as the source has it",
        "samples": counts,
        "shape": f"{images.shape} {images.pixels.dtype}",
        "intensity": f"{images.pixels.min():g} to {images.pixels.max():g}, mean {images.pixels.mean():g}",
        "groups": "none" if images.group is None else f"{len(np.unique(images.group))}",
        "spacing": "unknown" if images.spacing is None else " x ".join(f"{size:g}" for size in images.spacing) + " mm",
        "orientation": images.orientation or "unknown",
    }
    print("\n".join(f"{key:<11} {value}" for key, value in facts.items()))
    for reason, n in images.left_out.items():
        print(f"{'left out':<11} {n} {reason}")
    chosen = images[np.linspace(0, len(images) - 1, min(GALLERY, len(images))).astype(int)]
    titles = None if chosen.label is None else ["anomalous" if label else "" for label in chosen.label]
    geometry: dict[str, Any] = {"spacing": images.spacing, "orientation": images.orientation}
    pictures = {out: plots.gallery(chosen.pixels, titles, columns=8, **geometry)}
    if volumes:
        slices = plots.montage(np.asarray(images.pixels[sample]), **geometry)
        pictures[out.with_stem(f"{out.stem}-slices")] = slices
    for picture, figure in pictures.items():
        with replacing(picture) as path:
            figure.savefig(path, format=out.suffix[1:] or "png", dpi=160)
        print(f"{'picture':<11} {picture}: {figure.get_label()}")
