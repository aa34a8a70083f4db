"""What each command of the command line does, and the arguments it takes."""

import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jsonargparse import ArgumentParser

from unlikelihood.cli.results import DATA, done, fitted_on, refuse_existing, warning_in_one_line
from unlikelihood.cli.triage import found_by, normals_beside, origin_of, read_forgivingly
from unlikelihood.contract.detector import Detector, load
from unlikelihood.contract.refusals import naming
from unlikelihood.data import kept
from unlikelihood.data.folder import Folder
from unlikelihood.data.images import Images
from unlikelihood.data.parts import Parts
from unlikelihood.data.reviews import labelled, named, read_reviews
from unlikelihood.data.source import RandomSplitSource, Source
from unlikelihood.data.splits import Split, Unlabelled
from unlikelihood.distributed import stream
from unlikelihood.distributed.archive import score_archive
from unlikelihood.distributed.pool import PATIENCE
from unlikelihood.distributed.scoring import Job
from unlikelihood.evaluation import columns, evaluation
from unlikelihood.evaluation.experiment import Runnable, keep_checkpoints
from unlikelihood.nn.shares import rank, size
from unlikelihood.parameters import check_parameters
from unlikelihood.progress import stage
from unlikelihood.report import plots, ranking
from unlikelihood.report.map_files import write_maps
from unlikelihood.report.triage import save_triage
from unlikelihood.storage import discovery, tables
from unlikelihood.storage.files import replacing
from unlikelihood.storage.identity import seen, unseen
from unlikelihood.storage.provenance import display_name, provenance
from unlikelihood.training.devices import fabric_for
from unlikelihood.training.ranks import together

GALLERY = 40


def choices(package: str) -> list[str]:
    """Return what ``--data`` or ``--detector`` can name; importing them is what makes their short names known."""
    return list(discovery.subclasses({"data": Source, "detectors": Detector}[package], package))


def _add_data(parser: ArgumentParser) -> None:
    choices("data")
    parser.add_argument("--data", type=Source, required=True, help="where the samples come from")


def _add_parts(parser: ArgumentParser) -> None:
    for part, what in (
        ("train", "normals to fit to"),
        ("calibration", "further normals, for p-values and decisions"),
        ("test", "labelled normals and anomalies"),
    ):
        parser.add_argument(
            f"--{part}", type=Path | None, help=f"{what}, in a folder of their own; --data is Folder unless given"
        )


def _add_out(parser: ArgumentParser, what: str, **given: Any) -> None:
    parser.add_argument("--out", type=Path, help=what, **(given or {"required": True}))
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")


def takes_path(source: str) -> bool:
    """Return whether a source is told a path, and so can be told several."""
    choices("data")
    return any(one.name == "path" for one in fields(discovery.public_class(source)))


def apart(data: Source, **places: Path | None) -> Source:
    """Return a source of the parts that lie in places of their own, each read as `data` says; or `data`, of none."""
    source: Any = data
    given: dict[str, Any] = {part: replace(source, path=place) for part, place in places.items() if place is not None}
    if not given:
        return data
    shared = {one.name: getattr(data, one.name) for one in fields(RandomSplitSource) if hasattr(data, one.name)}
    return Parts(**given, **shared)


def record_of(data: Split, origin: dict[str, str] | None) -> dict[str, Any]:
    """Return what a fit notes of its data: how they are arranged, and where its normals lie if that is a path."""
    return {"layout": data.layout, "parts": dict(data.counts), "train": origin} | provenance()


