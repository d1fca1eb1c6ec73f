"""Responses: bodies for transcripts, compatible with OpenAI's API, and server-sent events.

Values without a field in OpenAI's format (word confidence, warning, a segment's reason) are sent in
additional fields, which OpenAI's clients keep or ignore.
"""

import json
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any, Literal
from urllib.parse import quote

from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from asr_s2s.pipeline import Segment, Transcriber, Transcript
from asr_s2s.serve.fields import SpeechFields
from asr_s2s.serve.refusals import quoted
from asr_s2s.serve.service import until_disconnect
from asr_s2s.text.words import join_texts
from asr_s2s.writers import FORMATS, to_record, word_record

UNDETERMINED = "und"
"""Language code of undetermined output (ISO 639), for models of which no language is known."""
MODEL_HEADER = "X-Model"
"""Header that names the model of a response."""
WARNING_HEADER = "X-Warning"
"""Header with the warning of a response that is not JSON."""
MOST_LEFT_OUT = 20
"""Maximum words listed in a warning."""
_PLAIN = {
    "text": ("txt", "text/plain"),
    "srt": ("srt", "application/x-subrip"),
    "vtt": ("vtt", "text/vtt"),
}
"""Output format and media type of the response formats that are not JSON."""


class ResponseWriter:
    """Formats the results of one request.

    Args:
        model: name of the model.
        transcriber: model that transcribes the recording.
        fields: fields of the request.
        language: language of the request, or None.
        task: task of the request's route.
        left_out: words of the prompt that the model cannot write.
    """

    def __init__(
        self,
        model: str,
        transcriber: Transcriber,
        fields: SpeechFields,
        language: str | None,
        task: Literal["transcribe", "translate"],
        left_out: Sequence[str],
    ) -> None:
        self.model = model
        self.transcriber = transcriber
        self.format = fields.response_format
        self.language = output_language(transcriber, language)
        self.task = task
        self.left_out = left_out
        self.granularities = fields.timestamp_granularities
        self.subtitles = [
            name for name, format in FORMATS.items() if format.timed and name in fields.include
        ]

    @property
    def timed(self) -> bool:
        """Whether the response needs word times."""
        wanted = "word" in self.granularities or bool(self.subtitles)
        if self.format in _PLAIN:
            return FORMATS[_PLAIN[self.format][0]].timed
        return self.format == "verbose_json" and wanted

    def whole(self, transcript: Transcript) -> Response:
        """HTTP response with a complete transcript."""
        if self.format in _PLAIN:
            format, media_type = _PLAIN[self.format]
            headers = self.headers
            if warning := self._warning(transcript):
                headers[WARNING_HEADER] = warning.encode("ascii", "backslashreplace").decode()
            content = FORMATS[format].content(transcript)
            return PlainTextResponse(content, headers=headers, media_type=media_type)
        return JSONResponse(self._json_body(transcript), headers=self.headers)

    @property
    def headers(self) -> dict[str, str]:
        """HTTP headers of the response: the model, with other characters than ASCII as %XX."""
        return {MODEL_HEADER: quote(self.model)}

    def delta(self, segment: Segment, number: int, before: str) -> bytes:
        """Server-sent event for one segment.

        Args:
            segment: segment to send.
            number: index of the segment, from 0.
            before: text of the previous segment.
        """
        values: dict[str, Any] = {
            "type": "transcript.text.delta",
            "delta": join_texts([before, segment.text])[len(before) :],
        }
        if self.format == "verbose_json":
            values["segment"] = self._segments([segment], number)[0]
        return event(values)

    def done(self, transcript: Transcript) -> bytes:
        """Final server-sent event, with the complete transcript."""
        return event({"type": "transcript.text.done", **self._json_body(transcript)})

    def _json_body(self, transcript: Transcript) -> dict[str, Any]:
        body: dict[str, Any] = {"text": transcript.text, "model": self.model}
        if self.format == "verbose_json":
            body |= {
                "task": transcript.task if transcript.task == "translate" else self.task,
                "language": transcript.language or self.language,
                "duration": round(transcript.duration, 3),
                "segments": self._segments(transcript.segments),
            }
            if "word" in self.granularities:
                body["words"] = [
                    {"word": word.text} | word_record(word)
                    for segment in transcript.segments
                    for word in segment.words
                ]
            body |= {name: FORMATS[name].content(transcript) for name in self.subtitles}
        if warning := self._warning(transcript):
            body["warning"] = warning
        body["usage"] = {"type": "duration", "seconds": round(transcript.duration, 3)}
        return body

    def _warning(self, transcript: Transcript) -> str:
        """Warning of missing parts of a transcript and of words left out of the prompt, or ""."""
        warnings = [] if transcript.warning is None else [str(transcript.warning)]
        if self.left_out:
            words = ", ".join(map(quoted, self.left_out[:MOST_LEFT_OUT]))
            more = len(self.left_out) - MOST_LEFT_OUT
            words += f" and {more} more" if more > 0 else ""
            warnings.append(f"prompt: left out what the model cannot write: {words}.")
        return " ".join(warnings)

    def _segments(self, segments: Sequence[Segment], first: int = 0) -> list[dict[str, Any]]:
        """Segments with OpenAI's fields added to those of `to_record`."""
        rows = to_record(Transcript("", 0.0, "", 0.0, tuple(segments)))["segments"]
        return [
            row
            | {
                "id": number,
                "seek": round(100 * segment.start),
                "tokens": (tokens := self._tokens(segment.text)),
                "temperature": 0.0,
                "avg_logprob": round(self._mean_log_prob(segment.score, len(tokens)), 4),
                "compression_ratio": _compression_ratio(segment.text),
                "no_speech_prob": 0.0,  # parts without speech have no segment
            }
            for number, (row, segment) in enumerate(zip(rows, segments, strict=True), first)
        ]

    def _tokens(self, text: str) -> list[int]:
        output = self.transcriber.output
        return output.tokenizer.encode(output.normalize(text))

    def _mean_log_prob(self, score: float, tokens: int) -> float:
        """Convert a score over length ** length_normalization to one over length."""
        length = tokens + 1
        power = self.transcriber.config.search.length_normalization
        mean: float = score * length ** (power - 1.0)
        return mean


def output_language(transcriber: Transcriber, requested: str | None) -> str:
    """Language of a model's output: the requested one, if the model has a choice of languages."""
    text = transcriber.config.text
    if text.languages:
        return requested or (text.languages[0] if len(text.languages) == 1 else UNDETERMINED)
    return "en" if text.normalizer == "english" else UNDETERMINED


def _compression_ratio(text: str) -> float:
    """Ratio of raw to zlib-compressed size; high for repetitive text."""
    data = text.encode()
    return round(len(data) / len(zlib.compress(data)), 4)


def event(values: dict[str, Any]) -> bytes:
    """Encode a JSON object as a server-sent event."""
    return f"data: {json.dumps(values, ensure_ascii=False)}\n\n".encode()


class EventStream(Response):
    """Streaming response of server-sent events.

    Args:
        events: encoded events.
        held: resources of the request, released when the response ends or the client disconnects.
        headers: additional HTTP headers.
    """

    media_type = "text/event-stream"

    def __init__(
        self, events: AsyncIterator[bytes], held: ExitStack, headers: Mapping[str, str]
    ) -> None:
        super().__init__(headers=headers)
        del self.headers["content-length"]
        self.events = events
        self.held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self.held, suppress(ClientDisconnect):
            await until_disconnect(receive, self._send(send))

    async def _send(self, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        async for data in self.events:
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
