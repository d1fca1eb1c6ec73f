"""`Transcriber` with a shipped model, on real audio."""

import json
import pickle
import random
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import CutSet

import asr_s2s
from asr_s2s.audio.decode import read_audio
from asr_s2s.data.manifest import read_manifest
from asr_s2s.errors import AudioError, ConfigError, ModelError, UserError
from asr_s2s.pipeline import Failure, IncompleteError, Transcriber, Transcript
from asr_s2s.reading import Piece
from asr_s2s.search.options import DecodeOptions
from tests.support.joined import write_joined


@pytest.fixture(scope="module")
def recognizer() -> Transcriber:
    return asr_s2s.load("digits", device="cpu")


@pytest.fixture(scope="module")
def recordings(shared_data: Path) -> list[Path]:
    """Recordings of 0.2 to 1 s by many speakers, at 8 and 16 kHz."""
    rows = [json.loads(line) for line in (shared_data / "english" / "test.jsonl").open()]
    files = [shared_data / "english" / r["audio"] for r in rows if r["corpus"] == "speechcommands"]
    commands = sorted(set(files))[:24]
    return commands + sorted((shared_data / "fsdd" / "recordings").glob("*_0.wav"))[:24]


def test_the_sample_is_transcribed_correctly(recognizer: Transcriber, sample: Path) -> None:
    expected = sample.with_suffix(".txt").read_text().strip()
    result = recognizer.transcribe(sample)
    assert result.text == expected
    assert result.source == str(sample)
    assert result.duration == pytest.approx(soundfile.info(sample).duration, abs=0.01)


@pytest.mark.parametrize("beam_size", [1, 8])
def test_text_and_score_do_not_depend_on_the_batch(
    recognizer: Transcriber, recordings: list[Path], beam_size: int
) -> None:
    alone = {str(path): recognizer.transcribe(path, beam_size=beam_size) for path in recordings}
    shuffled = list(recordings)
    random.Random(3).shuffle(shuffled)
    for order, batch_seconds in ((recordings, 1000.0), (shuffled, 1000.0), (shuffled, 7.0)):
        results = recognizer.transcribe(order, beam_size=beam_size, batch_seconds=batch_seconds)
        assert [result.source for result in results] == [str(path) for path in order]
        for result in results:
            assert result.text == alone[result.source].text
            assert result.score == pytest.approx(alone[result.source].score, abs=1e-4)


def test_paths_files_arrays_and_cuts_are_accepted(
    recognizer: Transcriber, sample: Path, tmp_path: Path
) -> None:
    samples, rate = soundfile.read(sample, dtype="float32")
    manifest = tmp_path / "cuts.jsonl"
    manifest.write_text(json.dumps({"audio": str(sample.resolve()), "text": ""}) + "\n")
    cuts = read_manifest(manifest)
    assert isinstance(cuts, CutSet)
    with sample.open("rb") as file:
        texts = {
            recognizer.transcribe(source, sample_rate=rate).text
            for source in (sample, str(sample), samples, file, next(iter(cuts)))
        }
    assert len(texts) == 1
    stereo = np.stack([samples, samples], axis=1)
    assert recognizer.transcribe(stereo, sample_rate=rate).text in texts


def test_n_best_outputs_are_in_order_and_start_with_the_text(
    recognizer: Transcriber, sample: Path
) -> None:
    result = recognizer.transcribe(sample, n_best=4)
    assert len(result.alternatives) == 4
    assert result.alternatives[0].text == result.text
    scores = [alternative.score for alternative in result.alternatives]
    assert scores == sorted(scores, reverse=True)


