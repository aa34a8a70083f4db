"""Archives that are scored while nobody waits: the address of a job tells how far it is, and then its rows."""

import asyncio
from collections import deque
from pathlib import Path
from secrets import token_urlsafe
from typing import Any, Literal

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.datastructures import UploadFile

from unlikelihood.distributed.shards import BLOCK, BYTES
from unlikelihood.serve.door import drain
from unlikelihood.serve.scoring import Row, Scoring, Trouble, fault, form_of_files, room
from unlikelihood.serve.uploads import Part, Sample

SOON = "5"  # seconds after which to ask again


class Begun(BaseModel):
    """Where a job is asked for, and its name there."""

    job: str
    name: str


class Told(BaseModel):
    """How far a job is: samples that are done, of those that are known of; then its rows, or why it failed."""

    state: Literal["waiting", "running", "done", "failed"]
    done: int
    total: int | None = None
    rows: list[Row] | None = None
    error: str | None = None


class Job:
    """A file that is scored.

    Parameters
    ----------
    sent : UploadFile
        The file; closed once it lies in a folder of its own, or is not wanted any more.
    maps : bool
        Whether its rows have pictures and maps.
    """

    def __init__(self, sent: UploadFile, maps: bool) -> None:
        self.sent, self.maps = sent, maps
        self.state, self.error = "waiting", ""
        self.rows: list[dict[str, Any]] = []
        self.total: int | None = None
        self.unwanted = False

    def told(self) -> dict[str, Any]:
        """Return what is said of it."""
        said: dict[str, Any] = {"state": self.state, "done": len(self.rows)}
        if self.total is not None:
            said["total"] = self.total
        if self.state == "done":
            said["rows"] = self.rows
        if self.state == "failed":
            said["error"] = self.error
        return said

    def end(self) -> None:
        """Give it up: at once where it waits, else after the samples that are read or scored now."""
        self.unwanted = True
        if self.state == "waiting":
            self.sent.file.close()


