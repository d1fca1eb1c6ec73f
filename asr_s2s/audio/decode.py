"""Recordings of any common format as mono float32 waveforms at 16 kHz.

libsndfile (through soundfile) reads WAV, FLAC, Ogg Vorbis, Opus, AIFF and AU; FFmpeg (through
PyAV) reads the rest: MP3, m4a, webm, video, WMA. Channels are averaged, and librosa resamples.
Samples beyond full scale, as float files and lossy codecs hold, are clipped to [-1, 1] as a
player would.

Every problem with a recording is one `AudioError` that names it. Silence is not a problem here.
"""

import io
import re
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile

from asr_s2s.errors import AudioError

Waveform = npt.NDArray[np.float32]

SAMPLE_RATE = 16_000  # Hz
SHORTEST = 0.025  # s, one analysis window
SILENT_PEAK = 10 ** (-70 / 20)  # -70 dBFS: ten steps of a 16-bit file, below any microphone's noise
# fmt: off
AUDIO_SUFFIXES = frozenset((
    ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aiff", ".aif", ".aifc",
    ".au", ".snd", ".caf", ".w64", ".rf64", ".sph", ".m4a", ".m4b", ".mp4", ".m4v", ".mov", ".webm",
    ".mkv", ".mka", ".aac", ".ac3", ".wma", ".wmv", ".avi", ".amr", ".3gp", ".wv",
))
# fmt: on
"""Lower-case suffixes taken for recordings when a folder is walked."""

_LOWEST_RATE, _HIGHEST_RATE = 4_000, 768_000  # Hz
_MOST_CHANNELS = 64
_LOUDEST = 8.0  # +18 dBFS; beyond it, samples are integers in a float file
_LOST = 0.25  # s; headers of whole files are wrong by less
_BLOCK = 1 << 20  # frames read at once, so that channels and source rate do not cost memory
_COPY_AGAIN = "Copy or download it again; `ffmpeg -i` may save what is there into a new file"

# FFmpeg opens no others: a playlist or script could make it read other files and fetch addresses.
_CONTAINERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dts,eac3,flac,flv,gsm,matroska,mov,mp3,mpeg,mpegts,"
    "ogg,rm,tta,voc,w64,wav,wv"
)


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
    source = _open_source(path, name)
    if (file := _open_soundfile(source, name)) is not None:
        with file:
            return AudioInfo(file.frames / file.samplerate, file.samplerate, file.channels)
    with _open_av(source, name) as (container, stream):
        duration = _header_duration(container, stream)
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
    """Decode a recording, or a span of it.

    Args:
        source: a path (named pipes included), or a binary stream.
        name: what errors call the recording; the path by default.
        start: where the span begins, in seconds.
        duration: length of the span in seconds; without it, up to the end. A span that reaches
            past the end gives what is there.

    Returns:
        mono float32 samples in [-1, 1] at 16 kHz, shape (samples,).

    Raises:
        AudioError: the recording cannot be read, is damaged or cut short, or does not pass
            `check_audio`.
    """
    if name is None:
        name = str(source) if isinstance(source, str | Path) else "audio stream"
    if start < 0 or (duration is not None and duration <= 0):
        span = f"{start:g} s" if duration is None else f"{start:g} s for {duration:g} s"
        raise AudioError(
            name, f"no span can begin at {span}", "Give a start of 0 or later, and a length above 0"
        )
    opened = _open_source(source, name)
    if (file := _open_soundfile(opened, name)) is not None:
        with file:
            mono, rate = _decode_soundfile(file, name, start, duration), file.samplerate
    else:
        with _open_av(opened, name) as (container, stream):
            mono, rate = _decode_av(container, stream, name, start, duration), stream.rate
    if not len(mono) and start > 0:
        raise AudioError(name, f"no audio is left after {start:g} s", "Correct the start")
    return _finish(mono, rate, name)


