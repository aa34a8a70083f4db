"""Independent jobs, as processes of this machine or as tasks of a Ray cluster: joblib's, and so scikit-learn's too.

The backend that Ray has for joblib is not used. It gives jobs to actors in turn, busy or not, so that short ones wait
behind long ones; it returns nothing before all have ended; and it waits without an end for actors that find no room.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from joblib import parallel_config
from joblib.externals.loky.process_executor import TerminatedWorkerError
from joblib.parallel import SequentialBackend, ThreadingBackend

from unlikelihood.distributed.cluster import joined
from unlikelihood.distributed.pool import WorkersFailed
from unlikelihood.storage.workers import at_once


@contextmanager
def workers(number: int | None = None, ray: str | None = None, gpus: float = 0) -> Iterator[None]:
    """Run the seeds of experiments within at the same time: in processes of this machine, or on a Ray cluster.

    On a cluster run, too, the members of a `Committee` or `Auto` that is given `workers`, and whatever scikit-learn is
    given ``n_jobs`` for. Results are those of one process, to the bit where each has as many threads.

    Parameters
    ----------
    number : int, optional
        Seeds at once. Unless given one, or on a cluster as many as it has CPUs.
    ray : str, optional
        Address of a Ray cluster, "host:port", "auto" or "local", on whose nodes files have the same paths.
    gpus : float
        Of the cluster, that each task has for itself; without, it sees none.

    Raises
    ------
    MissingPackage
        If Ray is asked for and not installed.
    ValueError
        If `number` is not positive.
    WorkersFailed
        If nobody answers at the address, or the cluster has fewer than two CPUs, or fewer GPUs than a task.

    Examples
    --------
    >>> with workers(ray="head-node:6379"):  # doctest: +SKIP
    ...     Committee([VAE(seed=seed) for seed in range(8)], workers=8).fit(X)
    """
    if number is not None and number < 1:
        raise ValueError(f"workers is {number}, expected at least 1")
    if ray is None:
        with at_once(number or 1):
            yield
        return
    with joined(ray, "running on a Ray cluster") as cpus:
        import ray as library

        if gpus > (had := library.cluster_resources().get("GPU", 0)):
            raise WorkersFailed(f"gpus is {gpus:g}, on a cluster that has {had:g}")
        with parallel_config(Tasks(cpus, gpus)), at_once(min(number or cpus, cpus)):
            yield


class Tasks(ThreadingBackend):
    """Joblib's jobs as tasks of the Ray cluster that this process is part of, each waited for by a thread.

    Parameters
    ----------
    cpus : int
        Of the cluster.
    gpus : float
        Of a task.
    """

    uses_threads = supports_sharedmem = False

    def __init__(self, cpus: int, gpus: float = 0) -> None:
        super().__init__()
        import ray

        self.cpus = cpus
        # A job that has killed its worker once, for memory perhaps, is not done again.
        self.task: Any = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(_done)
        self.running: set[Any] = set()

    def effective_n_jobs(self, n_jobs: int | None) -> int:  # noqa: D102
        return super().effective_n_jobs(max(self.cpus + 1 + n_jobs, 1) if n_jobs is not None and n_jobs < 0 else n_jobs)

    def get_nested_backend(self) -> tuple[SequentialBackend, int]:  # noqa: D102
        return SequentialBackend(nesting_level=1), 1

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], None] | None = None) -> Any:  # noqa: D102
        return super().submit(partial(self._wait, func), callback)

    def terminate(self) -> None:  # noqa: D102
        import ray

        super().terminate()  # first, so that no thread begins another
        for task in list(self.running):
            ray.cancel(task, force=True)

    def _wait(self, func: Callable[[], Any]) -> Any:
        import ray
        from ray import cloudpickle
        from ray.exceptions import RayError, RayTaskError

        task = self.task.remote(cloudpickle.dumps(func), Path.cwd(), sys.path)
        self.running.add(task)
        try:
            return ray.get(task)
        except RayTaskError as error:
            raise error.cause from None
        except RayError as error:
            raise TerminatedWorkerError(" ".join(str(error).split())[:300]) from None
        finally:
            self.running.discard(task)


def _done(pickled: bytes, folder: Path, path: list[str]) -> Any:
    """Do a job in a folder, from which paths are told, with the modules that the one who gave it finds."""
    from ray import cloudpickle

    os.chdir(folder)
    sys.path += [place for place in path if place not in sys.path]
    return cloudpickle.loads(pickled)()
