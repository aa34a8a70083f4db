"""Workers on a Ray cluster.

They are plain actors, not those of Ray Data. It waits for ever for actors that die while they load (issue 62746 of
ray-project/ray), and for a CPU to read with where actors hold all of them (44687), begins tasks again without an end
(51946) and has no time-out (45661). Here an actor is told a range of rows, reads them itself and sends its scores, so
that nothing is left for Ray Data to do. That actors start, say something and fail thrice at most is seen to in
`pool.scored`.
"""

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unlikelihood.distributed.pool import Task, WorkerLost, WorkersFailed
from unlikelihood.distributed.scoring import Job, Scored, Scorer
from unlikelihood.storage.extras import needing

FEWEST = 2  # CPUs of a cluster
CONNECTING = 10.0  # seconds until a head node has to answer


@contextmanager
def joined(address: str, what: str) -> Iterator[int]:
    """Be part of a Ray cluster within, and yield its CPUs; one that was joined before is stayed in.

    Parameters
    ----------
    address : str
        "host:port" of the head node, "auto" for the cluster that this machine is part of, "local" for one of its own.
    what : str
        What it is needed for, such as "scoring on a Ray cluster".

    Raises
    ------
    MissingPackage
        If Ray is not installed.
    WorkersFailed
        If nobody answers at the address, or the cluster has fewer than two CPUs.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing of a user's is reported anywhere
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "3")  # of ten seconds each, to reach a cluster
    with needing("ray", what):
        import ray
    joins = not ray.is_initialized()
    if joins:
        ended = signal.getsignal(signal.SIGTERM)
        try:
            host, _, port = address.rpartition(":")
            if host and port.isdecimal():
                socket.create_connection((host, int(port)), timeout=CONNECTING).close()
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:
            raise WorkersFailed(f"ray is {address!r}, where no cluster answers: {error}") from error
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, ended)  # Ray has put its own there
    try:
        cpus = int(ray.cluster_resources().get("CPU", 0))
        if cpus < FEWEST:
            raise WorkersFailed(
                f"ray is {address!r}, a cluster of {cpus} CPUs, expected at least {FEWEST}: ray start --num-cpus=2, or "
                "go without --ray"
            )
        yield cpus
    finally:
        if joins:
            ray.shutdown()


@contextmanager
def cluster(address: str, job: Job, workers: int) -> Iterator[tuple["Ray", int]]:
    """Yield where workers of a Ray cluster run, and how many: as many as asked, or as it has CPUs if that is fewer.

    Parameters
    ----------
    address : str
        As of `joined`, whose errors are those of this.
    job : Job
        What is scored with what.
    workers : int
        How many at most; 0 stands for as many as there are CPUs.
    """
    with joined(address, "scoring on a Ray cluster") as cpus:
        yield Ray(job), min(workers or cpus, cpus)


class Ray:
    """Actors of a Ray cluster.

    Parameters
    ----------
    job : Job
        What they score with what.
    """

    def __init__(self, job: Job) -> None:
        import ray

        gpus = int(job.device.startswith("cuda"))
        # A worker that ends is started again by `pool.scored`, which knows how often it was.
        options: dict[str, Any] = {"num_cpus": 1, "num_gpus": gpus, "max_restarts": 0, "max_task_retries": 0}
        self.job = job
        self.actor: Any = ray.remote(**options)(_Actor)

    def start(self) -> "Remote":  # noqa: D102
        return Remote(self.actor.remote(self.job, Path.cwd()))

    def wait(self, workers: Sequence["Remote"], seconds: float) -> Sequence["Remote"]:  # noqa: D102
        import ray

        by_what = {one.waited_for: one for one in workers}
        ready, _ = ray.wait(list(by_what), num_returns=len(by_what), timeout=seconds, fetch_local=False)
        return [by_what[each] for each in ready]

    def room(self) -> str:  # noqa: D102
        import ray

        whole, free = ray.cluster_resources(), ray.available_resources()
        return f"the cluster has {whole.get('CPU', 0):g} CPUs, of which {free.get('CPU', 0):g} are free"


class Remote:
    """An actor."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self.waited_for: Any = actor.ready.remote()
        self.scoring = False

    def give(self, task: Task) -> None:  # noqa: D102
        self.waited_for = self.actor.score.options(num_returns="streaming").remote(*task)
        self.scoring = True

    def take(self) -> Scored | None:  # noqa: D102
        import ray
        from ray.exceptions import RayError

        try:
            return ray.get(next(self.waited_for) if self.scoring else self.waited_for)
        except RayError as error:
            raise WorkerLost(" ".join(str(error).split())[-300:]) from None

    def stop(self) -> None:  # noqa: D102
        import ray

        ray.kill(self.actor)


class _Actor:
    """A `Scorer` in a process of Ray's."""

    def __init__(self, job: Job, folder: Path) -> None:
        os.chdir(folder)  # from which paths are told
        self.scorer = Scorer(job)

    def ready(self) -> None:
        """Return when the model and the samples are at hand."""
        len(self.scorer.rows)

    def score(self, *task: Any) -> Iterator[Scored | None]:
        """Score a shard, as `Scorer.score`."""
        yield from self.scorer.score(*task)
