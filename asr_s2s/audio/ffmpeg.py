"""Reading MP3, m4a, webm, video, WMA and other formats with FFmpeg (through PyAV)."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from asr_s2s.audio.encoded import (
    BLOCK,
    COPY_AGAIN,
    LENGTH_TOLERANCE,
    bytes_of,
    cut_short,
    unreadable,
)
from asr_s2s.audio.waveform import Waveform, check_format, mix_channels, scale_pcm
from asr_s2s.errors import AudioError

HEAD = 4096
"""Bytes at the beginning of a file by which text is told from audio."""
# Formats that FFmpeg may open. Playlists and scripts could make it read other files or fetch URLs.
_CONTAINERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dts,eac3,flac,flv,gsm,matroska,mov,mp3,mpeg,mpegts,"
    "ogg,rm,tta,voc,w64,wav,wv"
)
# Formats that record time stamps; others only count samples.
_TIMED = ("mp4", "matroska", "mpegts", "mpeg", "flv", "asf")
_RESET = ("mpegts", "mpeg")  # time stamps start again where files or broadcasts were joined
_TIME_TOLERANCE = 0.1  # s; below are rounding and jitter, which players do not correct either
_LONGEST_GAP, _LONGEST_GAP_RESET = 108_000.0, 10.0  # s; FFmpeg's limits, the second for `_RESET`


@dataclass(frozen=True)
class AudioTrack:
    """One of the audio tracks of a recording."""

    number: int
    """Position among the audio tracks of the file, from 1."""
    codec: str
    """Name of the codec, as FFmpeg or libsndfile call it."""
    sample_rate: int
    """Sample rate in Hz."""
    channels: int
    language: str | None
    """Language code in the file, for example `eng`; None if not stated."""
    title: str | None
    """Title in the file; None if not stated."""
    is_default: bool
    """Whether the track is read when none is chosen."""


@contextmanager
def open_container(
    source: str | BinaryIO, name: str, audio_track: int | None = None
) -> Iterator[tuple[Any, Any]]:
    """Open a recording; yields its PyAV container and an audio stream: the track with the number
    `audio_track`, by default the default track.

    Raises:
        AudioError: the source cannot be opened, has no such audio, or is damaged.
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
        streams = container.streams.audio
        check_track(audio_track, len(streams), name)
        stream = _default_stream(streams) if audio_track is None else streams[audio_track - 1]
        if stream.codec_context is None:
            problem = "has audio in a codec that FFmpeg does not support"
            raise AudioError(name, problem, "Convert it to WAV with the program that made it")
        check_format(stream.rate or 0, stream.channels or 0, name)
        try:
            yield container, stream
        except av.FFmpegError as error:
            problem = f"is damaged or cut short ({error.strerror})"
            raise AudioError(name, problem, COPY_AGAIN) from error


def check_track(audio_track: int | None, count: int, name: str) -> None:
    """Raise an AudioError if there is no audio track with this number."""
    if audio_track is None or 1 <= audio_track <= count:
        return
    choice = "Choose 1" if count == 1 else f"Choose a number from 1 to {count}"
    problem = f"there is no audio track {audio_track}; the recording has {count}"
    raise AudioError(name, problem, choice)


def _default_stream(streams: Any) -> Any:
    """The first stream that is marked as default, else the first; of those that can be decoded."""
    from av.stream import Disposition

    decodable = [s for s in streams if s.codec_context is not None and s.rate and s.channels]
    marked = [s for s in decodable if s.disposition & Disposition.default]
    return [*marked, *decodable, *streams][0]


def container_tracks(container: Any) -> tuple[AudioTrack, ...]:
    """Describe the audio tracks of an open container."""
    streams = container.streams.audio
    default = _default_stream(streams)
    return tuple(
        AudioTrack(
            number=number,
            codec="unknown" if stream.codec_context is None else stream.codec_context.name,
            sample_rate=0 if stream.codec_context is None else stream.rate or 0,
            channels=0 if stream.codec_context is None else stream.channels or 0,
            language=_stated(stream, "language"),
            title=_stated(stream, "title"),
            is_default=stream is default,
        )
        for number, stream in enumerate(streams, 1)
    )


