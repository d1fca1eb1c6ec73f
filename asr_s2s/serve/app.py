"""The application: routes, the page, health and metrics."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles

from asr_s2s import __version__
from asr_s2s.serve.access import Access
from asr_s2s.serve.lines import line_routes
from asr_s2s.serve.metrics import CONTENT_TYPE
from asr_s2s.serve.recordings import recording_routes
from asr_s2s.serve.refusals import answer_errors
from asr_s2s.serve.service import Service

PAGE = Path(__file__).parent / "page"


def make_app(service: Service, token: str | None = None) -> FastAPI:
    """The application of a service; the service is closed when the application ends.

    Args:
        token: what requests must bear, if anything.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="asr_s2s",
        version=__version__,
        description="Speech to text and text to text. The audio routes are OpenAI's.",
        docs_url=None,  # their pages load scripts from other hosts
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(Access, token=token, metrics=service.metrics)
    answer_errors(app)
    app.include_router(recording_routes(service))
    app.include_router(line_routes(service))

    @app.get("/v1/models", tags=["models"])
    async def models() -> dict[str, Any]:
        """The models that are loaded, and what they do."""
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
        """Whether the server takes requests."""
        stopping = service.stopping.is_set()
        return JSONResponse({"status": "stopping" if stopping else "ok"}, 503 if stopping else 200)

    @app.get("/metrics", tags=["operation"])
    async def metrics() -> Response:
        """Counters for Prometheus."""
        return Response(service.metrics.page(), media_type=CONTENT_TYPE)

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(PAGE / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return FileResponse(PAGE / "docs.html")

    app.mount("/page", StaticFiles(directory=PAGE), "page")
    return app
