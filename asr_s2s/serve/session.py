"""Settings of live transcription sessions, in the shapes that OpenAI's clients send."""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field

from asr_s2s.audio.segment import SILENCE
from asr_s2s.serve.connections import LARGEST_MESSAGE
from asr_s2s.serve.fields import LONGEST_TEXT, Language, Model, listed_phrases, parse
from asr_s2s.serve.refusals import RefusedError

SESSION_RATE = 24_000
"""Default of the sampling rate of a session, in Hz."""


class Transcription(BaseModel):
    """Choice of a model and its options."""

    model: Model = ""
    language: Language = None
    prompt: Annotated[str, Field(max_length=LONGEST_TEXT)] = ""

    @property
    def phrases(self) -> list[str]:
        """Phrases listed in the prompt."""
        return listed_phrases(self.prompt)


class AudioFormat(BaseModel):
    """Format of the audio: mono PCM of 16 bits, little-endian."""

    type: Literal["audio/pcm"] = "audio/pcm"
    rate: Annotated[int, Field(ge=8000, le=48_000)] = SESSION_RATE


class TurnDetection(BaseModel):
    """End of an utterance by silence."""

    type: Literal["server_vad", "semantic_vad"] = "server_vad"
    silence_duration_ms: Annotated[int, Field(ge=200, le=5000)] = round(1000 * SILENCE)


class AudioInput(BaseModel):
    """Audio of a session, and what is done with it."""

    format: AudioFormat = AudioFormat()
    transcription: Transcription = Transcription()
    turn_detection: TurnDetection | None = TurnDetection()


class SessionAudio(BaseModel):
    """Audio settings of a session."""

    input: AudioInput = AudioInput()


class Session(BaseModel):
    """Settings of a session. Other fields of OpenAI's API, such as noise reduction, are ignored."""

    type: Literal["transcription"] = "transcription"
    audio: SessionAudio = SessionAudio()

    def updated(self, kind: str, values: object) -> "Session":
        """Return the session with the changes of an event; what it leaves out stays as it was.

        Args:
            kind: type of the event: `session.update`, or `transcription_session.update` of the
                first version of OpenAI's API.
            values: the field `session` of the event.

        Raises:
            RefusedError: a setting is invalid.
        """
        if not isinstance(values, dict):
            raise RefusedError(
                400, "session: expected an object.", "invalid_value", param="session"
            )
        if kind == "transcription_session.update":
            values = _from_first_version(values)
        return parse(Session, _merged(self.model_dump(), values))


def _from_first_version(values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert settings of the first version of OpenAI's API."""
    found: dict[str, Any] = {}
    encoding = values.get("input_audio_format", "pcm16")
    if encoding != "pcm16":
        message = "input_audio_format: expected pcm16."
        raise RefusedError(400, message, "invalid_value", param="input_audio_format")
    for name, old in (
        ("transcription", "input_audio_transcription"),
        ("turn_detection", "turn_detection"),
    ):
        if old in values:
            found[name] = values[old]
    return {"audio": {"input": found}}


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Merge nested objects; values that are not objects replace the old ones."""
    merged = dict(old)
    for key, value in new.items():
        before = merged.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            value = _merged(before, value)
        merged[key] = value
    return merged


def read_event(text: str | None) -> dict[str, Any]:
    """Read a message of a client.

    Raises:
        RefusedError: it is no JSON object with a type, or is too large.
    """
    if text is not None and len(text) > LARGEST_MESSAGE:
        message = f"The message has more than {LARGEST_MESSAGE:,} characters. Send shorter audio."
        raise RefusedError(413, message, "too_large")
    try:
        event = json.loads(text or "")
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, "The message is not valid JSON.", "invalid_json") from error
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        message = "type: expected an object with the type of the event."
        raise RefusedError(400, message, "invalid_value", param="type")
    return event


def read_samples(event: Mapping[str, Any]) -> npt.NDArray[np.int16]:
    """Read the samples (samples,) of an event with audio.

    Raises:
        RefusedError: they are not base64 of 16-bit PCM.
    """
    try:
        data = base64.b64decode(event.get("audio") or "", validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        message = "audio: expected PCM of 16 bits in base64."
        raise RefusedError(400, message, "invalid_value", param="audio") from error
    if len(data) % 2:
        message = f"audio: expected an even number of bytes, found {len(data)}."
        raise RefusedError(400, message, "invalid_value", param="audio")
    return np.frombuffer(data, "<i2").astype(np.int16)
