"""A page: a headline, sections of text, tables and figures, and where it all came from."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.figure import Figure

from unlikelihood.metrics.intervals import Interval
from unlikelihood.report import plots
from unlikelihood.report.record import PAGE
from unlikelihood.storage.files import replacing

THIN = "\N{NARROW NO-BREAK SPACE}"


@dataclass(frozen=True)
class Plate:
    """A figure on the page, under a caption; `stem` is the name of its PNG file without the ending."""

    stem: str
    caption: str
    figure: Figure

    @cached_property
    def svg(self) -> str:
        """The figure as it goes into the page."""
        return plots.svg(self.figure, self.stem)


@dataclass(frozen=True)
class Table:
    """Rows of text, the first cell of each its name.

    Where the last column is prose (`words`), each row becomes a paragraph on a phone.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: bool = False


@dataclass(frozen=True)
class Panel:
    """A part of the page that a reader moves: a template and scripts beside this file, and the values that it shows."""

    template: str
    values: Mapping[str, Any]
    scripts: Sequence[str] = ("panels.js",)


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading; what it lacks is left out. `links` are addresses by what they lead to."""

    title: str
    text: str = ""
    plates: Sequence[Plate] = ()
    table: Table | None = None
    panel: Panel | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def draft(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield an empty folder whose entries move into `path` together when the block ends well, and vanish otherwise.

    Entries of other names that `path` has stay.
    """
    with replacing(Path(path) / PAGE) as page:
        yield page.parent


def write_page(
    folder: Path,
    *,
    kind: str,
    title: str,
    lede: str,
    sections: Sequence[Section],
    provenance: Mapping[str, Any],
) -> None:
    """Write ``report.html`` and ``figures/*.png`` into a folder that exists; None in the provenance is left out."""
    for plate in (plate for section in sections for plate in section.plates):
        (folder / "figures").mkdir(exist_ok=True)
        plate.figure.savefig(folder / "figures" / f"{plate.stem}.png", dpi=160)
        plate.figure.set_layout_engine(None)  # all has its place now, also on the page
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("unlikelihood.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    known = {key.replace("_", " "): words(value) for key, value in provenance.items() if value is not None}
    page = environment.get_template("report.html.j2").render(
        kind=kind, title=title, lede=lede, sections=sections, provenance=known
    )
    (folder / PAGE).write_text(page, encoding="utf-8")


def percent(share: float) -> str:
    """Return a share in [0, 1] as a percentage with one decimal."""
    return f"{100 * share:.1f}{THIN}%"


def span(interval: Interval) -> str:
    """Return the ends of an interval with three decimals."""
    return f"{interval.low:.3f} to {interval.high:.3f}"


def number(value: float, digits: int = 4) -> str:
    """Return a number with at least so many significant digits, all of those before the point among them."""
    if value == 0 or not 1e-4 <= abs(value) < 1e9:
        return f"{value:.{digits}g}"
    return f"{value:,.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def apart(values: Sequence[float]) -> list[str]:
    """Return numbers with as few digits as tell each from the next larger and the next smaller one."""
    ordered = sorted(set(values))
    texts = {}
    for index, value in enumerate(ordered):
        near = [*ordered[max(index - 1, 0) : index], *ordered[index + 1 : index + 2]]
        unlike = (
            digits for digits in range(4, 17) if number(value, digits) not in [number(each, digits) for each in near]
        )
        texts[value] = number(value, next(unlike, 17))
    return [texts[value] for value in values]


def duration(seconds: float) -> str:
    """Return a time in the unit in which it is easiest to read."""
    for unit, size in (("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g}{THIN}{unit}"
    return f"{seconds / 1e-6:.3g}{THIN}µs"


def words(value: Any) -> str:
    """Return a plain value, however nested, as a reader would write it."""
    match value:
        case {"class": name, **params}:
            return f"{name}({words(params)})"
        case dict():
            return ", ".join(f"{key} = {words(item)}" for key, item in value.items())
        case list():
            return f"[{', '.join(map(words, value))}]"
        case None | bool():
            return {None: "none", True: "yes", False: "no"}[value]
    return str(value)
