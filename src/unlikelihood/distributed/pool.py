"""Workers that score shards: what gives them work, and notices when one of them ends or says nothing any more."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

from unlikelihood.distributed.scoring import Job, Scored, Scorer
from unlikelihood.distributed.shards import Shard

ATTEMPTS = 3  # failures of a shard, or of workers in a row to start, that are taken for more than bad luck
PATIENCE = 60.0  # seconds without a sign of life
Task = tuple[Shard, str]
"""A shard, and the content that it was scored with before."""


class WorkersFailed(RuntimeError):
    """No worker could be started, or shards failed again and again; what was scored stays and is not scored again."""


class WorkerLost(Exception):
    """A worker ended, or failed with an error of which another one may know nothing."""


class Worker(Protocol):
    """A process somewhere that has loaded the model once, and scores one shard at a time."""

    def give(self, task: Task) -> None:
        """Let it score a shard; it has none then."""

    def take(self) -> Scored | None:
        """Return what it has to say, which there is now: the scores of its shard, or that it is alive.

        Raises
        ------
        WorkerLost
            If it has ended.
        """

    def stop(self) -> None:
        """End it, whatever it does."""


AnyWorker = TypeVar("AnyWorker", bound=Worker)


class Pool(Protocol[AnyWorker]):
    """Where workers run."""

    def start(self) -> AnyWorker:
        """Start a worker; its first sign of life says that it has loaded the model."""

    def wait(self, workers: Sequence[AnyWorker], seconds: float) -> Sequence[AnyWorker]:
        """Return those workers that have something to say, after so many seconds at the latest."""

    def room(self) -> str:
        """Return, in words, what there is room for: it is said where no worker could start."""


class _Held(Generic[AnyWorker]):
    """What is known of a worker: what it scores, whether it has loaded the model, and when it last said something."""

    def __init__(self, worker: AnyWorker) -> None:
        self.worker = worker
        self.ready = False
        self.task: Task | None = None
        self.heard = time.monotonic()


def scored(
    pool: Pool[AnyWorker], workers: int, tasks: Iterable[Task], patience: float = PATIENCE
) -> Iterator[tuple[Shard, Scored]]:
    """Yield the scores of shards, in the order in which they come.

    A worker has one shard at a time, and the next only when somebody takes what it made of the last: so memory stays
    flat however fast they are. The shard of a worker that ends is given to another, thrice at most.

    Parameters
    ----------
    pool : Pool
        Starts the workers.
    workers : int
        How many there are at a time, at most.
    tasks : iterable
        The shards.
    patience : float
        Seconds without a sign of life after which a worker is given up.

    Raises
    ------
    WorkersFailed
        If no worker starts, or, when all others are scored, if shards have failed three times.
    """
    left = iter(tasks)
    ahead = deque(islice(left, workers))  # known before they are needed, so that no worker is started for nothing
    held: list[_Held[AnyWorker]] = []
    failures: dict[int, list[str]] = {}  # why shards failed, since they were scored last
    starts: list[str] = []  # why workers did not start, since one scored something last

    def lose(one: _Held[AnyWorker], why: str) -> None:
        held.remove(one)
        one.worker.stop()
        if one.task is not None:
            failures.setdefault(one.task[0].number, []).append(why)
            if len(failures[one.task[0].number]) < ATTEMPTS:
                ahead.appendleft(one.task)
        elif not one.ready:
            starts.append(why)

    try:
        while ahead or any(one.task for one in held):
            for one in held:
                if one.ready and one.task is None and ahead:
                    one.task = ahead.popleft()
                    ahead.extend(islice(left, max(0, workers - len(ahead))))
                    one.heard = time.monotonic()
                    one.worker.give(one.task)
            if len(starts) >= ATTEMPTS:
                raise WorkersFailed(f"{len(starts)} workers in a row ended before they scored anything: {starts[-1]}")
            if len(held) < workers and sum(one.task is None for one in held) < len(ahead):
                held.append(_Held(pool.start()))
                continue
            finished: list[tuple[Shard, Scored]] = []
            busy = [one for one in held if one.task or not one.ready]
            heard = pool.wait([one.worker for one in busy], min(1.0, patience / 4))
            for one in [one for one in busy if one.worker in heard]:
                try:
                    found = one.worker.take()
                except WorkerLost as error:
                    lose(one, str(error))
                    continue
                one.heard, one.ready = time.monotonic(), True
                if found is not None and one.task is not None:
                    finished.append((one.task[0], found))
                    starts.clear()
                    failures.pop(one.task[0].number, None)
                    one.task = None
            yield from finished
            for one in [one for one in busy if one in held and time.monotonic() - one.heard > patience]:
                if one.ready:
                    lose(one, f"it said nothing for {patience:g} s")
                elif any(other.ready for other in held):  # there is no room for so many
                    workers = len(held) - 1
                    held.remove(one)
                    one.worker.stop()
                else:
                    raise WorkersFailed(f"no worker was ready within {patience:g} s: {pool.room()}")
    finally:
        for one in held:
            one.worker.stop()
    if lost := {number: why for number, why in failures.items() if len(why) >= ATTEMPTS}:
        few = "; ".join(f"shard {number}: {why[-1]}" for number, why in sorted(lost.items())[:3])
        raise WorkersFailed(
            f"{len(lost)} shards ended {ATTEMPTS} workers each, and all others are scored: {few}; "
            "the same command tries them again"
        )


class Alone:
    """The one worker that is this process itself."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self.says: Iterator[Scored | None] = iter([None])

    def start(self) -> "Alone":  # noqa: D102
        return self

    def wait(self, workers: Sequence["Alone"], seconds: float) -> Sequence["Alone"]:  # noqa: D102
        return workers

    def room(self) -> str:  # noqa: D102
        return "this process"

    def give(self, task: Task) -> None:  # noqa: D102
        self.says = self.scorer.score(*task)

    def take(self) -> Scored | None:  # noqa: D102
        return next(self.says)

    def stop(self) -> None:  # noqa: D102
        self.says = iter(())