def from_array(array: npt.ArrayLike, sample_rate: int, *, name: str) -> Waveform:
    """An in-memory recording with the guarantees of `read_audio`.

    Args:
        array: shape (samples,), (samples, channels), or (channels, samples) of at most 8 channels.
            Floats are in [-1, 1]; uint8, int8, int16 and int32 are PCM and are scaled.
        sample_rate: of the array, in Hz.
        name: what errors call the recording.

    Raises:
        AudioError: another shape or type, or the samples do not pass `check_audio`.
    """
    samples = np.asarray(array)
    if samples.ndim == 2 and samples.shape[0] <= 8 and samples.shape[0] < samples.shape[1]:
        samples = samples.T
    if samples.ndim not in (1, 2) or 0 in samples.shape[1:]:
        raise AudioError(
            name,
            f"the array has shape {np.shape(array)}; expected (samples,) or (samples, channels)",
            "Pass one recording at a time",
        )
    if samples.dtype.kind != "f" and samples.dtype.name not in ("uint8", "int8", "int16", "int32"):
        raise AudioError(
            name,
            f"the samples are {samples.dtype}; expected floats in [-1, 1] or 8, 16 or 32-bit PCM",
            'Convert them, for example with .astype("int16")',
        )
    channels = samples.shape[1] if samples.ndim == 2 else 1
    _check_format(sample_rate, channels, name)
    floats = _scale(samples)
    return _finish(floats.mean(axis=1) if floats.ndim == 2 else floats, sample_rate, name)


def check_audio(samples: Waveform, name: str, sample_rate: int = SAMPLE_RATE) -> None:
    """Refuse a waveform of shape (samples,) that no model can transcribe.

    Raises:
        AudioError: it is empty, holds NaN or infinity, or is shorter than one analysis window.
    """
    if not len(samples):
        raise AudioError(name, "holds no audio", "Record it again, or leave it out")
    if not np.isfinite(samples).all():
        bad = int(np.argmin(np.isfinite(samples)))
        raise AudioError(
            name,
            f"holds NaN or infinite samples, the first at {bad / sample_rate:.3f} s",
            "Export it again from its source",
        )
    seconds = len(samples) / sample_rate
    if seconds < SHORTEST:
        raise AudioError(
            name,
            f"holds {1000 * seconds:.3g} ms of audio; at least {1000 * SHORTEST:g} ms are needed",
            "Leave it out",
        )


def is_silent(samples: Waveform) -> bool:
    """Whether no sample of (samples,) reaches -70 dBFS."""
    return bool(np.abs(samples).max(initial=0.0) < SILENT_PEAK)


def _finish(mono: Waveform, rate: int, name: str) -> Waveform:
    """Checked (samples,) at `rate`, resampled to 16 kHz and clipped."""
    check_audio(mono, name, rate)
    peak = float(np.abs(mono).max())
    if peak > _LOUDEST:
        raise AudioError(
            name,
            f"its samples reach {peak:.6g}; floats are expected in [-1, 1]",
            "Divide 16-bit samples stored as floats by 32768",
        )
    if rate != SAMPLE_RATE:
        import librosa

        mono = librosa.resample(mono, orig_sr=rate, target_sr=SAMPLE_RATE, res_type="soxr_hq")
    return np.clip(mono, -1.0, 1.0)


def _scale(samples: npt.NDArray[Any]) -> Waveform:
    """PCM of any width as floats in [-1, 1); floats as they are. Keeps the shape."""
    with np.errstate(over="ignore"):  # doubles that overflow are refused as infinite
        floats = samples.astype(np.float32, copy=False)
    if samples.dtype.kind == "f":
        return floats
    full_scale = np.float32(2 ** (8 * samples.dtype.itemsize - 1))
    return (floats - full_scale if samples.dtype.kind == "u" else floats) / full_scale


def _check_format(rate: int, channels: int, name: str) -> None:
    if not _LOWEST_RATE <= rate <= _HIGHEST_RATE:
        raise AudioError(
            name,
            f"the sample rate is {rate} Hz; {_LOWEST_RATE} to {_HIGHEST_RATE} Hz can be used",
            "Check how it was recorded or written",
        )
    if not 1 <= channels <= _MOST_CHANNELS:
        raise AudioError(
            name,
            f"there are {channels} channels; at most {_MOST_CHANNELS} can be used",
            "Check that samples and channels were not exchanged when it was written",
        )


def _open_source(source: str | Path | BinaryIO, name: str) -> str | BinaryIO:
    """The path of a regular file, or a seekable stream."""
    if not isinstance(source, str | Path):
        if not source.seekable():
            return io.BytesIO(source.read())
        source.seek(0)
        return source
    path = Path(source)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise AudioError(name, "this is a folder, not a recording", "Name the files in it")
        return str(path) if stat.S_ISREG(mode) else io.BytesIO(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: OSError | ValueError) -> AudioError:
    if isinstance(error, FileNotFoundError):
        return AudioError(name, "there is no such file", "Check the path")
    reason = getattr(error, "strerror", None) or str(error)
    return AudioError(name, f"cannot be opened: {reason}", "Check the path and its permissions")


