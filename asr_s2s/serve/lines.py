"""API route for text: translation."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from asr_s2s.serve.fields import (
    LONGEST_TEXT,
    MOST_CHARACTERS,
    MOST_LINES,
    TextFields,
    json_schema,
)
from asr_s2s.serve.refusals import RefusedError
from asr_s2s.serve.service import Service, until_disconnect
from asr_s2s.serve.text import Answer
from asr_s2s.serve.uploads import read_json


def line_routes(service: Service) -> APIRouter:
    """Create the text routes of a service."""
    router = APIRouter(prefix="/v1", tags=["text"])

    @router.post("/translate", openapi_extra=json_schema(TextFields))
    async def translate(request: Request) -> Response:
        """Translate a line or a list of lines."""
        with service.slot():
            fields = await read_json(request, TextFields, service.stopping)
            lines = _checked(fields.lines)
            text = service.translator(fields.model)
            options = text.options(
                language=fields.language,
                beam_size=fields.beam_size,
                n_best=fields.n_best,
                alignment=fields.alignment,
            )
            work = text.translate(lines, options, service.limits.seconds)
            answers = await until_disconnect(request.receive, work)
        service.metrics.characters.inc(sum(map(len, lines)))
        return JSONResponse({"translations": [_row(answer) for answer in answers]})

    return router


def _checked(lines: list[str]) -> list[str]:
    """Check the number and lengths of lines.

    Raises:
        RefusedError: there are no lines, too many, or one is too long.
    """
    problem = None
    if not any(line.strip() for line in lines):
        problem = "there is no text"
    elif len(lines) > MOST_LINES:
        problem = f"expected at most {MOST_LINES:,} lines, found {len(lines):,}"
    elif sum(map(len, lines)) > MOST_CHARACTERS:
        problem = f"expected at most {MOST_CHARACTERS:,} characters in all"
    elif max(map(len, lines)) > LONGEST_TEXT:
        problem = f"expected at most {LONGEST_TEXT:,} characters in a line"
    if problem is not None:
        raise RefusedError(400, f"text: {problem}.", "invalid_value", param="text")
    return lines


def _row(answer: Answer) -> dict[str, Any]:
    translation = answer.translation
    row: dict[str, Any] = {
        "source": translation.source,
        "text": translation.text,
        "score": round(translation.score, 4),
    }
    if translation.alternatives:
        row["alternatives"] = [
            {"text": other.text, "score": round(other.score, 4)}
            for other in translation.alternatives
        ]
    if translation.warning is not None:
        row["warning"] = str(translation.warning)
    if answer.alignment is not None:
        row["alignment"] = answer.alignment
    return row