def test_a_failed_recording_does_not_stop_the_others(
    recognizer: Transcriber, sample: Path, tmp_path: Path
) -> None:
    missing = tmp_path / "missing.wav"
    results = list(recognizer.stream([sample, missing, sample]))
    assert [type(result) for result in results] == [Transcript, Failure, Transcript]
    assert results[0] == results[2]
    with pytest.raises(AudioError, match=r"missing\.wav"):
        recognizer.transcribe([sample, missing])
    with pytest.raises(IncompleteError, match=r"missing\.wav") as caught:
        recognizer.transcribe([missing, sample, missing])
    first, second, third = caught.value.results
    assert isinstance(first, Failure) and isinstance(third, Failure) and second == results[0]
    assert first.source == str(missing)
    assert pickle.loads(pickle.dumps(caught.value)).results[1] == results[0]
    with pytest.raises(AudioError, match=r"missing\.wav") as single:
        recognizer.transcribe(missing)
    assert not isinstance(single.value, IncompleteError)


def test_silence_gives_an_empty_text_and_a_warning(recognizer: Transcriber) -> None:
    result = recognizer.transcribe(np.zeros(16_000, dtype=np.float32))
    assert result.text == ""
    assert result.warning is not None and "silent" in str(result.warning)


def test_results_are_yielded_before_all_sources_are_read(
    recognizer: Transcriber, sample: Path
) -> None:
    taken = 0

    def sources():
        nonlocal taken
        for _ in range(200):
            taken += 1
            yield sample

    first = next(iter(recognizer.stream(sources(), batch_seconds=10)))
    assert isinstance(first, Transcript)
    assert taken < 60


def test_an_invalid_model_or_device_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="Shipped models: digits"):
        asr_s2s.load("english-large")
    (tmp_path / "config.yaml").write_text("text: [")
    with pytest.raises(ModelError, match=r"config\.yaml"):
        asr_s2s.load(str(tmp_path))
    with pytest.raises(ModelError, match="abacus"):
        asr_s2s.load("digits", device="abacus")
    for device in ("meta", "mps"):
        with pytest.raises(ModelError, match=f"{device}.*cpu, or cuda"):
            asr_s2s.load("digits", device=device)


def test_invalid_sources_and_options_are_refused(recognizer: Transcriber, sample: Path) -> None:
    with pytest.raises(AudioError, match="cannot transcribe a dict"):
        recognizer.transcribe({"sound": sample})
    with pytest.raises(ConfigError, match="beam_size: expected a number from 1 to 1,000, found 0"):
        recognizer.transcribe(sample, beam_size=0)


@pytest.mark.parametrize(
    "option",
    [{"n_best": 0}, {"beam_size": 1_001}, {"language": "de"}, {"replace_unknown": True},
     {"length_penalty": -1.0}],
    ids=str,
)  # fmt: skip
def test_an_option_that_cannot_be_used_is_refused_at_the_call(
    recognizer: Transcriber, option: dict
) -> None:
    (name,) = option
    for call in (recognizer.stream, recognizer.decode):
        with pytest.raises(ConfigError) as caught:
            call([], DecodeOptions(**option))
        assert caught.value.where == name
    with pytest.raises(ConfigError):
        recognizer.stream([], **option)


def test_keywords_override_the_fields_of_options(recognizer: Transcriber, sample: Path) -> None:
    options = DecodeOptions(beam_size=1, n_best=2)
    by_options = recognizer.transcribe(sample, options, n_best=3)
    assert by_options == recognizer.transcribe(sample, beam_size=1, n_best=3)
    assert len(by_options.alternatives) == 3


def test_phrases_favor_words_in_one_call_only(
    recognizer: Transcriber, sample: Path, tmp_path: Path
) -> None:
    plain = recognizer.transcribe(sample).text
    (tmp_path / "phrases.txt").write_text("four nine\noh oh\n")
    assert recognizer.transcribe(sample, phrases=tmp_path / "phrases.txt").text != plain
    assert recognizer.transcribe(sample).text == plain
    with pytest.raises(UserError, match=r"lost\.txt"):
        recognizer.stream([sample], phrases=tmp_path / "lost.txt")


