"""The page about what several generators make of the same normals."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlikelihood.report import plots
from unlikelihood.report.generator import FIGURES
from unlikelihood.report.page import Plate, Section, Table, draft, write_page

COLUMNS = ("inception", "frechet", "density", "coverage", "missing", "copied")

Qualities = Mapping[str, Sequence[Mapping[str, float | None]]]


def save_samples(
    path: str | os.PathLike[str],
    title: str,
    text: str,
    judged: Qualities,
    shown: Mapping[str, NDArray[Any]],
    provenance: Mapping[str, Any],
) -> Path:
    """Write ``samples.json``, ``report.html`` and ``figures/*.png`` into a folder, all of them or none.

    `judged` are the figures of each generator, seed by seed, and `shown` some samples (k, C, *space) of each.
    """
    limits = plots.limits_of(np.concatenate(list(shown.values())))
    plates = [
        Plate(f"samples-{number}", name, plots.gallery(pixels, limits=limits))
        for number, (name, pixels) in enumerate(shown.items())
    ]
    head = ("", *(FIGURES[key][0] for key in COLUMNS))
    table = Table(head, rows(judged))
    with draft(path) as folder:
        write_page(
            folder,
            kind="Comparison of generators",
            title=title,
            lede=text,
            sections=[Section("Beside the normals", table=table), Section("Samples", plates=plates)],
            provenance=provenance,
        )
        record = {"title": title, "text": text, "rows": judged, "provenance": provenance}
        (folder / "samples.json").write_text(json.dumps(record, indent=1, allow_nan=False), encoding="utf-8")
    return Path(path)


def rows(judged: Qualities) -> list[tuple[str, ...]]:
    """Return a line for each generator: its name, and of every column the mean over the seeds ± their deviation."""
    return [(name, *(cell([each[key] for each in seeds]) for key in COLUMNS)) for name, seeds in judged.items()]


def cell(values: Sequence[float | None]) -> str:
    """Return the mean of the known values, and their standard deviation where there are several."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    return f"{np.mean(known):.3g}" + (f" ± {np.std(known, ddof=1):.2g}" if len(known) > 1 else "")
