"""Compatibility with OpenAI's Python client."""

import io
from pathlib import Path

import numpy as np
import openai
import pytest
import soundfile

import asr_s2s
from asr_s2s.pipeline import Transcriber
from asr_s2s.subtitles import to_srt, to_vtt
from tests.support.joined import write_joined
from tests.support.servers import Server


@pytest.fixture(scope="module")
def client(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def recognizer() -> Transcriber:
    return asr_s2s.load("digits", "cpu")


def test_json_response(client: openai.OpenAI, sample: Path, reference: str) -> None:
    with sample.open("rb") as file:
        answer = client.audio.transcriptions.create(
            file=file, model="whisper-1", temperature=0.2, language="en", include=["logprobs"]
        )
    assert answer.text == reference


def test_text_response(client: openai.OpenAI, sample: Path, reference: str) -> None:
    answer = client.audio.transcriptions.create(
        file=sample, model="whisper-1", response_format="text"
    )
    assert answer == f"{reference}\n"


def test_subtitles_equal_those_of_the_library(
    client: openai.OpenAI, sample: Path, recognizer: Transcriber
) -> None:
    expected = recognizer.transcribe(sample, words=True)
    for name, write in (("srt", to_srt), ("vtt", to_vtt)):
        answer = client.audio.transcriptions.create(
            file=sample, model="digits", response_format=name
        )
        assert answer == write(expected)


def test_verbose_json_has_word_and_segment_times(
    client: openai.OpenAI, sample: Path, reference: str, recognizer: Transcriber
) -> None:
    answer = client.audio.transcriptions.create(
        file=sample,
        model="whisper-1",
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    (expected,) = recognizer.transcribe(sample, words=True).segments
    assert answer.text == reference
    assert answer.duration == pytest.approx(expected.end, abs=1e-3)
    assert answer.segments is not None and answer.words is not None
    (segment,) = answer.segments
    assert (segment.id, segment.text, segment.start) == (0, reference, 0.0)
    assert recognizer.output.tokenizer.decode(segment.tokens) == reference
    assert -1.0 < segment.avg_logprob < 0.0
    assert [word.word for word in answer.words] == [word.text for word in expected.words]
    for word, right in zip(answer.words, expected.words, strict=True):
        assert (word.start, word.end) == pytest.approx((right.start, right.end), abs=1e-3)


def test_words_are_returned_only_on_request(client: openai.OpenAI, sample: Path) -> None:
    answer = client.audio.transcriptions.create(
        file=sample, model="whisper-1", response_format="verbose_json"
    )
    assert answer.words is None
    assert answer.segments is not None and len(answer.segments) == 1


def test_a_long_recording_streams_its_segments_as_events(
    client: openai.OpenAI, sample: Path, reference: str, tmp_path: Path, recognizer: Transcriber
) -> None:
    path = tmp_path / "long.wav"
    write_joined(path, sample, times=8)
    expected = recognizer.transcribe(path)
    assert len(expected.segments) > 1
    with path.open("rb") as file:
        events = list(client.audio.transcriptions.create(file=file, model="whisper-1", stream=True))
    *deltas, done = events
    assert len(deltas) == len(expected.segments)
    assert "".join(event.delta for event in deltas) == done.text == expected.text  # type: ignore[union-attr]


def test_phrases_of_the_prompt_are_favored(
    client: openai.OpenAI, sample: Path, reference: str, recognizer: Transcriber, tmp_path: Path
) -> None:
    phrases = tmp_path / "phrases.txt"
    phrases.write_text("four nine\noh oh\n")
    expected = recognizer.transcribe(sample, phrases=phrases).text
    assert expected != reference

    def transcribe(prompt: str) -> tuple[str, str | None]:
        answer = client.audio.transcriptions.create(file=sample, model="whisper-1", prompt=prompt)
        return answer.text, getattr(answer, "warning", None)

    assert transcribe("four nine, oh oh") == (expected, None)
    assert transcribe("") == (reference, None)  # phrases of other requests have no effect
    text, warning = transcribe("four nine, 七, oh oh 九")
    assert text == expected
    assert warning is not None and "'七', '九'" in warning
    text, warning = transcribe("七")
    assert text == reference
    assert warning is not None and "'七'" in warning


def test_a_file_that_is_not_audio_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"notes\.wav: is a text file") as caught:
        client.audio.transcriptions.create(
            file=("notes.wav", b"milk, bread and eggs"), model="whisper-1"
        )
    assert caught.value.param == "file"
    assert caught.value.code == "invalid_audio"


def test_silence_gives_an_empty_text_and_a_warning(client: openai.OpenAI) -> None:
    silence = io.BytesIO()
    soundfile.write(silence, np.zeros(16_000), 16_000, format="WAV")
    answer = client.audio.transcriptions.create(
        file=("silence.wav", silence.getvalue()), model="whisper-1"
    )
    assert answer.text == ""
    assert "silent" in answer.warning  # type: ignore[attr-defined]


def test_speech_translation_needs_a_model_of_several_languages(
    client: openai.OpenAI, sample: Path
) -> None:
    with pytest.raises(openai.BadRequestError, match="No model that translates speech"):
        client.audio.translations.create(file=sample, model="whisper-1")


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["digits", "en-de"]


def test_every_route_is_documented_and_no_page_loads_from_other_hosts(server: Server) -> None:
    documented = server.http.get("/docs").text
    for route in server.http.get("/openapi.json").json()["paths"]:
        assert route in documented
    for path in ("", "docs"):
        answer = server.http.get(f"/{path}")
        assert "://" not in answer.text.replace("http://localhost:8000", "").replace(
            "http://www.w3.org/2000/svg", ""
        )
        assert "default-src 'none'" in answer.headers["content-security-policy"]
