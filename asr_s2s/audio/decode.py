"""Reading recordings of all common formats as mono float32 waveforms at 16 kHz.

libsndfile (through soundfile) reads WAV, FLAC, Ogg Vorbis, Opus, AIFF and AU; FFmpeg (through
PyAV) reads the rest: MP3, m4a, webm, video, WMA. Channels are averaged, and soxr resamples, block
by block, so that memory use does not depend on the length of a recording.
Samples beyond full scale, which occur in float files and lossy codecs, are clipped to [-1, 1], as
audio players do.

Every problem with a recording raises an `AudioError` that names it. Silence is not an error.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from asr_s2s.audio.encoded import open_source
from asr_s2s.audio.ffmpeg import decode_container, header_duration, open_container
from asr_s2s.audio.libsndfile import decode_soundfile, open_soundfile
from asr_s2s.audio.waveform import Waveform, concatenate, to_model_rate
from asr_s2s.errors import AudioError

# fmt: off
AUDIO_SUFFIXES = frozenset((
    ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aiff", ".aif", ".aifc",
    ".au", ".snd", ".caf", ".w64", ".rf64", ".sph", ".m4a", ".m4b", ".mp4", ".m4v", ".mov", ".webm",
    ".mkv", ".mka", ".aac", ".ac3", ".wma", ".wmv", ".avi", ".amr", ".3gp", ".wv",
))
# fmt: on
"""Lower-case suffixes of files that count as recordings when a folder is searched."""


@dataclass(frozen=True)
class AudioInfo:
    """Format and duration of a recording."""

    duration: float
    """Duration in seconds."""
    sample_rate: int
    """Sample rate in Hz, before resampling."""
    channels: int


def probe(path: str | Path) -> AudioInfo:
    """Read duration, sample rate and channels, if possible from the header alone.

    Raises:
        AudioError: the file is missing, is not audio, or is detectably cut short.
    """
    name = str(path)
    source = open_source(path, name)
    file, damage = open_soundfile(source, name)
    if damage is not None:
        if file is not None:
            file.close()
        raise damage
    if file is not None:
        with file:
            return AudioInfo(file.frames / file.samplerate, file.samplerate, file.channels)
    with open_container(source, name) as (container, stream):
        duration = header_duration(container, stream)
        if duration is None:
            packets = container.demux(stream)
            duration = float(sum(p.duration or 0 for p in packets) * stream.time_base)
        return AudioInfo(duration, stream.rate, stream.channels)


def read_audio(
    source: str | Path | BinaryIO,
    *,
    name: str | None = None,
    start: float = 0.0,
    duration: float | None = None,
) -> Waveform:
    """Read a recording, or a span of it, into one array. Arguments are those of `stream_audio`.

    Returns:
        mono float32 samples in [-1, 1] at 16 kHz, shape (samples,).

    Raises:
        AudioError: see `stream_audio`.
    """
    return concatenate(list(stream_audio(source, name=name, start=start, duration=duration)))


def stream_audio(
    source: str | Path | BinaryIO,
    *,
    name: str | None = None,
    start: float = 0.0,
    duration: float | None = None,
) -> Iterator[Waveform]:
    """Read a recording, or a span of it, in blocks of a few seconds.

    Args:
        source: a path (named pipes included), or a binary stream.
        name: name of the recording in errors; the path by default.
        start: start of the span, in seconds.
        duration: length of the span in seconds; by default up to the end. A span that extends past
            the end is truncated.

    Yields:
        mono float32 samples in [-1, 1] at 16 kHz, shape (samples,), block by block.

    Raises:
        AudioError: the recording cannot be read, is damaged or cut short, or does not pass
            `check_audio`; raised after all blocks that could be read.
    """
    if name is None:
        name = str(source) if isinstance(source, str | Path) else "audio stream"
    if start < 0 or (duration is not None and duration <= 0):
        span = f"start {start:g} s" + ("" if duration is None else f", duration {duration:g} s")
        raise AudioError(
            name,
            f"the span is invalid: {span}",
            "Give a start of at least 0 and a duration above 0",
        )
    opened = open_source(source, name)
    file, damage = open_soundfile(opened, name)
    if file is not None:
        with file:
            mono = decode_soundfile(file, name, start, duration)
            yield from to_model_rate(_require_audio(mono, start, name), file.samplerate, name)
    else:
        with open_container(opened, name) as (container, stream):
            mono = decode_container(container, stream, name, start, duration)
            yield from to_model_rate(_require_audio(mono, start, name), stream.rate, name)
    if damage is not None:
        raise damage


def _require_audio(blocks: Iterator[Waveform], start: float, name: str) -> Iterator[Waveform]:
    empty = True
    for block in blocks:
        empty = False
        yield block
    if empty and start > 0:
        raise AudioError(name, f"no audio is left after {start:g} s", "Correct the start")