def _stated(stream: Any, key: str) -> str | None:
    value = {k.lower(): v for k, v in stream.metadata.items()}.get(key)
    return None if value in (None, "", "und") else str(value)


class _TimeLine:
    """Places packets or frames on the time line of a recording, where its first stream, audio or
    video, starts at 0: gaps are found by time stamps, as players do.

    Audio is never dropped: where time stamps go back, or further ahead than FFmpeg believes, it
    continues without a gap. A long gap in a transport stream is believed if video goes on in it.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        self.rate: int = stream.rate
        self.timed = _is_any(container, *_TIMED)
        self.resets = _is_any(container, *_RESET)
        self.start = float((stream.start_time or 0) * stream.time_base)
        first = float((container.start_time or 0) / 1_000_000)
        late = self.timed and self.start - first > _TIME_TOLERANCE
        self.zero = first if late else self.start
        self.position = 0  # sample at which the next frame begins
        self._shift = 0
        self._pictures: list[float] = []  # times of other packets since the last gap

    def seek(self, time: float, begin: int) -> None:
        """Go to the time of a frame from which samples will be read, `begin` being the first."""
        at = round((time - self.zero) * self.rate)
        late = self.timed and at - begin > _TIME_TOLERANCE * self.rate
        self.position = begin if late else at

    def see(self, time: float) -> None:
        """Note the time of a packet of video."""
        if self.resets:
            self._pictures.append(time)

    def gap(self, time: float | None) -> int:
        """Samples of silence before a frame."""
        if time is None or not self.timed:
            return 0
        gap = round((time - self.zero) * self.rate) + self._shift - self.position
        if abs(gap) <= _TIME_TOLERANCE * self.rate:
            return 0
        first = time - gap / self.rate
        filled = any(first + 1 < picture < time - 1 for picture in self._pictures)
        self._pictures = []
        longest = _LONGEST_GAP_RESET if self.resets and not filled else _LONGEST_GAP
        if gap < 0 or (gap > longest * self.rate and self.position > 0):
            self._shift -= gap
            return 0
        return gap


def find_duration(container: Any, stream: Any) -> float:
    """Duration in seconds, from the header if it states it, else from the time of all packets."""
    line = _TimeLine(container, stream)
    promised = _header_end(container, stream, line)
    if promised is not None:
        return promised
    for packet in _packets(container, stream, line):
        if packet.pts is not None and not packet.is_discard:
            line.position += line.gap(float(packet.pts * packet.time_base))
        line.position += round(float((packet.duration or 0) * stream.time_base) * line.rate)
    return line.position / line.rate


def _header_end(container: Any, stream: Any, line: _TimeLine) -> float | None:
    """End in seconds from an MP4 or Matroska header; None for formats where FFmpeg may guess."""
    if not _is_any(container, "mp4", "matroska"):
        return None
    if stream.duration:
        return line.start - line.zero + float(stream.duration * stream.time_base)
    if container.duration and len(container.streams) == 1:
        return float(container.duration / 1_000_000) - max(0.0, line.zero)
    return None


def decode_container(
    container: Any, stream: Any, name: str, start: float, duration: float | None
) -> Iterator[Waveform]:
    """Yield mono blocks (samples,) at the stream's rate; gaps in the time stamps are silence.

    Raises:
        AudioError: the sample rate changes, or the recording is cut short.
    """
    return mix_channels(_read_blocks(container, stream, name, start, duration))


def _read_blocks(
    container: Any, stream: Any, name: str, start: float, duration: float | None
) -> Iterator[Waveform]:
    """Yield blocks (samples, channels)."""
    line = _TimeLine(container, stream)
    rate = stream.rate
    begin = round(start * rate)
    end = None if duration is None else begin + round(duration * rate)
    frames: list[Waveform] = []  # next block
    held = 0  # samples in `frames`
    # In other formats times after a seek are inexact, so they are decoded from the beginning.
    sought = start > 1.0 and _is_any(container, "mp4", "matroska", "mp3")
    if sought:  # half a second early, because lossy decoders need a run-up
        target = line.zero + start - 0.5
        container.seek(int(target / stream.time_base), stream=stream)
    empty = True
    for frame in _frames(container, stream, line):
        if frame.sample_rate != rate:
            problem = f"its sample rate changes from {rate} to {frame.sample_rate} Hz"
            raise AudioError(name, problem, "Convert it with `ffmpeg -i` to a WAV file first")
        if empty and sought:
            line.seek(target if frame.time is None else frame.time, begin)
        empty = False
        samples = scale_pcm(frame.to_ndarray())  # (channels, samples), or (1, interleaved)
        samples = samples.T if frame.format.is_planar else samples.reshape(frame.samples, -1)
        gap = line.gap(frame.time)
        for piece in (*_silence(gap, samples.shape[1]), samples):
            if end is not None and line.position >= end:
                break
            stop = None if end is None else end - line.position
            wanted = piece[max(begin - line.position, 0) : stop]
            line.position += len(piece)
            if frames and frames[0].shape[1] != wanted.shape[1]:
                yield np.concatenate(frames)
                frames, held = [], 0
            if wanted.size:
                frames.append(wanted)
                held += len(wanted)
            if held >= BLOCK:
                yield np.concatenate(frames)
                frames, held = [], 0
        if end is not None and line.position >= end:
            break
    if held:
        yield np.concatenate(frames)
    promised = _header_end(container, stream, line)
    if end is None and not empty and promised is not None:
        found = line.position / rate
        if promised - found > LENGTH_TOLERANCE:
            raise cut_short(name, found, promised)


def _silence(count: int, channels: int) -> Iterator[Waveform]:
    for begin in range(0, count, BLOCK):
        yield np.zeros((min(BLOCK, count - begin), channels), np.float32)


def _not_audio(source: str | BinaryIO, name: str, problem: str) -> AudioError:
    """Build the error for a file without audio; empty files and text files are reported as such."""
    with bytes_of(source) as stream:
        head = stream.read(HEAD)
    if not head:
        return AudioError(name, "is empty (0 bytes)", "Copy or record it again")
    if is_text(head):
        text = " ".join(head[:40].decode("utf-8", "replace").split())
        problem = f"is a text file, not audio; it begins {text!r}"
    return AudioError(name, problem, "Check that it is a recording and was copied completely")


def is_text(head: bytes) -> bool:
    """Return whether bytes from the beginning of a file are text: without control characters, in
    UTF-8 or mostly in ASCII."""
    if re.search(rb"[\x00-\x08\x0e-\x1f]", head):
        return False
    try:
        head[: max(1, len(head) - 3)].decode("utf-8")  # the last character may be incomplete
    except UnicodeDecodeError as error:
        if error.start < len(head) - 6:
            return sum(byte < 0x80 for byte in head) > 0.75 * len(head)
    return True


def _is_any(container: Any, *formats: str) -> bool:
    return any(name in formats for name in container.format.name.split(","))


def _packets(container: Any, stream: Any, line: _TimeLine) -> Iterator[Any]:
    """Yield the packets of a stream; the times of the others are noted if they are needed."""
    for packet in container.demux() if line.resets else container.demux(stream):
        if packet.stream is stream or packet.stream.index == stream.index:
            yield packet
        elif packet.stream.type == "video" and packet.pts is not None:
            line.see(float(packet.pts * packet.time_base))


def _frames(container: Any, stream: Any, line: _TimeLine) -> Iterator[Any]:
    """Yield decoded frames; damaged ones are skipped in MP3, which is often cut and
    concatenated."""
    import av

    for packet in _packets(container, stream, line):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            if not _is_any(container, "mp3"):
                raise
