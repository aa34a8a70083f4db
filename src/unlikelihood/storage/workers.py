"""Jobs in worker processes, which end with the process they work for."""

import multiprocessing
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeVar

from unlikelihood.progress import plain, progress, silent

Made = TypeVar("Made")
INTERVAL = 0.5  # seconds


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


def each(jobs: Sequence[Callable[[], Made]], workers: int, title: str) -> list[Made]:
    """Return what independent jobs return, in their order, from as many as `workers` processes at once.

    Their warnings are given here, and their first error is raised here. One worker is this process.

    Parameters
    ----------
    jobs : sequence of callable
        What is done; jobs and what they return can be pickled.
    workers : int
        Processes. They divide the cores among them.
    title : str
        What the progress bar calls the jobs.

    Raises
    ------
    RuntimeError
        If a worker was killed, as where memory was short.
    """
    workers = min(workers, len(jobs))
    if workers <= 1:
        return [job() for job in jobs]
    from joblib import Parallel, delayed  # which takes long to import
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    # An array in memory is copied, not mapped: of maps, more is approximated. What is mapped is not copied.
    parallel = Parallel(n_jobs=workers, batch_size=1, max_nbytes=None, return_as="generator")
    made = []
    try:
        # On a terminal, the lines of the workers would get into a bar.
        with silent(sys.stderr.isatty()), progress(title, len(jobs)) as update:
            for result, warned in parallel(delayed(_followed)(job) for job in jobs):
                made.append(result)
                for message, category in warned:
                    warnings.warn(message, category, stacklevel=2)
                update()
    except TerminatedWorkerError as error:
        raise RuntimeError(f"{title}: one of {workers} worker processes was killed, for memory perhaps") from error
    return made


def _followed(job: Callable[[], Made]) -> tuple[Made, list[tuple[str, type[Warning]]]]:
    """Do a job in a worker, and return what it warned of, too."""
    follow_parent()
    with plain(), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        result = job()
    return result, [(str(one.message), one.category) for one in warned]
