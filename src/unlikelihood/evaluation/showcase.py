"""The main job on several data sets, fit, calibrate, decide, rank and show where, with one page that leads to all."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from unlikelihood.contract.detector import Detector, load
from unlikelihood.data.reviews import named
from unlikelihood.data.source import DataUnavailable
from unlikelihood.data.splits import Split
from unlikelihood.decisions.conformal import Conformal
from unlikelihood.evaluation.columns import decider, in_words, table_of
from unlikelihood.evaluation.evaluation import evaluate
from unlikelihood.evaluation.experiment import Runnable, aligned
from unlikelihood.progress import stage
from unlikelihood.report import plots
from unlikelihood.report.maps import maps_of
from unlikelihood.report.page import THIN, Plate, Section, Table, draft, duration, percent, span, write_page
from unlikelihood.report.record import PAGE, RECORD, Record
from unlikelihood.report.triage import Found, Normals, save_triage
from unlikelihood.storage.provenance import provenance

ALPHA = 0.05
IMAGES, VOLUMES = 4, 2  # that the page shows of a data set
CASES = 60  # of the ranked ones that have pictures
HELD_OUT = 200  # normals whose maps tell what is unusual
HEAD = ("", "AUROC", "found", "alarms")


@dataclass(frozen=True)
class Job:
    """A data set, and the detector that is fitted to its normals.

    Parameters
    ----------
    title, text : str
        Heading, and what the data are.
    split : callable
        Makes the parts; the calibration normals make the decisions.
    detector : callable
        Makes the unfitted detector.
    otherwise : Job or None
        What is done instead where the data are neither at hand nor reachable.
    """

    title: str
    text: str
    split: Callable[[], Split]
    detector: Callable[[], Detector]
    otherwise: "Job | None" = None

    def run(self, folder: Path, address: str) -> tuple[Section, Record]:
        """Fit, calibrate, judge and rank into a folder, and return what the page at `address` before it says of it.

        What is done is not done again.
        """
        try:
            split = self.split()
        except DataUnavailable as error:
            if self.otherwise is None:
                raise
            print(f"{str(error).split(':')[0]}; instead: {self.otherwise.title}", file=sys.stderr)
            return self.otherwise.run(folder, address)
        detector = self._fitted(folder / "model", split)
        if not (folder / "report" / RECORD).exists():
            judged = evaluate(detector, split, name=self.title)
            fitted: Any = detector
            timings = judged.timings | {"fit_seconds": fitted.detector.fit_seconds_}  # not the calibration's alone
            replace(judged, timings=timings).save(folder / "report")
        record = Record.load(folder / "report")
        if not (folder / "triage" / PAGE).exists():
            self._triage(folder / "triage", detector, split, record)
        said = getattr(detector.detector, "reason_", "")
        text = f"{self.text} {said[:1].upper()}{said[1:]}." if said else self.text
        links = {
            "The samples ranked, to be reviewed": f"{address}/triage/{PAGE}",
            "Every figure of the test": f"{address}/report/{PAGE}",
        }
        plates = [found(address, detector, split, record)]
        return Section(self.title, text, plates, facts=facts(record), links=links), record

    def _fitted(self, model: Path, split: Split) -> Detector:
        if not model.exists():
            detector = self.detector().fit(split.train.pixels)
            Conformal(detector, alpha=ALPHA).fit(split.calibration.pixels).save(model)
        return load(model)

    def _triage(self, folder: Path, detector: Detector, split: Split, record: Record) -> None:
        test = named(replace(split.test, label=None, mask=None))
        columns = table_of(test, record.score, decider(detector, ALPHA))
        beside = Normals(split.train.pixels, "normals that it was fitted to")
        save_triage(folder, detector, Found(test, columns, {}), beside, provenance(), most=CASES)


@dataclass(frozen=True)
class Showcase:
    """Jobs on one page, and experiments that it leads to.

    Parameters
    ----------
    title, text : str
        Heading of the page and the sentences below it.
    jobs : mapping
        By the name of its folder, each job; one whose data are neither at hand nor reachable is left out, and the page
        says so.
    experiments : mapping
        By the name of its folder, what runs after them.
    """

    title: str
    text: str
    jobs: Mapping[str, Job]
    experiments: Mapping[str, Runnable] = field(default_factory=dict)

    def run(self, out: str | os.PathLike[str]) -> str:
        """Run what has not been run, write the page, and return its table as text."""
        folder, count = Path(out), len(self.jobs) + len(self.experiments)
        sections: list[Section] = []
        records: list[Record] = []
        for number, (name, job) in enumerate(self.jobs.items(), 1):
            try:
                with stage(number, count, name):
                    section, record = job.run(folder / name, name)
                sections.append(section)
                records.append(record)
                self._write(folder, sections, records)
            except DataUnavailable as error:
                sections.append(Section(job.title, f"Left out: {error}."))
        for number, (name, experiment) in enumerate(self.experiments.items(), len(self.jobs) + 1):
            with stage(number, count, name):
                experiment.run(folder / name)
            sections.append(Section(experiment.title, links={"The comparison": f"{name}/{PAGE}"}))
        return aligned(HEAD, self._write(folder, sections, records).rows)

    def _write(self, folder: Path, sections: list[Section], records: list[Record]) -> Table:
        best_first = sorted(records, key=lambda record: -record.metrics["auroc"].value)
        table = Table(HEAD, [cells(record) for record in best_first])
        text = (
            f"Found are the anomalies that are called anomalous, alarms the normals that are: at most "
            f"{percent(ALPHA)} of new ones, on average over calibrations."
        )
        with draft(folder) as page:
            write_page(
                page,
                kind="What this package does",
                title=self.title,
                lede=self.text,
                sections=[Section("Results", text, table=table), *sections],
                provenance=provenance(),
            )
        return table


def called(record: Record) -> np.ndarray:
    """Return which test samples are called anomalous."""
    return np.asarray(record.p_value) <= ALPHA


def cells(record: Record) -> tuple[str, ...]:
    """Return a line of the table."""
    auroc = record.metrics["auroc"]
    shares = [percent(float(called(record)[record.label == kind].mean())) for kind in (1, 0)]
    return record.name, f"{auroc.value:.3f}", *shares


def facts(record: Record) -> dict[str, str]:
    """Return what stands below the picture."""
    seconds = [duration(record.timings[f"{what}_seconds"]) for what in ("fit", "score")]
    return {
        f"95{THIN}% interval of the AUROC": span(record.metrics["auroc"]),
        "To fit; to score one": "; ".join(seconds),
    }


def found(stem: str, detector: Any, split: Split, record: Record) -> Plate:
    """Return the most anomalous samples of the test, and where in them."""
    test, train = split.test, split.train
    order = np.argsort(record.score, kind="stable")[: VOLUMES if test.pixels.ndim == 5 else IMAGES]
    pixels, held_out = np.array(test.pixels[order]), split.calibration.pixels[:HELD_OUT]
    maps = maps_of(detector, pixels, None, held_out)
    if maps is None:
        raise TypeError(f"{type(detector).__name__} has no anomaly maps, expected a detector of this package")
    p_value, truth = np.asarray(record.p_value)[order], in_words(record.label[order] == 1)
    titles = [f"{kind}, p {p:.2g}" for kind, p in zip(truth, p_value, strict=True)]
    geometry: dict[str, Any] = {"spacing": train.spacing, "orientation": train.orientation}
    figure = plots.mapped(pixels, maps.values, titles, maps.scale, **geometry)
    text = f"The most anomalous of {len(test):,}, what each is in truth, its p-value; below, where, by {maps.kind}"
    return Plate(stem, text, figure)