def test_pieces_are_decoded_to_the_segments_of_a_transcript(
    recognizer: Transcriber, sample: Path
) -> None:
    samples = read_audio(sample)
    options = DecodeOptions(words=True)
    (first,) = recognizer.decode([Piece(0.0, samples)], options)
    assert (first,) == recognizer.transcribe(samples, options).segments
    pieces = [Piece(10.0, samples), Piece(20.0, samples[: len(samples) // 2])]
    later, half = recognizer.decode(pieces, options)
    assert (later.text, later.start) == (first.text, 10.0)
    assert later.score == pytest.approx(first.score, abs=1e-4)
    starts = [10.0 + word.start for word in first.words]
    assert [word.start for word in later.words] == pytest.approx(starts, abs=0.02)
    assert half.end == pytest.approx(20.0 + len(pieces[1].samples) / 16_000)


# Long recordings


@pytest.fixture(scope="module")
def expected(sample: Path) -> str:
    return sample.with_suffix(".txt").read_text().strip()


@pytest.fixture(scope="module")
def long(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine repetitions of the sample, about a minute."""
    path = tmp_path_factory.mktemp("long") / "long.flac"
    write_joined(path, sample, times=9)
    return path


@pytest.fixture(scope="module")
def long_result(recognizer: Transcriber, long: Path) -> Transcript:
    return recognizer.transcribe(long, beam_size=1)


def test_a_long_recording_has_a_segment_for_each_repetition(
    long_result: Transcript, sample: Path, expected: str, tmp_path: Path
) -> None:
    spoken = write_joined(tmp_path / "again.flac", sample, times=9)
    assert long_result.text == " ".join([expected] * 9)
    assert [segment.text for segment in long_result.segments] == [expected] * 9
    assert long_result.warning is None
    for segment, (start, end) in zip(long_result.segments, spoken, strict=True):
        assert segment.start == pytest.approx(start, abs=0.3)
        assert segment.end == pytest.approx(end, abs=0.3)
    assert long_result.duration == pytest.approx(soundfile.info(tmp_path / "again.flac").duration)


def test_a_short_recording_is_one_segment(recognizer: Transcriber, sample: Path) -> None:
    result = recognizer.transcribe(sample)
    (segment,) = result.segments
    assert (segment.start, segment.end) == (0.0, result.duration)
    assert (segment.text, segment.score) == (result.text, result.score)


def test_long_and_short_recordings_share_batches_and_stay_in_order(
    recognizer: Transcriber, long_result: Transcript, sample: Path, long: Path, tmp_path: Path
) -> None:
    missing = tmp_path / "missing.wav"
    alone = recognizer.transcribe(sample, beam_size=1)
    sources = [sample, long, missing, sample, long, long, np.zeros(16_000, np.float32), sample]
    for batch_seconds in (1.0, 20.0, 1000.0):
        results = list(recognizer.stream(sources, beam_size=1, batch_seconds=batch_seconds))
        assert [result.source for result in results] == [
            str(source) if isinstance(source, Path) else "array 6" for source in sources
        ]
        for result in results:
            if isinstance(result, Failure):
                assert result.source == str(missing)
            elif result.duration > 1.0:
                one = long_result if result.source == str(long) else alone
                assert result.text == one.text
                assert len(result.segments) == len(one.segments)
                for segment, other in zip(result.segments, one.segments, strict=True):
                    assert (segment.start, segment.end) == (other.start, other.end)
                    assert segment.score == pytest.approx(other.score, abs=1e-4)


def test_long_arrays_and_cuts_are_accepted(
    recognizer: Transcriber, long_result: Transcript, long: Path, tmp_path: Path
) -> None:
    samples, rate = soundfile.read(long, dtype="float32")
    (tmp_path / "cuts.jsonl").write_text(json.dumps({"audio": str(long), "text": ""}) + "\n")
    cut = next(iter(read_manifest(tmp_path / "cuts.jsonl")))
    assert recognizer.transcribe(samples, sample_rate=rate, beam_size=1).text == long_result.text
    assert recognizer.transcribe(cut, beam_size=1).text == long_result.text


def test_alternatives_of_a_long_recording_are_in_its_segments(
    recognizer: Transcriber, long: Path
) -> None:
    result = recognizer.transcribe(long, n_best=2)
    assert result.alternatives == ()
    for segment in result.segments:
        assert segment.alternatives[0].text == segment.text
        assert len(segment.alternatives) == 2


@pytest.mark.parametrize("kind", ["flac", "wav", "nan"])
def test_a_damaged_long_recording_is_transcribed_up_to_the_damage(
    recognizer: Transcriber, long_result: Transcript, long: Path, tmp_path: Path, kind: str
) -> None:
    samples, rate = soundfile.read(long, dtype="float32")
    path = tmp_path / f"damaged.{'flac' if kind == 'flac' else 'wav'}"
    if kind == "nan":
        samples[50 * rate] = np.nan
        soundfile.write(path, samples, rate, subtype="FLOAT")
    else:
        soundfile.write(path, samples, rate)
        path.write_bytes(path.read_bytes()[: int(0.7 * path.stat().st_size)])
    result = recognizer.transcribe(path, beam_size=1)
    assert isinstance(result.warning, AudioError) and str(path) in str(result.warning)
    assert 25 < result.duration < long_result.duration
    kept = len(result.segments)
    assert 2 < kept < len(long_result.segments)
    assert [s.start for s in result.segments] == [s.start for s in long_result.segments[:kept]]
    assert [s.text for s in result.segments[:-1]] == [
        s.text for s in long_result.segments[: kept - 1]
    ]


def test_a_damaged_short_recording_fails(
    recognizer: Transcriber, sample: Path, tmp_path: Path
) -> None:
    path = tmp_path / "damaged.wav"
    path.write_bytes(sample.read_bytes()[: sample.stat().st_size // 2])
    assert [type(result) for result in recognizer.stream([path])] == [Failure]


def test_a_long_recording_without_speech_has_a_warning(recognizer: Transcriber) -> None:
    hiss = 0.01 * np.random.default_rng(0).standard_normal(40 * 16_000)
    result = recognizer.transcribe(hiss)
    assert (result.text, result.segments) == ("", ())
    assert result.warning is not None and "no speech" in str(result.warning)


def test_noise_in_a_long_recording_gives_no_words(
    recognizer: Transcriber, sample: Path, expected: str
) -> None:
    speech, rate = soundfile.read(sample, dtype="float32")
    noise = 0.2 * np.random.default_rng(3).standard_normal(6 * rate).astype(np.float32)
    pause = np.zeros(4 * rate, np.float32)
    parts = [pause, speech, pause, noise, pause, speech, pause]
    mixed = recognizer.transcribe(np.concatenate(parts), sample_rate=rate)
    assert mixed.text == f"{expected} {expected}"
    assert [segment.reason for segment in mixed.segments] == [None, "unspoken", None]
    assert mixed.warning is None
    spoken = [segment.score for segment in mixed.segments if segment.text]
    assert mixed.score == pytest.approx(np.mean(spoken))
    alone = recognizer.transcribe(np.concatenate([pause, noise] * 4), sample_rate=rate)
    assert (alone.text, alone.score) == ("", 0.0)
    assert {segment.text for segment in alone.segments} == {""}
    assert alone.warning is not None and "no speech" in str(alone.warning)


def test_a_decoding_error_stops_the_reader_threads(sample: Path) -> None:
    broken = asr_s2s.load("digits", device="cpu")
    broken.model.decoder = None
    before = threading.active_count()
    results = broken.stream([sample] * 100, batch_seconds=10)
    with pytest.raises(AttributeError):
        next(results)
    assert threading.active_count() == before


def test_closing_the_stream_stops_the_reader_threads(recognizer: Transcriber, long: Path) -> None:
    before = threading.active_count()
    results = recognizer.stream([long] * 50, beam_size=1, batch_seconds=10)
    assert isinstance(next(results), Transcript)
    results.close()
    assert threading.active_count() == before


def test_an_unknown_detector_is_refused(recognizer: Transcriber, sample: Path) -> None:
    with pytest.raises(ConfigError, match="no detector 'webrtc'"):
        recognizer.transcribe(sample, vad="webrtc")
