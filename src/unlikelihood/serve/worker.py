"""The threads that ask the model, and score together what waits together."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from unlikelihood.contract.detector import Detector
from unlikelihood.contract.refusals import judged
from unlikelihood.distributed.shards import BLOCK, BYTES
from unlikelihood.progress import silent
from unlikelihood.training.allocation import reusing_memory

Scores = tuple[NDArray[np.float64], dict[int, str]]
"""The scores (n,) of samples, nan where nothing can be said, and by row the reason of that."""


class Waiting(NamedTuple):
    """What waits for the model: samples to score, or a function to call with them, and where its answer goes."""

    samples: NDArray[Any]
    function: Callable[[NDArray[Any]], Any] | None
    answer: "Future[Any]"


class Worker:
    r"""Scores what waits: several requests in one call, and several calls at a time.

    Calls share the processor: one alone computes with all of torch's threads, and many with one each, which do not wait
    for one another. A score depends on its sample alone: to the bit where a request is alone, or `together` and
    `calls` are 1, and to the rounding of the detector's sums where it shares a call or the processor. What a detector
    says nothing about is a reason of that sample, and nobody else's.

    Parameters
    ----------
    detector : Detector
        Fitted.
    together : int
        Samples of several requests that are scored in one call, at most.
    calls : int
        Calls at a time, at most, each of which takes the memory of a batch.
    note : callable, optional
        Is told how many samples were scored in each call.
    """

    def __init__(
        self,
        detector: Detector,
        together: int = BLOCK,
        calls: int = 1,
        note: Callable[[int], object] = lambda samples: None,
    ) -> None:
        self.detector, self.together, self.note = detector, together, note
        self._cores, self._calls = torch.get_num_threads(), 0
        self._waiting: deque[Waiting] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._threads = [threading.Thread(target=self._work, name="model", daemon=True) for _ in range(calls)]
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> bool:
        """Whether it takes requests."""
        return not self._ended and all(thread.is_alive() for thread in self._threads)

    def score(self, samples: NDArray[Any]) -> "Future[Scores]":
        r"""Return the scores of samples (n, \*shape), in time."""
        return self._add(samples, None)

    def call(self, function: Callable[[NDArray[Any]], Any], samples: NDArray[Any]) -> "Future[Any]":
        r"""Return what a function that uses the detector makes of samples (n, \*shape), in time."""
        return self._add(samples, function)

    def close(self) -> None:
        """Answer what waits, and end."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _add(self, samples: NDArray[Any], function: Callable[[NDArray[Any]], Any] | None) -> "Future[Any]":
        answer: Future[Any] = Future()
        with self._changed:
            if self._ended:
                raise RuntimeError("the service is ending")
            self._waiting.append(Waiting(samples, function, answer))
            self._changed.notify()
        return answer

    def _work(self) -> None:
        torch.get_num_threads()  # a new thread that was not asked has a number of its own
        with silent(), reusing_memory():
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._can_begin() or (self._ended and not self._waiting))
                    if not self._waiting:
                        torch.set_num_threads(self._cores)  # which those that are started later begin with
                        return
                    several = self._next()
                    self._calls += 1
                    torch.set_num_threads(max(1, self._cores // self._calls))  # of this thread
                several = [one for one in several if one.answer.set_running_or_notify_cancel()]
                if several:
                    self._answer(several)
                with self._changed:
                    self._calls -= 1
                    self._changed.notify_all()

    def _can_begin(self) -> bool:
        """Return whether a call can begin: beside another only a full one, for few samples are scored faster alone."""
        samples, size = sum(len(one.samples) for one in self._waiting), sum(one.samples.nbytes for one in self._waiting)
        return len(self._waiting) > 0 and (not self._calls or samples >= self.together or size >= BYTES)

    def _next(self) -> list[Waiting]:
        """Take the first that waits, and those behind it that are scored with it."""
        several = [self._waiting.popleft()]
        first, samples, size = several[0], len(several[0].samples), several[0].samples.nbytes
        while first.function is None and self._waiting:
            other = self._waiting[0]
            samples, size = samples + len(other.samples), size + other.samples.nbytes
            alike = other.function is None and other.samples.dtype == first.samples.dtype
            if not alike or samples > self.together or size > BYTES:
                break
            several.append(self._waiting.popleft())
        return several

    def _answer(self, several: list[Waiting]) -> None:
        try:
            if (function := several[0].function) is not None:
                several[0].answer.set_result(function(several[0].samples))
                return
            whole = several[0].samples if len(several) == 1 else np.concatenate([one.samples for one in several])
            self.note(len(whole))
            scores, why = judged(self.detector.score_samples, whole)
            start = 0
            for one in several:
                stop = start + len(one.samples)
                reasons = {row - start: reason for row, reason in why.items() if start <= row < stop}
                one.answer.set_result((scores[start:stop], reasons))
                start = stop
        except Exception as error:  # which is its request's, and must not end the thread
            if len(several) == 1:
                several[0].answer.set_exception(error)
                return
            for one in several:
                self._answer([one])