@contextmanager
def _bytes_of(source: str | BinaryIO) -> Iterator[BinaryIO]:
    """The encoded bytes from their beginning; a stream's position is given back."""
    if isinstance(source, str):
        with Path(source).open("rb") as stream:
            yield stream
        return
    position = source.tell()
    source.seek(0)
    try:
        yield source
    finally:
        source.seek(position)


def _cut_short(name: str, found: float, promised: float) -> AudioError:
    problem = f"is cut short: {found:.2f} s of {promised:.2f} s are there"
    return AudioError(name, problem, _COPY_AGAIN)


def _concatenate(blocks: list[Waveform]) -> Waveform:
    if len(blocks) == 1:
        return blocks[0]
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


# libsndfile


def _open_soundfile(source: str | BinaryIO, name: str) -> soundfile.SoundFile | None:
    """An open file, or None where FFmpeg should try."""
    try:
        file = soundfile.SoundFile(source)
    except (soundfile.LibsndfileError, TypeError):  # TypeError: soundfile's word on .raw files
        return None
    try:
        _check_promised_size(file, name)
        if (file.format == "OGG" and _ogg_is_cut(source)) or (
            file.format == "MP3" and _mp3_is_cut(source)
        ):
            raise AudioError(name, "is cut short: the end of its audio is missing", _COPY_AGAIN)
        # libsndfile takes unknown bytes in a .au or .gsm for headerless audio, a streamed WAV of
        # size 0 for an empty one, and cannot read a FLAC streamed without its length. Of an MP3
        # it may guess the length from the first frames, and then reads no further.
        if file.format in ("RAW", "MP3") or not 0 < file.frames < 2**62 or not file.seekable():
            file.close()
            return None
        _check_format(file.samplerate, file.channels, name)
    except AudioError:
        file.close()
        raise
    return file


def _check_promised_size(file: soundfile.SoundFile, name: str) -> None:
    """libsndfile mends a header that promises more bytes than there are, but tells in its log."""
    mended = re.search(
        r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*: (\d+) \(should be (\d+)\)",
        file.extra_info,
        re.MULTILINE,
    )
    if mended is None:
        return
    promised, found = int(mended[1]), max(int(mended[2]), 1)
    # Programs that write to a pipe cannot know the size, and write about 2 or 4 GiB instead.
    seconds = file.frames / file.samplerate
    if promised < 0x7FFF_0000 and seconds * (promised - found) / found > _LOST:
        raise _cut_short(name, seconds, seconds * promised / found)


def _ogg_is_cut(source: str | BinaryIO) -> bool:
    """Whether the last page (27 bytes, a table of sizes, the body) is not whole."""
    with _bytes_of(source) as stream:
        stream.seek(max(0, stream.seek(0, io.SEEK_END) - 65_307))  # the longest page
        tail = stream.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    return len(page) < 27 or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])


def _mp3_is_cut(source: str | BinaryIO) -> bool:
    """Whether a Xing header in the first frame counts over 1,000 bytes more than there are."""
    with _bytes_of(source) as stream:
        tag = stream.read(10)
        if tag.startswith(b"ID3"):  # its size is in seven bits a byte
            stream.seek(tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9], io.SEEK_CUR)
        else:
            stream.seek(0)
        begin = stream.tell()
        first_frame = stream.read(2048)
        found = stream.seek(0, io.SEEK_END) - begin
    counts = re.search(rb"(?:Xing|Info)\0\0\0[\3\7\13\17].{4}(.{4})", first_frame, re.DOTALL)
    return counts is not None and found < int.from_bytes(counts[1], "big") - 1_000


