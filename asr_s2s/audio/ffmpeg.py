"""Reading MP3, m4a, webm, video, WMA and other formats with FFmpeg (through PyAV)."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO

from asr_s2s.audio.encoded import (
    BLOCK,
    COPY_AGAIN,
    LENGTH_TOLERANCE,
    bytes_of,
    cut_short,
    unreadable,
)
from asr_s2s.audio.waveform import Waveform, check_format, concatenate, scale_pcm
from asr_s2s.errors import AudioError

# Formats that FFmpeg may open. Playlists and scripts could make it read other files or fetch URLs.
_CONTAINERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dts,eac3,flac,flv,gsm,matroska,mov,mp3,mpeg,mpegts,"
    "ogg,rm,tta,voc,w64,wav,wv"
)


@contextmanager
def open_container(source: str | BinaryIO, name: str) -> Iterator[tuple[Any, Any]]:
    """Open a recording; yields its PyAV container and first audio stream.

    Raises:
        AudioError: the source cannot be opened, has no audio, or is damaged.
    """
    import av

    with ExitStack() as stack:
        try:
            if isinstance(source, str):
                file: str | BinaryIO = f"file:{source}"  # a colon in the name is not a protocol
            else:
                file = stack.enter_context(bytes_of(source))
            options = {"format_whitelist": _CONTAINERS}
            container = stack.enter_context(
                av.open(file, "r", container_options=options, metadata_errors="replace")
            )
        except av.FFmpegError as error:
            problem = f"has no audio that libsndfile or FFmpeg can read ({error.strerror})"
            raise _not_audio(source, name, problem) from error
        except OSError as error:
            raise unreadable(name, error) from error
        if not container.streams.audio:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            raise _not_audio(source, name, f"has no audio, only {kinds}")
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            problem = "has audio in a codec that FFmpeg does not support"
            raise AudioError(name, problem, "Convert it to WAV with the program that made it")
        check_format(stream.rate or 0, stream.channels or 0, name)
        try:
            yield container, stream
        except av.FFmpegError as error:
            problem = f"is damaged or cut short ({error.strerror})"
            raise AudioError(name, problem, COPY_AGAIN) from error


def header_duration(container: Any, stream: Any) -> float | None:
    """Duration in seconds from an MP4 or Matroska header; None for formats where FFmpeg may
    guess."""
    if not _is_any(container, "mp4", "matroska"):
        return None
    if stream.duration:
        return float(stream.duration * stream.time_base)
    if container.duration and len(container.streams) == 1:
        return float(container.duration / 1_000_000)
    return None


def decode_container(
    container: Any, stream: Any, name: str, start: float, duration: float | None
) -> Iterator[Waveform]:
    """Yield mono blocks (samples,) at the stream's rate.

    Raises:
        AudioError: the sample rate changes, or the recording is cut short.
    """
    rate = stream.rate
    begin = round(start * rate)
    end = None if duration is None else begin + round(duration * rate)
    frames: list[Waveform] = []  # next block
    held = 0  # samples in `frames`
    position: int | None = None  # of the next frame, in samples from the start of the stream
    first_tick = stream.start_time or 0
    # In other formats times after a seek are inexact, so they are decoded from the beginning.
    sought = start > 1.0 and _is_any(container, "mp4", "matroska", "mp3")
    if sought:  # half a second early, because lossy decoders need a run-up
        container.seek(first_tick + int((start - 0.5) / stream.time_base), stream=stream)
    for frame in _frames(container, stream):
        if frame.sample_rate != rate:
            problem = f"its sample rate changes from {rate} to {frame.sample_rate} Hz"
            raise AudioError(name, problem, "Convert it with `ffmpeg -i` to a WAV file first")
        if position is None:
            elapsed = frame.time - float(first_tick * stream.time_base) if sought else 0.0
            position = round(elapsed * rate)
        if end is not None and position >= end:
            break
        samples = scale_pcm(frame.to_ndarray())  # (channels, samples), or (1, interleaved)
        if not frame.format.is_planar:
            samples = samples.reshape(frame.samples, -1).T
        stop = None if end is None else end - position
        wanted = samples[:, max(begin - position, 0) : stop]
        position += frame.samples
        if wanted.size:
            frames.append(wanted.mean(axis=0))
            held += len(frames[-1])
        if held >= BLOCK:
            yield concatenate(frames)
            frames, held = [], 0
    if held:
        yield concatenate(frames)
    promised = header_duration(container, stream)
    if end is None and position is not None and promised is not None:
        found = position / rate
        if promised - found > LENGTH_TOLERANCE:
            raise cut_short(name, found, promised)


def _not_audio(source: str | BinaryIO, name: str, problem: str) -> AudioError:
    """Build the error for a file without audio; empty files and text files are reported as such."""
    with bytes_of(source) as stream:
        head = stream.read(40)
    if not head:
        return AudioError(name, "is empty (0 bytes)", "Copy or record it again")
    if not re.search(rb"[\x00-\x08\x0e-\x1f]", head):
        text = " ".join(head.decode("utf-8", "replace").split())
        problem = f"is a text file, not audio; it begins {text!r}"
    return AudioError(name, problem, "Check that it is a recording and was copied completely")


def _is_any(container: Any, *formats: str) -> bool:
    return any(name in formats for name in container.format.name.split(","))


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    """Yield decoded frames; damaged ones are skipped in MP3, which is often cut and
    concatenated."""
    import av

    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            if not _is_any(container, "mp3"):
                raise
