"""The part of the page in which a reader goes from case to case, and through volumes slice by slice."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from unlikelihood.metrics.ranking import anomaly_score
from unlikelihood.report import plots
from unlikelihood.report.page import Panel, Section

if TYPE_CHECKING:
    from unlikelihood.evaluation.evaluation import Evaluation
    from unlikelihood.report.cases import Cases

MEANINGS = {
    "WhitenedResidual": ("unusual where bright", "standard deviations of what normals leave over there"),
    "Residual": ("left over where bright", "of intensity"),
    "PixelLikelihood": ("unlikely where bright", "nats"),
    "Gradient": ("the score reacts where bright", "of score a unit of intensity"),
}
SCROLLED = 8 * 2**20  # characters of pictures that can be scrolled; what is beyond is still


def browse(evaluation: "Evaluation") -> Section | None:
    """Return the part that shows single cases, the most anomalous first.

    Parameters
    ----------
    evaluation : Evaluation

    Returns
    -------
    Section or None
        None where the evaluation was read from a file, which holds no samples.
    """
    cases = evaluation.cases
    if cases is None:
        return None
    limits = plots.limits_of(cases.pixels)
    spacing, orientation = (evaluation.data.get(key) for key in ("spacing_mm", "orientation"))
    shown: list[dict[str, Any]]
    shown, room = [], SCROLLED
    for row in range(len(cases.index)):
        case = _case(evaluation, cases, row, limits)
        if cases.pixels.ndim > 4 and room > 0:
            case["volume"] = _volume(case["title"], cases, row, limits, spacing, orientation)
            room -= sum(len(each["source"]) for each in case["volume"]["stills"])
        case["stills"] = case["volume"]["stills"] if case["volume"] else _stills(case["title"], cases, row, limits)
        shown.append(case)
    # Where the size of a pixel is known, pictures are as wide and as high as what they show.
    ratio = plots.ratio(cases.pixels.shape[1:], spacing) if spacing else None
    slices = min(cases.pixels.shape[2], plots.MONTAGE) if cases.pixels.ndim > 4 else 1
    still_ratio = plots.ratio(cases.pixels.shape[1:], spacing, slices) if spacing else None
    values: dict[str, Any] = {"cases": shown, "key": "", "top": "", "ratio": ratio, "still_ratio": still_ratio}
    if cases.maps is not None:
        unit = MEANINGS.get(cases.kind, ("", ""))[1]
        values["key"] = plots.heat(np.tile(np.linspace(0, cases.scale, 128), (8, 1)), cases.scale)
        values["top"] = f"{cases.scale:.3g} {unit}".strip()
    ordered = "p-value" if evaluation.p_value is not None else "score"
    text = f"Test samples by their {ordered}, the most anomalous first, then some from the rest of the ranking, "
    text += "the anomalies that come last among them. "
    if cases.maps is not None:
        text += "All maps share one scale, which 0.5 % of the pixels of calibration normals exceed. "
    if cases.pixels.ndim > 4:
        text += _scrolling(shown, cases.maps is not None, orientation)
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


def _volume(
    name: str,
    cases: "Cases",
    row: int,
    limits: tuple[float, float],
    spacing: Sequence[float] | None,
    orientation: str | None,
) -> dict[str, Any]:
    """Return what the page needs to scroll a volume: its pictures, of all slices each, and how they are laid out."""
    size = cases.pixels.shape[2:]
    sheets = {"as it is": plots.sheet(cases.pixels[row], limits)}
    start = [extent // 2 for extent in size]
    if cases.reconstructed is not None:
        sheets["as the detector would have it"] = plots.sheet(cases.reconstructed[row], limits)
    if cases.maps is not None:
        caption = MEANINGS.get(cases.kind, (cases.kind, ""))[0].replace("bright", "coloured")
        sheets[caption] = plots.hot_sheet(cases.maps[row], cases.scale)
        start = list(plots.busiest(cases.maps[row]))
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


def _case(evaluation: "Evaluation", cases: "Cases", row: int, limits: tuple[float, float]) -> dict[str, Any]:
    index = int(cases.index[row])
    anomalous = bool(evaluation.label[index])
    name = evaluation.sample[index] if evaluation.sample else f"test sample {index}"
    facts = [f"anomaly score {anomaly_score(evaluation.score)[index]:.4g}", f"probability {evaluation.probability[index]:.3f}"]
    if evaluation.p_value is not None:
        facts.insert(0, f"p-value {evaluation.p_value[index]:.3g}")
    truth = "anomalous" if anomalous else "normal"
    near = [
        _still(f"{distance:.3g}", plots.still(normal, limits, whole=False), name, f"nearest training normal {rank}")
        for rank, (normal, distance) in enumerate(zip(cases.nearest[row], cases.distance[row], strict=True), start=1)
    ]
    return {
        "title": name,
        "text": f"In truth {truth}; {', '.join(facts)}.",
        "summary": f"{name}, {facts[0]}, {truth}",
        "anomalous": anomalous,
        "thumb": plots.still(cases.pixels[row], limits, whole=False),
        "nearest": near,
        "volume": None,
    }


def _stills(name: str, cases: "Cases", row: int, limits: tuple[float, float]) -> list[dict[str, Any]]:
    """Return the pictures of a case that cannot be moved."""
    stills = [_still("as it is", plots.still(cases.pixels[row], limits), name)]
    if cases.reconstructed is not None:
        stills.append(_still("as the detector would have it", plots.still(cases.reconstructed[row], limits), name))
    if cases.maps is not None:
        caption = MEANINGS.get(cases.kind, (cases.kind, ""))[0]
        top = np.unravel_index(int(np.argmax(cases.maps[row])), cases.maps[row].shape)
        alt = f"map, strongest at {', '.join(map(str, top))} with {cases.maps[row].max():.3g}"
        stills.append(_still(caption, plots.heat(cases.maps[row], cases.scale), name, alt))
    return stills


def _still(caption: str, source: str, name: str, alt: str = "") -> dict[str, Any]:
    return {"caption": caption, "source": source, "alt": f"{name}, {alt or caption}"}
