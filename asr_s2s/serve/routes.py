"""API routes for recordings (transcription, translation, attention weights) and text."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import ExitStack
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from asr_s2s.pipeline import Segment, Transcript
from asr_s2s.serve.fields import (
    LONGEST_TEXT,
    MOST_CHARACTERS,
    MOST_LINES,
    AttentionFields,
    SpeechFields,
    TextFields,
    form_schema,
    form_values,
    json_schema,
    parse,
)
from asr_s2s.serve.pictures import check_attention
from asr_s2s.serve.places import client_of
from asr_s2s.serve.refusals import RefusedError, error_body, to_refused_error
from asr_s2s.serve.requests import Upload, read_json, read_upload
from asr_s2s.serve.responses import EventStream, ResponseWriter, event
from asr_s2s.serve.schemas import (
    TRANSCRIPT_CONTENT,
    Attention,
    Translations,
    content,
    documented,
)
from asr_s2s.serve.service import Service, until_disconnect
from asr_s2s.serve.text import Answer
from asr_s2s.writers import translation_record


def speech_routes(service: Service) -> APIRouter:
    """Create the recording routes of a service."""
    router = APIRouter(prefix="/v1", tags=["speech"])
    transcript = {**TRANSCRIPT_CONTENT, **documented(400, 401, 403, 404, 408, 413, 429, 503, 507)}

    @router.post(
        "/audio/transcriptions", openapi_extra=form_schema(SpeechFields), responses=transcript
    )
    async def transcriptions(request: Request) -> Response:
        """Transcribe a recording of any common format and length, as in OpenAI's API."""
        return await _transcribe(request, service, "transcribe")

    @router.post(
        "/audio/translations", openapi_extra=form_schema(SpeechFields), responses=transcript
    )
    async def translations(request: Request) -> Response:
        """Translate speech, by default into English; needs a model that translates speech."""
        return await _transcribe(request, service, "translate")

    @router.post(
        "/attention",
        openapi_extra=form_schema(AttentionFields),
        responses=content(Attention) | documented(400, 401, 403, 404, 408, 413, 429, 503, 507),
    )
    async def attention(request: Request) -> Response:
        """Return the attention weights over a part of a recording for its transcript."""
        with ExitStack() as held:
            held.enter_context(service.request())
            async with service.until_stopped():
                upload = await _receive(request, service)
                with ExitStack() as until_read:
                    until_read.enter_context(upload.file)
                    held.enter_context(service.place(client_of(request.scope)))
                    fields = parse(AttentionFields, form_values(AttentionFields, upload.fields))
                    name, speech = service.transcriber(fields.model)
                    check_attention(speech.transcriber)
                    options = speech.options(language=fields.language)
                    until_read.pop_all()  # the reader thread closes the file
                work = speech.attention(
                    upload.file,
                    upload.name,
                    fields.start,
                    fields.duration,
                    fields.text,
                    options,
                    service.limits.seconds,
                )
                found = await until_disconnect(request.receive, work)
        return JSONResponse({"model": name, **found})

    return router


async def _receive(request: Request, service: Service) -> Upload:
    """Receive a recording; its request has no place in the queue until it is complete."""
    with service.upload(client_of(request.scope)):
        return await read_upload(request, service.limits.upload, service.stopping)


async def _transcribe(
    request: Request, service: Service, task: Literal["transcribe", "translate"]
) -> Response:
    """Respond with the transcript of a request's recording, complete or streamed."""
    with ExitStack() as held:
        held.enter_context(service.request())
        async with service.until_stopped():
            upload = await _receive(request, service)
            with ExitStack() as until_read:
                until_read.enter_context(upload.file)
                held.enter_context(service.place(client_of(request.scope)))
                fields = parse(SpeechFields, form_values(SpeechFields, upload.fields))
                if task == "transcribe":
                    name, speech = service.transcriber(fields.model)
                    language = fields.language
                else:
                    name, speech = service.speech_translator(fields.model)
                    language = speech.target(fields.language)
                left_out = speech.left_out(fields.phrases)
                writer = ResponseWriter(name, speech.transcriber, fields, language, task, left_out)
                options = speech.options(
                    language=language,
                    beam_size=fields.beam_size,
                    words=writer.timed,
                    phrases=fields.phrases,
                )
                until_read.pop_all()  # the reader thread closes the file
            recording = speech.begin(upload.file, upload.name, options, service.limits.seconds)
            held.callback(recording.cancel)
            results = _counted(recording.results(), request, service)
            if not fields.stream:
                return writer.whole(await until_disconnect(request.receive, _last(results)))
            # Unusable recordings must set the HTTP status, which is sent before the first event.
            first = await until_disconnect(request.receive, _next(results))
        events = _events(writer, service, first, results)
        return EventStream(events, held.pop_all(), writer.headers)


async def _counted(
    results: AsyncIterator[Segment | Transcript], request: Request, service: Service
) -> AsyncGenerator[Segment | Transcript, None]:
    async for result in results:
        if isinstance(result, Transcript):
            service.metrics.audio.inc(result.duration)
            request.state.audio_seconds = result.duration  # for the access log
        yield result


async def _next(results: AsyncIterator[Segment | Transcript]) -> Segment | Transcript:
    return await anext(results)


async def _last(results: AsyncIterator[Segment | Transcript]) -> Transcript:
    async for result in results:
        if isinstance(result, Transcript):
            return result
    raise RuntimeError("a recording ends with its transcript")


async def _events(
    writer: ResponseWriter,
    service: Service,
    first: Segment | Transcript,
    others: AsyncIterator[Segment | Transcript],
) -> AsyncGenerator[bytes, None]:
    """Events of a transcript; an error after the first segment becomes the last event."""
    result, number, before = first, 0, ""
    try:
        while isinstance(result, Segment):
            yield writer.delta(result, number, before)
            before = result.text or before
            async with service.until_stopped():
                result, number = await anext(others), number + 1
        yield writer.done(result)
    except Exception as error:
        yield event(error_body(to_refused_error(error)))


def text_routes(service: Service) -> APIRouter:
    """Create the text routes of a service."""
    router = APIRouter(prefix="/v1", tags=["text"])

    @router.post(
        "/translate",
        openapi_extra=json_schema(TextFields),
        responses=content(Translations) | documented(400, 401, 403, 404, 408, 413, 429, 503),
    )
    async def translate(request: Request) -> Response:
        """Translate a line or a list of lines."""
        client = client_of(request.scope)
        with service.request():
            async with service.until_stopped():
                with service.upload(client):
                    fields = await read_json(request, TextFields, service.stopping)
                lines = _check_lines(fields.lines)
                name, text = service.translator(fields.model)
                options = text.options(**fields.options)
                with service.place(client):
                    work = text.translate(
                        lines, options, service.limits.seconds, alignment=fields.alignment
                    )
                    answers = await until_disconnect(request.receive, work)
        service.metrics.characters.inc(sum(map(len, lines)))
        rows = [_translation_row(answer) for answer in answers]
        return JSONResponse({"model": name, "translations": rows})

    return router


def _check_lines(lines: list[str]) -> list[str]:
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


def _translation_row(answer: Answer) -> dict[str, Any]:
    row = translation_record(answer.translation)
    if answer.translation.warning is not None:
        row["warning"] = str(answer.translation.warning)
    if answer.alignment is not None:
        row["alignment"] = answer.alignment
    return row
