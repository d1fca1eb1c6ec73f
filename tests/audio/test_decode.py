"""Reading recordings: all formats give the same waveform, and every failure names the recording."""

import io
import os
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from asr_s2s.audio.decode import AudioInfo, probe, read_audio, stream_audio
from asr_s2s.audio.folder import AUDIO_SUFFIXES
from asr_s2s.audio.waveform import SAMPLE_RATE, check_audio, from_array, is_silent
from asr_s2s.errors import AudioError

Samples = npt.NDArray[Any]

AMPLITUDE, FREQUENCY, SECONDS = 0.4, 440.0, 1.5


def tone(rate: int, channels: int = 1, seconds: float = SECONDS) -> Samples:
    """Sine (samples, channels) whose level differs by channel; the mean level is AMPLITUDE."""
    time = np.arange(round(seconds * rate)) / rate
    levels = 2 * AMPLITUDE * (np.arange(channels) + 1) / (channels + 1)
    return np.sin(2 * np.pi * FREQUENCY * time)[:, None] * levels


def assert_tone(samples: Samples, seconds: float = SECONDS) -> None:
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert np.abs(samples).max() <= 1
    assert len(samples) / SAMPLE_RATE == pytest.approx(seconds, abs=0.11)
    middle = samples[2000:-2000]
    assert np.sqrt((middle**2).mean()) == pytest.approx(AMPLITUDE / np.sqrt(2), rel=0.06)
    power = np.abs(np.fft.rfft(middle * np.hanning(len(middle)))) ** 2
    near = np.abs(np.fft.rfftfreq(len(middle), 1 / SAMPLE_RATE) - FREQUENCY) < 10
    assert power[near].sum() / power.sum() > 0.99


def write_av(path: Path, samples: Samples, rate: int, codec: str, **options: str) -> Path:
    """Encode (samples, channels) with FFmpeg; the suffix of the path determines the container."""
    layout = {1: "mono", 2: "stereo"}[samples.shape[1]]
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        stream.bit_rate = 96_000
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples.T, np.float32), format="fltp", layout=layout
        )
        frame.sample_rate = rate
        resampler = av.AudioResampler(stream.format, layout, rate, stream.frame_size or 1024)
        for piece in [*resampler.resample(frame), *resampler.resample(None), None]:
            container.mux(stream.encode(piece))
    return path


def write_video(path: Path, *, audio: bool) -> Path:
    """Write ten black pictures, with a tone if `audio` is true."""
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("mpeg4", rate=10)
        pictures.width = pictures.height = 64
        track = container.add_stream("aac", rate=44_100, layout="mono") if audio else None
        for _ in range(10):
            picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            container.mux(pictures.encode(picture))
        container.mux(pictures.encode(None))
        if track is not None:
            data = np.ascontiguousarray(tone(44_100).T, np.float32)
            frame = av.AudioFrame.from_ndarray(data, format="fltp", layout="mono")
            frame.sample_rate = 44_100
            container.mux(track.encode(frame))
            container.mux(track.encode(None))
    return path


SOUNDFILE_FORMATS = [
    ("wav", "PCM_U8", 16_000),
    ("wav", "PCM_16", 16_000),
    ("wav", "PCM_24", 44_100),
    ("wav", "PCM_32", 48_000),
    ("wav", "FLOAT", 22_050),
    ("wav", "DOUBLE", 16_000),
    ("wav", "ULAW", 8_000),
    ("wav", "GSM610", 8_000),
    ("flac", "PCM_16", 44_100),
    ("flac", "PCM_24", 96_000),
    ("ogg", "VORBIS", 44_100),
    ("opus", "OPUS", 16_000),
    ("opus", "OPUS", 48_000),
    ("mp3", "MPEG_LAYER_III", 16_000),
    ("mp3", "MPEG_LAYER_III", 44_100),
    ("aiff", "PCM_16", 44_100),
    ("au", "PCM_16", 8_000),
    ("w64", "PCM_16", 16_000),
    ("caf", "PCM_16", 44_100),
]


def write(path: Path, subtype: str, rate: int, channels: int = 1) -> Path:
    kind = {".opus": "OGG"}.get(path.suffix, path.suffix[1:].upper())
    soundfile.write(path, tone(rate, channels), rate, format=kind, subtype=subtype)
    return path


