"""The service: what it answers to which request."""

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from numpy.typing import NDArray
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException as Refusal
from starlette.routing import Match, Route

from unlikelihood.contract.detector import Detector
from unlikelihood.data.ct.candidates import Candidates
from unlikelihood.data.ct.ct_folder import CTFolder
from unlikelihood.data.ct.scan import WORLD
from unlikelihood.data.ct.volumes import Volumes
from unlikelihood.data.folder import Folder
from unlikelihood.data.source import Source
from unlikelihood.distributed.shards import BLOCK
from unlikelihood.serve.door import Door
from unlikelihood.serve.drawing import Drawing
from unlikelihood.serve.figures import Counting
from unlikelihood.serve.jobs import Jobs, jobs_router
from unlikelihood.serve.limits import Limits
from unlikelihood.serve.page import page
from unlikelihood.serve.scoring import Row, Scoring, Trouble, form_of_files
from unlikelihood.serve.uploads import LARGEST, MOST
from unlikelihood.storage.provenance import display_name

SHOWN = 1024  # numbers of a sample, of which OpenAPI has an example
TAKES = {1: "vectors", 3: "images", 4: "volumes"}


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
    jobs = Jobs(scoring)

    @asynccontextmanager
    async def living(app: FastAPI) -> AsyncIterator[None]:
        yield
        await jobs.close()
        scoring.close()

    # Without FastAPI's pages of documentation, which load scripts from elsewhere.
    app = FastAPI(title="unlikelihood", version=version("unlikelihood"), lifespan=living, openapi_url=None)
    app.add_middleware(
        Counting, figures=scoring.figures, paths=("/score", "/jobs", "/model", "/health", "/ready", "/metrics", "/")
    )
    app.state.scoring = scoring
    guarded: dict[str, Any] = {
        "dependencies": [Depends(Door(keys, host))],
        "responses": {status: {"model": Trouble} for status in (401, 403, 421)},
    }
    refusals = {status: {"model": Trouble} for status in (400, 408, 413, 415, 422, 503, 504)}

    @app.post(
        "/score",
        response_model=list[Row],
        dependencies=guarded["dependencies"],
        responses=guarded["responses"] | refusals,
        openapi_extra=_body(detector, limits),
    )
    async def score(request: Request, maps: bool = False) -> JSONResponse:
        """Score files or an array: a row for each sample, in order, with a reason where there is no score."""
        return JSONResponse(await scoring.answer(request, maps))

    of_jobs = jobs_router(jobs)
    app.include_router(of_jobs, **guarded)

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

    of_metrics: dict[int | str, dict[str, Any]] = {200: {"content": {CONTENT_TYPE_LATEST.partition(";")[0]: {}}}}

    @app.get("/metrics", response_class=Response, **(guarded | {"responses": guarded["responses"] | of_metrics}))
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
        headers = dict(error.headers or {})
        if error.status_code == 405:  # of all that a path is asked for, which lies in several routes
            routes = [route for route in (*app.routes, *of_jobs.routes) if isinstance(route, Route)]
            found = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
            headers["Allow"] = ", ".join(sorted({method for route in found for method in route.methods or ()}))
        return JSONResponse({"error": str(error.detail)}, error.status_code, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return JSONResponse({"error": f"{'.'.join(map(str, first['loc']))}: {first['msg']}"}, 422)

    return app


def _body(detector: Detector, limits: Limits) -> dict[str, Any]:
    """Return what OpenAPI is told of the body of a request: files, or an array."""
    sample: dict[str, Any] = {"type": "number", "minimum": -LARGEST, "maximum": LARGEST}
    value: Any = 0.5
    for size in reversed(detector.shape_):
        sample = {"type": "array", "minItems": size, "maxItems": size, "items": sample}
        value = [value] * size
    samples = {"type": "array", "minItems": 1, "maxItems": MOST, "items": sample}
    few = math.prod(detector.shape_) <= SHOWN
    return {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": form_of_files(maxItems=limits.files),
                "application/json": {"schema": {"oneOf": [samples, sample]}} | ({"example": [value]} if few else {}),
            },
        }
    }
