"""The page about one detector."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unlikelihood.metrics.ranking import anomaly_score
from unlikelihood.report import plots
from unlikelihood.report.browser import browse
from unlikelihood.report.decisions import drift, operating, promised
from unlikelihood.report.generator import generator
from unlikelihood.report.page import THIN, Plate, Section, Table, duration, percent, span, write_page

if TYPE_CHECKING:
    from unlikelihood.evaluation.evaluation import Evaluation
    from unlikelihood.report.pictures import Pictures

Spacing = Sequence[float] | None
CLASSES = {0: "normal", 1: "anomalous"}
METRICS = {
    "auroc": ("AUROC", "A random anomaly outranks a random normal this often; 0.5 is chance."),
    "auroc_of_probability": (
        "AUROC of the probability",
        "The same, after the cross-fitted logistic regression.",
    ),
    "auprc": ("AUPRC", "Average precision; a useless score has the prevalence, {prevalence:.3f}."),
    "sensitivity_at_90_specificity": (
        f"Sensitivity at 90{THIN}% specificity",
        "Share of anomalies found when 1 normal in 10 raises a false alarm.",
    ),
    "sensitivity_at_95_specificity": (
        f"Sensitivity at 95{THIN}% specificity",
        "Share of anomalies found when 1 normal in 20 raises a false alarm.",
    ),
    "sensitivity_at_99_specificity": (
        f"Sensitivity at 99{THIN}% specificity",
        "Share of anomalies found when 1 normal in 100 raises a false alarm.",
    ),
    "fpr_at_95_tpr": (
        f"False alarms at 95{THIN}% sensitivity",
        "Share of normals flagged when 19 anomalies in 20 are found; lower is better.",
    ),
    "brier": (
        "Brier score",
        "Mean squared error of the probability; always saying {prevalence:.3f} scores {blind:.3f}.",
    ),
}


def draw(evaluation: "Evaluation", folder: Path) -> None:
    """Write the report of one evaluation into a folder.

    Parameters
    ----------
    evaluation : Evaluation
        What to show; sections whose content it lacks are absent.
    folder : Path
        Where to; it exists.
    """
    sections: list[Section | None] = [_figures(evaluation), _scores(evaluation), operating(evaluation)]
    sections += [browse(evaluation), promised(evaluation), _probability(evaluation), drift(evaluation)]
    if evaluation.pictures:
        pictures = evaluation.pictures
        spacing, orientation = (evaluation.data.get(key) for key in ("spacing_mm", "orientation"))
        sections += [_samples(pictures, spacing, orientation), generator(pictures, spacing)]
        sections += [_reconstructions(pictures, spacing), _extremes(pictures, spacing)]
    sections += [_training(evaluation), _data(evaluation)]
    write_page(
        folder,
        kind="Evaluation of an anomaly detector",
        title=evaluation.name,
        lede=headline(evaluation),
        sections=[section for section in sections if section],
        provenance=evaluation.provenance | {"parameters": evaluation.params},
    )


def headline(evaluation: "Evaluation") -> str:
    """Return what an evaluation found, in plain words.

    Parameters
    ----------
    evaluation : Evaluation

    Returns
    -------
    str
        Two or three sentences.
    """
    area, found = (evaluation.metrics[key] for key in ("auroc", "sensitivity_at_95_specificity"))
    normal, anomalous = evaluation.data["test_normal"], evaluation.data["test_anomalous"]
    resampled = ", resampled by group" if evaluation.provenance.get("by_group") else ""
    ranks = (
        f"Scores {normal:,} unseen normals and {anomalous:,} anomalies: a random anomaly outranks "
        f"a random normal {percent(area.value)} of the time "
        f"({100 * area.level:g}{THIN}% CI {100 * area.low:.1f}–{100 * area.high:.1f}{resampled})."
    )
    if area.high < 0.5:
        return f"{ranks} That is worse than chance: it finds anomalies more likely than normals."
    if area.low <= 0.5:
        return f"{ranks} Chance alone could explain that."
    share = percent(found.value)
    return f"{ranks} If 1 normal in 20 may raise a false alarm, it finds {share} of the anomalies."


def _figures(evaluation: "Evaluation") -> Section:
    prevalence = evaluation.prevalence
    rows = []
    for key, interval in evaluation.metrics.items():
        name, meaning = METRICS.get(key, (key.replace("_", " "), ""))
        meaning = meaning.format(prevalence=prevalence, blind=prevalence * (1 - prevalence))
        rows.append((name, f"{interval.value:.3f}", span(interval), meaning))
    level = next(iter(evaluation.metrics.values())).level
    return Section("Figures", table=Table(("", "value", f"{100 * level:g}{THIN}% interval", ""), rows, words=True))


def _scores(evaluation: "Evaluation") -> Section:
    label, score = evaluation.label, evaluation.score
    return Section(
        "Scores",
        "Each sample gets one number, its anomaly score: the less likely, the higher. The further apart the hills, the better.",
        [
            Plate("densities", "Distribution of the scores", plots.score_densities(label, score)),
            Plate(
                "roc",
                "Anomalies found against false alarms",
                plots.roc(label, score, evaluation.metrics["auroc"]),
            ),
        ],
    )


def _probability(evaluation: "Evaluation") -> Section:
    return Section(
        "Probability",
        "A logistic regression on the one score turns it into the probability of being anomalous, "
        "cross-fitted so that no sample is judged by a regression that saw it. It holds at this prevalence, "
        f"{evaluation.prevalence:.3f}; the expected calibration error is {evaluation.calibration_error:.3f}.",
        [
            Plate(
                "reliability",
                "Anomalies among samples of like probability: on the diagonal it is honest",
                plots.reliability(evaluation.label, evaluation.probability),
            )
        ],
    )


def _samples(pictures: "Pictures", spacing: Spacing, orientation: str | None) -> Section:
    limits = plots.limits_of(pictures.train)
    shown = {"train": ("Training normals", "a training normal", pictures.train)}
    if pictures.generated is not None:
        shown["generated"] = ("Generated", "a generated sample", pictures.generated)
    plates = [
        Plate(stem, f"{many}{_slice(pixels)}", plots.gallery(pixels, limits=limits, spacing=spacing))
        for stem, (many, _, pixels) in shown.items()
    ]
    lie: dict[str, Any] = {"spacing": spacing, "orientation": orientation}
    if pictures.train.ndim > 4:
        plates += [
            Plate(f"{stem}-slices", f"Slices of {one}, by their number", plots.montage(pixels[0], limits, **lie))
            for stem, (_, one, pixels) in shown.items()
        ]
        plates += [
            Plate(f"{stem}-planes", f"{many}, in three planes", plots.triptych(pixels[:3], None, limits, **lie))
            for stem, (many, _, pixels) in shown.items()
        ]
    text = "Some of what the detector was shown"
    text += ", and what it makes up by itself." if pictures.generated is not None else "."
    return Section("Normal, as the detector knows it", text, plates)


def _reconstructions(pictures: "Pictures", spacing: Spacing) -> Section | None:
    if not pictures.reconstructed:
        return None
    # One scale for both classes: what is left over is what tells them apart.
    limits = plots.limits_of(pictures.train)
    left_over = [np.abs(x - x_hat).ravel() for x, x_hat in pictures.reconstructed.values()]
    scale = float(np.quantile(np.concatenate(left_over), 0.995))
    plates = [
        Plate(
            f"reconstructed-{CLASSES[k]}",
            f"{CLASSES[k].capitalize()} samples, most likely first{_where(x)}",
            plots.reconstructions(x, x_hat, limits, scale, spacing),
        )
        for k, (x, x_hat) in pictures.reconstructed.items()
    ]
    text = "Test samples at evenly spaced ranks, what the detector makes of them, and what is left over."
    return Section("Reconstructions", text, plates)


def _extremes(pictures: "Pictures", spacing: Spacing) -> Section:
    limits = plots.limits_of(pictures.train)
    plates = [
        Plate(
            f"{end}-{CLASSES[k]}",
            f"{CLASSES[k].capitalize()}, found {end.replace('-', ' ')}{_slice(pixels)}",
            plots.gallery(pixels, [f"{score:.4g}" for score in anomaly_score(scores)], limits=limits, spacing=spacing),
        )
        for end, ranked in (("most-likely", pictures.likely), ("least-likely", pictures.unlikely))
        for k, (pixels, scores) in ranked.items()
    ]
    return Section(
        "Extremes",
        "Test samples at both ends of the ranking, by their true label, with their anomaly scores. "
        "The mistakes are the normals found least likely and the anomalies found most likely.",
        plates,
    )


def _slice(pixels: NDArray[Any]) -> str:
    return " (middle slices)" if pixels.ndim > 4 else ""


def _where(pixels: NDArray[Any]) -> str:
    return " (the slices of which most is left over)" if pixels.ndim > 4 else ""


def _training(evaluation: "Evaluation") -> Section | None:
    if not any(evaluation.history.values()):
        return None
    plate = Plate("training", "Loss over the epochs", plots.training_curve(evaluation.history))
    fitted = evaluation.timings.get("fit_seconds")
    text = f"Fitted in {duration(fitted)}. " if fitted is not None else ""
    return Section("Training", f"{text}What is drawn is the mean over each epoch.", [plate])


def _data(evaluation: "Evaluation") -> Section:
    data, timings = evaluation.data, evaluation.timings
    low, high = data["intensity"]
    facts = {
        "Trained on": f"{data['train']:,} normals",
        "Set aside for calibration": _calibrated(data),
        "Tested on": f"{data['test_normal']:,} normals and {data['test_anomalous']:,} anomalies, "
        f"a prevalence of {evaluation.prevalence:.3f}",
        "Independent groups": "" if data["test_groups"] is None else f"{data['test_groups']:,} in the test",
        "Shape of a sample": " × ".join(map(str, data["shape"])),
        "Spacing": f"{' × '.join(f'{s:g}' for s in data['spacing_mm'])} mm" if data["spacing_mm"] else "",
        "Intensities": f"{low:.4g} to {high:.4g}",
        "Time to fit": duration(timings["fit_seconds"]) if "fit_seconds" in timings else "",
        "Time to score": f"{duration(timings['score_seconds'])} a sample",
    }
    return Section("Data sheet", facts={term: fact for term, fact in facts.items() if fact})


def _calibrated(data: dict[str, Any]) -> str:
    used = data.get("calibrated_on", 0)
    text = f"{data['calibration']:,} normals"
    return text if used in (0, data["calibration"]) else f"{text}, of which {used:,} were used"