@pytest.mark.parametrize(("suffix", "subtype", "rate"), SOUNDFILE_FORMATS)
def test_all_soundfile_formats_give_the_same_tone(
    tmp_path: Path, suffix: str, subtype: str, rate: int
) -> None:
    path = write(tmp_path / f"tone.{suffix}", subtype, rate)
    assert_tone(read_audio(path))
    info = probe(path)
    assert (info.sample_rate, info.channels) == (rate, 1)
    assert info.duration == pytest.approx(SECONDS, abs=0.13)


AV_FORMATS = [
    ("m4a", "aac", 44_100),
    ("mp4", "aac", 16_000),
    ("m4a", "alac", 44_100),
    ("webm", "libopus", 48_000),
    ("mkv", "pcm_s16le", 16_000),
    ("mov", "pcm_s24le", 48_000),
    ("aac", "aac", 44_100),
    ("wma", "wmav2", 44_100),
    ("mp3", "libmp3lame", 44_100),
]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("suffix", "codec", "rate"), AV_FORMATS)
def test_phone_and_browser_formats_give_the_same_tone(
    tmp_path: Path, suffix: str, codec: str, rate: int, channels: int
) -> None:
    path = write_av(tmp_path / f"tone.{suffix}", tone(rate, channels), rate, codec)
    assert_tone(read_audio(path))
    info = probe(path)
    assert (info.sample_rate, info.channels) == (rate, channels)
    assert info.duration == pytest.approx(SECONDS, abs=0.13)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000])
def test_all_sample_rates_give_the_same_tone(tmp_path: Path, rate: int) -> None:
    samples = read_audio(write(tmp_path / "tone.wav", "PCM_16", rate))
    assert_tone(samples)
    assert len(samples) == pytest.approx(SECONDS * SAMPLE_RATE, abs=1)


@pytest.mark.parametrize("channels", range(1, 7))
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_channels_are_averaged(tmp_path: Path, suffix: str, channels: int) -> None:
    path = write(tmp_path / f"tone.{suffix}", "PCM_16", SAMPLE_RATE, channels)
    mean = tone(SAMPLE_RATE, channels).mean(axis=1)
    np.testing.assert_allclose(read_audio(path), mean, atol=1e-4)
    assert probe(path).channels == channels


def test_the_audio_of_a_video_is_read(tmp_path: Path) -> None:
    assert_tone(read_audio(write_video(tmp_path / "talk.mp4", audio=True)))


def test_a_fragmented_mp4_without_a_length_is_read(tmp_path: Path) -> None:
    """Browsers record MP4 in fragments, before the length is known."""
    path = tmp_path / "browser.mp4"
    write_av(path, tone(48_000), 48_000, "aac", movflags="frag_every_frame+empty_moov")
    assert_tone(read_audio(path))
    assert probe(path).duration == pytest.approx(SECONDS, abs=0.13)


@pytest.mark.parametrize("suffix", ["wav", "flac", "opus", "mp3", "m4a"])
def test_a_stream_gives_the_same_samples_as_its_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"tone.{suffix}"
    if suffix == "m4a":
        write_av(path, tone(44_100), 44_100, "aac")
    else:
        soundfile.write(path, tone(48_000), 48_000, format="OGG" if suffix == "opus" else None,
                        subtype="OPUS" if suffix == "opus" else None)  # fmt: skip
    with path.open("r+b") as writable:
        for stream in (io.BytesIO(path.read_bytes()), writable):
            np.testing.assert_array_equal(read_audio(stream, name="upload"), read_audio(path))


def test_a_named_pipe_is_read(tmp_path: Path) -> None:
    content = write(tmp_path / "tone.flac", "PCM_16", 44_100).read_bytes()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()
    assert_tone(read_audio(pipe))
    writer.join()


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0])
def test_a_wav_without_its_size_in_the_header_is_read_completely(tmp_path: Path, size: int) -> None:
    content = bytearray(write(tmp_path / "tone.wav", "PCM_16", 16_000).read_bytes())
    offset = content.index(b"data") + 4
    content[offset : offset + 4] = size.to_bytes(4, "little")
    content[4:8] = size.to_bytes(4, "little")
    path = tmp_path / "streamed.wav"
    path.write_bytes(content)
    assert_tone(read_audio(path))


def test_a_flac_without_its_length_in_the_header_is_read_completely(tmp_path: Path) -> None:
    content = bytearray(write(tmp_path / "tone.flac", "PCM_16", 44_100).read_bytes())
    content[21] &= 0xF0  # the number of samples: the next 36 bits
    content[22:26] = bytes(4)
    path = tmp_path / "streamed.flac"
    path.write_bytes(content)
    assert_tone(read_audio(path))
    assert probe(path).duration == pytest.approx(SECONDS, abs=0.13)


