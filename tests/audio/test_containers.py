"""Recordings of several parts: chained Ogg, videos with gaps and tracks, channels that cancel."""

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from av.stream import Disposition

from asr_s2s.audio.decode import audio_tracks, probe, read_audio, stream_audio
from asr_s2s.audio.waveform import SAMPLE_RATE, Waveform, from_array, is_silent
from asr_s2s.errors import AudioError


def tone(seconds: float, frequency: float = 440.0, rate: int = 48_000) -> Waveform:
    time = np.arange(round(seconds * rate)) / rate
    return (0.4 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def frequency(samples: Waveform) -> float:
    """Frequency in Hz of the strongest component."""
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(power.argmax() * SAMPLE_RATE / len(samples))


def sounding(samples: Waveform) -> list[tuple[float, float]]:
    """Times in seconds at which a tone starts and stops, to 10 ms."""
    frames = samples[: len(samples) // 160 * 160].reshape(-1, 160)
    loud = np.abs(frames).max(axis=1) > 0.1
    edges = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]]))) / 100
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def write_tracks(
    path: Path,
    tracks: Sequence[Waveform],
    codec: str,
    *,
    video: float = 0.0,
    late: float = 0.0,
    gap: tuple[float, float] = (0.0, 0.0),
    default: int = 0,
) -> Path:
    """Write mono tracks at 48 kHz, and `video` seconds of black pictures.

    The time stamps of audio begin at `late`, and rise by `gap[1]` seconds at `gap[0]`.
    """
    packets = []
    with av.open(str(path), "w") as container:
        if video:
            pictures = container.add_stream("mpeg4" if path.suffix != ".ts" else "mpeg2video", 25)
            pictures.width = pictures.height = 64
        streams = [container.add_stream(codec, rate=48_000, layout="mono") for _ in tracks]
        if len(streams) > 1:
            for number, stream in enumerate(streams):
                stream.disposition = Disposition.default if number == default else Disposition(0)
        if video:
            for _ in range(round(25 * video)):
                black = np.zeros((64, 64, 3), np.uint8)
                packets += pictures.encode(av.VideoFrame.from_ndarray(black, format="rgb24"))
            packets += pictures.encode(None)
        for samples, stream in zip(tracks, streams, strict=True):
            frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48_000, 0, Fraction(1, 48_000)
            resampler = av.AudioResampler(stream.format, "mono", 48_000, stream.frame_size or 1024)
            for piece in [*resampler.resample(frame), *resampler.resample(None), None]:
                for packet in stream.encode(piece):
                    time = float(packet.pts * packet.time_base)
                    shift = late + (gap[1] if gap[1] and time >= gap[0] else 0.0)
                    packet.pts = packet.dts = packet.pts + round(shift / packet.time_base)
                    packets.append(packet)
        for packet in sorted(packets, key=lambda p: float(p.dts * p.time_base)):
            container.mux(packet)
    return path


# Chained Ogg


def vorbis(samples: Waveform, rate: int, subtype: str = "VORBIS") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="OGG", subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("rates", [(16_000, 16_000), (16_000, 48_000), (48_000, 8_000, 16_000)])
def test_all_links_of_a_chained_ogg_are_read(
    tmp_path: Path, subtype: str, rates: tuple[int, ...]
) -> None:
    path = tmp_path / "radio.ogg"
    parts = [tone(1.5, 300.0 * (i + 1), rate) for i, rate in enumerate(rates)]
    parts[1] = np.stack([parts[1], parts[1]], axis=1)  # the second link is stereo
    path.write_bytes(b"".join(vorbis(p, r, subtype) for p, r in zip(parts, rates, strict=True)))
    samples = read_audio(path)
    assert len(samples) == round(1.5 * len(rates) * SAMPLE_RATE)
    for index in range(len(rates)):
        inner = samples[int((1.5 * index + 0.2) * SAMPLE_RATE) :][:SAMPLE_RATE]
        assert frequency(inner) == pytest.approx(300 * (index + 1), abs=3)
    assert probe(path).duration == pytest.approx(1.5 * len(rates))
    np.testing.assert_array_equal(read_audio(io.BytesIO(path.read_bytes())), samples)
    span = read_audio(path, start=1.2, duration=0.6)  # on both sides of the first border
    assert len(span) == pytest.approx(0.6 * SAMPLE_RATE, abs=1)
    assert frequency(read_audio(path, start=1.7, duration=1.0)) == pytest.approx(600, abs=3)


def test_a_repeated_ogg_with_the_same_serial_number_is_read_twice(tmp_path: Path) -> None:
    path = tmp_path / "twice.ogg"
    path.write_bytes(2 * vorbis(tone(1.5, rate=16_000), 16_000))
    assert len(read_audio(path)) == 3 * SAMPLE_RATE


