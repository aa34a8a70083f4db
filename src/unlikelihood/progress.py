"""Progress on standard error, the same for everything that takes long: a bar, or now and then a line in a log file."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console

LINE_SECONDS = 30.0


class Update(Protocol):
    """What a progress bar hands to the work it shows: call it to move the bar on."""

    def __call__(self, advance: int = 1, note: str = "") -> None:
        """Move the bar on.

        Parameters
        ----------
        advance : int
            Number of units done since the last call.
        note : str
            Short text shown behind the bar, for example the current loss.
        """


@cache
def _console() -> "Console":
    # One console for all bars: so a bar opened inside another becomes a second line below it.
    from rich.console import Console

    return Console(stderr=True)


_stages: ContextVar[str] = ContextVar("_stages", default="")
_silent: ContextVar[bool] = ContextVar("_silent", default=False)
_plain: ContextVar[bool] = ContextVar("_plain", default=False)


@contextmanager
def silent(whether: bool = True) -> Iterator[None]:
    """Show no progress within, as where another process shows its own for both."""
    before = _silent.set(whether or _silent.get())
    try:
        yield
    finally:
        _silent.reset(before)


@contextmanager
def plain() -> Iterator[None]:
    """Show progress within as lines, as where several processes share a terminal."""
    before = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(before)


@contextmanager
def stage(number: int, of: int, name: str = "") -> Iterator[None]:
    """Say, before what progress within shows, which stage of how many it belongs to.

    Parameters
    ----------
    number : int
        Counted from 1.
    of : int
        How many stages there are.
    name : str
        What the stage is called; nothing unless given.

    Examples
    --------
    >>> with stage(2, 3), progress("Fitting", total=3) as update:  # "stage 2 of 3, Fitting: 1 of 3, ..."
    ...     update()
    """
    before = _stages.set(f"{_stages.get()}stage {number} of {of}{f' ({name})' * bool(name)}, ")
    try:
        yield
    finally:
        _stages.reset(before)


def _in_jupyter() -> bool:
    return "IPython" in sys.modules and _console().is_jupyter


def _lines(title: str, total: int | None, start: int) -> Update:
    """Return an update that prints a line, if there is a title, where the last is `LINE_SECONDS` ago."""
    done, began = start, time.monotonic()
    printed = began

    def update(advance: int = 1, note: str = "") -> None:
        nonlocal done, printed
        done, now = done + advance, time.monotonic()
        if not title or now - printed < LINE_SECONDS:
            return
        printed = now
        parts = [f"{title}: {done}" if total is None else f"{title}: {done} of {total}", note]
        if total is not None and done > start:
            parts.append(f"{timedelta(seconds=round((now - began) * (total - done) / (done - start)))} left")
        print(", ".join(filter(None, parts)), file=sys.stderr, flush=True)

    return update


@contextmanager
def progress(title: str, total: int | None, start: int = 0) -> Iterator[Update]:
    """Show a bar with the time left, or a line every half minute where standard error is no terminal or Jupyter cell.

    Parameters
    ----------
    title : str
        What is being done.
    total : int or None
        Number of units of work, or None where nobody knows.
    start : int
        Number of units done before, as when training is resumed.

    Yields
    ------
    Update
        The function that moves the bar on.

    Examples
    --------
    >>> with progress("Counting", total=3) as update:
    ...     for n in range(3):
    ...         update(note=f"n = {n}")
    """
    title = title and _stages.get() + title
    if _silent.get():
        yield _lines("", total, start)
        return
    # Not `console.is_terminal`, which FORCE_COLOR switches on in the log files of a CI.
    if _plain.get() or not (sys.stderr.isatty() or _in_jupyter()):
        yield _lines(title, total, start)
        return
    # Imported here, not above: a bar is not worth a slower `import unlikelihood`.
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = _console()
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=console) as bars:
        task = bars.add_task(title, total=total, completed=start, note="")

        def update(advance: int = 1, note: str = "") -> None:
            bars.update(task, advance=advance, note=note)

        yield update
