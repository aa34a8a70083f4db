"""Generators on the same normals over several seeds, judged by what they generate: no score, no anomalies."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unlikelihood.contract.detector import Detector, load
from unlikelihood.data.splits import Split
from unlikelihood.evaluation.experiment import keep_checkpoints, place_of
from unlikelihood.report.exhibits import generation
from unlikelihood.report.generator import FIGURES, generator
from unlikelihood.report.page import Section, Table, draft, duration, write_page
from unlikelihood.report.single import architecture, samples, training
from unlikelihood.storage.files import replacing
from unlikelihood.storage.provenance import plain, provenance
from unlikelihood.storage.records import read_sealed, seal
from unlikelihood.storage.workers import each

MODEL, RECORD = "model", "generator.json"


@dataclass(frozen=True)
class Generation:
    """Generators on the same normals.

    Parameters
    ----------
    title, text : str
        Heading of the report and the sentences below it.
    split : callable
        Makes the split of a seed, whose test is not looked at.
    generators : mapping
        By the name that the table gives it, makes the unfitted detector of a seed that holds an adversarial generator.
    seeds : tuple of int
        Of splits and weights.
    """

    title: str
    text: str
    split: Callable[[int], Split]
    generators: Mapping[str, Callable[[int], Detector]]
    seeds: tuple[int, ...] = (0, 1, 2)

    def run(self, out: str | os.PathLike[str]) -> str:
        """Fit every generator at every seed, write the report, and return its table as text.

        What is done is kept in ``runs``, so that an interrupted run resumes, inside a fit too. The first seed's samples
        are shown.
        """
        folder = Path(out)
        seeds = each([partial(self._seed, folder / "runs", seed) for seed in self.seeds], None, "Seeds")
        found = {name: [records[name] for records in seeds] for name in self.generators}
        table = self._table(found)
        first = self.split(self.seeds[0])
        sections = [Section("How good its samples are", "Means over the seeds.", table=table)]
        for number, (name, make) in enumerate(self.generators.items(), 1):
            detector, record = fitted_once(folder / "runs", name, make(self.seeds[0]), first)
            sections += [numbered(section, name, number) for section in generated_sections(detector, record, first)]
        with draft(folder) as page:
            write_page(
                page,
                kind="Comparison of generators",
                title=self.title,
                lede=self.text,
                sections=sections,
                provenance=provenance() | {"seeds": list(self.seeds)},
            )
            record = {"title": self.title, "text": self.text, "generators": found}
            (page / "generation.json").write_text(json.dumps(plain(record), indent=1), encoding="utf-8")
        return "\n".join("  ".join(row) for row in (table.head, *table.rows))

    def _seed(self, runs: Path, seed: int) -> dict[str, dict[str, Any]]:
        """Return each generator's record at a seed."""
        split = self.split(seed)
        found: dict[str, dict[str, Any]] = {}
        for name, make in self.generators.items():
            _, found[name] = fitted_once(runs, name, make(seed), split)
            print(f"seed {seed}  {name}: {'; '.join(found[name]['alarms']) or 'no alarm'}", flush=True)
        return found

    def _table(self, found: Mapping[str, list[dict[str, Any]]]) -> Table:
        rows = []
        for key, (title, _) in FIGURES.items():
            cells = [[record["quality"].get(key) for record in records] for records in found.values()]
            if all(None not in values for values in cells):
                rows.append((title, *(f"{np.mean(values):.3g}" for values in cells)))
        alarmed = [sum(bool(record["alarms"]) for record in records) for records in found.values()]
        rows.append(("Seeds with an alarm", *(f"{count} of {len(self.seeds)}" for count in alarmed)))
        seconds = [np.median([record["fit_seconds"] for record in records]) for records in found.values()]
        rows.append(("To fit", *(duration(float(each)) for each in seconds)))
        return Table(("", *found), rows)


def fitted_once(runs: Path, name: str, detector: Detector, split: Split) -> tuple[Any, dict[str, Any]]:
    """Return a fitted generator and its record, from the folder `runs` if they are there."""
    folder = place_of(runs, name, detector, repr(split.train), repr(split.test))
    if not (folder / RECORD).exists():
        keep_checkpoints(detector, folder)
        detector.fit(split.train.pixels)
        detector.save(folder / MODEL)
        fitted: Any = detector
        maker: Any = getattr(fitted, "generator_", fitted)
        record = {
            "quality": maker.quality_,
            "alarms": list(maker.alarms_),
            "history": fitted.history_,
            "fit_seconds": detector.fit_seconds_,
            "provenance": provenance(),
        }
        with replacing(folder / RECORD) as file:
            file.write_text(json.dumps(seal(plain(record)), indent=1), encoding="utf-8")
    return load(folder / MODEL), read_sealed(folder / RECORD)


def generated_sections(detector: Any, record: Mapping[str, Any], split: Split) -> list[Section]:
    """Return what a report shows of a generator: samples, how they came to be, losses and layers."""
    exhibits = generation(detector, split)
    geometry = {"spacing": split.train.spacing, "orientation": split.train.orientation}
    sections = [
        samples(exhibits, geometry),
        generator(exhibits, geometry),
        training(record["history"], record["fit_seconds"]),
        architecture(exhibits.networks),
    ]
    return [section for section in sections if section]


def numbered(section: Section, name: str, number: int) -> Section:
    """Return a section of one of several detectors on a page, whose figures have names of their own."""
    plates = [replace(plate, stem=f"{plate.stem}-of-{number}") for plate in section.plates]
    return replace(section, title=f"{name}: {section.title}", plates=plates)