def fit_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `fit`."""
    _add_data(parser)
    _add_parts(parser)
    choices("detectors")
    discovery.subclasses(object, "nn")
    auto = discovery.public_class("Auto")()
    parser.add_argument("--detector", type=Detector, default=auto, help="what is fitted")
    _add_out(parser, "folder of the fitted detector")
    started = "; those that torchrun or Slurm started unless given, else 1"
    parser.add_argument(
        "--devices", type=int | None, help=f"processes on a machine that share every batch, one a device{started}"
    )
    parser.add_argument("--nodes", type=int | None, help=f"machines{started}")


def fit(
    data: Source,
    train: Path | None,
    calibration: Path | None,
    test: Path | None,
    detector: Detector,
    out: Path,
    overwrite: bool,
    devices: int | None = None,
    nodes: int | None = None,
) -> None:
    """Fit a detector to the training normals of a source and save it, with a record of where its samples went."""
    check_parameters(detector)
    if hasattr(detector, "device"):
        fabric_for(detector.device, "auto")
    if not overwrite and (date := fitted_on(out)):
        raise ValueError(f"out is {str(out)!r}, where the same command ended on {date}: --overwrite fits again")
    refuse_existing(overwrite, out=out)
    source = apart(data, train=train, calibration=calibration, test=test)
    together(partial(_fit, source, origin_of(data, train), detector, out), devices, nodes)


@warning_in_one_line()  # in a process of its own, too
def _fit(data: Source, origin: dict[str, str] | None, detector: Detector, out: Path) -> None:
    started = time.perf_counter()
    with stage(1, 3):
        split = data.split()
    print(split.summary())
    if size() > 1:
        print(f"{size()} processes share every batch, of batch_size samples on all of them together")
    if not len(split.train):
        raise ValueError("train is empty: expected normals to fit the detector to")
    keep_checkpoints(detector, out)
    with stage(2, 3):
        detector.fit(split.train.pixels)
    if rank() > 0:
        return
    with stage(3, 3):
        held_out = unseen(detector, split.calibration.pixels)
        if len(held_out):
            detector.calibrate(held_out)
    if hasattr(detector, "reason_"):
        print(f"{type(detector).__name__} took the normals for {detector.reason_}")
    detector.save(out)
    (out / DATA).write_text(json.dumps(record_of(split, origin), indent=1), encoding="utf-8")
    done(
        "fit",
        detector=type(detector).__name__,
        fitted_to=getattr(detector, "n_samples_", len(split.train)),
        calibrated_on=len(getattr(detector, "calibration_", ())),
        seconds=time.perf_counter() - started,
        out=out,
    )


def score_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `score`."""
    parser.add_argument("model", type=Path, help="folder of a fitted detector")
    _add_data(parser)
    _add_out(parser, "table to write: .csv or .parquet; or, of an archive, a folder of Parquet parts")
    parser.add_argument(
        "--workers", type=int | None, help="processes that score an archive, each with a thread of its own"
    )
    parser.add_argument("--ray", type=str | None, help="address of a Ray cluster that scores an archive, such as auto")
    parser.add_argument("--rows", type=int | None, help="samples of an archive that are scored and written together")
    parser.add_argument(
        "--patience", type=float | None, help="seconds without a sign of life after which a worker is given up"
    )
    parser.add_argument(
        "--maps",
        type=Path | None,
        help="folder of maps of where each sample is anomalous: TIFF and PNG of images, NIfTI of volumes",
    )
    parser.add_argument(
        "--report", type=Path | None, help="folder of a page that shows the samples, the most anomalous first"
    )
    parser.add_argument("--alpha", type=float | None, help="share of normals that may be called anomalous")
    parser.add_argument(
        "--evaluation",
        type=Path | None,
        help="folder of an evaluation of this model, to whose labels probabilities are fitted",
    )
    parser.add_argument(
        "--reviews",
        type=Path | None,
        help="table of reviews that the page of triage exports, to which probabilities are fitted instead",
    )
    parser.add_argument(
        "--prevalence", type=float | None, help="share of anomalies where the model is used, for the probabilities"
    )
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1 or mps")


