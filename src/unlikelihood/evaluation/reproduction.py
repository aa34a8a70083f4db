"""A work reproduced on one page, in its order: what its figures show, each drawn from a run."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from unlikelihood.contract.detector import Detector, load
from unlikelihood.data.source import DataUnavailable
from unlikelihood.data.splits import Split
from unlikelihood.evaluation.evaluation import evaluate
from unlikelihood.evaluation.experiment import Experiment, keep_checkpoints, place_of, row_of, table
from unlikelihood.evaluation.generation import MODEL, fitted_once, generated_sections
from unlikelihood.report.comparison import Row, ranking
from unlikelihood.report.exhibits import choose
from unlikelihood.report.page import Plate, Section, draft, write_page
from unlikelihood.report.record import RECORD, Record
from unlikelihood.report.single import sections_of
from unlikelihood.storage.provenance import provenance


class Chapter(Protocol):
    """A part of the page."""

    @property
    def title(self) -> str: ...  # noqa: D102
    def told(self, runs: Path) -> tuple[Section, list[Row]]:
        """Return the section, and the lines that it adds to the table of results; what is run is kept in `runs`."""


@dataclass(frozen=True)
class Shown:
    """Data, of which nothing is fitted: `draw` makes the section."""

    title: str
    draw: Callable[[], Section]

    def told(self, runs: Path) -> tuple[Section, list[Row]]:
        """Return the section."""
        return replace(self.draw(), title=self.title), []


@dataclass(frozen=True)
class Run:
    """One fit, and some figures of its report.

    Parameters
    ----------
    title, text : str
        Heading, and what was run and how.
    split : callable
        Makes the parts; its calibration, of which the work knows nothing, is not used.
    detector : callable
        Makes the unfitted detector.
    figures : mapping
        By the first words of its caption, the name of a figure in the detector's report, or what the names of several
        begin with: ``{"Figure 4": "densities"}``.
    published : float or None
        The AUROC to compare with.
    judged : bool
        Whether it is tested; of others only what they generate is shown.
    """

    title: str
    text: str
    split: Callable[[], Split]
    detector: Callable[[], Detector]
    figures: Mapping[str, str]
    published: float | None = None
    judged: bool = True

    def told(self, runs: Path) -> tuple[Section, list[Row]]:
        """Return the section of its figures, and its AUROC."""
        whole = self.split()
        split = replace(whole, calibration=whole.calibration[:0])
        if not self.judged:
            generator, made = fitted_once(runs, self.title, self.detector(), split)
            alarms = "; ".join(made["alarms"]) or "no alarm about its samples"
            drawn = generated_sections(generator, made, split)
            return self._section(f"{self.text} At the end of training: {alarms}.", drawn), []
        detector, record = judged_once(runs, self.title, self.detector(), split)
        exhibits = choose(detector, split, record.score, cases=False)
        return self._section(self.text, sections_of(record, exhibits)), [row_of(self.title, [record], self.published)]

    def _section(self, text: str, drawn: Sequence[Section]) -> Section:
        known = [plate for section in drawn for plate in section.plates]
        chosen = [
            Plate(f"{self.slug}-{plate.stem}", captioned(caption, plate.caption), plate.figure)
            for caption, stem in self.figures.items()
            for plate in known
            if f"{plate.stem}-".startswith(f"{stem}-")
        ]
        return Section(self.title, text, chosen)

    @property
    def slug(self) -> str:
        """The title as a name of files."""
        return "-".join("".join(c if c.isalnum() else " " for c in self.title.lower()).split())


def captioned(first: str, caption: str) -> str:
    """Return the caption of a figure with its first words before it, but for those that it begins with."""
    return caption if caption.startswith(first) else f"{first}. {caption}"


@dataclass(frozen=True)
class Varied:
    """An experiment of many rows, of which only the table is shown."""

    title: str
    experiment: Experiment

    def told(self, runs: Path) -> tuple[Section, list[Row]]:
        """Return the section with the table."""
        rows, _ = self.experiment.judge(runs, draw=False)
        return Section(self.title, self.experiment.text, table=ranking(rows, {}).table), []


@dataclass(frozen=True)
class Reproduction:
    """The chapters of a page, in order.

    Parameters
    ----------
    title, text : str
        Heading of the page and the sentences below it.
    chapters : sequence of Chapter
    """

    title: str
    text: str
    chapters: Sequence[Chapter] = field(default_factory=tuple)

    def run(self, out: str | os.PathLike[str]) -> str:
        """Run what has not been run, write the page, and return the table of results as text.

        What is done is kept in ``runs``, so that an interrupted run resumes, inside a fit too. A chapter whose data are
        neither at hand nor reachable says so in its place.
        """
        folder = Path(out)
        sections: list[Section] = []
        rows: list[Row] = []
        for chapter in self.chapters:
            started = time.process_time()
            try:
                section, found = chapter.told(folder / "runs")
            except DataUnavailable as error:
                section, found = Section(chapter.title, f"Left out: {error}."), []
            sections.append(section)
            rows += found
            print(f"{chapter.title}: {time.process_time() - started:.0f} s of a processor", file=sys.stderr, flush=True)
        if rows:
            sections.append(replace(ranking(rows, {}), title="Results, ours beside the published ones"))
        with draft(folder) as page:
            write_page(
                page,
                kind="Reproduction",
                title=self.title,
                lede=self.text,
                sections=sections,
                provenance=provenance(),
            )
            lines = [asdict(row) for row in rows]
            record = {"title": self.title, "text": self.text, "rows": lines, "provenance": provenance()}
            (page / "reproduction.json").write_text(json.dumps(record, indent=1, allow_nan=False), encoding="utf-8")
        return table(rows) if rows else "no data at hand"


def judged_once(runs: Path, name: str, detector: Detector, split: Split) -> tuple[Any, Record]:
    """Return a fitted detector and its record, from the folder `runs` if they are there."""
    folder = place_of(runs, name, detector, repr(split.train), repr(split.test))
    if not (folder / RECORD).exists():
        keep_checkpoints(detector, folder)
        detector.fit(split.train.pixels).save(folder / MODEL)
        evaluate(detector, split, name=name, seed=detector.seed).write(folder)
    return load(folder / MODEL), Record.load(folder)
