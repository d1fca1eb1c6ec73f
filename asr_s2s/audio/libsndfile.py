"""Reading WAV, FLAC, Ogg Vorbis, Opus, AIFF and AU with libsndfile (through soundfile)."""

import io
import os
import re
from collections.abc import Iterator
from typing import BinaryIO

import soundfile

from asr_s2s.audio.encoded import BLOCK, COPY_AGAIN, LENGTH_TOLERANCE, bytes_of, cut_short
from asr_s2s.audio.waveform import Waveform, check_format, mix_channels
from asr_s2s.errors import AudioError


def open_soundfile(
    source: str | BinaryIO, name: str
) -> tuple[soundfile.SoundFile | None, AudioError | None]:
    """Open a recording with libsndfile.

    Returns:
        the open file, or None if FFmpeg should read it; and an error if the file is cut short.

    Raises:
        AudioError: the sample rate or the number of channels is not supported.
    """
    # libsndfile may guess the length of an MP3 from the first frames and stops reading there; and
    # its MP3 library prints messages.
    if _is_mpeg(source):
        cut = AudioError(name, "is cut short: the end of its audio is missing", COPY_AGAIN)
        return None, cut if _mp3_is_cut(source) else None
    try:
        # A path of bytes, so that names in any encoding can be opened.
        file = soundfile.SoundFile(os.fsencode(source) if isinstance(source, str) else source)
    except (soundfile.LibsndfileError, TypeError):  # TypeError: .raw files
        return None, None
    try:
        damage = _missing_bytes(file, name)
        if file.format == "OGG" and _ogg_is_cut(source):
            damage = AudioError(name, "is cut short: the end of its audio is missing", COPY_AGAIN)
        # libsndfile reads unknown bytes in a .au or .gsm file as headerless audio and a streamed
        # WAV of size 0 as empty, and cannot read a FLAC streamed without its length.
        if (
            file.format in ("RAW", "MPEG", "MP3")
            or not 0 < file.frames < 2**62
            or not file.seekable()
        ):
            file.close()
            return None, damage
        check_format(file.samplerate, file.channels, name)
    except AudioError:
        file.close()
        raise
    return file, damage


def decode_soundfile(
    file: soundfile.SoundFile, name: str, start: float, duration: float | None
) -> Iterator[Waveform]:
    """Yield mono blocks (samples,) at the file's rate.

    Raises:
        AudioError: the recording is damaged or cut short.
    """
    return mix_channels(_read_blocks(file, name, start, duration))


def _read_blocks(
    file: soundfile.SoundFile, name: str, start: float, duration: float | None
) -> Iterator[Waveform]:
    """Yield blocks (samples, channels)."""
    rate = file.samplerate
    begin = min(round(start * rate), file.frames)
    wanted = file.frames - begin
    if duration is not None:
        wanted = min(wanted, round(duration * rate))
    found = 0
    try:
        file.seek(begin)
        while found < wanted:
            block = file.read(min(BLOCK, wanted - found), dtype="float32", always_2d=True)
            if not len(block):
                break
            found += len(block)
            yield block
    except soundfile.LibsndfileError as error:
        at = (begin + found) / rate
        problem = f"is damaged or cut short after {at:.2f} s ({error.error_string})"
        raise AudioError(name, problem, COPY_AGAIN) from error
    if wanted - found > LENGTH_TOLERANCE * rate:
        raise cut_short(name, (begin + found) / rate, file.frames / rate)


def _missing_bytes(file: soundfile.SoundFile, name: str) -> AudioError | None:
    """Detect a truncated file by libsndfile's log, which reports a header size that it
    corrected."""
    fixed = re.search(
        r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*: (\d+) \(should be (\d+)\)",
        file.extra_info,
        re.MULTILINE,
    )
    if fixed is None:
        return None
    promised, found = int(fixed[1]), max(int(fixed[2]), 1)
    # Programs that write to a pipe do not know the size, and state about 2 or 4 GiB instead.
    seconds = file.frames / file.samplerate
    if promised < 0x7FFF_0000 and seconds * (promised - found) / found > LENGTH_TOLERANCE:
        return cut_short(name, seconds, seconds * promised / found)
    return None


def _ogg_is_cut(source: str | BinaryIO) -> bool:
    """Whether the last page (27 bytes, a table of sizes, the body) is incomplete."""
    with bytes_of(source) as stream:
        stream.seek(max(0, stream.seek(0, io.SEEK_END) - 65_307))  # maximum page size
        tail = stream.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    return len(page) < 27 or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])


def _is_mpeg(source: str | BinaryIO) -> bool:
    """Whether libsndfile would look for MP3 frames: the file begins with the 11 set bits of a frame
    (after an ID3 tag), or is named .mp3 and begins with something else."""
    with bytes_of(source) as stream:
        _skip_id3(stream)
        head = stream.read(4)
    named = isinstance(source, str) and source.lower().endswith(".mp3")
    synchronized = head[:1] == b"\xff" and head[1:2] >= b"\xe0"
    return synchronized or (named and head not in (b"RIFF", b"fLaC", b"OggS"))


def _skip_id3(stream: BinaryIO) -> int:
    """Move behind an ID3 tag, if there is one, and return the position there."""
    tag = stream.read(10)
    if len(tag) == 10 and tag.startswith(b"ID3"):  # its size has seven bits per byte
        return stream.seek(tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9], io.SEEK_CUR)
    return stream.seek(0)


def _mp3_is_cut(source: str | BinaryIO) -> bool:
    """Whether a Xing header in the first frame states over 1,000 bytes more than the file has."""
    with bytes_of(source) as stream:
        begin = _skip_id3(stream)
        first_frame = stream.read(2048)
        found = stream.seek(0, io.SEEK_END) - begin
    counts = re.search(rb"(?:Xing|Info)\0\0\0[\3\7\13\17].{4}(.{4})", first_frame, re.DOTALL)
    return counts is not None and found < int.from_bytes(counts[1], "big") - 1_000
