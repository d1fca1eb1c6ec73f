"""Reading recordings of all common formats as mono float32 waveforms at 16 kHz.

libsndfile (through soundfile) reads WAV, FLAC, Ogg Vorbis, Opus, AIFF and AU; FFmpeg (through
PyAV) reads the rest: MP3, m4a, webm, video, WMA. Channels are averaged, and soxr resamples, block
by block, so that memory use does not depend on the length of a recording. Times are those of the
video: gaps in its audio are silence. Chained Ogg files are read from the first link to the last.
Samples beyond full scale, which occur in float files and lossy codecs, are clipped to [-1, 1], as
audio players do.

Every problem with a recording raises an `AudioError` that names it. Silence is not an error.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from asr_s2s.audio.encoded import open_source
from asr_s2s.audio.ffmpeg import (
    HEAD,
    AudioTrack,
    check_track,
    container_tracks,
    decode_container,
    find_duration,
    is_text,
    open_container,
)
from asr_s2s.audio.folder import AUDIO_SUFFIXES
from asr_s2s.audio.libsndfile import decode_soundfile, open_soundfile
from asr_s2s.audio.ogg import chained_links
from asr_s2s.audio.waveform import Waveform, check_duration, concatenate, to_model_rate
from asr_s2s.errors import AudioError
from asr_s2s.text_files import PACKED


@dataclass(frozen=True)
class AudioInfo:
    """Format and duration of a recording."""

    duration: float
    """Duration in seconds."""
    sample_rate: int
    """Sample rate in Hz, before resampling."""
    channels: int


def is_recording(path: str | Path) -> bool:
    """Return whether a file is a recording: by its suffix, or else by its content."""
    path = Path(path)
    if path.suffix.lower() in AUDIO_SUFFIXES:
        return True
    if path.suffix.lower() in PACKED:
        return False
    try:
        with path.open("rb") as file:
            if is_text(file.read(HEAD)):
                return False
        probe(path)
    except (AudioError, OSError, ValueError):  # not a file, or none that can be read
        return False
    return True


def probe(path: str | Path, *, audio_track: int | None = None) -> AudioInfo:
    """Read duration, sample rate and channels, if possible from the header alone.

    Sample rate and channels of a chained Ogg file are those of its first link.

    Raises:
        AudioError: the file is missing, is not audio, or is detectably cut short.
    """
    name = str(path)
    source = open_source(path, name)
    with chained_links(source) as links:
        infos = [_probe(link, _link_name(name, number)) for number, link in enumerate(links, 1)]
    if infos:
        return replace(infos[0], duration=sum(info.duration for info in infos))
    return _probe(source, name, audio_track)


def _probe(source: str | BinaryIO, name: str, audio_track: int | None = None) -> AudioInfo:
    file, damage = open_soundfile(source, name)
    if damage is not None:
        if file is not None:
            file.close()
        raise damage
    if file is not None:
        with file:
            check_track(audio_track, 1, name)
            return AudioInfo(file.frames / file.samplerate, file.samplerate, file.channels)
    with open_container(source, name, audio_track) as (container, stream):
        return AudioInfo(find_duration(container, stream), stream.rate, stream.channels)


def audio_tracks(
    source: str | Path | BinaryIO, *, name: str | None = None
) -> tuple[AudioTrack, ...]:
    """Describe the audio tracks of a recording, in the order of the file; videos may have several.

    Raises:
        AudioError: the file is missing or is not audio.
    """
    name = _source_name(source, name)
    opened = open_source(source, name)
    file, _ = open_soundfile(opened, name)
    if file is not None:
        with file:
            return (AudioTrack(1, file.subtype, file.samplerate, file.channels, None, None, True),)
    with open_container(opened, name) as (container, _):
        return container_tracks(container)


def read_audio(
    source: str | Path | BinaryIO,
    *,
    name: str | None = None,
    start: float = 0.0,
    duration: float | None = None,
    audio_track: int | None = None,
) -> Waveform:
    """Read a recording, or a span of it, into one array. Arguments are those of `stream_audio`.

    Returns:
        mono float32 samples in [-1, 1] at 16 kHz, shape (samples,).

    Raises:
        AudioError: see `stream_audio`.
    """
    blocks = stream_audio(
        source, name=name, start=start, duration=duration, audio_track=audio_track
    )
    return concatenate(list(blocks))


def stream_audio(
    source: str | Path | BinaryIO,
    *,
    name: str | None = None,
    start: float = 0.0,
    duration: float | None = None,
    audio_track: int | None = None,
) -> Iterator[Waveform]:
    """Read a recording, or a span of it, in blocks of a few seconds.

    Args:
        source: a path (named pipes included), or a binary stream.
        name: name of the recording in errors; the path by default.
        start: start of the span, in seconds.
        duration: length of the span in seconds; by default up to the end. A span that extends past
            the end is truncated.
        audio_track: number of the audio track, from 1; by default the one that players choose: the
            first that is marked as default, else the first.

    Yields:
        mono float32 samples in [-1, 1] at 16 kHz, shape (samples,), block by block.

    Raises:
        AudioError: the recording cannot be read, is damaged or cut short, or does not pass
            `check_audio`; raised after all blocks that could be read.
    """
    name = _source_name(source, name)
    if start < 0 or (duration is not None and duration <= 0):
        span = f"start {start:g} s" + ("" if duration is None else f", duration {duration:g} s")
        raise AudioError(
            name,
            f"the span is invalid: {span}",
            "Give a start of at least 0 and a duration above 0",
        )
    opened = open_source(source, name)
    with chained_links(opened) as links:
        if links:
            check_track(audio_track, 1, name)
            blocks = _stream_links(links, name, start, duration)
        else:
            blocks = _stream(opened, name, start, duration, audio_track)
        yield from check_duration(_require_audio(blocks, start, name), name)


def _stream(
    source: str | BinaryIO,
    name: str,
    start: float,
    duration: float | None,
    audio_track: int | None,
) -> Iterator[Waveform]:
    """Yield blocks (samples,) at 16 kHz."""
    file, damage = open_soundfile(source, name)
    if file is not None:
        with file:
            check_track(audio_track, 1, name)
            mono = decode_soundfile(file, name, start, duration)
            yield from to_model_rate(mono, file.samplerate, name)
    else:
        with open_container(source, name, audio_track) as (container, stream):
            mono = decode_container(container, stream, name, start, duration)
            yield from to_model_rate(mono, stream.rate, name)
    if damage is not None:
        raise damage


def _stream_links(
    links: list[BinaryIO], name: str, start: float, duration: float | None
) -> Iterator[Waveform]:
    """Yield blocks (samples,) at 16 kHz of the links of a chained Ogg file."""
    damage: AudioError | None = None
    begin = 0.0  # of a link, in seconds from the start of the recording
    for number, link in enumerate(links, 1):
        wanted = None if duration is None else start + duration - begin
        if wanted is not None and wanted <= 0:
            break
        file, cut = open_soundfile(link, _link_name(name, number))
        if file is None:
            problem = f"link {number} of {len(links)}, from {begin:.2f} s on, cannot be read"
            raise AudioError(name, problem, "Convert the rest with `ffmpeg -i` to a WAV file")
        with file:
            skipped = max(0.0, start - begin)
            length = file.frames / file.samplerate
            if skipped < length:
                rest = None if wanted is None else wanted - skipped
                mono = decode_soundfile(file, name, skipped, rest)
                yield from to_model_rate(mono, file.samplerate, name)
            begin += length
        damage = damage or cut
    if damage is not None:
        raise damage


def _link_name(name: str, number: int) -> str:
    return f"{name}: link {number}"


def _source_name(source: str | Path | BinaryIO, name: str | None) -> str:
    if name is not None:
        return name
    return str(source) if isinstance(source, str | Path) else "audio stream"


def _require_audio(blocks: Iterator[Waveform], start: float, name: str) -> Iterator[Waveform]:
    empty = True
    for block in blocks:
        empty = False
        yield block
    if empty and start > 0:
        raise AudioError(name, f"no audio is left after {start:g} s", "Correct the start")
