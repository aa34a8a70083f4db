"""The part of the page in which a reader goes from case to case, and through volumes slice by slice."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from unlikelihood.metrics.ranking import anomaly_score
from unlikelihood.report import plots
from unlikelihood.report.exhibits import Cases, Exhibits
from unlikelihood.report.page import Panel, Section, number
from unlikelihood.report.record import CLASSES, Record

SCROLLED = 8 * 2**20  # characters of pictures that can be scrolled; what is beyond is still

Limits = tuple[float, float]


def browse(record: Record, exhibits: Exhibits) -> Section | None:
    """Return the part that shows single cases, the most anomalous first, or None if there are none."""
    cases = exhibits.cases
    if cases is None:
        return None
    limits, spacing = plots.limits_of(cases.pixels), record.data["spacing_mm"]
    among = "training normals" if exhibits.trained_on else "normals of this data set"
    shown: list[dict[str, Any]]
    shown, room = [], SCROLLED
    for row in range(len(cases.index)):
        case = _case(record, cases, row, limits, among)
        if cases.pixels.ndim > 4 and room > 0:
            case["volume"] = _volume(case["title"], cases, row, limits, record)
            room -= sum(len(each["source"]) for each in case["volume"]["stills"])
        case["stills"] = case["volume"]["stills"] if case["volume"] else _stills(case["title"], cases, row, limits)
        shown.append(case)
    slices = min(cases.pixels.shape[2], plots.MONTAGE) if cases.pixels.ndim > 4 else 1
    values: dict[str, Any] = {
        "cases": shown,
        "among": among,
        # Where the size of a pixel is known, pictures are as wide and as high as what they show.
        "ratio": plots.ratio(cases.pixels.shape[1:], spacing) if spacing else None,
        "still_ratio": plots.ratio(cases.pixels.shape[1:], spacing, slices) if spacing else None,
        # A slider fades the maps that lie over their samples; vectors have strips of their own.
        "faded": cases.maps is not None and cases.maps.values.ndim > 2,
        "key": "",
        "top": "",
    }
    text = "Test samples by their anomaly score, the highest first, then some from the rest of the ranking, "
    text += "the anomalies that come last among them. "
    if cases.maps is not None:
        values["key"] = plots.heat(np.tile(np.linspace(0, cases.maps.scale, 128), (8, 1)), cases.maps.scale)
        values["top"] = f"{cases.maps.scale:.3g} {cases.maps.unit}"
        text += f"The maps are of the {cases.maps.kind}, in {cases.maps.unit}. "
        text += "All share one scale, which at most 0.5 % of the pixels exceed, of these and of calibration normals. "
    if cases.pixels.ndim > 4:
        text += _scrolling(shown, cases.maps is not None, record.data["orientation"])
    return Section(
        "Cases", f"{text}Thumbnails of anomalies have a double lower edge.", panel=Panel("cases.html.j2", values)
    )


def _scrolling(shown: Sequence[dict[str, Any]], maps: bool, orientation: str | None) -> str:
    """Return how volumes are scrolled, and how many can be."""
    moved = sum(case["volume"] is not None for case in shown)
    held = f"All {moved} cases" if moved == len(shown) else f"The first {moved} of the {len(shown)} cases"
    text = f"{held} can be scrolled slice by slice, with the slider or the wheel"
    text += "; each starts at the slices with most of its map. " if maps else ". "
    if orientation is None:
        text += (
            "How the axes lie in the body is not known: axial, coronal and sagittal are slices across the first, the "
            "second and the third. "
        )
    return text


def _volume(name: str, cases: Cases, row: int, limits: Limits, record: Record) -> dict[str, Any]:
    """Return what the page needs to scroll a volume: its pictures, of all slices each, and how they are laid out."""
    size, (spacing, orientation) = cases.pixels.shape[2:], record.geometry.values()
    sheets = {"as it is": plots.sheet(cases.pixels[row], limits)}
    start = [extent // 2 for extent in size]
    if cases.reconstructed is not None:
        sheets["as the detector would have it"] = plots.sheet(cases.reconstructed[row], limits)
    if cases.mask is not None:
        sheets["anomalous where white"] = plots.sheet(cases.mask[row][None], (0, 1))
    if cases.maps is not None:
        values = cases.maps.values[row]
        sheets["unusual where coloured"] = plots.hot_sheet(values, cases.maps.scale)
        start = list(plots.busiest(values))
    first = sheets["as it is"]
    planes = (plots.AXIAL, plots.CORONAL, plots.SAGITTAL)
    return {
        "layout": {
            "depth": size,
            "size": first.size,
            "step": first.step,
            "columns": first.columns,
            "mm": spacing or [1.0, 1.0, 1.0],
            "start": start,
            "edges": [plane.edges(orientation) for plane in planes],
        },
        "ratio": plots.ratio(cases.pixels.shape[1:], spacing, slices=first.size[0]),
        "planes": [plane.name for plane in planes],
        "stills": [
            _still(caption, each.source, name, f"{caption}, all slices")
            | {"over": cases.maps is not None and caption == list(sheets)[-1]}
            for caption, each in sheets.items()
        ],
    }


def _case(record: Record, cases: Cases, row: int, limits: Limits, among: str) -> dict[str, Any]:
    index = int(cases.index[row])
    truth = CLASSES[int(record.label[index])]
    name = record.sample[index] if record.sample else f"test sample {index}"
    score = number(float(anomaly_score(record.score)[index]))
    facts = [f"anomaly score {score}"]
    if record.p_value is not None:
        facts.insert(0, f"p-value {record.p_value[index]:.3g}")
    near = [
        _still(f"{distance:.3g}", plots.still(normal, limits, whole=False), name, f"number {rank} among {among}")
        for rank, (normal, distance) in enumerate(zip(cases.nearest[row], cases.distance[row], strict=True), start=1)
    ]
    return {
        "title": name,
        "text": f"In truth {truth}; {', '.join(facts)}.",
        "summary": f"{name}, {facts[0]}, {truth}",
        "anomalous": bool(record.label[index]),
        "thumb": plots.still(cases.pixels[row], limits, whole=False),
        "nearest": near,
        "volume": None,
    }


def _stills(name: str, cases: Cases, row: int, limits: Limits) -> list[dict[str, Any]]:
    """Return the pictures of a case that cannot be moved."""
    stills = [_still("as it is", plots.still(cases.pixels[row], limits), name)]
    if cases.reconstructed is not None:
        stills.append(_still("as the detector would have it", plots.still(cases.reconstructed[row], limits), name))
    if cases.mask is not None:
        stills.append(_still("anomalous where white", plots.still(cases.mask[row][None], (0, 1)), name))
    if cases.maps is not None:
        values = cases.maps.values[row]
        top = np.unravel_index(int(np.argmax(values)), values.shape)
        alt = f"map, strongest at {', '.join(map(str, top))} with {values.max():.3g}"
        if values.ndim == 1:
            stills.append(_still("unusual where bright", plots.heat(values, cases.maps.scale), name, alt))
        else:
            over = {"above": plots.hot_still(values, cases.maps.scale), "above_alt": f"{name}, {alt}"}
            stills.append(_still("unusual where coloured", stills[0]["source"], name, "below its map") | over)
    return stills


def _still(caption: str, source: str, name: str, alt: str = "") -> dict[str, Any]:
    return {"caption": caption, "source": source, "alt": f"{name}, {alt or caption}", "above": ""}
