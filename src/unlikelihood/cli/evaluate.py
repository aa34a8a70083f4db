"""Test a fitted detector."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from unlikelihood.cli.arguments import add_alpha, add_data, add_device, add_model, add_out, add_parts, apart
from unlikelihood.cli.results import attainable, done, refuse_existing
from unlikelihood.cli.triage import read_forgivingly
from unlikelihood.contract.detector import load
from unlikelihood.data.reviews import labelled, read_reviews
from unlikelihood.data.source import Source
from unlikelihood.data.splits import Split, Unlabelled
from unlikelihood.evaluation import columns, evaluation
from unlikelihood.storage import tables
from unlikelihood.storage.identity import unseen


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `evaluate`."""
    add_model(parser)
    add_data(parser)
    add_parts(parser)
    add_out(parser, "folder of the report")
    parser.add_argument(
        "--scores",
        type=Path | None,
        help="table of the test samples, .csv or .parquet; scores.csv in --out unless given",
    )
    add_alpha(parser, default=0.05)
    parser.add_argument(
        "--reviews",
        type=Path | None,
        help="table of reviews that the page of triage exports: what it says is normal and anomalous is the test, by "
        "which labels, if there are any, are replaced",
    )
    add_device(parser)


def run(
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
    decide = columns.decider(detector, attainable(alpha, known))
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