class Processes:
    """Processes of this machine.

    Parameters
    ----------
    job : Job
        What they score with what.
    """

    def __init__(self, job: Job) -> None:
        self.job = job

    def start(self) -> "Local":  # noqa: D102
        return Local(self.job)

    def wait(self, workers: Sequence["Local"], seconds: float) -> Sequence["Local"]:  # noqa: D102
        ready = multiprocessing.connection.wait([one.pipe for one in workers], seconds)
        return [one for one in workers if one.pipe in ready]

    def room(self) -> str:  # noqa: D102
        return f"{os.cpu_count()} cores are here, and the model has to be read in that time"


class Local:
    """A process of this machine."""

    def __init__(self, job: Job) -> None:
        context = multiprocessing.get_context("spawn")  # not forked: threads of torch do not survive that
        self.pipe, end = context.Pipe()
        self.process = context.Process(target=_work, args=(job, end), daemon=True)
        with _without_interrupts():  # a Ctrl-C is for all of a terminal; who starts this ends this
            self.process.start()
        end.close()  # so that the pipe ends with the process

    def give(self, task: Task) -> None:  # noqa: D102
        with suppress(OSError):  # it has ended, which `take` says
            self.pipe.send(task)

    def take(self) -> Scored | None:  # noqa: D102
        try:
            said: Any = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(5)
            code = self.process.exitcode
            how = f"by signal {-code}" if code is not None and code < 0 else f"with status {code}"
            raise WorkerLost(f"the process ended {how}") from None
        if isinstance(said, str):
            raise WorkerLost(said)
        return said

    def stop(self) -> None:  # noqa: D102
        self.process.kill()
        self.process.join()
        self.pipe.close()


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Let processes that start in the block never hear of SIGINT; this one hears of it after the block."""
    if not hasattr(signal, "pthread_sigmask"):  # on Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(job: Job, pipe: Any) -> None:
    """Load the model, and score what comes until the pipe is closed, as it is when who started this ends."""
    try:
        scorer = Scorer(job)
        len(scorer.rows)
        pipe.send(None)
        while True:
            for found in scorer.score(*pipe.recv()):
                pipe.send(found)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