def score(
    model: Path,
    data: Source,
    out: Path,
    overwrite: bool,
    workers: int | None,
    ray: str | None,
    rows: int | None,
    patience: float | None,
    maps: Path | None,
    report: Path | None,
    alpha: float | None,
    evaluation: Path | None,
    reviews: Path | None,
    prevalence: float | None,
    device: str,
) -> None:
    """Score every sample of a source, and decide about it where an α is given."""
    of_archives = {"workers": workers, "ray": ray, "rows": rows, "patience": patience}
    given = [name for name, value in of_archives.items() if value is not None]
    if given or not out.suffix:
        if out.suffix in (".csv", ".parquet"):
            raise ValueError(f"out is {str(out)!r}, expected a folder of parts, as {given[0]} is of archives")
        if maps is not None or report is not None or reviews is not None:
            raise ValueError(f"out is {str(out)!r}, a folder of parts: maps, reports and reviews go with a table")
        job = Job(model, data, alpha, evaluation, prevalence, device)
        _score_archive(job, out, workers=workers, ray=ray, rows=rows, patience=patience, overwrite=overwrite)
        return
    write = tables.writer(out)
    refuse_existing(overwrite, out=out, maps=maps, report=report)
    started = time.perf_counter()
    detector = load(model, device=device)
    if evaluation is None and reviews is None and prevalence is not None:
        raise ValueError(
            f"prevalence is {prevalence:g}, expected with an evaluation, or reviews, to learn probabilities from"
        )
    if evaluation is not None and reviews is not None:
        raise ValueError(f"reviews is {str(reviews)!r}, expected without an evaluation: probabilities come from one")
    decide = [columns.decider(detector, alpha)]
    if reviews is not None:
        decide.append(columns.reviewed_probability(detector, reviews, prevalence))
    if evaluation is not None:
        decide.append(columns.learnt_probability(detector, evaluation, prevalence))
    images = data.read()
    print(images.summary())
    _note_seen(detector, images)
    with naming(images.name):
        table = columns.table_of(images, detector.score_samples(images.pixels), *decide)
        found = None if maps is None else detector.anomaly_map(images.pixels)
    if maps is not None and found is not None:
        write_maps(maps, images, found, detector.map_kind)
        print(f"maps, {detector.map_kind}: {maps}")
    write(table)
    if report is not None:
        ranking.save_ranking(report, display_name(detector), images, table, provenance())
        print(f"report: {report / 'report.html'}")
    called = {} if alpha is None else {"anomalous": (table["decision"] == "anomalous").sum(), "alpha": f"{alpha:g}"}
    done("score", samples=len(images), **called, seconds=time.perf_counter() - started, out=out)


def triage_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `triage`."""
    parser.add_argument("model", type=Path, help="folder of a fitted detector")
    _add_data(parser)
    _add_out(parser, "folder of the page, report.html, and of ranked.csv")
    parser.add_argument(
        "--normals",
        type=Path | None,
        help="folder of normals, read as --data is, of which the nearest stand beside each case; unless given, what "
        "the model was fitted to where that still lies there, else the samples themselves that look most normal",
    )
    parser.add_argument("--most", type=int, default=200, help="cases that are shown with pictures; the table has all")
    parser.add_argument(
        "--alpha", type=float | None, default=0.05, help="share of normals that may be called anomalous"
    )
    parser.add_argument(
        "--reviews",
        type=Path | None,
        help="table of reviews that such a page exported, to go on from: score --reviews "
        "learns probabilities of it, and evaluate --reviews takes its labels",
    )
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1 or mps")


def triage(
    model: Path,
    data: Source,
    out: Path,
    overwrite: bool,
    normals: Path | None,
    most: int,
    alpha: float | None,
    reviews: Path | None,
    device: str,
) -> None:
    """Make a page of the samples of a source, the most anomalous first, to be reviewed; labels are not shown."""
    if most < 1:
        raise ValueError(f"most is {most}, expected at least 1")
    if normals is not None and not takes_path(type(data).__name__):
        raise ValueError(f"normals is {str(normals)!r}, expected with a source of one path, not {type(data).__name__}")
    refuse_existing(overwrite, out=out)
    started = time.perf_counter()
    detector = load(model, device=device)
    said = None if reviews is None else read_reviews(reviews)
    alpha = _held(alpha, len(getattr(detector, "calibration_", ())))
    decide = columns.decider(detector, alpha)
    with stage(1, 3):
        images = named(read_forgivingly(data))
    print(images.summary())
    if said is not None:
        said.refuse_unknown([*np.asarray(images.name).tolist(), *images.unread])
    _note_seen(detector, images)
    with stage(2, 3):
        found = found_by(detector, images, decide)
    with stage(3, 3):
        beside = normals_beside(model, detector, data, found, normals)
        if beside is not None:
            print(f"beside each case: {beside.words}")
        where = provenance()
        save_triage(out, detector, found, beside, where, most=most, reviews=None if said is None else said.said)
    print(f"page: {out / 'report.html'}")
    called = (
        {} if alpha is None else {"anomalous": (found.columns["decision"] == "anomalous").sum(), "alpha": f"{alpha:g}"}
    )
    done(
        "triage",
        samples=len(found.images),
        shown=min(most, len(found.images)),
        not_judged=len(found.why),
        **called,
        seconds=time.perf_counter() - started,
        out=out,
    )


def _note_seen(detector: Detector, images: Images) -> None:
    if trained_on := int(seen(detector, images.pixels).sum()):
        _say_trained_on(trained_on, len(images))


def _held(alpha: float | None, known: int) -> float | None:
    """Return α if so many calibration normals can hold false alarms to it, else None, and say so."""
    if alpha is None or not 0 < alpha < 1 / (known + 1):
        return alpha
    print(
        f"note: no decisions: {known} calibration normals cannot hold false alarms to {alpha:g}, "
        f"which takes {math.ceil(1 / alpha - 1e-9) - 1}",
        file=sys.stderr,
    )
    return None


def watch_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `watch`."""
    parser.add_argument("model", type=Path, help="folder of a fitted detector")
    parser.add_argument("folder", type=str, help="folder in which images arrive")
    reading = ["window", "spacing", "size", "sizing", "channels", "background"]
    others = {one.name for one in fields(Folder)} - {"path", *reading}
    parser.add_class_arguments(Folder, "data", skip=others)
    parser.link_arguments("folder", "data.path")
    parser.add_argument("--out", type=Path, required=True, help="table that rows are added to: .csv")
    parser.add_argument("--alpha", type=float | None, help="share of normals that may be called anomalous")
    parser.add_argument("--once", action="store_true", help="end when all that is there is scored")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1 or mps")


