"""Recordings of any common format as mono float32 waveforms at 16 kHz.

libsndfile (through soundfile) reads WAV, FLAC, Ogg Vorbis, Opus, AIFF and AU; FFmpeg (through
PyAV) reads the rest: MP3, m4a, webm, video, WMA. Channels are averaged, and soxr resamples, block
by block, so that the length of a recording costs no memory.
Samples beyond full scale, as float files and lossy codecs hold, are clipped to [-1, 1] as a
player would.

Every problem with a recording is one `AudioError` that names it. Silence is not a problem here.
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
"""Lower-case suffixes taken for recordings when a folder is walked."""


@dataclass(frozen=True)
class AudioInfo:
    """What a recording's header says of it."""

    duration: float
    """Seconds."""
    sample_rate: int
    """Hz, before resampling."""
    channels: int


def probe(path: str | Path) -> AudioInfo:
    """Duration, rate and channels, from the header alone where the format records them there.

    Raises:
        AudioError: the file is missing, is not audio, or is visibly cut short.
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
    """Decode a recording, or a span of it, whole: the blocks of `stream_audio` as one.

    Returns:
        mono float32 samples in [-1, 1] at 16 kHz, shape (samples,).

    Raises:
        AudioError: as `stream_audio`.
    """
    return concatenate(list(stream_audio(source, name=name, start=start, duration=duration)))


def stream_audio(
    source: str | Path | BinaryIO,
    *,
    name: str | None = None,
    start: float = 0.0,
    duration: float | None = None,
) -> Iterator[Waveform]:
    """Decode a recording, or a span of it, some seconds at a time.

    Args:
        source: a path (named pipes included), or a binary stream.
        name: what errors call the recording; the path by default.
        start: where the span begins, in seconds.
        duration: length of the span in seconds; without it, up to the end. A span that reaches
            past the end gives what is there.

    Yields:
        mono float32 samples in [-1, 1] at 16 kHz, shape (samples,), one block after the other.

    Raises:
        AudioError: the recording cannot be read, is damaged or cut short, or does not pass
            `check_audio`; after the blocks that could be decoded.
    """
    if name is None:
        name = str(source) if isinstance(source, str | Path) else "audio stream"
    if start < 0 or (duration is not None and duration <= 0):
        span = f"{start:g} s" if duration is None else f"{start:g} s for {duration:g} s"
        raise AudioError(
            name, f"no span can begin at {span}", "Give a start of 0 or later, and a length above 0"
        )
    opened = open_source(source, name)
    file, damage = open_soundfile(opened, name)
    if file is not None:
        with file:
            mono = decode_soundfile(file, name, start, duration)
            yield from to_model_rate(_not_past_the_end(mono, start, name), file.samplerate, name)
    else:
        with open_container(opened, name) as (container, stream):
            mono = decode_container(container, stream, name, start, duration)
            yield from to_model_rate(_not_past_the_end(mono, start, name), stream.rate, name)
    if damage is not None:
        raise damage


def _not_past_the_end(blocks: Iterator[Waveform], start: float, name: str) -> Iterator[Waveform]:
    empty = True
    for block in blocks:
        empty = False
        yield block
    if empty and start > 0:
        raise AudioError(name, f"no audio is left after {start:g} s", "Correct the start")
