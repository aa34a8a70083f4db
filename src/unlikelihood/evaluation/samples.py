"""Generators of the same normals, judged by what an encoder of that domain makes of their samples."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unlikelihood.contract.detector import Detector, fitted
from unlikelihood.contract.embedder import Embedder
from unlikelihood.data.splits import Split
from unlikelihood.evaluation.experiment import aligned, keep_checkpoints, place_of
from unlikelihood.metrics.generators import quality_of
from unlikelihood.report.samples import COLUMNS, rows, save_samples
from unlikelihood.storage.files import replacing
from unlikelihood.storage.models import configuration
from unlikelihood.storage.provenance import provenance
from unlikelihood.storage.records import read_sealed, seal
from unlikelihood.storage.workers import each

Judged = tuple[Mapping[str, float | None], np.ndarray]  # its figures, and some samples

UNSEEN = "unseen normals"
SHOWN = 12


@dataclass(frozen=True)
class Samples:
    """Generators fitted to the same normals, over several seeds, with the thesis' inception-like score of each.

    Parameters
    ----------
    title, text : str
        Heading of the report and the sentences below it.
    split : callable
        Makes the split of a seed. Its calibration part stands beside the generators, as the best that they can be.
    encoder : callable
        Makes the encoder of a seed, fitted or not, whose features are compared.
    generators : mapping
        By the name that the table gives it, makes the unfitted generator of a seed.
    seeds : tuple of int
        Of splits and weights.
    """

    title: str
    text: str
    split: Callable[[int], Split]
    encoder: Callable[[int], Embedder]
    generators: Mapping[str, Callable[[int], Detector]]
    seeds: tuple[int, ...] = (0, 1, 2)

    def run(self, out: str | os.PathLike[str]) -> str:
        """Fit every generator at every seed, compare its samples with the normals, and return the table as text.

        What is done is kept in ``runs``, so that an interrupted run resumes, inside a fit too.

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
            If there is no data.
        """
        folder = Path(out)
        found = each([partial(self._seed, folder / "runs", seed) for seed in self.seeds], None, "Seeds")
        judged = {name: [seed[name][0] for seed in found] for name in found[0]}
        shown = {name: pixels for name, (_, pixels) in found[0].items()}
        save_samples(folder, self.title, self.text, judged, shown, provenance() | {"seeds": list(self.seeds)})
        return aligned(("", *COLUMNS), rows(judged))

    def _seed(self, runs: Path, seed: int) -> dict[str, Judged]:
        """Judge unseen normals and every generator at a seed."""
        split = self.split(seed)
        encoder = fitted(self.encoder(seed), split.train.pixels)
        unseen = Held(split.calibration.pixels)
        judged: dict[str, Judged] = {
            UNSEEN: (asdict(quality_of(unseen, split.train.pixels, encoder)), unseen.generate(SHOWN))
        }
        for name, make in self.generators.items():
            judged[name] = self._once(runs, name, make(seed), split, encoder)
            print(f"seed {seed}  {name}: inception-like score {judged[name][0]['inception']}", flush=True)
        return judged

    def _once(self, runs: Path, name: str, generator: Any, split: Split, encoder: Embedder) -> Judged:
        """Fit and judge a generator, unless that is kept already, and return the figures and some samples."""
        folder = place_of(runs, name, generator, configuration(encoder), repr(split.train))
        if not folder.exists():
            keep_checkpoints(generator, folder)
            generator.fit(split.train.pixels)
            found = quality_of(generator, split.train.pixels, encoder)
            with replacing(folder) as new:
                new.mkdir()
                (new / "quality.json").write_text(json.dumps(seal(asdict(found)), indent=1), encoding="utf-8")
                np.save(new / "samples.npy", generator.generate(SHOWN))
        return read_sealed(folder / "quality.json"), np.load(folder / "samples.npy")


@dataclass(frozen=True, eq=False)
class Held:
    """Samples that are at hand, in the place of a generator's."""

    pixels: np.ndarray

    def generate(self, n: int) -> np.ndarray:
        """Return `n` of them, or all if there are fewer, evenly spaced."""
        return self.pixels[np.linspace(0, len(self.pixels) - 1, min(n, len(self.pixels))).astype(int)]
