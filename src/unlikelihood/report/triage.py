"""The page on which somebody goes through samples without labels, the most anomalous first, and says what each is."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlikelihood.contract.detector import Detector
from unlikelihood.contract.maps import Whitening
from unlikelihood.contract.refusals import NoVerdict
from unlikelihood.data.images import Images
from unlikelihood.progress import progress
from unlikelihood.report import plots
from unlikelihood.report.browser import Caption, Drawing, drawn, explained, values_of
from unlikelihood.report.exhibits import NORMALS, Cases, spread
from unlikelihood.report.maps import FEW, UNIT, Maps, common_scale, enough
from unlikelihood.report.nearest import Nearest
from unlikelihood.report.page import THIN, Panel, Section, draft, number, write_page
from unlikelihood.report.ranking import data_sheet
from unlikelihood.storage.provenance import display_name
from unlikelihood.storage.tables import Columns, write_csv

LISTED = 2000  # rows of the page's table; all are in ranked.csv
PAGE_BYTES, CASE_BYTES = 10_000_000, 44_000  # of pictures before base64: of all, and of a case at most
AT_ONCE, HELD = 16, 2**25  # cases that are drawn together, and values of them, at most
KEYS = (
    "Keys: n normal, a anomalous, u unsure, the same again takes it back; j or → goes on, k or ← back, m takes the map "
    "off. The browser keeps the review. Its export goes back into score, evaluate and triage with --reviews."
)


@dataclass(frozen=True, eq=False)
class Normals:
    r"""Samples that stand beside the cases of a triage.

    Parameters
    ----------
    pixels : ndarray, shape (m, \*shape)
        At least one.
    words : str
        What they are, such as "the normals that it was fitted to".
    """

    pixels: NDArray[Any]
    words: str


@dataclass(frozen=True, eq=False)
class Found:
    """What a detector says of samples.

    Parameters
    ----------
    images : Images
        Those of which something can be said, with names that all differ.
    columns : dict of str to ndarray
        What is known of them: name and anomaly_score, and p_value, decision and alpha if it decides.
    why : mapping of str to str
        By name, why nothing can be said of the others.
    """

    images: Images
    columns: Columns
    why: Mapping[str, str]


def save_triage(
    path: str | os.PathLike[str],
    detector: Detector,
    found: Found,
    normals: Normals | None,
    provenance: Mapping[str, Any],
    *,
    most: int = 200,
    reviews: Mapping[str, str] | None = None,
) -> Path:
    """Write ``report.html`` and ``ranked.csv`` into a folder, both of them or none.

    Parameters
    ----------
    path : path
        The folder; made if need be.
    detector : Detector
        What the scores are of; its maps are drawn.
    found : Found
        The samples.
    normals : Normals, optional
        What stands beside them; None only if there is no case to draw.
    provenance : dict
        Where the scores came from.
    most : int
        Cases that are shown with pictures, the most anomalous ones.
    reviews : mapping of str to str, optional
        By name, what was said of samples before: normal, anomalous or unsure.

    Returns
    -------
    Path
        The folder.
    """
    order = np.argsort(-found.columns["anomaly_score"], kind="stable")
    ranked = {key: values[order] for key, values in found.columns.items()}
    text, cases = _cases(detector, found.images, ranked, order[:most], normals)
    listed = list(_rows(ranked, found.why, len(order[:most]), reviews or {}))
    reviewed = json.dumps([[row["name"], row["score"], row["review"]] for row in listed])
    values = cases | {
        # What a browser keeps of a review is kept for these samples, scores and reviews.
        "key_of_page": blake2b(reviewed.encode(), digest_size=8).hexdigest(),
        "rows": listed,
        "rest": _rest(ranked, max(LISTED, most)),
        "calibrated": "p_value" in ranked,
        "decided": "decision" in ranked,
    }
    panel = Panel("triage.html.j2", values, scripts=("panels.js", "triage.js"))
    with draft(path) as folder:
        write_csv(folder / "ranked.csv", _with_reasons(ranked, found.why))
        write_page(
            folder,
            kind="Triage: samples by their anomaly score, to be reviewed",
            title=display_name(detector),
            lede=_lede(ranked, found.why, len(order[:most])),
            sections=[Section("Cases", text, panel=panel), data_sheet(found.images)],
            provenance=provenance,
        )
    return Path(path)


def _lede(ranked: Columns, why: Mapping[str, str], shown: int) -> str:
    samples = len(ranked["name"])
    text = f"Ranks {samples:,} samples, the most anomalous first"
    text += "." if shown == samples else f"; the first {shown:,} of them have pictures."
    if "decision" in ranked and samples:
        called, alpha = int((ranked["decision"] == "anomalous").sum()), ranked["alpha"][0]
        text += f" {called:,} are called anomalous, as at most {100 * alpha:g}{THIN}% of new normals would be."
    if why:
        text += f" {len(why):,} cannot be judged; they are listed last, with the reason."
    return f"{text} A rank is no diagnosis: what each of them is, a reviewer says."


def _cases(
    detector: Detector, images: Images, ranked: Columns, chosen: NDArray[np.intp], normals: Normals | None
) -> tuple[str, dict[str, Any]]:
    """Return what stands above the cases, and the values of `cases.html.j2` with what is to be known of them."""
    if normals is None or not len(chosen):
        return "There is nothing to show.", {"cases": [], "notes": ""}
    geometry = {"spacing": images.spacing, "orientation": images.orientation}
    size = math.prod(images.shape)
    step = max(1, min(AT_ONCE, HELD // size))
    few = normals.pixels[spread(len(normals.pixels), max(FEW, min(NORMALS, 2 * HELD // size)))]
    limits = plots.limits_of(np.concatenate([np.asarray(images.pixels[chosen[:step]]), np.asarray(few[:step])]))
    drawing = Drawing(limits, geometry, normals.words, min(CASE_BYTES, PAGE_BYTES // len(chosen)))
    shown = []
    nearest, unusual = Nearest(normals.pixels), Unusual.of(detector, few)
    with progress("Drawing cases", total=len(chosen)) as update:
        for start in range(0, len(chosen), step):
            pixels = np.asarray(images.pixels[chosen[start : start + step]])
            near, apart = nearest(pixels)
            values, failed = unusual(pixels)
            if start == 0:
                unusual = unusual.brightened(values)
            cases = Cases(chosen[start : start + step], pixels, near, apart, maps=unusual.maps(values))
            captions = [_caption(ranked, start + row, failed.get(row)) for row in range(len(pixels))]
            shown += drawn(cases, captions, drawing)
            update(len(pixels))
    notes = "Thumbnails of what is called anomalous have a double lower edge. " if "decision" in ranked else ""
    notes += "Below the normals that look most like a case stands how far they are: the root of the mean squared "
    notes += f"difference of intensity. {explained(cases, shown, drawing, 'the first of these and of normals')}"
    return KEYS, values_of(cases, shown, drawing) | {"reviewed": True, "notes": notes}


@dataclass(frozen=True, eq=False)
class Unusual:
    """How unusual each place of a sample is, in standard deviations of maps of normals, and what is drawn brightest."""

    detector: Detector
    whiten: Whitening
    scale: float

    @classmethod
    def of(cls, detector: Detector, normals: NDArray[Any]) -> "Unusual":
        """Return it by some normals."""
        maps = detector.anomaly_map(enough(normals, detector.map_kind))
        whiten = Whitening.of(maps)
        return cls(detector, whiten, common_scale(whiten(maps)))

    def brightened(self, values: NDArray[Any]) -> "Unusual":
        """Return it with a scale that holds these maps too."""
        return Unusual(self.detector, self.whiten, max(self.scale, common_scale(values)))

    def __call__(self, X: NDArray[Any]) -> tuple[NDArray[np.float32], dict[int, str]]:
        """Return the maps of samples, and by row why one has none, which is then 0 everywhere."""
        try:
            return self.whiten(self.detector.anomaly_map(X)), {}
        except NoVerdict:
            values, failed = np.zeros((len(X), *self.whiten.mean.shape), np.float32), {}
            for row, x in enumerate(X):
                try:
                    values[row] = self.whiten(self.detector.anomaly_map(x[None]))[0]
                except NoVerdict as error:
                    failed[row] = error.why.format("it")
            return values, failed

    def maps(self, values: NDArray[np.float32]) -> Maps:
        """Return maps as they are drawn."""
        return Maps(values, self.scale, str(self.detector.map_kind), UNIT)


def _caption(ranked: Columns, rank: int, no_map: str | None) -> Caption:
    name, score = str(ranked["name"][rank]), number(float(ranked["anomaly_score"][rank]))
    facts = [f"anomaly score {score}"]
    if "p_value" in ranked:
        facts.insert(0, f"p-value {ranked['p_value'][rank]:.3g}")
    called = "decision" in ranked and ranked["decision"][rank] == "anomalous"
    if "decision" in ranked:
        facts.append(f"called {ranked['decision'][rank]} at α = {ranked['alpha'][rank]:g}")
    text = f"Rank {rank + 1:,} of {len(ranked['name']):,}: {', '.join(facts)}."
    return Caption(name, f"{text} No map: {no_map}." if no_map else text, f"{name}, {facts[0]}", bool(called))


def _rows(ranked: Columns, why: Mapping[str, str], drawn: int, reviews: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of the table, those with pictures first, those that cannot be judged last."""
    for rank in range(min(len(ranked["name"]), max(LISTED, drawn))):
        name, score = str(ranked["name"][rank]), float(ranked["anomaly_score"][rank])
        p = float(ranked["p_value"][rank]) if "p_value" in ranked else None
        yield {
            "rank": rank + 1,
            "name": name,
            "score": repr(score),
            "score_text": number(score),
            "p": "" if p is None else repr(p),
            "p_text": "" if p is None else f"{p:.3g}",
            "decision": str(ranked["decision"][rank]) if "decision" in ranked else "",
            "case": rank if rank < drawn else "",
            "why": "",
            "review": reviews.get(name, ""),
        }
    unknown = dict.fromkeys(("rank", "score", "score_text", "p", "p_text", "decision", "case"), "")
    for name, reason in why.items():
        yield unknown | {"name": name, "why": reason, "review": reviews.get(name, "")}


def _rest(ranked: Columns, listed: int) -> list[tuple[str, str, str]]:
    """Return name, anomaly score and p-value of what the table has no room for: an export lists all."""
    beyond = {key: ranked[key][listed:].tolist() for key in ("name", "anomaly_score", "p_value") if key in ranked}
    p = map(repr, beyond["p_value"]) if "p_value" in beyond else repeat("")
    return list(zip(map(str, beyond["name"]), map(repr, beyond["anomaly_score"]), p, strict=False))


def _with_reasons(ranked: Columns, why: Mapping[str, str]) -> Columns:
    """Return the table of all samples, with the rank of those that have one and the reason why others have none."""
    count = len(ranked["name"])
    known = {"rank": np.arange(1, count + 1)} | dict(ranked)
    if not why:
        return known
    empty = [""] * len(why)
    table = {key: np.array([*values.tolist(), *empty], object) for key, values in known.items()}
    table["name"] = np.array([*ranked["name"].tolist(), *why], object)
    return table | {"reason": np.array([*[""] * count, *why.values()], object)}
