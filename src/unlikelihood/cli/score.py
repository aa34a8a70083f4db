"""Score samples with a fitted detector."""

import time
from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse import ArgumentParser

from unlikelihood.cli.arguments import add_alpha, add_data, add_device, add_model, add_out
from unlikelihood.cli.results import called, done, note_seen, refuse_existing, refuse_other_shape
from unlikelihood.contract.detector import load
from unlikelihood.contract.refusals import naming
from unlikelihood.data.ct.cubes import Cubes
from unlikelihood.data.source import Source
from unlikelihood.distributed.archive import score_archive
from unlikelihood.distributed.pool import PATIENCE
from unlikelihood.distributed.scoring import Job
from unlikelihood.evaluation import columns
from unlikelihood.report.finding_files import series_of, write_findings
from unlikelihood.report.map_files import check_mappable, write_maps
from unlikelihood.storage import tables
from unlikelihood.storage.identity import seen
from unlikelihood.storage.provenance import display_name, provenance


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `score`."""
    add_model(parser)
    add_data(parser)
    add_out(parser, "table to write: .csv or .parquet; or, of an archive, a folder of Parquet parts")
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
        "--findings",
        type=Path | None,
        help="folder of DICOM structured reports (TID 1500) of where Nodules or Candidates lie and their scores, "
        "one a series",
    )
    parser.add_argument(
        "--report", type=Path | None, help="folder of a page that shows the samples, the most anomalous first"
    )
    add_alpha(parser)
    parser.add_argument(
        "--discoveries",
        type=float | None,
        help="share of the samples called anomalous that may be normals after all; decides about the table as a whole",
    )
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
    add_device(parser)


def run(
    model: Path,
    data: Source,
    out: Path,
    overwrite: bool,
    workers: int | None,
    ray: str | None,
    rows: int | None,
    patience: float | None,
    maps: Path | None,
    findings: Path | None,
    report: Path | None,
    alpha: float | None,
    discoveries: float | None,
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
        of_tables = {
            "maps": maps,
            "findings": findings,
            "report": report,
            "reviews": reviews,
            "discoveries": discoveries,
        }
        if asked := [name for name, value in of_tables.items() if value is not None]:
            raise ValueError(f"out is {str(out)!r}, a folder of parts, expected a table for {', '.join(asked)}")
        job = Job(model, data, alpha, evaluation, prevalence, device)
        _score_archive(job, out, workers=workers, ray=ray, rows=rows, patience=patience, overwrite=overwrite)
        return
    write = tables.writer(out)
    refuse_existing(overwrite, out=out, maps=maps, findings=findings, report=report)
    if findings is not None and not isinstance(data, Cubes):
        raise ValueError(
            f"findings is {str(findings)!r}, expected with Nodules or Candidates, not {type(data).__name__}"
        )
    started = time.perf_counter()
    detector = load(model, device=device)
    if evaluation is None and reviews is None and prevalence is not None:
        raise ValueError(
            f"prevalence is {prevalence:g}, expected with an evaluation, or reviews, to learn probabilities from"
        )
    if evaluation is not None and reviews is not None:
        raise ValueError(f"reviews is {str(reviews)!r}, expected without an evaluation: probabilities come from one")
    decide = [columns.decider(detector, alpha)]
    if discoveries is not None:
        decide.append(columns.discovered(detector, discoveries))
    if reviews is not None:
        decide.append(columns.reviewed_probability(detector, reviews, prevalence))
    if evaluation is not None:
        decide.append(columns.learnt_probability(detector, evaluation, prevalence))
    images = data.read()
    print(images.summary())
    refuse_other_shape(images, detector, data)
    if maps is not None:
        check_mappable(images)
    note_seen(int(seen(detector, images.pixels).sum()), len(images))
    series = series_of(data, np.asarray(images.name).tolist()) if isinstance(data, Cubes) and findings else {}
    with naming(images.name):
        table = columns.table_of(images, detector.score_samples(images.pixels), *decide)
        found = None if maps is None else detector.anomaly_map(images.pixels)
    if maps is not None and found is not None:
        write_maps(maps, images, found, detector.map_kind)
        print(f"maps, {detector.map_kind}: {maps}")
    if findings is not None:
        print(f"findings: {write_findings(findings, table, series)}")
    write(table)
    if report is not None:
        from unlikelihood.report.ranking import save_ranking  # which needs matplotlib

        save_ranking(report, display_name(detector), images, table, provenance())
        print(f"report: {report / 'report.html'}")
    found_of = {} if discoveries is None else {"discoveries": (table["discovery"] == "anomalous").sum()}
    done(
        "score", samples=len(images), **called(table, alpha), **found_of, seconds=time.perf_counter() - started, out=out
    )


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
    note_seen(counts["seen"], counts["samples"])
    said = ("samples", "scored", "refused", *([] if job.alpha is None else ["anomalous"]))
    done("score", **{name: counts[name] for name in said}, seconds=time.perf_counter() - started, out=out)
