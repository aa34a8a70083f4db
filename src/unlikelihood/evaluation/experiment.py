"""An experiment: detectors on the same splits over several seeds, judged alike, in one table."""

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from unlikelihood.contract.detector import Detector, load
from unlikelihood.data.source import DataUnavailable
from unlikelihood.data.splits import Split
from unlikelihood.evaluation.evaluation import evaluate
from unlikelihood.metrics.intervals import seeds_interval
from unlikelihood.progress import stage
from unlikelihood.report.comparison import Row, origin, save_comparison
from unlikelihood.report.page import Section, draft, write_page
from unlikelihood.report.record import PAGE, RECORD, Record
from unlikelihood.storage.identity import identities
from unlikelihood.storage.models import configuration
from unlikelihood.storage.provenance import provenance
from unlikelihood.storage.workers import each


class Runnable(Protocol):
    """What a recipe makes: something that runs into a folder, resumes there, and returns a table as text."""

    @property
    def title(self) -> str: ...  # noqa: D102

    def run(self, out: str | os.PathLike[str]) -> str: ...  # noqa: D102


@dataclass(frozen=True)
class Shared:
    """Makes the detector of a seed around a part that other detectors share, which is fitted once and kept.

    Parameters
    ----------
    part : callable
        Makes the unfitted part of a seed.
    around : callable
        Makes the unfitted detector of a part, fitted or not, and a seed.
    """

    part: Callable[[int], Detector]
    around: Callable[[Any, int], Detector]

    def __call__(self, seed: int) -> Detector:
        """Return the unfitted detector, around an unfitted part."""
        return self.around(self.part(seed), seed)

    def fitted(self, seed: int, runs: Path, split: Split) -> Detector:
        """Return the unfitted detector around the part that the folder `runs` keeps, where it is fitted if need be."""
        part = self.part(seed)
        folder = place_of(runs, "shared", part, repr(split.train))
        if not folder.exists():
            keep_checkpoints(part, folder)
            part.fit(split.train.pixels).save(folder)
        return self.around(load(folder), seed)


@dataclass(frozen=True)
class Experiment:
    """Detectors on the same splits over several seeds, which `unlikelihood.workers` runs at the same time.

    Parameters
    ----------
    title, text : str
        Heading of the report and the sentences below it.
    split : callable
        Makes the split of a seed.
    detectors : mapping
        By the name that the table gives it, makes the unfitted detector of a seed: a function, or a `Shared`.
    references : mapping
        By the name of a detector, the published AUROC to compare it with.
    seeds : tuple of int
        Of splits and weights.
    otherwise : Experiment or None
        What runs instead where the data is neither at hand nor reachable; None makes that an error.
    """

    title: str
    text: str
    split: Callable[[int], Split]
    detectors: Mapping[str, Callable[[int], Detector]]
    references: Mapping[str, float] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    otherwise: "Experiment | None" = None

    def run(self, out: str | os.PathLike[str]) -> str:
        """Fit and judge every detector at every seed, draw the comparison, and return its table as text.

        What is done is kept in ``runs``, so that an interrupted run resumes, inside a fit too. The first seed's
        evaluations have reports of their own there.

        Parameters
        ----------
        out : path
            Folder of the results.

        Returns
        -------
        str
            The table.

        Raises
        ------
        DataUnavailable
            If there is no data and no experiment to run otherwise.
        """
        try:
            self.split(self.seeds[0])
        except DataUnavailable as error:
            if self.otherwise is None:
                raise
            print(f"{str(error).split(':')[0]}; running instead: {self.otherwise.title}", file=sys.stderr)
            return self.otherwise.run(out)
        folder = Path(out)
        rows, judged = self.judge(folder / "runs", draw=True)
        save_comparison(folder, self.title, self.text, rows, {name: runs[0] for name, runs in judged.items()})
        return table(rows)

    def judge(self, runs: Path, *, draw: bool) -> tuple[list[Row], dict[str, list[Record]]]:
        """Return the table's lines and each detector's records; with `draw` the first seed's have reports."""
        jobs = [partial(self._seed, runs, number, draw and number == 0) for number in range(len(self.seeds))]
        tested, found = zip(*each(jobs, None, "Seeds"), strict=True)
        judged = {name: [records[name] for records in found] for name in self.detectors}
        same_test = len(np.unique(np.concatenate(tested))) < sum(map(len, tested))
        return [row_of(name, records, self.references.get(name), same_test) for name, records in judged.items()], judged

    def _seed(self, runs: Path, number: int, draw: bool) -> tuple[np.ndarray, dict[str, Record]]:
        """Return which samples a seed is tested on, and each detector's record."""
        seed = self.seeds[number]
        split = self.split(seed)
        judged: dict[str, Record] = {}
        for name, make in self.detectors.items():
            done = number * len(self.detectors) + len(judged)
            with stage(done + 1, len(self.seeds) * len(self.detectors), f"{name}, seed {seed}"):
                judged[name] = run_once(runs, name, make, seed, split, draw=draw)
            print(f"seed {seed}  {name}: AUROC {judged[name].metrics['auroc']}", flush=True)
        return np.unique(identities(split.test.pixels)), judged


