"""The service: what it answers to which request."""

import asyncio
import logging
import os
import shutil
import tempfile
import time
import traceback
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from numpy.typing import NDArray
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import BaseModel
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException as Refusal
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unlikelihood.contract.detector import Detector
from unlikelihood.data.ct.candidates import Candidates
from unlikelihood.data.ct.ct_folder import CTFolder
from unlikelihood.data.ct.scan import WORLD
from unlikelihood.data.ct.volumes import Volumes
from unlikelihood.data.folder import Folder
from unlikelihood.data.images import Images
from unlikelihood.data.source import Source
from unlikelihood.distributed.shards import BLOCK
from unlikelihood.evaluation.columns import decider, table_of
from unlikelihood.serve.door import MIB, Door, bounded, drain, too_large
from unlikelihood.serve.drawing import Drawing
from unlikelihood.serve.limits import Limits
from unlikelihood.serve.page import page
from unlikelihood.serve.uploads import Sample, Upload, array_of, place_of, read_uploads
from unlikelihood.serve.worker import Worker
from unlikelihood.storage.provenance import display_name
from unlikelihood.storage.reading import printable

LOG = logging.getLogger("unlikelihood.serve")
NAME = 300  # characters of a file's name
OUTCOMES = ("scored", "refused")
TAKES = {1: "vectors", 3: "images", 4: "volumes"}


class Row(BaseModel):
    """What is said of a sample: a score and what follows from it, or the reason why there is none."""

    name: str
    anomaly_score: float | None = None
    p_value: float | None = None
    decision: str | None = None
    alpha: float | None = None
    reason: str | None = None
    picture: str | None = None
    map: str | None = None
    volume: dict[str, Any] | None = None


class Trouble(BaseModel):
    """Why a request is refused."""

    error: str


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

    def outcomes(self) -> dict[str, int]:
        """Return how many samples were scored, and how many refused."""
        value_of = self.registry.get_sample_value
        return {name: int(value_of("unlikelihood_samples_total", {"outcome": name}) or 0) for name in OUTCOMES}