class Jobs:
    """The jobs of a service. One is at work at a time, and requests are answered between its blocks of samples.

    Parameters
    ----------
    scoring : Scoring
        Reads and scores.
    """

    def __init__(self, scoring: Scoring) -> None:
        self.scoring, self.limits = scoring, scoring.limits
        self._known: dict[str, Job] = {}
        self._arriving = 0
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(self, request: Request, maps: bool) -> str:
        """Receive a file, and return the name of the job that scores it, which nobody can guess."""
        if (known := len(self._known) + self._arriving) >= self.limits.jobs:
            await drain(request.receive)
            raise HTTPException(503, f"{known} jobs are known: delete one, or come again", {"Retry-After": SOON})
        self._arriving += 1
        try:
            sent = _one_file(await self.scoring.received(request))
        finally:
            self._arriving -= 1
        name = token_urlsafe(16)
        self._known[name] = Job(sent, maps)
        self._count()
        task = asyncio.create_task(self._work(name, self._known[name]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return name

    def find(self, name: str) -> Job:
        """Return a job; an error of HTTP if there is none of that name."""
        if (job := self._known.get(name)) is None:
            raise HTTPException(404, "there is no such job: it was deleted, or is forgotten")
        return job

    def end(self, name: str) -> None:
        """Give a job up, and forget it."""
        self.find(name).end()
        self._forget(name)

    async def close(self) -> None:
        """Give up all jobs."""
        for job in self._known.values():
            job.end()
        await asyncio.gather(*self._tasks)

    def _forget(self, name: str) -> None:
        self._known.pop(name, None)
        self._count()

    def _count(self) -> None:
        self.scoring.figures.jobs.set(len(self._known))

    async def _work(self, name: str, job: Job) -> None:
        try:
            async with self._turn:
                if not job.unwanted:
                    await self._score(job)
        except Exception as error:
            job.state, job.error, job.rows = "failed", fault(error), []
        finally:
            job.sent.file.close()
            asyncio.get_running_loop().call_later(self.limits.kept, self._forget, name)

    async def _score(self, job: Job) -> None:
        job.state = "running"
        place, reading = room(), self.scoring.reading
        try:
            parts = deque(await reading(self.scoring.parts, [job.sent], Path(place.name)))
            while parts and not job.unwanted:
                job.total = len(job.rows) + len(parts)
                job.rows += await self.scoring.rows_of(await reading(_block, parts), job.maps)
        finally:
            await reading(place.cleanup)
        job.total, job.state = len(job.rows), "done"  # and nothing of it is left on the disk


def _one_file(content: list[UploadFile] | bytes) -> UploadFile:
    if isinstance(content, bytes):
        raise HTTPException(415, "the content type is 'application/json', expected multipart/form-data")
    if len(content) > 1:
        for one in content:
            one.file.close()
        raise HTTPException(400, f"expected one file, such as an archive, not {len(content)}")
    return content[0]


def _block(parts: deque[Part]) -> list[Sample]:
    """Take the samples of the first parts, as many as are scored together."""
    samples: list[Sample] = []
    size = 0
    while parts and len(samples) < BLOCK and size < BYTES:
        more = parts.popleft()()
        samples, size = samples + more, size + sum(one.pixels.nbytes for one in more if one.pixels is not None)
    return samples


EXAMPLES: dict[str, Any] = {
    "running": {"value": {"state": "running", "done": 256, "total": 1200}},
    "done": {
        "summary": "of a model with a calibration, of which one file cannot be read",
        "value": {
            "state": "done",
            "done": 2,
            "total": 2,
            "rows": [
                {
                    "name": "ward.zip/a.png",
                    "anomaly_score": 7.25,
                    "p_value": 0.02,
                    "decision": "anomalous",
                    "alpha": 0.05,
                },
                {"name": "ward.zip/b.png", "reason": "ward.zip/b.png: cannot be read as an image"},
            ],
        },
    },
    "failed": {"value": {"state": "failed", "done": 0, "error": "MemoryError: a fault of the service"}},
}
BODY = {"required": True, "content": {"multipart/form-data": form_of_files(maxItems=1)}}
BEGUN = {
    "content": {
        "application/json": {"example": {"job": "/jobs/Zm9yIGV4YW1wbGUgb25seQ", "name": "Zm9yIGV4YW1wbGUgb25seQ"}}
    },
    "links": {
        operation: {"operationId": operation, "parameters": {"name": "$response.body#/name"}}
        for operation in ("tell_job", "end_job")
    },
}


def jobs_router(jobs: Jobs) -> APIRouter:
    """Return what answers to requests about jobs."""
    router = APIRouter(prefix="/jobs")
    unknown: dict[int | str, dict[str, Any]] = {404: {"model": Trouble}}
    refusals: dict[int | str, dict[str, Any]] = {
        status: {"model": Trouble} for status in (400, 408, 413, 415, 422, 503)
    }

    @router.post(
        "",
        status_code=202,
        response_model=Begun,
        responses=refusals | {202: BEGUN},
        operation_id="begin_job",
        openapi_extra={"requestBody": BODY},
    )
    async def begin(request: Request, maps: bool = False) -> JSONResponse:
        """Take an archive of images or of a DICOM study, or another file, and score it in time."""
        name = await jobs.begin(request, maps)
        return JSONResponse({"job": f"/jobs/{name}", "name": name}, 202, {"Location": f"/jobs/{name}"})

    @router.get(
        "/{name}",
        response_model=Told,
        operation_id="tell_job",
        responses=unknown | {200: {"content": {"application/json": {"examples": EXAMPLES}}}},
    )
    async def tell(name: str) -> JSONResponse:
        """Say how far a job is, with its rows once it is done."""
        return JSONResponse(jobs.find(name).told())

    @router.delete("/{name}", status_code=204, operation_id="end_job", responses=unknown)
    async def end(name: str) -> None:
        """Give up a job, or forget its rows."""
        jobs.end(name)

    return router
