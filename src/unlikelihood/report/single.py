"""The page about one detector."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlikelihood.metrics.ranking import anomaly_score
from unlikelihood.report import plots
from unlikelihood.report.architecture import Network
from unlikelihood.report.browser import browse
from unlikelihood.report.exhibits import Exhibits
from unlikelihood.report.generator import generator
from unlikelihood.report.operating import drift, operating, promised
from unlikelihood.report.page import THIN, Plate, Section, Table, duration, number, percent, span, write_page
from unlikelihood.report.record import CLASSES, Record

Geometry = Mapping[str, Any]
METRICS = {
    "auroc": ("AUROC", "A random anomaly outranks a random normal this often; 0.5 is chance."),
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

PLACES = {
    "pixel_auroc": (
        "AUROC of pixels",
        "A random anomalous pixel has a higher value than a random normal one this often.",
    ),
    "aupro": (
        f"AUPRO at 30{THIN}% false positives",
        "Mean share of each anomalous region that is found, small ones as good as large ones; a useless map has 0.15.",
    ),
    "best_dice": ("Best Dice", "Agreement of masks and marks at the threshold that is best in hindsight."),
    "dice_at_threshold": (
        "Dice at the threshold",
        "Agreement at the threshold that at most 1 normal in 20 exceeds anywhere, from calibration normals.",
    ),
    "regions_found_at_0.25": ("Regions found at 1 false mark in 4 samples", "By the peaks of the maps (FROC)."),
    "regions_found_at_1": ("Regions found at 1 false mark a sample", "By the peaks of the maps (FROC)."),
    "regions_found_at_4": ("Regions found at 4 false marks a sample", "By the peaks of the maps (FROC)."),
}


def draw(record: Record, folder: Path, exhibits: Exhibits | None) -> None:
    """Write the report of one evaluation into a folder.

    Parameters
    ----------
    record : Record
        What was found; sections whose content it lacks are absent.
    folder : Path
        Where to; it exists.
    exhibits : Exhibits, optional
        Samples to show. None where the record was read from a file, which holds none.
    """
    write_page(
        folder,
        kind="Evaluation of an anomaly detector",
        title=record.name,
        lede=headline(record),
        sections=sections_of(record, exhibits),
        provenance=record.provenance | {"parameters": record.params},
    )


def sections_of(record: Record, exhibits: Exhibits | None) -> list[Section]:
    """Return the sections of the report of one evaluation, those whose content is there."""
    sections: list[Section | None] = [_figures(record), _places(record), scores(record), operating(record)]
    sections += [browse(record, exhibits)] if exhibits else []
    sections += [promised(record), _probability(record), drift(record)]
    if exhibits:
        parts = (samples, generator, reconstructions, _extremes, walks)
        sections += [part(exhibits, record.geometry) for part in parts]
    sections += [training(record.history, record.timings.get("fit_seconds"))]
    sections += [architecture(exhibits.networks), _data(record)] if exhibits else [_data(record)]
    return [section for section in sections if section]


def headline(record: Record) -> str:
    """Return what was found, in two or three plain sentences."""
    area = record.metrics["auroc"]
    resampled = ", resampled by group" if record.provenance.get("by_group") else ""
    ranks = (
        f"Scores {record.tested}: a random anomaly outranks "
        f"a random normal {percent(area.value)} of the time "
        f"({100 * area.level:g}{THIN}% CI {100 * area.low:.1f}–{100 * area.high:.1f}{resampled})."
    )
    lines = [ranks, record.left_out]
    if area.high < 0.5:
        lines.append("That is worse than chance: it finds anomalies more likely than normals.")
    elif area.low <= 0.5:
        lines.append("Chance alone could explain that.")
    elif found := record.metrics.get("sensitivity_at_95_specificity"):
        share = percent(found.value)
        lines.append(f"If 1 normal in 20 may raise a false alarm, it finds {share} of the anomalies.")
    return " ".join(filter(None, lines))


def _figures(record: Record) -> Section:
    prevalence = record.prevalence
    rows = []
    for key, interval in record.metrics.items():
        name, meaning = METRICS.get(key, (key.replace("_", " "), ""))
        meaning = meaning.format(prevalence=prevalence, blind=prevalence * (1 - prevalence))
        rows.append((name, f"{interval.value:.3f}", span(interval), meaning))
    level = next(iter(record.metrics.values())).level
    return Section("Figures", table=Table(("", "value", f"{100 * level:g}{THIN}% interval", ""), rows, words=True))


def _places(record: Record) -> Section | None:
    if not record.places:
        return None
    rows = [
        (name, f"{interval.value:.3f}", span(interval), meaning)
        for key, interval in record.places.items()
        for name, meaning in [PLACES.get(key, (key.replace("_", " "), ""))]
    ]
    data = record.data
    text = f"How well the maps agree with the masks of {data['map_samples']:,} test samples, pixel by pixel. "
    return Section(
        "Places",
        f"{text}The maps are of the {data['map_kind']}.",
        table=Table(("", "value", f"95{THIN}% interval", ""), rows, words=True),
    )


def scores(record: Record) -> Section:
    """Return the densities of both classes and the ROC curve."""
    label, score = record.label, record.score
    return Section(
        "Scores",
        "Each sample gets one number, its anomaly score: the less likely, the higher. "
        "The further apart the hills, the better.",
        [
            Plate("densities", "Distribution of the scores", plots.score_densities(label, score)),
            Plate(
                "roc",
                "Anomalies found against false alarms",
                plots.roc(label, score, record.metrics["auroc"]),
            ),
        ],
    )


def _probability(record: Record) -> Section:
    return Section(
        "Probability",
        "A logistic regression on the one score turns it into the probability of being anomalous, "
        "cross-fitted so that no sample is judged by a regression that saw it. It holds at this prevalence, "
        f"{record.prevalence:.3f}; the expected calibration error is {record.calibration_error:.3f}.",
        [
            Plate(
                "reliability",
                "Anomalies among samples of like probability: on the diagonal it is honest",
                plots.reliability(record.label, record.probability),
            )
        ],
    )


def samples(exhibits: Exhibits, geometry: Geometry) -> Section:
    """Return normals and, if there are any, generated samples."""
    limits = plots.limits_of(exhibits.normals)
    shown = {"normals": ("Normals of this data set", "a normal", exhibits.normals)}
    title, text = "Normal", "Some normals of this data set. On which ones the detector was trained is not known of it"
    if exhibits.trained_on:
        shown = {"train": ("Training normals", "a training normal", exhibits.normals)}
        title, text = "Normal, as the detector knows it", "Some of what the detector was trained on"
    if exhibits.generated is not None:
        shown["generated"] = ("Generated", "a generated sample", exhibits.generated)
        text += ", and what it makes up by itself"
    plates = [
        Plate(stem, f"{many}{_slice(pixels)}", plots.gallery(pixels, limits=limits, **geometry))
        for stem, (many, _, pixels) in shown.items()
    ]
    if exhibits.normals.ndim > 4:
        plates += [
            Plate(f"{stem}-slices", f"Slices of {one}, by their number", plots.montage(pixels[0], limits, **geometry))
            for stem, (_, one, pixels) in shown.items()
        ]
        plates += [
            Plate(f"{stem}-planes", f"{many}, in three planes", plots.triptych(pixels[:3], limits, **geometry))
            for stem, (many, _, pixels) in shown.items()
        ]
    return Section(title, f"{text}.", plates)


def reconstructions(exhibits: Exhibits, geometry: Geometry) -> Section | None:
    """Return reconstructions of both classes, or None if there are none."""
    if not exhibits.reconstructed:
        return None
    # One scale for both classes: what is left over is what tells them apart.
    limits = plots.limits_of(exhibits.normals)
    left_over = [np.abs(x - x_hat).ravel() for x, x_hat in exhibits.reconstructed.values()]
    scale = float(np.quantile(np.concatenate(left_over), 0.995))
    plates = [
        Plate(
            f"reconstructed-{CLASSES[k]}",
            f"{CLASSES[k].capitalize()} samples, most likely first{_where(x)}",
            plots.reconstructions(x, x_hat, limits, scale, **geometry),
        )
        for k, (x, x_hat) in exhibits.reconstructed.items()
    ]
    text = "Test samples at evenly spaced ranks, what the detector makes of them, and what is left over."
    return Section("Reconstructions", text, plates)


def _extremes(exhibits: Exhibits, geometry: Geometry) -> Section:
    limits = plots.limits_of(exhibits.normals)
    plates = [
        Plate(
            f"{end}-{CLASSES[k]}",
            f"{CLASSES[k].capitalize()}, found {end.replace('-', ' ')}{_slice(pixels)}",
            plots.gallery(pixels, list(map(number, anomaly_score(scores))), limits=limits, **geometry),
        )
        for end, ranked in (("most-likely", exhibits.likely), ("least-likely", exhibits.unlikely))
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


def walks(exhibits: Exhibits, geometry: Geometry) -> Section | None:
    """Return walks through the latents: from normal to normal, and those of a search; None if there are none."""
    limits, plates = plots.limits_of(exhibits.normals), []
    if exhibits.walk is not None:
        shares = [f"{share:.0f}{THIN}%" for share in np.linspace(0, 100, len(exhibits.walk))]
        line = plots.gallery(exhibits.walk, shares, columns=len(shares) // 2, limits=limits, **geometry)
        plates.append(Plate("walk", f"From one normal to another{_slice(exhibits.walk)}", line))
    for k, path in exhibits.paths.items():
        titles = ["the sample", "start", *(f"step {step}" for step in path.step[1:])]
        shown = np.concatenate([path.sample[None], path.generation])
        picture = plots.gallery(shown, titles, columns=5, limits=limits, **geometry)
        caption = f"The search for a sample that is {CLASSES[k]}, of the middle rank{_slice(shown)}"
        plates.append(Plate(f"path-{CLASSES[k]}", caption, picture))
    if exhibits.paths:
        losses = plots.search_losses({CLASSES[k]: path.loss for k, path in exhibits.paths.items()})
        plates.append(Plate("path-loss", "Loss over these two searches", losses))
    text = "What lies at evenly spaced latents on a straight line"
    text += ", and what a search passes on its way." if exhibits.paths else "."
    return Section("Walks in latent space", text, plates) if plates else None


def architecture(networks: Sequence[Network]) -> Section | None:
    """Return the layers of networks, or None if there are none."""
    drawn = [
        (network, plots.architecture([(layer.name, layer.size, layer.parameters) for layer in network.layers]))
        for network in networks
    ]
    plates = [
        Plate(f"architecture-{number}", f"{network.name}, {network.parameters:,} parameters", figure)
        for number, (network, figure) in enumerate(drawn, 1)
    ]
    text = "The layers from input to output, the shape of what each puts out for one sample, and its parameters."
    return Section("Architecture", text, plates) if plates else None


def training(history: Mapping[str, Sequence[float]], seconds: float | None) -> Section | None:
    """Return the losses over the epochs, or None if there are none, and the time in seconds if it is known."""
    if not any(history.values()):
        return None
    plate = Plate("training", "Loss over the epochs", plots.training_curve(history))
    text = f"Fitted in {duration(seconds)}. " if seconds is not None else ""
    return Section("Training", f"{text}What is drawn is the mean over each epoch.", [plate])


def _data(record: Record) -> Section:
    data, timings = record.data, record.timings
    low, high = data["intensity"]
    calibrated = "no normals, so there are no p-values and no decisions"
    if data["calibrated_on"]:
        unseen = "" if data["left_out"] is None else " that training never saw"
        calibrated = f"{data['calibrated_on']:,} normals{unseen}"
    facts = {
        "Trained on": "" if data["trained_on"] is None else f"{data['trained_on']:,} normals",
        "Calibrated on": calibrated,
        "Tested on": f"{data['test_normal']:,} normals and {data['test_anomalous']:,} anomalies, "
        f"a prevalence of {record.prevalence:.3f}",
        "Left out": record.left_out.rstrip("."),
        # Records of earlier versions have not got these two.
        "Data": data.get("layout", "").replace("\n", "; "),
        "Parts of the data": "; ".join(f"{part}: {count:,}" for part, count in data.get("parts", {}).items()),
        "Independent groups": "" if data["test_groups"] is None else f"{data['test_groups']:,} in the test",
        "Shape of a sample": " × ".join(map(str, data["shape"])),
        "Spacing": f"{' × '.join(f'{s:g}' for s in data['spacing_mm'])} mm" if data["spacing_mm"] else "",
        "Orientation": data["orientation"] or "",
        "Intensities": f"{low:.4g} to {high:.4g}",
        "Time to fit": duration(timings["fit_seconds"]) if "fit_seconds" in timings else "",
        "Time to score": f"{duration(timings['score_seconds'])} a sample",
    }
    return Section("Data sheet", facts={term: fact for term, fact in facts.items() if fact})