def test_a_variable_rate_mp3_without_a_xing_header_is_read_completely(tmp_path: Path) -> None:
    """The small frames of silence at the start would mislead an estimate of the length."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, (3 * 44_100, 1))
    for order in ([np.zeros_like(noise), noise], [noise, np.zeros_like(noise)]):
        path = tmp_path / "radio.mp3"
        samples = np.concatenate(order)
        write_av(path, samples, 44_100, "libmp3lame", write_xing="0", **{"compression_level": "2"})
        assert len(read_audio(path)) / SAMPLE_RATE == pytest.approx(6, abs=0.1)


def test_concatenated_mp3s_are_read_completely(tmp_path: Path) -> None:
    content = write(tmp_path / "tone.mp3", "MPEG_LAYER_III", 44_100).read_bytes()
    path = tmp_path / "joined.mp3"
    path.write_bytes(content + content)
    assert len(read_audio(path)) / SAMPLE_RATE == pytest.approx(2 * SECONDS, abs=0.1)


def test_tags_that_are_not_utf8_are_ignored(tmp_path: Path) -> None:
    content = write(tmp_path / "tone.mp3", "MPEG_LAYER_III", 44_100).read_bytes()
    title = b"TIT2\0\0\0\x05\0\0\0caf\xe9"
    path = tmp_path / "tagged.mp3"
    path.write_bytes(b"ID3\x03\0\0\0\0\0" + bytes([len(title)]) + title + content)
    assert_tone(read_audio(path))


SPAN_FORMATS = ["wav", "flac", "ogg", "opus", "mp3", "m4a", "webm"]


@pytest.mark.parametrize("suffix", SPAN_FORMATS)
def test_a_span_equals_the_slice_of_the_whole_recording(tmp_path: Path, suffix: str) -> None:
    time = np.arange(4 * 48_000) / 48_000
    sweep = 0.4 * np.sin(2 * np.pi * (200 * time + 150 * time**2))[:, None]
    path = tmp_path / f"sweep.{suffix}"
    codecs = {"mp3": "libmp3lame", "m4a": "aac", "webm": "libopus"}
    if suffix in codecs:
        write_av(path, sweep, 48_000, codecs[suffix])
    else:
        subtype = {"opus": "OPUS", "ogg": "VORBIS"}.get(suffix, "PCM_16")
        kind = "OGG" if subtype in ("OPUS", "VORBIS") else suffix.upper()
        soundfile.write(path, sweep, 48_000, format=kind, subtype=subtype)
    whole = read_audio(path)
    for start, duration in [(0.0, 1.0), (0.7, 0.5), (2.5, 1.0)]:
        span = read_audio(path, start=start, duration=duration)
        assert len(span) == duration * SAMPLE_RATE
        # Resampling differs at the edges of a span. webm counts time in milliseconds, and
        # libsndfile is off by up to 64 samples in Ogg Vorbis.
        shifts = range(-22, 23) if suffix in ("webm", "ogg") else range(1)
        begin = round(start * SAMPLE_RATE)
        inner = slice(400, -400)
        errors = [
            np.abs(span[inner] - whole[max(begin + s, 0) :][: len(span)][inner]).max()
            for s in shifts
        ]
        assert min(errors) < (0.1 if suffix == "ogg" else 0.01)
    rest = read_audio(path, start=3.0)
    assert len(rest) == pytest.approx(len(whole) - 3 * SAMPLE_RATE, abs=22)


def test_a_span_past_the_end_is_truncated(tmp_path: Path) -> None:
    path = write(tmp_path / "tone.wav", "PCM_16", 16_000)
    assert len(read_audio(path, start=1.0, duration=5.0)) == 8_000


def test_floats_beyond_full_scale_are_clipped(tmp_path: Path) -> None:
    path = tmp_path / "loud.wav"
    soundfile.write(path, 3 * tone(16_000), 16_000, subtype="FLOAT")
    expected = np.clip(3 * tone(16_000)[:, 0], -1, 1)
    np.testing.assert_allclose(read_audio(path), expected, atol=1e-6)


# Blocks


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "opus", "mp3", "m4a", "webm"])
def test_blocks_are_shorter_than_seven_seconds(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"tone.{suffix}"
    samples = tone(48_000, channels=2, seconds=30)
    codecs = {"mp3": "libmp3lame", "m4a": "aac", "webm": "libopus"}
    if suffix in codecs:
        write_av(path, samples, 48_000, codecs[suffix])
    else:
        subtype = {"opus": "OPUS", "ogg": "VORBIS"}.get(suffix, "PCM_16")
        kind = "OGG" if subtype in ("OPUS", "VORBIS") else suffix.upper()
        soundfile.write(path, samples, 48_000, format=kind, subtype=subtype)
    blocks = list(stream_audio(path))
    assert max(map(len, blocks)) < 7 * SAMPLE_RATE
    assert_tone(np.concatenate(blocks), seconds=30)
    np.testing.assert_array_equal(np.concatenate(blocks), read_audio(path))


def test_samples_at_16_khz_do_not_change(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-0.9, 0.9, 50 * SAMPLE_RATE).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", samples, SAMPLE_RATE, subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(tmp_path / "noise.wav"), samples)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_resampling_in_blocks_equals_resampling_at_once(tmp_path: Path, rate: int) -> None:
    import librosa

    rng = np.random.default_rng(0)
    samples = rng.uniform(-0.3, 0.3, 20 * rate + 17).astype(np.float32)
    path = tmp_path / "noise.wav"
    soundfile.write(path, samples, rate, subtype="FLOAT")
    whole = librosa.resample(samples, orig_sr=rate, target_sr=SAMPLE_RATE, res_type="soxr_hq")
    np.testing.assert_allclose(read_audio(path), whole, atol=1e-6)
    array = from_array(samples, rate, name="array")
    np.testing.assert_array_equal(array, read_audio(path))


def damaged(folder: Path, kind: str) -> Path:
    """Write a recording of 40 s whose second half cannot be read."""
    samples = tone(48_000, seconds=40)
    path = folder / f"long.{kind.split('-')[0]}"
    if kind == "m4a":
        write_av(path, samples, 48_000, "aac", movflags="faststart")
        return cut(path)
    if kind == "wav-nan":
        samples[20 * 48_000] = np.nan
        soundfile.write(path, samples, 48_000, subtype="FLOAT")
        return path
    soundfile.write(path, samples, 48_000)
    return cut(path)


@pytest.mark.parametrize("kind", ["wav", "wav-nan", "flac", "ogg", "m4a"])
def test_audio_before_the_damage_is_yielded(tmp_path: Path, kind: str) -> None:
    path = damaged(tmp_path, kind)
    blocks = []
    with pytest.raises(AudioError, match=r"cut short|NaN"):
        for block in stream_audio(path):
            blocks.append(block)
    assert 10 < sum(map(len, blocks)) / SAMPLE_RATE < 25
    assert_tone(np.concatenate(blocks), seconds=sum(map(len, blocks)) / SAMPLE_RATE)
    with pytest.raises(AudioError, match=r"cut short|NaN"):
        read_audio(path)


# Unreadable recordings


def cut(path: Path, share: float = 0.5) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return path


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [("wav", "PCM_16"), ("flac", "PCM_16"), ("ogg", "VORBIS"), ("opus", "OPUS"),
     ("mp3", "MPEG_LAYER_III"), ("aiff", "PCM_16"), ("au", "PCM_16"), ("w64", "PCM_16")],
)  # fmt: skip
def test_a_truncated_file_is_rejected(
    tmp_path: Path, suffix: str, subtype: str, share: float
) -> None:
    path = cut(write(tmp_path / f"tone.{suffix}", subtype, 48_000), share)
    with pytest.raises(AudioError, match=r"cut short|no audio") as caught:
        read_audio(path)
    assert str(path) in str(caught.value)
    with pytest.raises(AudioError):
        read_audio(io.BytesIO(path.read_bytes()), name="upload")


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [("m4a", "aac", {}), ("m4a", "aac", {"movflags": "faststart"}), ("webm", "libopus", {})],
)
def test_a_truncated_phone_or_browser_recording_is_rejected(
    tmp_path: Path, suffix: str, codec: str, options: dict[str, str], share: float
) -> None:
    path = write_av(tmp_path / f"tone.{suffix}", tone(48_000), 48_000, codec, **options)
    with pytest.raises(AudioError, match=r"cut short|no audio") as caught:
        read_audio(cut(path, share))
    assert str(path) in str(caught.value)


def missing_file(folder: Path) -> Path:
    return folder / "nowhere.wav"


def folder_path(folder: Path) -> Path:
    return folder


def empty_file(folder: Path) -> Path:
    (folder / "empty.wav").touch()
    return folder / "empty.wav"


def html_file(folder: Path) -> Path:
    (folder / "page.wav").write_text("<!doctype html><title>404 not found</title>")
    return folder / "page.wav"


def text_named_au(folder: Path) -> Path:
    """Text in a .au file, which libsndfile would read as headerless telephone audio."""
    (folder / "notes.au").write_text("Meeting notes. " * 100)
    return folder / "notes.au"


def random_bytes(folder: Path) -> Path:
    (folder / "noise.wav").write_bytes(np.random.default_rng(0).bytes(5_000))
    return folder / "noise.wav"


def headerless_samples(folder: Path) -> Path:
    (folder / "samples.raw").write_bytes(np.random.default_rng(0).bytes(5_000))
    return folder / "samples.raw"


def no_samples(folder: Path) -> Path:
    soundfile.write(folder / "none.wav", np.zeros(0), 16_000)
    return folder / "none.wav"


def ten_milliseconds(folder: Path) -> Path:
    soundfile.write(folder / "click.wav", tone(8_000, seconds=0.01), 8_000)
    return folder / "click.wav"


def nan_sample(folder: Path) -> Path:
    samples = tone(16_000)
    samples[8_000] = np.nan
    soundfile.write(folder / "nan.wav", samples, 16_000, subtype="FLOAT")
    return folder / "nan.wav"


def integers_in_floats(folder: Path) -> Path:
    soundfile.write(folder / "loud.wav", 32_768 * tone(16_000), 16_000, subtype="FLOAT")
    return folder / "loud.wav"


def video_without_audio(folder: Path) -> Path:
    return write_video(folder / "film.mp4", audio=False)


def low_rate(folder: Path) -> Path:
    soundfile.write(folder / "slow.wav", tone(1_000), 1_000)
    return folder / "slow.wav"


def high_rate(folder: Path) -> Path:
    soundfile.write(folder / "fast.wav", tone(16_000), 3_000_000)
    return folder / "fast.wav"


def many_channels(folder: Path) -> Path:
    soundfile.write(folder / "array.wav", np.zeros((1_000, 80)), 16_000)
    return folder / "array.wav"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (missing_file, "there is no such file"),
        (folder_path, "this is a folder"),
        (empty_file, "is empty (0 bytes)"),
        (html_file, "is a text file, not audio; it begins '<!doctype html><title>"),
        (text_named_au, "is a text file, not audio; it begins 'Meeting notes."),
        (random_bytes, "has no audio that libsndfile or FFmpeg can read"),
        (headerless_samples, "has no audio that libsndfile or FFmpeg can read"),
        (no_samples, "contains no audio"),
        (ten_milliseconds, "contains 10 ms of audio; at least 25 ms"),
        (nan_sample, "contains NaN or infinite samples, the first at 0.500 s"),
        (integers_in_floats, "its samples reach 13107"),
        (video_without_audio, "has no audio, only video"),
        (low_rate, "the sample rate is 1000 Hz; 4000 to 768000 Hz"),
        (high_rate, "the sample rate is 3000000 Hz; 4000 to 768000 Hz"),
        (many_channels, "there are 80 channels; at most 64"),
    ],
)
def test_an_unreadable_recording_raises_one_error_that_names_it(
    tmp_path: Path, make: Callable[[Path], Path], message: str
) -> None:
    path = make(tmp_path)
    with pytest.raises(AudioError) as caught:
        read_audio(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    "make",
    [missing_file, folder_path, empty_file, html_file, random_bytes, video_without_audio],
)
def test_probe_rejects_unreadable_files(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path)
    with pytest.raises(AudioError) as caught:
        probe(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_errors_name_the_stream() -> None:
    with pytest.raises(AudioError, match=r"^standard input: is empty"):
        read_audio(io.BytesIO(), name="standard input")


def test_a_file_without_read_permission_is_rejected(tmp_path: Path) -> None:
    path = write(tmp_path / "secret.wav", "PCM_16", 16_000)
    path.chmod(0)
    is_root = os.geteuid() == 0
    if is_root:  # root may read everything
        os.seteuid(65_534)
    try:
        with pytest.raises(AudioError, match=r"secret.wav: cannot be opened: Permission denied"):
            read_audio(path)
    finally:
        if is_root:
            os.seteuid(0)


@pytest.mark.parametrize("suffix", ["wav", "m4a"])
def test_a_span_outside_the_recording_is_rejected(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"tone.{suffix}"
    if suffix == "m4a":
        write_av(path, tone(44_100), 44_100, "aac")
    else:
        write(path, "PCM_16", 16_000)
    for start, duration, message in [
        (9.0, None, "no audio is left after 9 s"),
        (9.0, 1.0, "no audio is left after 9 s"),
        (-1.0, None, "span is invalid: start -1 s"),
        (0.0, 0.0, "span is invalid: start 0 s, duration 0 s"),
    ]:
        with pytest.raises(AudioError, match=message):
            read_audio(path, start=start, duration=duration)


@pytest.mark.parametrize("suffix", ["wav", "m3u8"])
def test_urls_in_a_playlist_are_not_fetched(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"list.{suffix}"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n")
    for source in (path, io.BytesIO(path.read_bytes())):
        with pytest.raises(AudioError, match="is a text file"):
            read_audio(source)


# Arrays


@pytest.mark.parametrize("kind", ["uint8", "int8", "int16", "int32", "float32", "float64"])
def test_arrays_of_all_types_give_the_same_tone(kind: str) -> None:
    samples = tone(16_000)[:, 0]
    if kind == "uint8":
        array = np.round(samples * 127 + 128).astype(np.uint8)
    elif kind.startswith("int"):
        array = np.round(samples * np.iinfo(kind).max).astype(kind)
    else:
        array = samples.astype(kind)
    assert_tone(from_array(array, 16_000, name="array"))


@pytest.mark.parametrize("rate", [8_000, 44_100])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_arrays_of_both_layouts_are_averaged_and_resampled(rate: int, channels: int) -> None:
    samples = tone(rate, channels)
    assert_tone(from_array(samples, rate, name="array"))
    np.testing.assert_array_equal(
        from_array(samples, rate, name="array"), from_array(samples.T, rate, name="array")
    )


def test_the_input_array_is_not_modified() -> None:
    samples = np.full(1_000, 2.0, np.float32)
    assert from_array(samples, 16_000, name="array").max() == 1
    assert samples.max() == 2


@pytest.mark.parametrize(
    ("array", "rate", "message"),
    [
        (np.zeros((2, 3, 400)), 16_000, r"the array has shape \(2, 3, 400\)"),
        (np.float32(0), 16_000, r"the array has shape \(\)"),
        (np.zeros(0), 16_000, "contains no audio"),
        (np.zeros(100), 16_000, "contains 6.25 ms of audio"),
        (np.zeros(1_000, np.uint16), 16_000, "the samples are uint16"),
        (np.zeros(1_000, np.complex64), 16_000, "the samples are complex64"),
        (np.full(1_000, 1e300), 16_000, "contains NaN or infinite"),
        (np.full(1_000, 1e4), 16_000, "its samples reach 10000"),
        (np.zeros(1_000), 100, "the sample rate is 100 Hz"),
    ],
)
def test_invalid_arrays_are_rejected(array: Samples, rate: int, message: str) -> None:
    with pytest.raises(AudioError, match=rf"^array: {message}"):
        from_array(array, rate, name="array")


def test_check_audio_rejects_empty_short_and_infinite_waveforms() -> None:
    check_audio(np.zeros(400, np.float32), "silence")
    for samples in (np.zeros(0), np.zeros(399), np.full(400, np.nan), np.full(400, -np.inf)):
        with pytest.raises(AudioError, match=r"^clip: contains"):
            check_audio(samples.astype(np.float32), "clip")


def test_silence_is_below_minus_70_dbfs() -> None:
    assert is_silent(np.zeros(400, np.float32))
    assert is_silent(np.zeros(0, np.float32))
    assert is_silent(np.full(400, 10 ** (-71 / 20), np.float32))
    assert not is_silent(np.full(400, -(10 ** (-69 / 20)), np.float32))


# Corpora


def test_recordings_of_the_digits_corpus_are_read(shared_data: Path) -> None:
    for path in sorted((shared_data / "fsdd" / "recordings").glob("*.wav"))[::150]:
        info, samples = probe(path), read_audio(path)
        assert info == AudioInfo(info.duration, 8_000, 1)
        assert len(samples) == round(2 * 8_000 * info.duration)
        assert not is_silent(samples)


def test_opus_recordings_of_the_english_corpus_are_read(shared_data: Path) -> None:
    for path in sorted((shared_data / "english" / "audio").rglob("*.opus"))[::1000]:
        assert path.suffix in AUDIO_SUFFIXES
        info, samples = probe(path), read_audio(path)
        assert info == AudioInfo(len(samples) / SAMPLE_RATE, SAMPLE_RATE, 1)
        assert not is_silent(samples)
