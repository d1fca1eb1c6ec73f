"""FastAPI application: API routes, web page, health check and metrics."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles

from asr_s2s import __version__
from asr_s2s.serve.access import REQUEST_ID, Access
from asr_s2s.serve.admission import EVERYONE, Admission, HostCheck, TokenCheck
from asr_s2s.serve.metrics import CONTENT_TYPE
from asr_s2s.serve.realtime import realtime_routes
from asr_s2s.serve.refusals import add_error_handlers
from asr_s2s.serve.responses import MODEL_HEADER, WARNING_HEADER
from asr_s2s.serve.routes import speech_routes, text_routes
from asr_s2s.serve.schemas import Health, ModelInfo, ModelList, content, documented
from asr_s2s.serve.service import ModelEntry, Service

PAGE = Path(__file__).parent / "page"


def make_app(
    service: Service,
    admission: Admission = EVERYONE,
    log: Callable[[str], None] | None = None,
) -> FastAPI:
    """Create the application for a service; the service is closed at application shutdown.

    Args:
        service: models to serve.
        admission: who may use the server; by default, everyone.
        log: receives a line for each finished request; None for no log.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="asr_s2s",
        version=__version__,
        description="Speech to text and text to text. The audio routes follow OpenAI's API.",
        docs_url=None,  # FastAPI's pages load scripts from other hosts
        redoc_url=None,
        lifespan=lifespan,
    )
    # In the order from the application outwards.
    app.add_middleware(TokenCheck, admission=admission)
    if admission.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(admission.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", REQUEST_ID],
            expose_headers=[REQUEST_ID, "Retry-After", MODEL_HEADER, WARNING_HEADER],
        )
    app.add_middleware(HostCheck, admission=admission)
    app.add_middleware(Access, metrics=service.metrics, log=log)
    add_error_handlers(app)
    app.include_router(speech_routes(service))
    app.include_router(text_routes(service))
    app.include_router(realtime_routes(service))

    @app.get("/v1/models", tags=["models"], responses=content(ModelList) | documented(401, 403))
    async def models() -> Response:
        """List the loaded models, their tasks, languages and aliases."""
        rows = [_model_row(entry) for entry in service.entries()]
        return JSONResponse({"object": "list", "data": rows})

    @app.get(
        "/v1/models/{model}",
        tags=["models"],
        responses=content(ModelInfo) | documented(401, 403, 404),
        # A parameter of the function would add a response that does not occur.
        openapi_extra={
            "parameters": [
                {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
            ]
        },
    )
    async def model(request: Request) -> Response:
        """Describe a loaded model, by its name or an alias."""
        return JSONResponse(_model_row(service.entry(request.path_params["model"])))

    @app.get(
        "/healthz",
        tags=["operation"],
        responses=content(Health) | content(Health, 503) | documented(403),
    )
    async def health() -> Response:
        """Report whether the server accepts requests."""
        stopping = service.stopping.is_set()
        return JSONResponse({"status": "stopping" if stopping else "ok"}, 503 if stopping else 200)

    @app.get(
        "/metrics",
        tags=["operation"],
        response_class=PlainTextResponse,
        responses=documented(401, 403),
    )
    async def metrics() -> Response:
        """Metrics in Prometheus text format."""
        return Response(service.metrics.page(), media_type=CONTENT_TYPE)

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(PAGE / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return FileResponse(PAGE / "docs.html")

    app.mount("/page", StaticFiles(directory=PAGE), "page")
    return app


def _model_row(entry: ModelEntry) -> dict[str, Any]:
    return {
        "id": entry.name,
        "object": "model",
        "owned_by": "asr_s2s",
        "task": entry.task,
        "languages": list(entry.languages),
        "aliases": list(entry.aliases),
    }