def watch(model: Path, folder: str, data: Folder, out: Path, alpha: float | None, once: bool, device: str) -> None:
    """Score what arrives in a folder, until it is interrupted."""
    if out.suffix != ".csv":
        raise ValueError(f"out is {str(out)!r}, expected a name that ends in .csv: rows are added to it")
    rows = refused = drifted = 0

    def say() -> None:
        done("watch", rows=rows, refused=refused, drift="yes" if drifted else "no", out=out)

    try:
        for row in stream.watch(model, data, out, alpha=alpha, device=device, once=once):
            rows, refused = rows + 1, refused + ("reason" in row)
            if row.get("evidence", 0) >= stream.DRIFT and not drifted:
                drifted = rows
                print(
                    f"drift at {row['name']}: scores are no longer those of the calibration normals, so do not trust "
                    "p-values before it is known why",
                    file=sys.stderr,
                )
    except (KeyboardInterrupt, SystemExit):  # which are how it ends
        say()
        raise
    say()


def _score_archive(job: Job, out: Path, *, workers: int | None, patience: float | None, **others: Any) -> None:
    started = time.perf_counter()
    usual = 1 if others["ray"] is None else 0
    counts = score_archive(
        job,
        out,
        workers=usual if workers is None else workers,
        patience=PATIENCE if patience is None else patience,
        **others,
    )
    if counts["seen"]:
        _say_trained_on(counts["seen"], counts["samples"])
    said = ("samples", "scored", "refused", *([] if job.alpha is None else ["anomalous"]))
    done("score", **{name: counts[name] for name in said}, seconds=time.perf_counter() - started, out=out)


def _say_trained_on(n: int, of: int) -> None:
    print(f"note: {n} of the {of} samples were trained on: their p-values are too high", file=sys.stderr)


