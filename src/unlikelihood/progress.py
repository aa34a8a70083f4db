"""Progress bars on standard error, the same for everything that takes long."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console


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


def _in_jupyter() -> bool:
    return "IPython" in sys.modules and _console().is_jupyter


def _nothing(advance: int = 1, note: str = "") -> None:
    """Take the place of a bar that nobody would see."""


@contextmanager
def progress(title: str, total: int | None, start: int = 0) -> Iterator[Update]:
    """Show a bar with the time left, if standard error is a terminal or a Jupyter cell.

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
    # Not `console.is_terminal`, which FORCE_COLOR switches on in the log files of a CI.
    if not (sys.stderr.isatty() or _in_jupyter()):
        yield _nothing
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
