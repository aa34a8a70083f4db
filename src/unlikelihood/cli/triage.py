"""What a triage looks at: samples as far as they can be judged, and the normals that stand beside them."""

import json
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from unlikelihood.cli.results import DATA
from unlikelihood.contract.detector import Detector
from unlikelihood.contract.refusals import judged
from unlikelihood.data.images import Images
from unlikelihood.data.source import Source
from unlikelihood.evaluation.columns import ColumnsOf, table_of
from unlikelihood.report.triage import Found, Normals
from unlikelihood.storage.identity import seen

LEAVES_OUT = ("skip_unreadable", "skip_rejected")  # of sources: leave out what cannot be read, and say why


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
        normals = _normals_in(data, given)
        if not len(normals):
            raise ValueError(f"normals is {str(given)!r}, where all samples are anomalous; expected normals")
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