def evaluate_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `evaluate`."""
    parser.add_argument("model", type=Path, help="folder of a fitted detector")
    _add_data(parser)
    _add_parts(parser)
    _add_out(parser, "folder of the report")
    parser.add_argument(
        "--scores",
        type=Path | None,
        help="table of the test samples, .csv or .parquet; scores.csv in --out unless given",
    )
    parser.add_argument(
        "--alpha", type=float | None, default=0.05, help="share of normals that may be called anomalous"
    )
    parser.add_argument(
        "--reviews",
        type=Path | None,
        help="table of reviews that the page of triage exports: what it says is normal and anomalous is the test, by "
        "which labels, if there are any, are replaced",
    )
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1 or mps")


def evaluate(
    model: Path,
    data: Source,
    train: Path | None,
    calibration: Path | None,
    test: Path | None,
    out: Path,
    overwrite: bool,
    scores: Path | None,
    alpha: float | None,
    reviews: Path | None,
    device: str,
) -> None:
    """Judge a fitted detector on the test part of a source."""
    table = scores or out / "scores.csv"
    write = tables.writer(table)
    refuse_existing(overwrite, out=out, scores=scores)
    started = time.perf_counter()
    detector = load(model, device=device)
    if reviews is not None:
        split = reviewed(data, reviews, train=train, calibration=calibration, test=test)
    else:
        with _without_labels(model):
            split = apart(data, train=train, calibration=calibration, test=test).split()
    print(split.summary())
    if not hasattr(detector, "calibration_") and len(held_out := unseen(detector, split.calibration.pixels)):
        detector.calibrate(held_out)
    known = len(getattr(detector, "calibration_", ()))
    decide = columns.decider(detector, _held(alpha, known))
    with _without_labels(model):
        judged = evaluation.evaluate(detector, split)
    judged.save(out)
    tested = split.test if judged.split is None else judged.split.test
    write(columns.table_of(tested, judged.score, decide))
    print(judged.summary())
    print(f"report: {out / 'report.html'}")
    print(f"scores: {table}")
    done(
        "evaluate",
        normals=judged.data["test_normal"],
        anomalies=judged.data["test_anomalous"],
        auroc=f"{judged.metrics['auroc'].value:.3f}",
        seconds=time.perf_counter() - started,
        out=out,
    )


def export_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `export`."""
    parser.add_argument("model", type=Path, help="folder of a fitted detector")
    parser.add_argument("--to", type=Literal["onnx", "pt2"] | None, help="format: ONNX, or torch.export's .pt2")
    _add_out(parser, "file to write: .onnx or .pt2; MODEL.onnx unless given", default=None)
    parser.add_argument("--dtype", type=str, default="float32", help="NumPy's type of the raw samples, such as uint8")
    parser.add_argument("--alpha", type=float | None, help="share of normals that may be called anomalous")


def export(model: Path, to: str | None, out: Path | None, overwrite: bool, dtype: str, alpha: float | None) -> None:
    """Write a fitted detector, from the raw sample to the decision, as one file for programs without this package."""
    target = out or model.with_name(f"{model.resolve().name}.{to or 'onnx'}")
    if to and target.suffix != f".{to}":
        raise ValueError(f"out is {str(target)!r}, expected a name that ends in .{to}")
    refuse_existing(overwrite, out=target)
    started = time.perf_counter()
    detector = load(model, device="cpu")
    found = detector.export(target, dtype, alpha)
    low, high = detector.range_
    print(
        f"compared on {found.samples} random samples from {low:g} to {high:g}: scores differ by at most "
        f"{found.largest:.1g} of their spread, and {found.decisions} decisions differ"
    )
    done(
        "export",
        detector=display_name(detector),
        calibrated_on=len(getattr(detector, "calibration_", ())),
        seconds=time.perf_counter() - started,
        out=target,
    )


@contextmanager
def _without_labels(model: Path) -> Iterator[None]:
    """Let an error that there are no labels say what is done without them."""
    try:
        yield
    except Unlabelled as error:
        raise ValueError(
            f"{error}; samples without labels are ranked, and labelled by a review, on the page of "
            f"unlikelihood triage {model}; --reviews takes what it exports"
        ) from error


def reviewed(data: Source, reviews: Path, *, test: Path | None = None, **others: Path | None) -> Split:
    """Return a split whose test are the samples of a source, or of its like in `test`, that were reviewed."""
    if given := next((part for part, place in others.items() if place is not None), None):
        raise ValueError(f"{given} is {str(others[given])!r}, expected none with reviews, which label the test")
    source: Any = data
    images = read_forgivingly(source if test is None else replace(source, path=test))
    tested = labelled(images, read_reviews(reviews))
    if len(tested) < len(images):
        print(
            f"note: {len(tested)} of the {len(images)} samples were reviewed as normal or anomalous: figures are of "
            "these alone, which are like the others only if they were drawn at random",
            file=sys.stderr,
        )
    return Split(train=replace(tested[[]], left_out={}), calibration=replace(tested[[]], left_out={}), test=tested)


