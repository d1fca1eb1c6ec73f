"""Recordings of any common format as mono float32 waveforms at 16 kHz.

libsndfile (through soundfile) reads WAV, FLAC, Ogg Vorbis, Opus, MP3, AIFF and AU; FFmpeg
(through PyAV) reads what is left: m4a, webm, video, WMA. Channels are averaged, and librosa
resamples. Samples beyond full scale, as float files and lossy codecs hold, are clipped to
[-1, 1] as a player would.

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
_LOST = 0.25  # s; encoders' headers are wrong by less than this
_BLOCK = 1 << 20  # frames read at once, so that channels and source rate do not cost memory
_COPY_AGAIN = "Copy or download it again; `ffmpeg -i` may save what is there into a new file"


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


def _cut_short(name: str, promised: float, found: float) -> AudioError:
    problem = f"is cut short: {found:.2f} s of {promised:.2f} s are there"
    return AudioError(name, problem, _COPY_AGAIN)


def _open_source(source: str | Path | BinaryIO, name: str) -> str | BinaryIO:
    """A path to a regular file, or a seekable stream."""
    if not isinstance(source, str | Path):
        return source if source.seekable() else io.BytesIO(source.read())
    path = Path(source)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise AudioError(name, "this is a folder, not a recording", "Name the files in it")
        return str(path) if stat.S_ISREG(mode) else io.BytesIO(path.read_bytes())
    except FileNotFoundError as error:
        raise AudioError(name, "there is no such file", "Check the path") from error
    except (OSError, ValueError) as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: OSError | ValueError) -> AudioError:
    reason = getattr(error, "strerror", None) or str(error)
    return AudioError(name, f"cannot be opened: {reason}", "Check the path and its permissions")


def _not_audio(source: str | BinaryIO, name: str, reason: str) -> AudioError:
    """What the file is instead, as far as its first bytes tell."""
    if isinstance(source, str):
        with open(source, "rb") as stream:  # noqa: PTH123
            head = stream.read(40)
    else:
        source.seek(0)
        head = source.read(40)
    if not head:
        return AudioError(name, "is empty (0 bytes)", "Copy or record it again")
    if not re.search(rb"[\x00-\x08\x0e-\x1f]", head):
        text = " ".join(head.decode("utf-8", "replace").split())
        return AudioError(
            name, f"is a text file, not audio; it begins {text!r}", "Name a recording instead"
        )
    return AudioError(name, reason, "Check that it is a recording and was copied whole")


# libsndfile


def _open_soundfile(source: str | BinaryIO, name: str) -> soundfile.SoundFile | None:
    """An open file, or None where FFmpeg should try."""
    try:
        file = soundfile.SoundFile(source)
    except (soundfile.LibsndfileError, TypeError):  # TypeError: soundfile's word on .raw files
        return None
    try:
        if file.format == "OGG" and _last_page_is_cut(source):
            raise AudioError(name, "is cut short: its last Ogg page is not whole", _COPY_AGAIN)
        _check_promised_size(file, name)
        # libsndfile takes unknown bytes in a .au or .gsm for headerless audio, a streamed WAV of
        # size 0 for an empty one, and cannot read a FLAC streamed without its length.
        if file.format == "RAW" or not 0 < file.frames < 2**62:
            file.close()
            return None
        _check_format(file.samplerate, file.channels, name)
    except AudioError:
        file.close()
        raise
    return file


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
        raise AudioError(
            name, f"is damaged or cut short after {at:.2f} s: {error}", _COPY_AGAIN
        ) from error
    if wanted - found > _LOST * rate:
        raise _cut_short(name, file.frames / rate, (begin + found) / rate)
    return _concatenate(blocks)


def _concatenate(blocks: list[Waveform]) -> Waveform:
    if len(blocks) == 1:
        return blocks[0]
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


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
        raise _cut_short(name, seconds * promised / found, seconds)


def _last_page_is_cut(source: str | BinaryIO) -> bool:
    """Whether an Ogg file ends within a page: 27 bytes of header, a table of sizes, the body."""
    with ExitStack() as stack:
        if isinstance(source, str):
            stream: BinaryIO = stack.enter_context(open(source, "rb"))  # noqa: PTH123
        else:
            stream = source
            stack.callback(stream.seek, stream.tell())
        stream.seek(max(0, stream.seek(0, io.SEEK_END) - 65_307))
        tail = stream.read()
    page = tail[tail.rfind(b"OggS") :]
    return len(page) < 27 or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])


# FFmpeg


@contextmanager
def _open_av(source: str | BinaryIO, name: str) -> Iterator[tuple[Any, Any]]:
    """The container and its first audio stream."""
    import av

    with ExitStack() as stack:
        try:
            if isinstance(source, str):
                file: BinaryIO = stack.enter_context(open(source, "rb"))  # noqa: PTH123
            else:
                file = source
                file.seek(0)
            # Nothing but the open file may be read: a playlist can name other files and hosts.
            options = {"protocol_whitelist": "none"}
            container = stack.enter_context(av.open(file, container_options=options))
        except av.FFmpegError as error:
            reason = f"holds no audio that libsndfile or FFmpeg can read ({error.strerror})"
            raise _not_audio(source, name, reason) from error
        except OSError as error:
            raise _unreadable(name, error) from error
        if not container.streams.audio:
            kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
            raise _not_audio(source, name, f"holds no audio stream, only {kinds}")
        stream = container.streams.audio[0]
        _check_format(stream.rate or 0, stream.channels, name)
        yield container, stream


def _has_exact_times(container: Any) -> bool:
    """MP4 and Matroska; elsewhere FFmpeg estimates times from the bit rate."""
    return any(kind in container.format.name for kind in ("mp4", "matroska"))


def _header_duration(container: Any, stream: Any) -> float | None:
    """Seconds of the stream by the header, where it records them."""
    if not _has_exact_times(container):
        return None
    if stream.duration:
        return float(stream.duration * stream.time_base)
    if container.duration and len(container.streams) == 1:
        return float(container.duration / 1_000_000)
    return None


def _decode_av(
    container: Any, stream: Any, name: str, start: float, duration: float | None
) -> Waveform:
    """Mono samples (samples,) at the stream's rate."""
    import av

    rate = stream.rate
    begin = round(start * rate)
    end = None if duration is None else begin + round(duration * rate)
    blocks: list[Waveform] = []
    position: int | None = None
    try:
        first_tick = stream.start_time or 0
        sought = start > 1.0 and _has_exact_times(container)
        if sought:  # half a second early: lossy decoders need a run-up
            container.seek(first_tick + int((start - 0.5) / stream.time_base), stream=stream)
        for frame in container.decode(stream):
            if frame.sample_rate != rate:
                raise AudioError(
                    name,
                    f"its sample rate changes from {rate} to {frame.sample_rate} Hz",
                    "Convert it with `ffmpeg -i` to a WAV file first",
                )
            if position is None:
                seconds = frame.time - float(first_tick * stream.time_base) if sought else 0.0
                position = round(seconds * rate)
            if end is not None and position >= end:
                break
            samples = _scale(frame.to_ndarray())
            mono = (
                samples.mean(axis=0)
                if frame.format.is_planar
                else samples.reshape(frame.samples, -1).mean(axis=1)
            )
            if position + len(mono) > begin:
                stop = None if end is None else end - position
                blocks.append(mono[max(begin - position, 0) : stop])
            position += len(mono)
    except av.FFmpegError as error:
        at = (position or 0) / rate
        raise AudioError(
            name, f"is damaged or cut short after {at:.2f} s ({error.strerror})", _COPY_AGAIN
        ) from error
    found, promised = (position or 0) / rate, _header_duration(container, stream)
    if promised is not None and end is None and promised - found > _LOST:
        raise _cut_short(name, promised, found)
    return _concatenate(blocks)