class Scoring:
    """What stands between a request and its rows: files are read by threads of their own, and scored by the model's.

    Parameters
    ----------
    detector : Detector
        Fitted.
    source : Source, optional
        How files are read.
    alpha : float, optional
        Share of normals that may be called anomalous.
    limits : Limits
        What a request may take.
    drawing : Drawing
        Draws maps.
    together : int
        Samples that are scored in one call, at most, where several requests wait.
    """

    def __init__(
        self,
        detector: Detector,
        source: Source | None,
        alpha: float | None,
        limits: Limits,
        drawing: Drawing,
        together: int,
    ) -> None:
        self.detector, self.source, self.limits, self.drawing = detector, source, limits, drawing
        self.decide = decider(detector, alpha)
        self.figures = Figures()
        self.worker = Worker(detector, together, self.figures.batch.observe)
        self.readers = ThreadPoolExecutor(min(4, os.cpu_count() or 1), "reader")
        self.busy = 0

    def close(self) -> None:
        """Answer what waits, and end."""
        self.readers.shutdown()
        self.worker.close()

    async def answer(self, request: Request, maps: bool) -> list[dict[str, Any]]:
        """Return the rows of a request, in the order of what it holds."""
        if self.busy >= self.limits.requests:
            await drain(request.receive)
            raise HTTPException(503, f"{self.busy} requests are being answered: come again", {"Retry-After": "1"})
        self._count(1)
        try:
            async with asyncio.timeout(self.limits.seconds):
                content = await self._received(request)
        except BaseException as error:
            self._count(-1)
            if isinstance(error, TimeoutError):
                raise HTTPException(408, f"the request did not arrive within {self.limits.seconds:g} s") from None
            raise
        work = asyncio.ensure_future(self._rows(content, maps))
        work.add_done_callback(self._leave)
        try:
            return await asyncio.wait_for(asyncio.shield(work), self.limits.seconds)
        except TimeoutError:
            raise HTTPException(
                504, f"there was no answer within {self.limits.seconds:g} s: send fewer files"
            ) from None
        except HTTPException:
            raise
        except Exception as error:
            # Not its message, which may hold what was sent.
            places = [f"{Path(one.filename).name}:{one.lineno}" for one in traceback.extract_tb(error.__traceback__)]
            LOG.error("%s at %s", type(error).__name__, " < ".join(reversed(places)))
            raise HTTPException(500, f"{type(error).__name__}: a fault of the service, which its log places") from None

    def _count(self, more: int) -> None:
        self.busy += more
        self.figures.busy.set(self.busy)

    def _leave(self, work: "asyncio.Future[Any]") -> None:
        self._count(-1)
        if not work.cancelled():
            work.exception()  # which nobody waits for after a timeout

    async def _received(self, request: Request) -> list[UploadFile] | bytes:
        """Return the files of a request, or the JSON that it is."""
        most = self.limits.mib * MIB
        length = request.headers.get("content-length", "0")
        if length.isdecimal() and int(length) > most:
            await drain(request.receive)
            raise too_large(most)
        received = Request(request.scope, bounded(request.receive, most))
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        try:
            if kind == "application/json":
                return await received.body()
            if kind != "multipart/form-data":
                raise HTTPException(
                    415, f"the content type is {printable(kind)!r}, expected multipart/form-data or application/json"
                )
            form = await received.form(max_files=self.limits.files, max_fields=self.limits.files)
        except Refusal:
            await drain(request.receive)
            raise
        files = [one for _, one in form.multi_items() if isinstance(one, UploadFile)]
        if not files or len(files) < len(form.multi_items()):
            await form.close()
            raise HTTPException(400, "expected files, and nothing beside them, in fields of any name")
        return files

    async def _rows(self, content: list[UploadFile] | bytes, maps: bool) -> list[dict[str, Any]]:
        loop = asyncio.get_running_loop()
        samples = await loop.run_in_executor(self.readers, partial(self._read, content))
        legible = [place for place, one in enumerate(samples) if one.pixels is not None]
        rows: list[dict[str, Any]] = [
            {"name": one.name} | ({"reason": one.reason} if one.pixels is None else {}) for one in samples
        ]
        if legible:
            whole = np.stack([samples[place].pixels for place in legible])  # type: ignore[misc]
            scores, why = await asyncio.wrap_future(self.worker.score(whole))
            for row, reason in why.items():
                rows[legible[row]]["reason"] = reason
            judged = np.isfinite(scores)
            names = np.array([samples[place].name for place in legible])[judged]
            places = np.array(legible)[judged]
            table = table_of(Images(np.empty((len(names), 1)), name=names), scores[judged], self.decide)
            for name, column in table.items():
                for place, value in zip(places, column.tolist(), strict=True):
                    rows[place][name] = value
            if maps and len(places):
                shown = whole[judged]
                found = await asyncio.wrap_future(self.worker.call(self.drawing.maps, shown))
                for place, x, values in zip(places, shown, found, strict=True):
                    draw = partial(self.drawing.shown, x, values, scan=samples[place].scan)
                    rows[place] |= await loop.run_in_executor(self.readers, draw)
        refused = sum("reason" in row for row in rows)
        self.figures.samples.labels("refused").inc(refused)
        self.figures.samples.labels("scored").inc(len(rows) - refused)
        return rows

    def _read(self, content: list[UploadFile] | bytes) -> list[Sample]:
        shape = self.detector.shape_
        if isinstance(content, bytes):
            try:
                return array_of(content, shape)
            except ValueError as error:
                raise HTTPException(400, str(error)) from None
        # What is in it is gone with the request, whatever ends that.
        with tempfile.TemporaryDirectory(prefix="unlikelihood-", ignore_cleanup_errors=True) as folder:
            room, uploads = Path(folder), []
            for number, one in enumerate(content):
                name = printable(one.filename or "file")[:NAME]
                uploads.append(Upload(name, place_of(room, number, name)))
                with one.file, uploads[-1].file.open("wb") as file:
                    shutil.copyfileobj(one.file, file)
            return read_uploads(self.source, shape, uploads, room, self.limits.unpacked * MIB)


class Counting:
    """Counts requests, and logs them: their path, status and time, and nothing that was sent.

    Parameters
    ----------
    app : callable
        What answers them.
    figures : Figures
        Where they are counted.
    paths : sequence of str
        Those that are named; others are told together.
    """

    def __init__(self, app: ASGIApp, figures: Figures, paths: Sequence[str]) -> None:
        self.app, self.figures, self.paths = app, figures, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500
        path = scope["path"] if scope["path"] in self.paths else "other"

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


