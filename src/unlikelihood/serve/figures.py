"""What a service counts, and logs."""

import logging
import time
from collections.abc import Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOG = logging.getLogger("unlikelihood.serve")
OUTCOMES = ("scored", "refused")


class Figures:
    """What is counted, for Prometheus."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        of: Any = {"registry": self.registry, "namespace": "unlikelihood"}
        self.requests = Counter("requests", "Requests by path and status.", ["path", "status"], **of)
        self.seconds = Histogram("request_seconds", "From a request to its answer.", ["path"], **of)
        self.samples = Counter("samples", "Samples by what became of them.", ["outcome"], **of)
        self.batch = Histogram("batch_samples", "Samples scored together.", buckets=[2**k for k in range(11)], **of)
        self.busy = Gauge("requests_in_progress", "Requests that are received, read or scored.", **of)
        self.jobs = Gauge("jobs", "Jobs that are known, those that have ended among them.", **of)

    def outcomes(self) -> dict[str, int]:
        """Return how many samples were scored, and how many refused."""
        value_of = self.registry.get_sample_value
        return {name: int(value_of("unlikelihood_samples_total", {"outcome": name}) or 0) for name in OUTCOMES}


class Counting:
    """Counts requests, and logs them: their path, status and time, and nothing that was sent.

    Parameters
    ----------
    app : callable
        What answers them.
    figures : Figures
        Where they are counted.
    paths : sequence of str
        Those that are named; what lies below one, such as a job, is told by it, and others are told together.
    """

    def __init__(self, app: ASGIApp, figures: Figures, paths: Sequence[str]) -> None:
        self.app, self.figures, self.paths = app, figures, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500
        top, _, job = scope["path"].removeprefix("/").partition("/")
        path = f"/{top}" if f"/{top}" in self.paths and (not job or top == "jobs") else "other"

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noting)
        finally:
            seconds = time.perf_counter() - began
            self.figures.requests.labels(path, str(status)).inc()
            self.figures.seconds.labels(path).observe(seconds)
            LOG.info("%s %d %.3f s", path, status, seconds)
