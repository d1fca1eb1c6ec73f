"""Response bodies for transcripts, compatible with OpenAI's API.

Values without a field in OpenAI's format (word confidence, warning, a segment's reason) are sent in
additional fields, which OpenAI's clients keep or ignore.
"""

import zlib
from collections.abc import Sequence
from typing import Any, Literal

from fastapi.responses import JSONResponse, PlainTextResponse, Response

from asr_s2s.pipeline import Segment, Transcriber, Transcript
from asr_s2s.serve.events import event
from asr_s2s.serve.fields import SpeechFields
from asr_s2s.text.words import join_texts
from asr_s2s.writers import FORMATS, TIMED, to_record

UNDETERMINED = "und"
"""Language code of undetermined output (ISO 639), for models that declare no language."""
MEDIA_TYPES = {
    "text": "text/plain",
    "srt": "application/x-subrip",
    "vtt": "text/vtt",
}
_WRITERS = {"text": "txt", "srt": "srt", "vtt": "vtt"}


class ResponseWriter:
    """Formats the results of one request.

    Args:
        transcriber: model that transcribes the recording.
        fields: fields of the request.
        language: output language, or None if unknown.
        task: value of the response's `task` field.
    """

    def __init__(
        self,
        transcriber: Transcriber,
        fields: SpeechFields,
        language: str | None,
        task: Literal["transcribe", "translate"],
    ) -> None:
        self.transcriber = transcriber
        self.format = fields.response_format
        languages = transcriber.config.text.languages
        self.language = language or (languages[0] if len(languages) == 1 else UNDETERMINED)
        self.task = task
        self.granularities = fields.timestamp_granularities
        self.subtitles = [name for name in TIMED if name in fields.include]

    @property
    def timed(self) -> bool:
        """Whether the response needs word times."""
        wanted = "word" in self.granularities or bool(self.subtitles)
        return self.format in TIMED or (self.format == "verbose_json" and wanted)

    def whole(self, transcript: Transcript) -> Response:
        """HTTP response with a complete transcript."""
        if self.format in _WRITERS:
            text = FORMATS[_WRITERS[self.format]](transcript)
            return PlainTextResponse(text, media_type=MEDIA_TYPES[self.format])
        return JSONResponse(self._json_body(transcript))

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
        body: dict[str, Any] = {"text": transcript.text}
        if self.format == "verbose_json":
            body |= {
                "task": self.task,
                "language": self.language,
                "duration": round(transcript.duration, 3),
                "segments": self._segments(transcript.segments),
            }
            if "word" in self.granularities:
                body["words"] = [
                    {
                        "word": word.text,
                        "start": round(word.start, 3),
                        "end": round(word.end, 3),
                        "confidence": round(word.confidence, 4),
                    }
                    for segment in transcript.segments
                    for word in segment.words
                ]
            body |= {name: FORMATS[name](transcript) for name in self.subtitles}
        if transcript.warning is not None:
            body["warning"] = str(transcript.warning)
        body["usage"] = {"type": "duration", "seconds": round(transcript.duration, 3)}
        return body

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


def _compression_ratio(text: str) -> float:
    """Ratio of raw to zlib-compressed size; high for repetitive text."""
    data = text.encode()
    return round(len(data) / len(zlib.compress(data)), 4)