def _decode_soundfile(
    file: soundfile.SoundFile, name: str, start: float, duration: float | None
) -> Waveform:
    """Mono samples (samples,) at the file's rate."""
    rate = file.samplerate
    begin = min(round(start * rate), file.frames)
    wanted = file.frames - begin
    if duration is not None:
        wanted = min(wanted, round(duration * rate))
    blocks: list[Waveform] = []
    found = 0
    try:
        file.seek(begin)
        while found < wanted:
            block = file.read(min(_BLOCK, wanted - found), dtype="float32", always_2d=True)
            if not len(block):
                break
            blocks.append(block[:, 0] if file.channels == 1 else block.mean(axis=1))
            found += len(block)
    except soundfile.LibsndfileError as error:
        at = (begin + found) / rate
        problem = f"is damaged or cut short after {at:.2f} s ({error.error_string})"
        raise AudioError(name, problem, _COPY_AGAIN) from error
    if wanted - found > _LOST * rate:
        raise _cut_short(name, (begin + found) / rate, file.frames / rate)
    return _concatenate(blocks)


# FFmpeg


@contextmanager
def _open_av(source: str | BinaryIO, name: str) -> Iterator[tuple[Any, Any]]:
    """The container and its first audio stream."""
    import av

    with ExitStack() as stack:
        try:
            if isinstance(source, str):
                file: str | BinaryIO = f"file:{source}"  # a colon in a name is no protocol
            else:
                file = stack.enter_context(_bytes_of(source))
            options = {"format_whitelist": _CONTAINERS}
            container = stack.enter_context(
                av.open(file, container_options=options, metadata_errors="replace")
            )
        except av.FFmpegError as error:
            problem = f"holds no audio that libsndfile or FFmpeg can read ({error.strerror})"
            raise _not_audio(source, name, problem) from error
        except OSError as error:
            raise _unreadable(name, error) from error
        if not container.streams.audio:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            raise _not_audio(source, name, f"holds no audio, only {kinds}")
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            problem = "holds audio that FFmpeg has no decoder for"
            raise AudioError(name, problem, "Convert it to WAV with the program that made it")
        _check_format(stream.rate or 0, stream.channels or 0, name)
        try:
            yield container, stream
        except av.FFmpegError as error:
            problem = f"is damaged or cut short ({error.strerror})"
            raise AudioError(name, problem, _COPY_AGAIN) from error


def _not_audio(source: str | BinaryIO, name: str, problem: str) -> AudioError:
    """The problem, or what the file is instead where its first bytes tell."""
    with _bytes_of(source) as stream:
        head = stream.read(40)
    if not head:
        return AudioError(name, "is empty (0 bytes)", "Copy or record it again")
    if not re.search(rb"[\x00-\x08\x0e-\x1f]", head):
        text = " ".join(head.decode("utf-8", "replace").split())
        problem = f"is a text file, not audio; it begins {text!r}"
    return AudioError(name, problem, "Check that it is a recording and was copied whole")


def _header_duration(container: Any, stream: Any) -> float | None:
    """Seconds by the header of an MP4 or Matroska file; of others, FFmpeg may only guess."""
    if not _is_any(container, "mp4", "matroska"):
        return None
    if stream.duration:
        return float(stream.duration * stream.time_base)
    if container.duration and len(container.streams) == 1:
        return float(container.duration / 1_000_000)
    return None


def _is_any(container: Any, *formats: str) -> bool:
    return any(name in formats for name in container.format.name.split(","))


def _decode_av(
    container: Any, stream: Any, name: str, start: float, duration: float | None
) -> Waveform:
    """Mono samples (samples,) at the stream's rate."""
    rate = stream.rate
    begin = round(start * rate)
    end = None if duration is None else begin + round(duration * rate)
    blocks: list[Waveform] = []
    position: int | None = None  # of the next frame, in samples from the stream's first
    first_tick = stream.start_time or 0
    # Elsewhere times after a seek are not exact, and decoding from the beginning is.
    sought = start > 1.0 and _is_any(container, "mp4", "matroska", "mp3")
    if sought:  # half a second early: lossy decoders need a run-up
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
        samples = _scale(frame.to_ndarray())  # (channels, samples), or (1, interleaved)
        if not frame.format.is_planar:
            samples = samples.reshape(frame.samples, -1).T
        stop = None if end is None else end - position
        blocks.append(samples[:, max(begin - position, 0) : stop].mean(axis=0))
        position += frame.samples
    promised = _header_duration(container, stream)
    if end is None and position is not None and promised is not None:
        found = position / rate
        if promised - found > _LOST:
            raise _cut_short(name, found, promised)
    return _concatenate(blocks)


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    """Decoded frames. MP3s are cut and joined at will, so their damaged frames are passed over."""
    import av

    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            if not _is_any(container, "mp3"):
                raise
