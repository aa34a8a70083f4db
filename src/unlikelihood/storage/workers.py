"""Jobs in worker processes, which end with the process they work for, or wherever joblib's context says."""

import multiprocessing
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TypeVar

from unlikelihood.progress import plain, progress, silent

Made = TypeVar("Made")
INTERVAL = 0.5  # seconds
# Not joblib's own number of jobs, which every scikit-learn estimator within would take as well.
_at_once: ContextVar[int] = ContextVar("_at_once", default=1)


@contextmanager
def at_once(workers: int) -> Iterator[None]:
    """Do as many as `workers` jobs within at once, where nothing else is said of how many."""
    before = _at_once.set(workers)
    try:
        yield
    finally:
        _at_once.reset(before)


@cache
def follow_parent() -> None:
    """Let this process, if another started it to work for it, end soon after that one, however that ended.

    A pool ends its workers when it is closed, which a killed process cannot do: they would go on for minutes.
    """
    parent = os.getppid()
    if multiprocessing.parent_process() is None and "loky" not in type(multiprocessing.current_process()).__module__:
        return

    def follow() -> None:
        while os.getppid() == parent:
            time.sleep(INTERVAL)
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def each(jobs: Sequence[Callable[[], Made]], workers: int | None, title: str) -> list[Made]:
    """Return what independent jobs return, in their order, from as many as `workers` processes at once.

    Parameters, warnings and errors are those of `ended`.
    """
    return [made for _, made in sorted(ended(jobs, workers, title), key=lambda one: one[0])]


def ended(jobs: Sequence[Callable[[], Made]], workers: int | None, title: str) -> Iterator[tuple[int, Made]]:
    """Yield the number of each of some independent jobs and what it returned, in the order in which they end.

    Their warnings are given here, and their first error is raised here. One worker is this process, and so is every
    worker of a job that is itself done by a worker.

    Parameters
    ----------
    jobs : sequence of callable
        What is done; jobs and what they return can be pickled.
    workers : int or None
        Processes, which divide the cores among them, or as many tasks of a cluster; None leaves that to `at_once`.
    title : str
        What the progress bar calls the jobs.

    Raises
    ------
    RuntimeError
        If a worker was killed, as where memory was short.
    """
    from joblib import Parallel, delayed, effective_n_jobs  # which takes long to import
    from joblib.externals.loky.process_executor import TerminatedWorkerError
    from joblib.parallel import BACKENDS, get_active_backend

    workers = min(effective_n_jobs(workers or _at_once.get()), len(jobs))
    if workers <= 1:
        for number, job in enumerate(jobs):
            yield number, job()
        return
    # An array in memory is copied, not mapped: of maps, more is approximated. What is mapped is not copied.
    parallel = Parallel(n_jobs=workers, batch_size=1, max_nbytes=None, return_as="generator_unordered")
    # On a terminal, the lines of processes of this machine would get into a bar.
    lines = sys.stderr.isatty() and isinstance(get_active_backend()[0], BACKENDS["loky"])
    try:
        with silent(lines), progress(title, len(jobs)) as update:
            for number, result, warned in parallel(delayed(_followed)(*one) for one in enumerate(jobs)):
                for message, category in warned:
                    warnings.warn(message, category, stacklevel=2)
                update()
                yield number, result
    except TerminatedWorkerError as error:
        raise RuntimeError(f"{title}: one of {workers} worker processes was killed, for memory perhaps") from error


def _followed(number: int, job: Callable[[], Made]) -> tuple[int, Made, list[tuple[str, type[Warning]]]]:
    """Do a job in a worker, and return its number, what it made, and what it warned of."""
    from joblib import parallel_config

    follow_parent()
    with parallel_config("sequential"), plain(), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        result = job()
    return number, result, [(str(one.message), one.category) for one in warned]