def test_a_link_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    first = vorbis(tone(1.5, rate=16_000), 16_000)
    path = tmp_path / "radio.ogg"
    path.write_bytes(first + first.replace(b"\x01vorbis", b"\x01unknown"[:7]))
    found = []
    with pytest.raises(AudioError, match=r"radio.ogg: link 2 of 2, from 1.50 s on"):
        for block in stream_audio(path):
            found.append(block)
    assert sum(map(len, found)) == 1.5 * SAMPLE_RATE


def test_a_chained_ogg_that_is_cut_short_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "radio.ogg"
    path.write_bytes(2 * vorbis(tone(20, rate=16_000), 16_000))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(AudioError, match=r"radio.ogg: .*cut short"):
        read_audio(path)


# Time stamps

VIDEOS = [("mkv", "libopus"), ("mp4", "aac"), ("ts", "mp2")]


@pytest.mark.parametrize(("suffix", "codec"), VIDEOS)
def test_a_gap_in_the_audio_of_a_video_is_silence(tmp_path: Path, suffix: str, codec: str) -> None:
    path = tmp_path / f"hole.{suffix}"
    write_tracks(path, [tone(4)], codec, video=7, gap=(2.0, 3.0))
    samples = read_audio(path)
    (start, stop), (again, end) = sounding(samples)
    times = [start, stop, again, end]
    assert times == pytest.approx([0, 2, 5, 7], abs=0.08)
    assert probe(path).duration == pytest.approx(len(samples) / SAMPLE_RATE, abs=0.13)
    late = read_audio(path, start=4.0, duration=1.5)  # begins in the gap
    assert len(late) == 1.5 * SAMPLE_RATE
    assert sounding(late)[0] == pytest.approx((1.0, 1.5), abs=0.08)
    assert max(map(len, stream_audio(path))) < 7 * SAMPLE_RATE


@pytest.mark.parametrize(("suffix", "codec"), [*VIDEOS, ("mov", "pcm_s16le")])
def test_audio_that_starts_late_is_preceded_by_silence(
    tmp_path: Path, suffix: str, codec: str
) -> None:
    path = write_tracks(tmp_path / f"late.{suffix}", [tone(2)], codec, video=5, late=2.0)
    ((start, end),) = sounding(read_audio(path))
    assert (start, end) == pytest.approx((2, 4), abs=0.08)
    assert probe(path).duration == pytest.approx(4, abs=0.13)
    assert sounding(read_audio(path, start=3.5))[0] == pytest.approx((0, 0.5), abs=0.08)


@pytest.mark.parametrize(("suffix", "codec"), [("mkv", "libopus"), ("ts", "mp2")])
def test_time_stamps_of_audio_alone_begin_at_zero(tmp_path: Path, suffix: str, codec: str) -> None:
    path = write_tracks(tmp_path / f"part.{suffix}", [tone(2)], codec, late=100.0)
    assert len(read_audio(path)) == pytest.approx(2 * SAMPLE_RATE, abs=0.1 * SAMPLE_RATE)


def test_transport_streams_that_were_joined_are_read_without_a_gap(tmp_path: Path) -> None:
    first = write_tracks(tmp_path / "1.ts", [tone(2)], "mp2", late=100.0).read_bytes()
    second = write_tracks(tmp_path / "2.ts", [tone(2)], "mp2", late=4_000.0).read_bytes()
    for name, content in [("ahead.ts", first + second), ("back.ts", second + first)]:
        path = tmp_path / name
        path.write_bytes(content)
        assert len(read_audio(path)) == pytest.approx(4 * SAMPLE_RATE, abs=0.2 * SAMPLE_RATE)


# Tracks


@pytest.mark.parametrize(("suffix", "codec"), [("mkv", "libopus"), ("mp4", "aac")])
def test_the_default_track_is_read_and_another_can_be_chosen(
    tmp_path: Path, suffix: str, codec: str
) -> None:
    path = tmp_path / f"film.{suffix}"
    tracks = [tone(2, 300), tone(2, 600), tone(2, 900)]
    write_tracks(path, tracks, codec, video=2, default=1)
    inner = slice(4_000, -4_000)
    assert frequency(read_audio(path)[inner]) == pytest.approx(600, abs=3)
    for number in (1, 2, 3):
        samples = read_audio(path, audio_track=number)
        assert frequency(samples[inner]) == pytest.approx(300 * number, abs=3)
        assert probe(path, audio_track=number).duration == pytest.approx(2, abs=0.13)
    described = audio_tracks(path)
    assert [track.number for track in described] == [1, 2, 3]
    assert [track.is_default for track in described] == [False, True, False]
    assert {(track.sample_rate, track.channels) for track in described} == {(48_000, 1)}
    for number in (0, 4):
        with pytest.raises(AudioError, match=f"no audio track {number}; the recording has 3"):
            read_audio(path, audio_track=number)


