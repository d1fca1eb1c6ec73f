"""Transcripts in the shapes that OpenAI's clients read.

What this project knows beyond them (a word's confidence, a warning, a segment's reason) stands in
fields of its own, which those clients keep or leave.
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
"""Language of a model that does not say which one it writes (ISO 639)."""
MEDIA_TYPES = {
    "text": "text/plain",
    "srt": "application/x-subrip",
    "vtt": "text/vtt",
}
_WRITERS = {"text": "txt", "srt": "srt", "vtt": "vtt"}


class Answerer:
    """Writes the answers of one request.

    Args:
        transcriber: what was said is written by.
        fields: of the request.
        language: that is written, where it is known.
        task: what is done with the speech.
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
        """Whether words need their times."""
        wanted = "word" in self.granularities or bool(self.subtitles)
        return self.format in TIMED or (self.format == "verbose_json" and wanted)

    def whole(self, transcript: Transcript) -> Response:
        """The answer of a transcript."""
        if self.format in _WRITERS:
            text = FORMATS[_WRITERS[self.format]](transcript)
            return PlainTextResponse(text, media_type=MEDIA_TYPES[self.format])
        return JSONResponse(self._object(transcript))

    def delta(self, segment: Segment, number: int, before: str) -> bytes:
        """The event of a segment.

        Args:
            number: of the segment.
            before: the text that it follows.
        """
        values: dict[str, Any] = {
            "type": "transcript.text.delta",
            "delta": join_texts([before, segment.text])[len(before) :],
        }
        if self.format == "verbose_json":
            values["segment"] = self._segments([segment], number)[0]
        return event(values)

    def done(self, transcript: Transcript) -> bytes:
        """The event that ends a transcript."""
        return event({"type": "transcript.text.done", **self._object(transcript)})

    def _object(self, transcript: Transcript) -> dict[str, Any]:
        found: dict[str, Any] = {"text": transcript.text}
        if self.format == "verbose_json":
            found |= {
                "task": self.task,
                "language": self.language,
                "duration": round(transcript.duration, 3),
                "segments": self._segments(transcript.segments),
            }
            if "word" in self.granularities:
                found["words"] = [
                    {
                        "word": word.text,
                        "start": round(word.start, 3),
                        "end": round(word.end, 3),
                        "confidence": round(word.confidence, 4),
                    }
                    for segment in transcript.segments
                    for word in segment.words
                ]
            found |= {name: FORMATS[name](transcript) for name in self.subtitles}
        if transcript.warning is not None:
            found["warning"] = str(transcript.warning)
        found["usage"] = {"type": "duration", "seconds": round(transcript.duration, 3)}
        return found

    def _segments(self, segments: Sequence[Segment], first: int = 0) -> list[dict[str, Any]]:
        """Segments as OpenAI's, on top of what this project writes of them."""
        rows = to_record(Transcript("", 0.0, "", 0.0, tuple(segments)))["segments"]
        return [
            row
            | {
                "id": number,
                "seek": round(100 * segment.start),
                "tokens": (tokens := self._tokens(segment.text)),
                "temperature": 0.0,
                "avg_logprob": round(self._mean(segment.score, len(tokens)), 4),
                "compression_ratio": _compression_ratio(segment.text),
                "no_speech_prob": 0.0,  # where there is none, there is no segment
            }
            for number, (row, segment) in enumerate(zip(rows, segments, strict=True), first)
        ]

    def _tokens(self, text: str) -> list[int]:
        output = self.transcriber.output
        return output.tokenizer.encode(output.normalize(text))

    def _mean(self, score: float, tokens: int) -> float:
        """A score over length ** length_normalization, as one over the length."""
        length = tokens + 1
        power = self.transcriber.config.search.length_normalization
        mean: float = score * length ** (power - 1.0)
        return mean


def _compression_ratio(text: str) -> float:
    """How many times shorter zlib makes a text: high where it repeats itself."""
    data = text.encode()
    return round(len(data) / len(zlib.compress(data)), 4)
