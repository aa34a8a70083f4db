"""``.. measured::``, a table of what was measured of a detector: every line of it names a row of a committed result.

A line is a row of ``benchmarks/results/quality.json``, or ``RECORD: ROW``, a row of ``RECORD/comparison.json`` or of
the summary of ``RECORD.json``. A row that is gone is an error.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

from docs.pages import RESULTS, area, interval, table
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

TASKS = {
    "MNIST 9": "MNIST, nines",
    "MNIST, each digit": "MNIST, each digit in turn",
    "AdrenalMNIST3D": "AdrenalMNIST3D",
    "Phantom": "Phantom",
    "LIDC": "LIDC",
    "Digits": "Digits",
}


class Measured(SphinxDirective):
    """Writes the tables of the rows that its content names."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the tables."""
        rows = [line.strip() for line in self.content if line.strip()]
        recipes = [row.split(": ", 1) for row in rows if ": " in row]
        of_quality = [row for row in rows if ": " not in row]
        try:
            parts = [quality(of_quality)] if of_quality else []
            parts += [recipe(recipes)] if recipes else []
        except (KeyError, OSError) as error:
            raise self.error(f"{error}: expected a row of a file under {RESULTS.name}") from error
        return self.parse_text_to_nodes("\n\n".join(parts))


def quality(rows: list[str]) -> str:
    """Return how rows of ``quality.json`` rank every task, and what they cost."""
    found = [read(RESULTS / "quality.json")["summary"][row] for row in rows]
    lines = [(words, *(of.get(task, "").replace(" ", "\u00a0") for of in found)) for task, words in TASKS.items()]
    lines.append(("to fit", *(cost(of, "fit seconds", "s") for of in found)))
    lines.append(("to score one", *(cost(of, "score milliseconds", "ms") for of in found)))
    lines.append(("weights", *(cost(of, "weights", "") for of in found)))
    kept = [line for line in lines if any(line[1:])]
    return (
        f"{table(('AUROC', *rows), *kept)}\n\nMean ± standard deviation (seeds or digits); half is chance, 1 perfect. "
        "One setting for all tasks, costs on one core; :doc:`/results` says how it is measured."
    )


def recipe(rows: list[list[str]]) -> str:
    """Return the AUROC of rows of single experiments."""
    lines = []
    for name, row in rows:
        path = RESULTS / name / "comparison.json"
        if path.exists():
            record = read(path)
            found = {each["name"]: each for each in record["rows"]}[row]
            flagged = f"{found['flagged']} of {found['seeds']}" if found.get("flagged") else ""
            cells = (area(found), interval(found, name.split("/")[-1]).replace("*", "\\*"), flagged)
            lines.append((record["title"], row, *cells))
        else:
            images = read(RESULTS / f"{name}.json")["summary"][row]["images"]
            lines.append(("Defects planted in textures", row, images, "", ""))
    note = "\n\nIntervals marked \\* hold the seeds alone." if any("*" in line[3] for line in lines) else ""
    return table(("experiment", "detector", "AUROC", "95 % interval", "flagged"), *lines) + note


def cost(of: dict[str, str], key: str, unit: str) -> str:
    """Return a cost as people write it."""
    if not (text := of.get(key)):
        return ""
    number = float(text)
    return f"{number:,.0f} {unit}".strip() if number >= 100 or not number else f"{number:.2g} {unit}".strip()


@cache
def read(path: Path) -> Any:
    """Return a committed result."""
    return json.loads(path.read_text(encoding="utf-8"))


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the directive known to Sphinx."""
    app.add_directive("measured", Measured)
    return {"parallel_read_safe": True}
