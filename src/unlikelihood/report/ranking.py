"""The page about samples that nobody has labelled, the most anomalous first."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlikelihood.data.images import Images
from unlikelihood.report import plots
from unlikelihood.report.page import Plate, Section, Table, draft, number, write_page
from unlikelihood.storage.tables import Columns, write_csv

DRAWN, PLANES, LISTED = 24, 6, 200  # samples that are drawn, in three planes if they are volumes, and in the table


def save_ranking(
    path: str | os.PathLike[str], name: str, images: Images, columns: Columns, provenance: Mapping[str, Any]
) -> Path:
    """Write ``report.html``, ``figures/*.png`` and ``ranked.csv`` into a folder, all of them or none.

    Parameters
    ----------
    path : path
        The folder; made if need be.
    name : str
        What the page calls the detector.
    images : Images
        The samples.
    columns : dict of str to ndarray
        What is known of each, its name and its anomaly score among it.
    provenance : dict
        Where the scores came from.

    Returns
    -------
    Path
        The folder.
    """
    order = np.argsort(-columns["anomaly_score"], kind="stable")
    ranked: dict[str, NDArray[Any]] = {"rank": np.arange(1, len(order) + 1)}
    ranked |= {key: values[order] for key, values in columns.items()}
    with draft(path) as folder:
        write_csv(folder / "ranked.csv", ranked)
        write_page(
            folder,
            kind="Samples by their anomaly score",
            title=name,
            lede=f"Ranks {len(images):,} samples, the most anomalous first. A rank is no diagnosis: nothing "
            "here says how many of them are anomalies.",
            sections=[_drawn(images, order), _listed(ranked), data_sheet(images)],
            provenance=provenance,
        )
    return Path(path)


def _drawn(images: Images, order: NDArray[np.intp]) -> Section:
    geometry: dict[str, Any] = {"spacing": images.spacing, "orientation": images.orientation}
    first = np.asarray(images.pixels[order[:DRAWN]])
    limits = plots.limits_of(first)
    ranks = [f"{rank}" for rank in range(1, len(first) + 1)]
    middle = ", the middle slice of each" if first.ndim > 4 else ""
    plates = [Plate("first", f"By rank{middle}", plots.gallery(first, ranks, limits=limits, **geometry))]
    if first.ndim > 4:
        text = f"The first {len(first[:PLANES])}, a row each, in three planes"
        plates.append(Plate("first-planes", text, plots.triptych(first[:PLANES], limits, **geometry)))
    return Section("The most anomalous", plates=plates)


def _listed(ranked: Columns) -> Section:
    head = [key.replace("_", " ") for key in ranked]
    rows = [
        [_cell(value) for value in row] for row in zip(*(ranked[key][:LISTED].tolist() for key in ranked), strict=True)
    ]
    more = len(ranked["rank"]) - len(rows)
    text = f"{more:,} more are in ranked.csv. " if more > 0 else "The same table is in ranked.csv. "
    return Section("Ranking", f"{text}A higher anomaly score is more anomalous.", table=Table(head, rows))


def _cell(value: Any) -> str:
    return number(value) if isinstance(value, float) else str(value)


def data_sheet(images: Images) -> Section:
    """Return what is known of the samples together."""
    facts = {
        "Data": images.layout,
        "Samples": "; ".join(f"{what}: {count:,}" for what, count in images.counts.items()),
        "Shape of a sample": " × ".join(map(str, images.shape)),
        "Spacing": f"{' × '.join(f'{size:g}' for size in images.spacing)} mm" if images.spacing else "",
        "Orientation": images.orientation or "",
    }
    return Section("Data sheet", facts={term: fact for term, fact in facts.items() if fact})
