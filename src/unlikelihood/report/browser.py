"""The part of the page in which a reader goes from case to case."""

from typing import TYPE_CHECKING, Any

import numpy as np

from unlikelihood import plots
from unlikelihood.report.page import Panel, Section

if TYPE_CHECKING:
    from unlikelihood.cases import Cases
    from unlikelihood.evaluation import Evaluation

MEANINGS = {
    "WhitenedResidual": ("unusual where bright", "standard deviations of what normals leave over there"),
    "Residual": ("left over where bright", "of intensity"),
    "PixelLikelihood": ("unlikely where bright", "nats"),
    "Gradient": ("the score reacts where bright", "of score a unit of intensity"),
}


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
    shown = [_case(evaluation, cases, row, limits) for row in range(len(cases.index))]
    values: dict[str, Any] = {"cases": shown, "key": "", "top": ""}
    if cases.maps is not None:
        unit = MEANINGS.get(cases.kind, ("", ""))[1]
        values["key"] = plots.heat(np.tile(np.linspace(0, cases.scale, 128), (8, 1)), cases.scale)
        values["top"] = f"{cases.scale:.3g} {unit}".strip()
    ordered = "p-value" if evaluation.p_value is not None else "score"
    text = f"Test samples by their {ordered}, the most anomalous first, then some from the rest of the ranking. "
    if cases.maps is not None:
        text += "All maps share one scale, which 0.5 % of the pixels of calibration normals exceed. "
    return Section(
        "Cases", f"{text}Thumbnails of anomalies have a double lower edge.", panel=Panel("cases.html.j2", values)
    )


def _case(evaluation: "Evaluation", cases: "Cases", row: int, limits: tuple[float, float]) -> dict[str, Any]:
    index = int(cases.index[row])
    anomalous = bool(evaluation.label[index])
    name = evaluation.sample[index] if evaluation.sample else f"test sample {index}"
    facts = [f"score {evaluation.score[index]:.4g}", f"probability {evaluation.probability[index]:.3f}"]
    if evaluation.p_value is not None:
        facts.insert(0, f"p-value {evaluation.p_value[index]:.3g}")
    truth = "anomalous" if anomalous else "normal"
    stills = [_still("as it is", plots.still(cases.pixels[row], limits), name)]
    if cases.reconstructed is not None:
        stills.append(_still("as the detector would have it", plots.still(cases.reconstructed[row], limits), name))
    if cases.maps is not None:
        caption = MEANINGS.get(cases.kind, (cases.kind, ""))[0]
        top = np.unravel_index(int(np.argmax(cases.maps[row])), cases.maps[row].shape)
        alt = f"map, strongest at {', '.join(map(str, top))} with {cases.maps[row].max():.3g}"
        stills.append(_still(caption, plots.heat(cases.maps[row], cases.scale), name, alt))
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
        "stills": stills,
        "nearest": near,
    }


def _still(caption: str, source: str, name: str, alt: str = "") -> dict[str, str]:
    return {"caption": caption, "source": source, "alt": f"{name}, {alt or caption}"}