def test_a_recording_without_tracks_has_one(tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(1), 48_000)
    (track,) = audio_tracks(path)
    assert (track.number, track.sample_rate, track.is_default) == (1, 48_000, True)
    np.testing.assert_array_equal(read_audio(path, audio_track=1), read_audio(path))
    with pytest.raises(AudioError, match=r"tone.wav: there is no audio track 2"):
        read_audio(path, audio_track=2)


# Channels


def test_the_loudest_channel_replaces_channels_that_cancel(tmp_path: Path) -> None:
    samples = tone(20, rate=SAMPLE_RATE)
    noise = np.random.default_rng(0).normal(0, 0.01, len(samples)).astype(np.float32)
    for left, right in [
        (samples, -samples),
        (0.9 * samples, -samples),
        (samples + 0.1, -samples),  # with a constant offset
        (samples, -samples + noise),
    ]:
        stereo = np.stack([left, right], axis=1)
        path = tmp_path / "opposite.wav"
        soundfile.write(path, stereo, SAMPLE_RATE, subtype="FLOAT")
        mono = read_audio(path)
        assert np.std(mono) == pytest.approx(np.std(samples), rel=0.15)
        np.testing.assert_array_equal(from_array(stereo, SAMPLE_RATE, name="array"), mono)
        np.testing.assert_array_equal(from_array(stereo.T, SAMPLE_RATE, name="array"), mono)


def test_channels_that_cancel_in_a_video_are_read(tmp_path: Path) -> None:
    samples = tone(3)
    path = tmp_path / "talk.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=48_000, layout="stereo")
        pcm = np.round(32_767 * np.stack([samples, -samples], axis=1)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate = 48_000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    assert np.std(read_audio(path)) == pytest.approx(np.std(samples), rel=0.01)


@pytest.mark.parametrize("channels", [2, 6])
def test_channels_that_do_not_cancel_are_averaged(channels: int) -> None:
    rng = np.random.default_rng(0)
    unrelated = rng.normal(0, 0.1, (SAMPLE_RATE, channels)).astype(np.float32)
    alone = unrelated * (np.arange(channels) == 1)
    for samples in (unrelated, alone, np.zeros_like(unrelated)):
        mono = from_array(samples, SAMPLE_RATE, name="array")
        np.testing.assert_allclose(mono, samples.mean(axis=1), atol=1e-7)


def test_quiet_speech_beside_a_dead_channel_or_an_offset_is_not_silent() -> None:
    quiet = tone(1, rate=SAMPLE_RATE) * 10 ** (-50 / 20)
    for dead in (0.0, 0.3):
        stereo = np.stack([quiet, np.full_like(quiet, dead)], axis=1)
        mono = from_array(stereo, SAMPLE_RATE, name="array")
        assert not is_silent(mono)
        np.testing.assert_allclose(mono - mono.mean(), quiet / 2, atol=1e-6)


# MP3, and files that are not audio


def test_mp3s_with_junk_are_read_without_messages_of_libraries(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "good.mp3", tone(2, rate=44_100), 44_100)
    good = (tmp_path / "good.mp3").read_bytes()
    tagged = b"ID3\x04\0\0\0\0\0\x04abcd" + good
    for number, content in enumerate(
        [good, tagged, bytes(100_000) + good, good + bytes(100_000), good[:9_000] + bytes(999)]
    ):
        path = tmp_path / f"{number}.mp3"
        path.write_bytes(content)
        for source in (path, io.BytesIO(content)):
            try:
                assert len(read_audio(source)) > SAMPLE_RATE
            except AudioError:
                assert number == 4  # the only one that is cut short
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("size", [40, 30_000])
def test_a_binary_file_is_not_called_text(tmp_path: Path, size: int) -> None:
    content = np.random.default_rng(0).integers(0x80, 0x100, size, dtype=np.uint8).tobytes()
    if size > 40:
        content = content[:100] + np.random.default_rng(1).bytes(size)
    path = tmp_path / "a.g722"
    path.write_bytes(content)
    with pytest.raises(AudioError, match="has no audio that libsndfile or FFmpeg can read"):
        read_audio(path)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_text_with_accents_is_called_text(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "notes.wav"
    path.write_bytes(("Protokoll über die Prüfung der Geräte. " * 200).encode(encoding))
    with pytest.raises(AudioError, match="is a text file"):
        read_audio(path)
