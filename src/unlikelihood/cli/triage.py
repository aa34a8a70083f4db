"""A page of samples without labels, the most anomalous first, and the normals that stand beside them."""

import json
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse import ArgumentParser

from unlikelihood.cli.arguments import add_alpha, add_data, add_device, add_model, add_out, takes_path
from unlikelihood.cli.results import DATA, attainable, called, done, note_seen, refuse_existing, refuse_other_shape
from unlikelihood.contract.detector import Detector, load
from unlikelihood.contract.refusals import judged
from unlikelihood.data.images import Images
from unlikelihood.data.reviews import named, read_reviews
from unlikelihood.data.source import Source
from unlikelihood.evaluation import columns
from unlikelihood.evaluation.columns import ColumnsOf, table_of
from unlikelihood.progress import stage
from unlikelihood.report.triage import Found, Normals, save_triage
from unlikelihood.storage.identity import seen
from unlikelihood.storage.provenance import provenance

LEAVES_OUT = ("skip_unreadable", "skip_rejected")  # of sources: leave out what cannot be read, and say why


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `triage`."""
    add_model(parser)
    add_data(parser)
    add_out(parser, "folder of the page, report.html, and of ranked.csv")
    parser.add_argument(
        "--normals",
        type=Path | None,
        help="folder of normals, read as --data is, of which the nearest stand beside each case; unless given, what "
        "the model was fitted to where that still lies there, else the samples themselves that look most normal",
    )
    parser.add_argument("--most", type=int, default=200, help="cases that are shown with pictures; the table has all")
    add_alpha(parser, default=0.05)
    parser.add_argument(
        "--reviews",
        type=Path | None,
        help="table of reviews that such a page exported, to go on from: score --reviews "
        "learns probabilities of it, and evaluate --reviews takes its labels",
    )
    add_device(parser)


def run(
    model: Path,
    data: Source,
    out: Path,
    overwrite: bool,
    normals: Path | None,
    most: int,
    alpha: float | None,
    reviews: Path | None,
    device: str,
) -> None:
    """Make a page of the samples of a source, the most anomalous first, to be reviewed; labels are not shown."""
    if most < 1:
        raise ValueError(f"most is {most}, expected at least 1")
    if normals is not None and not takes_path(type(data).__name__):
        raise ValueError(f"normals is {str(normals)!r}, expected with a source of one path, not {type(data).__name__}")
    refuse_existing(overwrite, out=out)
    started = time.perf_counter()
    detector = load(model, device=device)
    said = None if reviews is None else read_reviews(reviews)
    alpha = attainable(alpha, len(getattr(detector, "calibration_", ())))
    decide = columns.decider(detector, alpha)
    with stage(1, 3):
        images = named(read_forgivingly(data))
    print(images.summary())
    refuse_other_shape(images, detector, data)
    if said is not None:
        said.refuse_unknown([*np.asarray(images.name).tolist(), *images.unread])
    note_seen(int(seen(detector, images.pixels).sum()), len(images))
    with stage(2, 3):
        found = found_by(detector, images, decide)
    with stage(3, 3):
        beside = normals_beside(model, detector, data, found, normals)
        if beside is not None:
            print(f"beside each case: {beside.words}")
        where = provenance()
        save_triage(out, detector, found, beside, where, most=most, reviews=None if said is None else said.said)
    print(f"page: {out / 'report.html'}")
    done(
        "triage",
        samples=len(found.images),
        shown=min(most, len(found.images)),
        not_judged=len(found.why),
        **called(found.columns, alpha),
        seconds=time.perf_counter() - started,
        out=out,
    )


def read_forgivingly(data: Source) -> Images:
    """Return the images of a source, without what it cannot read where it can leave that out: `unread` says why."""
    source: Any = replace(data, **{name: True for name in LEAVES_OUT if hasattr(data, name)})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\d+ of \d+ .* skipped", UserWarning)  # each of them is named by `unread`
        return source.read()


def origin_of(source: Source, train: Path | None) -> dict[str, str] | None:
    """Return where training normals lie, as a record holds it; None if they come from no path."""
    path = train or getattr(source, "path", None)
    if path is None:
        return None
    return {"source": type(source).__name__, "path": str(Path(path).expanduser().absolute())}


def found_by(detector: Detector, images: Images, decide: ColumnsOf) -> Found:
    """Return what a detector says of named samples, and why it says nothing of some, or these were not read."""
    scores, refused = judged(detector.score_samples, images.pixels)
    known = np.flatnonzero(~np.isin(np.arange(len(images)), list(refused)))
    left = images if len(known) == len(images) else images[known]
    names = np.asarray(images.name)
    why = {str(names[row]): reason for row, reason in sorted(refused.items())} | dict(images.unread)
    return Found(left, table_of(left, scores[known], decide), why)


def normals_beside(model: Path, detector: Detector, data: Source, found: Found, given: Path | None) -> Normals | None:
    """Return normals to show beside the samples that were found; None if nothing was.

    Those of a folder that is `given`; else what the detector was fitted to, where its record says that these lie, or
    among the samples; else the half of the samples that looks most normal.
    """
    images = found.images
    if not len(images):
        return None
    if given is not None:
        normals = given_normals(data, given)
        if normals.shape != images.shape:
            raise ValueError(
                f"normals is {str(given)!r}, with samples of shape {normals.shape}, expected {images.shape}"
            )
        return Normals(normals.pixels, f"normals of {given}")
    if (kept := _fitted_to(model, detector, data)) is not None:
        return Normals(kept, "normals that it was fitted to")
    known = seen(detector, images.pixels)
    if known.any():
        return Normals(images[np.flatnonzero(known)].pixels, "those of these samples that it was fitted to")
    quiet = np.argsort(found.columns["anomaly_score"], kind="stable")[: max(1, len(images) // 2)]
    return Normals(images[np.sort(quiet)].pixels, "the half of these samples that looks most normal")


def given_normals(data: Source, path: Path) -> Images:
    """Return the normals in a folder that ``--normals`` names, read as a source reads its own; a ValueError if none."""
    normals = _normals_in(data, path)
    if not len(normals):
        raise ValueError(f"normals is {str(path)!r}, where all samples are anomalous; expected normals")
    return normals


def _normals_in(data: Any, path: Path) -> Images:
    """Return the normals in a folder that is read as a source reads its own; of what has no labels, all."""
    images = read_forgivingly(replace(data, path=path, **({"table": None} if hasattr(data, "table") else {})))
    return images if images.label is None else images.normal


def _fitted_to(model: Path, detector: Detector, data: Source) -> Any:
    """Return the samples that a detector was fitted to, if they are still where its record says; None otherwise."""
    try:
        origin = json.loads((model / DATA).read_text(encoding="utf-8"))["train"]
        source, path = origin["source"], Path(origin["path"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # there is none, or it is of an earlier version, or its data had no path
    if source != type(data).__name__:
        return None
    try:
        normals = _normals_in(data, path)
        known = np.flatnonzero(seen(detector, normals.pixels))
    except (OSError, ValueError) as error:
        print(f"note: what the model was fitted to is not shown, for it cannot be read: {error}", file=sys.stderr)
        return None
    return normals[known].pixels if len(known) and normals.shape == detector.shape_ else None
