"""From a request to its rows: what it holds is received, read and scored."""

import asyncio
import os
import shutil
import tempfile
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from fastapi import HTTPException, Request
from pydantic import BaseModel
from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException as Refusal
from starlette.requests import ClientDisconnect

from unlikelihood.contract.detector import Detector, learners
from unlikelihood.data.images import Images
from unlikelihood.data.source import Source
from unlikelihood.evaluation.columns import decider, table_of
from unlikelihood.serve.door import MIB, bounded, drain, too_large
from unlikelihood.serve.drawing import Drawing
from unlikelihood.serve.figures import LOG, Figures
from unlikelihood.serve.limits import Limits
from unlikelihood.serve.uploads import Part, Sample, Upload, array_of, parts_of, place_of
from unlikelihood.serve.worker import Worker
from unlikelihood.storage.reading import printable

NAME = 300  # characters of a file's name
FIELD = "files"  # of a form
CALLS = 4  # of a model at a time, at most
Result = TypeVar("Result")


class Near(BaseModel):
    """A normal that looks like a sample, and how far it is: the root of the mean squared difference of intensity."""

    picture: str
    distance: float


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
    nearest: list[Near] | None = None


class Trouble(BaseModel):
    """Why a request is refused."""

    error: str


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
        self.worker = Worker(detector, together, calls_of(detector, together), self.figures.batch.observe)
        self.readers = ThreadPoolExecutor(min(4, os.cpu_count() or 1), "reader")
        self.busy = 0

    def close(self) -> None:
        """Answer what waits, and end."""
        self.readers.shutdown()
        self.worker.close()

    async def answer(self, request: Request, maps: bool) -> list[dict[str, Any]]:
        """Return the rows of a request, in the order of what it holds."""
        content = await self.received(request)
        self._count(1)
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
            raise HTTPException(500, fault(error)) from None

    async def received(self, request: Request) -> list[UploadFile] | bytes:
        """Return the files of a request, or the JSON that it is."""
        if self.busy >= self.limits.requests:
            await drain(request.receive)
            raise HTTPException(503, f"{self.busy} requests are being answered: come again", {"Retry-After": "1"})
        self._count(1)
        try:
            async with asyncio.timeout(self.limits.seconds):
                return await self._received(request)
        except TimeoutError:
            raise HTTPException(408, f"the request did not arrive within {self.limits.seconds:g} s") from None
        finally:
            self._count(-1)

    def _count(self, more: int) -> None:
        self.busy += more
        self.figures.busy.set(self.busy)

    def _leave(self, work: "asyncio.Future[Any]") -> None:
        self._count(-1)
        if not work.cancelled():
            work.exception()  # which nobody waits for after a timeout

    async def _received(self, request: Request) -> list[UploadFile] | bytes:
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
        except ClientDisconnect:
            raise HTTPException(400, "the sender has hung up") from None
        except FormParserError as error:  # which older versions of starlette leave to us
            raise HTTPException(400, f"the form cannot be read: {error}") from None
        files = [one for name, one in form.multi_items() if name == FIELD and isinstance(one, UploadFile)]
        if not files or len(files) < len(form.multi_items()):
            await form.close()
            raise HTTPException(400, f"expected files in fields that are called {FIELD}, and nothing beside them")
        return files

    async def _rows(self, content: list[UploadFile] | bytes, maps: bool) -> list[dict[str, Any]]:
        return await self.rows_of(await self.reading(self._read, content), maps)

    def reading(self, function: Callable[..., Result], *given: Any) -> "asyncio.Future[Result]":
        """Return what a function makes of what is given, in time, in one of the threads that read."""
        return asyncio.get_running_loop().run_in_executor(self.readers, partial(function, *given))

    async def rows_of(self, samples: Sequence[Sample], maps: bool = False) -> list[dict[str, Any]]:
        """Return what is said of samples, in their order, with their maps if these are wanted."""
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
                beside = await self.reading(self.drawing.nearest, shown)
                for place, x, values, near in zip(places, shown, found, beside, strict=True):
                    draw = partial(self.drawing.shown, x, values, scan=samples[place].scan)
                    rows[place] |= await self.reading(draw) | near
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
        with room() as folder:
            return [sample for part in self.parts(content, Path(folder)) for sample in part()]

    def parts(self, content: Sequence[UploadFile], folder: Path) -> list[Part]:
        """Put files into a folder, and return what reads them there, part by part."""
        uploads = []
        for number, one in enumerate(content):
            name = printable(one.filename or "file")[:NAME]
            uploads.append(Upload(name, place_of(folder, number, name)))
            with one.file, uploads[-1].file.open("wb") as file:
                shutil.copyfileobj(one.file, file)
        return parts_of(self.source, self.detector.shape_, uploads, folder, self.limits.unpacked * MIB)


def calls_of(detector: Detector, together: int) -> int:
    """Return how many calls of a detector share the processor: one on an accelerator, or where no call is shared."""
    on_processor = all(weight.device.type == "cpu" for one in learners(detector) for weight in one.net_.parameters())
    return min(CALLS, torch.get_num_threads()) if on_processor and together > 1 else 1


def form_of_files(**bounds: int) -> dict[str, Any]:
    """Return what OpenAPI is told of a form that holds files, at least one."""
    files = {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}} | bounds
    return {
        "schema": {
            "type": "object",
            "properties": {FIELD: files},
            "required": [FIELD],
            "additionalProperties": False,
        }
    }


def room() -> "tempfile.TemporaryDirectory[str]":
    """Return a folder for what was sent, which goes with it."""
    return tempfile.TemporaryDirectory(prefix="unlikelihood-", ignore_cleanup_errors=True)


def fault(error: Exception) -> str:
    """Log where something failed, and return what is told of it: not its message, which may hold what was sent."""
    places = [f"{Path(one.filename).name}:{one.lineno}" for one in traceback.extract_tb(error.__traceback__)]
    LOG.error("%s at %s", type(error).__name__, " < ".join(reversed(places)))
    return f"{type(error).__name__}: a fault of the service, which its log places"
