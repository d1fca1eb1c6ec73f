"""Routes that take a recording: transcription, translation of speech, attention."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import ExitStack
from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from asr_s2s.pipeline import Segment, Transcript
from asr_s2s.serve.answers import Answerer
from asr_s2s.serve.events import EventStream, event
from asr_s2s.serve.fields import AttentionFields, SpeechFields, form_schema
from asr_s2s.serve.pictures import check_attention
from asr_s2s.serve.refusals import error_body, refusal_of
from asr_s2s.serve.service import Service, unless_left
from asr_s2s.serve.uploads import parse, read_upload


def recording_routes(service: Service) -> APIRouter:
    """The routes of a service."""
    router = APIRouter(prefix="/v1", tags=["speech"])

    @router.post("/audio/transcriptions", openapi_extra=form_schema(SpeechFields))
    async def transcriptions(request: Request) -> Response:
        """Transcribe a recording of any common format and length, as OpenAI's clients ask for
        it."""
        return await _written(request, service, "transcribe")

    @router.post("/audio/translations", openapi_extra=form_schema(SpeechFields))
    async def translations(request: Request) -> Response:
        """Write a recording in another language, by default English, if a model here can."""
        return await _written(request, service, "translate")

    @router.post("/attention", openapi_extra=form_schema(AttentionFields))
    async def attention(request: Request) -> Response:
        """Where attention rests in a part of a recording while its text is written."""
        with service.place():
            upload = await read_upload(request, service.limits.upload, service.stopping)
            with ExitStack() as unread:
                unread.enter_context(upload.file)
                fields = parse(AttentionFields, upload.fields)
                speech = service.transcriber(fields.model)
                check_attention(speech.transcriber)
                options = speech.options(language=fields.language)
                unread.pop_all()  # its reader closes it
            drawing = speech.attention(
                upload.file,
                upload.name,
                fields.start,
                fields.duration,
                fields.text,
                options,
                service.limits.seconds,
            )
            return JSONResponse(await unless_left(request.receive, drawing))

    return router


async def _written(
    request: Request, service: Service, task: Literal["transcribe", "translate"]
) -> Response:
    """What was said in the recording of a request, whole or as it comes."""
    with ExitStack() as held:
        held.enter_context(service.place())
        upload = await read_upload(request, service.limits.upload, service.stopping)
        with ExitStack() as unread:
            unread.enter_context(upload.file)
            fields = parse(SpeechFields, upload.fields)
            if task == "transcribe":
                speech, language = service.transcriber(fields.model), fields.language
            else:
                speech = service.speech_translator(fields.model)
                language = fields.language or "en"
            answerer = Answerer(speech.transcriber, fields, language, task)
            options = speech.options(
                language=language,
                beam_size=fields.beam_size,
                words=answerer.timed,
                phrases=fields.phrases,
            )
            unread.pop_all()  # its reader closes it
        recording = speech.begin(upload.file, upload.name, options, service.limits.seconds)
        held.callback(recording.leave)
        results = _counted(recording.results(), service)
        if not fields.stream:
            return answerer.whole(await unless_left(request.receive, _last(results)))
        # What cannot be used at all is answered by a status, before the stream begins.
        first = await unless_left(request.receive, _next(results))
        return EventStream(_events(answerer, first, results), held.pop_all())


async def _counted(
    results: AsyncIterator[Segment | Transcript], service: Service
) -> AsyncGenerator[Segment | Transcript, None]:
    async for result in results:
        if isinstance(result, Transcript):
            service.metrics.audio.inc(result.duration)
        yield result


async def _next(results: AsyncIterator[Segment | Transcript]) -> Segment | Transcript:
    return await anext(results)


async def _last(results: AsyncIterator[Segment | Transcript]) -> Transcript:
    async for result in results:
        if isinstance(result, Transcript):
            return result
    raise RuntimeError("a recording ends with its transcript")


async def _events(
    answerer: Answerer,
    first: Segment | Transcript,
    others: AsyncIterator[Segment | Transcript],
) -> AsyncGenerator[bytes, None]:
    """The events of a transcript; what goes wrong on the way is the last one."""
    result, number, before = first, 0, ""
    try:
        while isinstance(result, Segment):
            yield answerer.delta(result, number, before)
            before = result.text or before
            result, number = await anext(others), number + 1
        yield answerer.done(result)
    except Exception as error:
        yield event(error_body(refusal_of(error)))
