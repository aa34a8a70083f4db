"""The part of a page in which a reader goes from case to case, and through volumes slice by slice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlikelihood.metrics.ranking import anomaly_score
from unlikelihood.report import plots
from unlikelihood.report.exhibits import Cases, Exhibits
from unlikelihood.report.page import Panel, Section, number
from unlikelihood.report.record import CLASSES, Record

SCROLLED = 8 * 2**20  # characters of pictures that can be scrolled; what is beyond is still
THUMB, NEAREST = 80, 208  # pixels along a side, twice as many as of the page's

Limits = tuple[float, float]


@dataclass(frozen=True)
class Caption:
    """What is written about a case: its name, a sentence, a few words, and whether it is marked as an anomaly."""

    title: str
    text: str
    summary: str
    marked: bool = False


@dataclass(frozen=True)
class Drawing:
    """How cases are drawn: black and white, where voxels lie, and what a case may weigh.

    Parameters
    ----------
    limits : tuple of float
        Intensities of black and white.
    geometry : mapping
        Spacing in mm and orientation, each of them or None.
    among : str
        What the samples are of which the nearest are shown.
    most : int, optional
        Bytes of the pictures of a case: its map is then laid over the only picture of an image.
    """

    limits: Limits
    geometry: Mapping[str, Any]
    among: str
    most: int | None = None

    def share(self, part: float) -> int | None:
        """Return the bytes that a part of a case may have."""
        return None if self.most is None else int(part * self.most)


def browse(record: Record, exhibits: Exhibits) -> Section | None:
    """Return the part that shows single cases, the most anomalous first, or None if there are none."""
    cases = exhibits.cases
    if cases is None:
        return None
    among = "training normals" if exhibits.trained_on else "normals of this data set"
    drawing = Drawing(plots.limits_of(cases.pixels), record.geometry, among)
    captions = [_caption(record, int(index)) for index in cases.index]
    shown = drawn(cases, captions, drawing, SCROLLED)
    text = "Test samples by their anomaly score, the highest first, then some from the rest of the ranking, "
    text += "the anomalies that come last among them. "
    text += explained(cases, shown, drawing)
    values = values_of(cases, shown, drawing)
    return Section(
        "Cases", f"{text}Thumbnails of anomalies have a double lower edge.", panel=Panel("cases.html.j2", values)
    )


def drawn(cases: Cases, captions: Sequence[Caption], drawing: Drawing, room: float = np.inf) -> list[dict[str, Any]]:
    """Return what `cases.html.j2` shows of each case, volumes to scroll within so many characters of pictures."""
    shown = []
    for row, caption in enumerate(captions):
        case = _case(cases, row, caption, drawing)
        if cases.pixels.ndim > 4 and room > 0:
            case["volume"] = _volume(caption.title, cases, row, drawing)
            room -= sum(len(each["source"]) for each in case["volume"]["stills"])
        case["stills"] = case["volume"]["stills"] if case["volume"] else _stills(caption.title, cases, row, drawing)
        shown.append(case)
    return shown


def values_of(cases: Cases, shown: Sequence[Mapping[str, Any]], drawing: Drawing) -> dict[str, Any]:
    """Return the values of `cases.html.j2` for cases that are drawn; `cases` tell the shape and what the maps are."""
    spacing, shape = drawing.geometry["spacing"], cases.pixels.shape[1:]
    slices = min(shape[1], plots.MONTAGE) if len(shape) == 4 else 1
    maps = cases.maps
    return {
        "cases": shown,
        "among": drawing.among,
        # Where the size of a pixel is known, pictures are as wide and as high as what they show.
        "ratio": plots.ratio(shape, spacing) if spacing else None,
        "still_ratio": plots.ratio(shape, spacing, slices) if spacing else None,
        # A slider fades the maps that lie over their samples; vectors have strips of their own.
        "faded": maps is not None and maps.values.ndim > 2,
        "key": "" if maps is None else plots.heat(np.tile(np.linspace(0, maps.scale, 128), (8, 1)), maps.scale),
        "top": "" if maps is None else f"{maps.scale:.3g} {maps.unit}",
        "reviewed": False,
    }


def explained(
    cases: Cases,
    shown: Sequence[Mapping[str, Any]],
    drawing: Drawing,
    scaled_by: str = "these and of calibration normals",
) -> str:
    """Return in sentences what the maps are and of what their scale is, and how volumes are scrolled."""
    text = ""
    if cases.maps is not None:
        text += f"The maps are of the {cases.maps.kind}, in {cases.maps.unit}. "
        text += f"All share one scale, which at most 0.5 % of the pixels exceed, of {scaled_by}. "
    if cases.pixels.ndim > 4:
        text += _scrolling(shown, cases.maps is not None, drawing.geometry["orientation"])
    return text


def _scrolling(shown: Sequence[Mapping[str, Any]], maps: bool, orientation: str | None) -> str:
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


def _caption(record: Record, index: int) -> Caption:
    truth = CLASSES[int(record.label[index])]
    name = record.sample[index] if record.sample else f"test sample {index}"
    facts = [f"anomaly score {number(float(anomaly_score(record.score)[index]))}"]
    if record.p_value is not None:
        facts.insert(0, f"p-value {record.p_value[index]:.3g}")
    text = f"In truth {truth}; {', '.join(facts)}."
    return Caption(name, text, f"{name}, {facts[0]}, {truth}", bool(record.label[index]))


def _case(cases: Cases, row: int, caption: Caption, drawing: Drawing) -> dict[str, Any]:
    name, limits, among = caption.title, drawing.limits, drawing.among
    most = drawing.share(0.08)
    near = [
        _still(
            f"{distance:.3g}",
            plots.still(normal, limits, whole=False, largest=NEAREST, most=most),
            name,
            f"number {rank} among {among}",
        )
        for rank, (normal, distance) in enumerate(zip(cases.nearest[row], cases.distance[row], strict=True), start=1)
    ]
    return {
        "title": name,
        "text": caption.text,
        "summary": caption.summary,
        "anomalous": caption.marked,
        "thumb": plots.still(cases.pixels[row], limits, whole=False, largest=THUMB, most=drawing.share(0.06)),
        "nearest": near,
        "volume": None,
    }


def _volume(name: str, cases: Cases, row: int, drawing: Drawing) -> dict[str, Any]:
    """Return what the page needs to scroll a volume: its pictures, of all slices each, and how they are laid out."""
    size = cases.pixels.shape[2:]
    spacing, orientation = drawing.geometry["spacing"], drawing.geometry["orientation"]
    start = [extent // 2 for extent in size] if cases.maps is None else list(plots.busiest(cases.maps.values[row]))
    sheets, along = _sheets(cases, row, drawing, plots.THINNED), plots.THINNED
    while drawing.most is not None and sum(plots.weight(each.source) for each in sheets.values()) > 0.7 * drawing.most:
        along = 3 * along // 4
        sheets = _sheets(cases, row, drawing, along)
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


def _sheets(cases: Cases, row: int, drawing: Drawing, along: int) -> dict[str, plots.Sheet]:
    """Return the pictures of a volume with so many voxels along an axis at most, by what they show, its map last."""
    below: dict[str, Any] = {"along": along, "most": drawing.share(0.45)}
    sheets = {"as it is": plots.sheet(cases.pixels[row], drawing.limits, **below)}
    if cases.reconstructed is not None:
        sheets["as the detector would have it"] = plots.sheet(cases.reconstructed[row], drawing.limits, **below)
    if cases.mask is not None:
        sheets["anomalous where white"] = plots.sheet(cases.mask[row][None], (0, 1), **below)
    if cases.maps is not None:
        values, above = cases.maps.values[row], drawing.share(0.25)
        sheets["unusual where coloured"] = plots.hot_sheet(values, cases.maps.scale, along=along, most=above)
    return sheets


def _stills(name: str, cases: Cases, row: int, drawing: Drawing) -> list[dict[str, Any]]:
    """Return the pictures of a case that cannot be moved."""
    limits, most = drawing.limits, drawing.share(0.45)
    stills = [_still("as it is", plots.still(cases.pixels[row], limits, most=most), name)]
    if cases.reconstructed is not None:
        remade = plots.still(cases.reconstructed[row], limits, most=most)
        stills.append(_still("as the detector would have it", remade, name))
    if cases.mask is not None:
        stills.append(_still("anomalous where white", plots.still(cases.mask[row][None], (0, 1), most=most), name))
    if cases.maps is not None:
        stills.append(_mapped(name, cases.maps.values[row], cases.maps.scale, stills[0]["source"], drawing))
    # The slider takes the map off, so that a picture that must be light need not be there twice.
    return stills[1:] if drawing.most is not None and stills[-1]["above"] else stills


def _mapped(name: str, values: NDArray[Any], scale: float, below: str, drawing: Drawing) -> dict[str, Any]:
    """Return the map of a case over the picture `below`, or that of a vector by itself."""
    top, most = np.unravel_index(int(np.argmax(values)), values.shape), drawing.share(0.25)
    alt = f"map, strongest at {', '.join(map(str, top))} with {values.max():.3g}"
    if values.ndim == 1:
        return _still("unusual where bright", plots.heat(values, scale, most), name, alt)
    over = {"above": plots.hot_still(values, scale, most), "above_alt": f"{name}, {alt}"}
    return _still("unusual where coloured", below, name, "below its map") | over


def _still(caption: str, source: str, name: str, alt: str = "") -> dict[str, Any]:
    return {"caption": caption, "source": source, "alt": f"{name}, {alt or caption}", "above": ""}
