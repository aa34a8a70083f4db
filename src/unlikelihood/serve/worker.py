"""The thread that holds the model, and scores together what waits together."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unlikelihood.contract.detector import Detector
from unlikelihood.contract.refusals import judged
from unlikelihood.distributed.shards import BLOCK, BYTES
from unlikelihood.progress import silent

Scores = tuple[NDArray[np.float64], dict[int, str]]
"""The scores (n,) of samples, nan where nothing can be said, and by row the reason of that."""


class Waiting(NamedTuple):
    """What waits for the model: samples to score, or a function to call with them, and where its answer goes."""

    samples: NDArray[Any]
    function: Callable[[NDArray[Any]], Any] | None
    answer: "Future[Any]"


class Worker:
    r"""Gives a detector to one request at a time, or to several that wait for scores.

    Those that wait together are scored in one call, as the first of them would be scored by itself: a score depends on
    its sample alone, to the bit where a request is alone or `together` is 1, and to the rounding of the detector's sums
    where it shares a batch. What a detector says nothing about is a reason of that sample, and nobody else's.

    Parameters
    ----------
    detector : Detector
        Fitted.
    together : int
        Samples of several requests that are scored in one call, at most.
    note : callable, optional
        Is told how many samples were scored in each call.
    """

    def __init__(
        self, detector: Detector, together: int = BLOCK, note: Callable[[int], object] = lambda samples: None
    ) -> None:
        self.detector, self.together, self.note = detector, together, note
        self._waiting: deque[Waiting] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it takes requests."""
        return self._thread.is_alive() and not self._ended

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
            self._changed.notify()
        self._thread.join()

    def _add(self, samples: NDArray[Any], function: Callable[[NDArray[Any]], Any] | None) -> "Future[Any]":
        answer: Future[Any] = Future()
        with self._changed:
            if self._ended:
                raise RuntimeError("the service is ending")
            self._waiting.append(Waiting(samples, function, answer))
            self._changed.notify()
        return answer

    def _work(self) -> None:
        with silent():
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._waiting or self._ended)
                    if not self._waiting:
                        return
                    several = self._next()
                several = [one for one in several if one.answer.set_running_or_notify_cancel()]
                if several:
                    self._answer(several)

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
