"""FastAPI application: API routes, web page, health check and metrics."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles

from asr_s2s import __version__
from asr_s2s.serve.access import Access
from asr_s2s.serve.metrics import CONTENT_TYPE
from asr_s2s.serve.refusals import add_error_handlers
from asr_s2s.serve.routes import speech_routes, text_routes
from asr_s2s.serve.service import Service

PAGE = Path(__file__).parent / "page"


def make_app(service: Service, token: str | None = None) -> FastAPI:
    """Create the application for a service; the service is closed at application shutdown.

    Args:
        service: models to serve.
        token: bearer token that requests must send; None requires none.
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
    app.add_middleware(Access, token=token, metrics=service.metrics)
    add_error_handlers(app)
    app.include_router(speech_routes(service))
    app.include_router(text_routes(service))

    @app.get("/v1/models", tags=["models"])
    async def models() -> dict[str, Any]:
        """List the loaded models, their tasks and languages."""
        kinds = (("transcribe", service.speech), ("translate", service.text))
        return {
            "object": "list",
            "data": [
                {
                    "id": name,
                    "object": "model",
                    "owned_by": "asr_s2s",
                    "task": task,
                    "languages": list(part.languages),
                }
                for task, parts in kinds
                for name, part in parts.items()
            ],
        }

    @app.get("/healthz", tags=["operation"])
    async def health() -> Response:
        """Report whether the server accepts requests."""
        stopping = service.stopping.is_set()
        return JSONResponse({"status": "stopping" if stopping else "ok"}, 503 if stopping else 200)

    @app.get("/metrics", tags=["operation"])
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