@dataclass(frozen=True)
class Series:
    """Experiments on several data sets that make up one recipe.

    Parameters
    ----------
    title : str
        Heading of the page that links to their reports.
    experiments : mapping
        By the name of its folder, each experiment.
    """

    title: str
    experiments: Mapping[str, Runnable]

    def run(self, out: str | os.PathLike[str]) -> str:
        """Run every experiment in a folder of its own, and return their tables as text.

        One whose data are neither at hand nor reachable is left out, and the text says so; `DataUnavailable` if that is
        all.
        """
        done, missing = [], []
        for number, (name, experiment) in enumerate(self.experiments.items(), 1):
            try:
                with stage(number, len(self.experiments), name):
                    done.append((name, experiment.title, experiment.run(Path(out) / name)))
            except DataUnavailable as error:
                missing.append(f"{experiment.title}: left out, {error}")
        if not done:
            raise DataUnavailable("; ".join(missing))
        with draft(out) as page:
            write_page(
                page,
                kind="Experiments",
                title=self.title,
                lede=" ".join(missing),
                sections=[Section(title, links={"The report": f"{name}/{PAGE}"}) for name, title, _ in done],
                provenance=provenance(),
            )
        return "\n\n".join([*(f"{title}\n{text}" for _, title, text in done), *missing])


def run_once(runs: Path, name: str, make: Callable[[int], Detector], seed: int, split: Split, *, draw: bool) -> Record:
    """Fit and judge a detector, unless the folder `runs` holds the record already, and return the record alone.

    With `draw` a report with pictures is kept beside it. The detectors of all seeds need not be held.
    """
    detector = make(seed)
    folder = place_of(runs, name, detector, repr(split.train), repr(split.test))
    if not (folder / RECORD).exists():
        if isinstance(make, Shared):
            detector = make.fitted(seed, runs, split)
        keep_checkpoints(detector, folder)
        evaluation = evaluate(detector.fit(split.train.pixels), split, name=name, seed=detector.seed)
        (evaluation.save if draw else evaluation.write)(folder)
    return Record.load(folder)


def row_of(name: str, records: Sequence[Record], reference: float | None = None, same_test: bool = False) -> Row:
    """Return the line of a table for the records of one detector at several seeds.

    `same_test` says that their tests share samples, and so the interval must not shrink with the seeds.
    """
    areas = [record.metrics["auroc"] for record in records]
    return Row(
        name,
        seeds_interval(areas, same_test=same_test),
        spread=float(np.std([area.value for area in areas], ddof=1)) if len(areas) > 1 else None,
        seeds=len(areas),
        reference=reference,
        fit_seconds=float(np.median([record.timings["fit_seconds"] for record in records])),
        score_seconds=float(np.median([record.timings["score_seconds"] for record in records])),
        flagged=sum(bool(record.alarms) for record in records),
        provenance=origin(records),
    )


def place_of(runs: Path, name: str, detector: Detector, *others: Any) -> Path:
    """Return the folder of a run, named by its detector and a hash of all that decides it, as `others` do."""
    configured = json.dumps([configuration(detector), *others], sort_keys=True)
    slug = re.sub(r"\W+", "-", name.lower()).strip("-")
    return runs / f"{slug}-seed{detector.seed}-{hashlib.sha256(configured.encode()).hexdigest()[:8]}"


def keep_checkpoints(detector: Detector, path: Path) -> None:
    """Let a detector and its parts keep checkpoints beside `path`, one each, those that can and do not yet."""
    for name, value in detector.get_params().items():
        if name.split("__")[-1] == "checkpoint" and value is None:
            detector.set_params(**{name: f"{path}.{name.replace('__', '.')}"})


def table(rows: list[Row]) -> str:
    """Return the rows as aligned text: AUROC, spread over the seeds, flagged fits, published figure and times."""
    head = ("", "AUROC", "± sd", "95 % interval", "flagged", "published", "fit", "score one")
    cells = [
        (
            row.name,
            f"{row.auroc.value:.3f}",
            "" if row.spread is None else f"{row.spread:.3f}",
            f"{row.auroc.low:.3f}-{row.auroc.high:.3f}",
            str(row.flagged or ""),
            "" if row.reference is None else f"{row.reference:.2f}",
            "" if row.fit_seconds is None else f"{row.fit_seconds:.1f} s",
            "" if row.score_seconds is None else f"{1e3 * row.score_seconds:.2f} ms",
        )
        for row in rows
    ]
    return f"{aligned(head, cells)}\nseeds: {rows[0].seeds}"


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return lines of cells as text whose columns stand below one another."""
    widths = [max(len(line[column]) for line in (head, *rows)) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in (head, *rows)]
    return "\n".join(line.rstrip() for line in lines)