def service(
    detector: Detector,
    source: Source | None = None,
    *,
    alpha: float | None = None,
    limits: Limits | None = None,
    keys: Sequence[str] = (),
    host: str = "127.0.0.1",
    normals: NDArray[Any] | None = None,
    together: int = BLOCK,
) -> FastAPI:
    r"""Return the application that answers for a fitted detector.

    Parameters
    ----------
    detector : Detector
        Fitted.
    source : Source, optional
        How files are read: `Folder` of images, `Volumes` or `Candidates` of scans; its path is not looked at. Arrays
        are taken without one.
    alpha : float, optional
        Share of normals that may be called anomalous.
    limits : Limits, optional
        What a request may take.
    keys : sequence of str
        API keys, one of which a request must have if there are any.
    host : str
        What the service listens on.
    normals : ndarray, shape (n, \*shape), optional
        By which maps are drawn.
    together : int
        Samples that are scored in one call, at most, where several requests wait; 1 scores each request by itself.

    Returns
    -------
    FastAPI
        Its shutdown ends the thread of the model.

    Raises
    ------
    ValueError
        If the source reads something else, or α needs another calibration.
    """
    if source is not None and not isinstance(source, (Folder, Volumes, Candidates)):
        raise ValueError(f"data is {type(source).__name__}, expected Folder, Volumes or Candidates to read uploads")
    limits = Limits() if limits is None else limits
    spacing, orientation = (source.spacing, WORLD) if isinstance(source, CTFolder) else (1.0, None)
    drawing = Drawing(detector, spacing, orientation, normals)
    scoring = Scoring(detector, source, alpha, limits, drawing, together)

    @asynccontextmanager
    async def living(app: FastAPI) -> AsyncIterator[None]:
        yield
        scoring.close()

    # Without FastAPI's pages of documentation, which load scripts from elsewhere.
    app = FastAPI(title="unlikelihood", version=version("unlikelihood"), lifespan=living, openapi_url=None)
    app.add_middleware(
        Counting, figures=scoring.figures, paths=("/score", "/model", "/health", "/ready", "/metrics", "/")
    )
    app.state.scoring = scoring
    guarded: dict[str, Any] = {
        "dependencies": [Depends(Door(keys, host))],
        "responses": {401: {"model": Trouble}, 421: {"model": Trouble}},
    }
    refusals = {status: {"model": Trouble} for status in (400, 408, 413, 415, 422, 503, 504)}

    @app.post(
        "/score",
        response_model=list[Row],
        dependencies=guarded["dependencies"],
        responses=guarded["responses"] | refusals,
        openapi_extra=_body(detector),
    )
    async def score(request: Request, maps: bool = False) -> JSONResponse:
        """Score files or an array: a row for each sample, in order, with a reason where there is no score."""
        return JSONResponse(await scoring.answer(request, maps))

    @app.get("/model", **guarded)
    async def model() -> dict[str, Any]:
        """Say what the model is, and what it takes."""
        return {
            "detector": display_name(detector),
            "takes": TAKES[len(detector.shape_)],
            "shape": list(detector.shape_),
            "reads": None if source is None else type(source).__name__,
            "alpha": alpha,
            "calibration": len(getattr(detector, "calibration_", ())),
            "map": {"kind": str(detector.map_kind), "unit": scoring.drawing.unit},
            "alarms": list(detector.alarms()),
            "limits": {name: getattr(limits, name) for name in limits.__dataclass_fields__},
        }

    @app.get("/openapi.json", include_in_schema=False, **guarded)
    async def description() -> dict[str, Any]:
        return app.openapi()

    decides = hasattr(detector, "calibration_")
    shown, headers = page(calibrated=decides, decided=decides and alpha is not None)

    @app.get("/", response_class=HTMLResponse)
    async def root() -> HTMLResponse:
        """Return the page on which files are dropped, ranked and reviewed."""
        return HTMLResponse(shown, headers=headers)

    @app.get("/metrics", **guarded)
    async def metrics() -> Response:
        """Return what is counted, in the text format of Prometheus."""
        return Response(generate_latest(scoring.figures.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Say that the service runs."""
        return {"status": "running"}

    @app.get("/ready", responses={503: {"model": Trouble}})
    async def ready() -> dict[str, str]:
        """Say whether the model can be asked."""
        if not scoring.worker.alive:
            raise HTTPException(503, "the model has ended")
        return {"status": "ready"}

    @app.exception_handler(Refusal)
    async def refused(request: Request, error: Refusal) -> JSONResponse:
        return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return JSONResponse({"error": f"{'.'.join(map(str, first['loc']))}: {first['msg']}"}, 422)

    return app


def _body(detector: Detector) -> dict[str, Any]:
    """Return what OpenAPI is told of the body of a request: files, or an array."""
    sample: Any = 0.5
    for size in reversed(detector.shape_):
        sample = [sample] * min(size, 2)
    files = {
        "type": "object",
        "properties": {"files": {"type": "array", "items": {"type": "string", "format": "binary"}}},
    }
    return {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": files},
                "application/json": {
                    "schema": {"type": "array", "items": {}},
                    "examples": {"shortened": {"summary": f"(n, {detector.shape_})", "value": [sample]}},
                },
            },
        }
    }