def reproduce_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `reproduce`."""
    names = sorted(discovery.recipes())
    parser.add_argument("recipe", choices=names, help="name of the experiment")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results; an interrupted run resumes")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="run the small setting of the recipe: fewer seeds or epochs, smaller networks",
    )


def reproduce(recipe: str, out: Path, quick: bool) -> None:
    """Run a recipe."""
    experiment: Callable[[bool], Runnable] = discovery.recipe(recipe)
    print(experiment(quick).run(out))
    print(f"report: {out / 'report.html'}")


def cache_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `cache`."""
    parser.add_argument(
        "--clear", action="store_true", help="remove what is made of your files, which is made again when it is needed"
    )


def cache(clear: bool) -> None:
    """Print what the cache holds and may hold, and clear it of what can be made again."""
    print(f"{'folder':<12} {kept.folder()}")
    for kind, what in kept.MADE.items():
        own = [entry for entry in kept.entries() if entry.place.parent.name == kind]
        if clear:
            kept.clear(kind)
        print(f"{kind:<12} {sum(entry.size for entry in own) / 2**20:10,.1f} MiB{', removed' * clear}: {what}")
    print(f"{'downloads':<12} {kept.downloads() / 2**20:10,.1f} MiB: public data sets, which stay")
    print(f"{'limit':<12} {kept.limit() / 2**20:10,.1f} MiB of what is made, $UNLIKELIHOOD_CACHE_LIMIT in GiB")


def show_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `show`."""
    _add_data(parser)
    _add_out(parser, "picture to write", default=Path("gallery.png"))
    parser.add_argument("--sample", type=int, default=0, help="index of the volume that is drawn slice by slice")


def show(data: Source, out: Path, overwrite: bool, sample: int) -> None:
    """Print a summary of a source and draw a gallery of it; of volumes, the slices of one as well."""
    refuse_existing(overwrite, out=out)
    images = data.read()
    volumes = images.pixels.ndim == 5
    if volumes and not 0 <= sample < len(images):
        raise ValueError(f"sample is {sample}, expected one from 0 to {len(images) - 1}")
    if images.label is None:
        counts = f"{len(images)} samples without labels"
    else:
        counts = f"{int((images.label == 0).sum())} normal and {int((images.label == 1).sum())} anomalous samples"
    facts = {
        "layout": images.layout or "as the source has it",
        "samples": counts,
        "shape": f"{images.shape} {images.pixels.dtype}",
        "intensity": f"{images.pixels.min():g} to {images.pixels.max():g}, mean {images.pixels.mean():g}",
        "groups": "none" if images.group is None else f"{len(np.unique(images.group))}",
        "spacing": "unknown" if images.spacing is None else " x ".join(f"{size:g}" for size in images.spacing) + " mm",
        "orientation": images.orientation or "unknown",
    }
    print("\n".join(f"{key:<11} {value}" for key, value in facts.items()))
    for reason, n in images.left_out.items():
        print(f"{'left out':<11} {n} {reason}")
    chosen = images[np.linspace(0, len(images) - 1, min(GALLERY, len(images))).astype(int)]
    titles = None if chosen.label is None else ["anomalous" if label else "" for label in chosen.label]
    geometry: dict[str, Any] = {"spacing": images.spacing, "orientation": images.orientation}
    pictures = {out: plots.gallery(chosen.pixels, titles, columns=8, **geometry)}
    if volumes:
        slices = plots.montage(np.asarray(images.pixels[sample]), **geometry)
        pictures[out.with_stem(f"{out.stem}-slices")] = slices
    for picture, figure in pictures.items():
        with replacing(picture) as path:
            figure.savefig(path, format=out.suffix[1:] or "png", dpi=160)
        print(f"{'picture':<11} {picture}: {figure.get_label()}")
