"""The command `asr-s2s listen`."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from queue import Empty, SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from asr_s2s.cli.options import MODEL_HELP, BeamSize, Device, Language, PhraseFile, command_names
from asr_s2s.data.standard_input import BLOCK, STDIN
from asr_s2s.errors import AudioError, UserError

if TYPE_CHECKING:
    from asr_s2s.live import LiveTranscriber, LiveUpdate

MICROPHONE = "microphone"
"""Source name of the microphone."""
MICROPHONE_SECONDS = 0.1
"""Seconds of audio that the microphone delivers at once."""
MOST_BLOCKS = 16
"""Blocks of standard input that are read ahead."""


def listen(
    source: Annotated[
        str,
        typer.Argument(
            help="microphone, or - for mono 16-bit little-endian PCM from standard input, as of "
            "ffmpeg ... -ac 1 -ar 16000 -f s16le -"
        ),
    ] = MICROPHONE,
    model: Annotated[str, typer.Option(help=MODEL_HELP)] = "english",
    rate: Annotated[
        int, typer.Option(min=4000, max=768_000, help="Sampling rate of the audio in Hz.")
    ] = 16_000,
    input_device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name, part of the name, or number of the microphone; python -m sounddevice lists "
            "them. [default: the system's]",
        ),
    ] = None,
    interval: Annotated[
        float,
        typer.Option(
            min=0.1, max=4.0, help="Seconds of new audio after which it is decoded again."
        ),
    ] = 1.0,
    window: Annotated[
        float,
        typer.Option(min=4.0, max=25.0, help="Maximum seconds of audio that are decoded again."),
    ] = 15.0,
    silence: Annotated[
        float, typer.Option(min=0.1, max=2.0, help="Seconds of silence that end a line.")
    ] = 0.5,
    beam_size: BeamSize = None,
    phrases: PhraseFile = None,
    language: Language = None,
    device: Device = None,
) -> None:
    """Transcribe speech live, from a microphone or a pipe.

    Words are printed as soon as two successive decodings agree on them, and do not change
    afterwards; a line ends at a silence. On a terminal, the words that are not certain yet follow
    in pale color. Ctrl-C, or the end of standard input, prints the last words and ends the command.

    The microphone requires sounddevice (pip install 'asr-s2s[live]') and PortAudio.
    """
    if source not in (MICROPHONE, STDIN):
        raise UserError(
            source, f"expected {MICROPHONE} or -", "Use asr-s2s transcribe for recordings"
        )
    if source == STDIN and sys.stdin is None:
        raise AudioError(STDIN, "standard input is closed", "Pipe PCM to the command")
    sounddevice = _import_sounddevice() if source == MICROPHONE else None

    from asr_s2s.allocator import keep_freed_memory
    from asr_s2s.live import LiveTranscriber
    from asr_s2s.pipeline import Transcriber
    from asr_s2s.search.options import DecodeOptions

    keep_freed_memory()
    with command_names():
        live = LiveTranscriber(
            Transcriber.load(model, device),
            DecodeOptions(beam_size=beam_size, phrases=phrases, language=language),
            sample_rate=rate,
            interval=interval,
            window=window,
            silence=silence,
        )
    blocks: SimpleQueue[bytes | None] = SimpleQueue()
    room = threading.Semaphore(MOST_BLOCKS)
    recording: AbstractContextManager[object]
    if sounddevice is None:
        reader = threading.Thread(target=_read, args=(blocks, room), daemon=True)
        recording = nullcontext()
        reader.start()
    else:
        recording = _microphone(sounddevice, blocks, rate, input_device)
    with recording, _until_interrupted(blocks):
        if sounddevice is not None:
            print("listening; Ctrl-C ends", file=sys.stderr, flush=True)
        _print_words(live, _joined(blocks, room), Printer(sys.stdout))


def _print_words(live: "LiveTranscriber", blocks: Iterator[bytes], printer: "Printer") -> None:
    """Transcribe PCM blocks and print the words."""
    import numpy as np

    rest = b""
    for block in blocks:
        data = rest + block
        whole = len(data) // 2 * 2
        rest = data[whole:]
        live.stream.add(np.frombuffer(data[:whole], "<i2").astype(np.int16))
        for update in live.updates():
            printer.show(update)
    live.stream.close()
    for update in live.updates():
        printer.show(update)
    printer.end_line()


def _joined(blocks: "SimpleQueue[bytes | None]", room: threading.Semaphore) -> Iterator[bytes]:
    """Yield all audio that has arrived, joined, until None arrives."""
    while True:
        block = blocks.get()
        parts: list[bytes] = []
        try:
            while block is not None:
                parts.append(block)
                room.release()
                block = blocks.get_nowait()
        except Empty:
            pass
        if parts:
            yield b"".join(parts)
        if block is None:
            return


def _read(blocks: "SimpleQueue[bytes | None]", room: threading.Semaphore) -> None:
    """Read standard input to its end; runs in a thread."""
    try:
        while room.acquire() and (block := os.read(sys.stdin.fileno(), BLOCK)):
            blocks.put(block)
    finally:
        blocks.put(None)


@contextmanager
def _until_interrupted(blocks: "SimpleQueue[bytes | None]") -> Iterator[None]:
    """Let the first Ctrl-C, or SIGTERM, end the audio; the second one ends the command."""

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.default_int_handler)
        blocks.put(None)  # reentrant, unlike other queues

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _import_sounddevice() -> Any:
    try:
        import sounddevice
    except OSError as error:
        problem = f"the library PortAudio cannot be loaded ({error})"
        fix = "Install it (Debian: apt install libportaudio2), or pipe PCM to asr-s2s listen -"
        raise UserError(MICROPHONE, problem, fix) from error
    return sounddevice


@contextmanager
def _microphone(
    sounddevice: Any, blocks: "SimpleQueue[bytes | None]", rate: int, name: str | None
) -> Iterator[None]:
    """Record blocks of mono 16-bit PCM within the context."""
    device = int(name) if name is not None and name.isdecimal() else name

    def record(data: Any, frames: int, time: object, status: object) -> None:
        blocks.put(bytes(data))

    try:
        stream = sounddevice.RawInputStream(
            samplerate=rate,
            blocksize=int(rate * MICROPHONE_SECONDS),
            device=device,
            channels=1,
            dtype="int16",
            callback=record,
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        fix = "Connect one, or choose --input-device; python -m sounddevice lists them"
        raise UserError(MICROPHONE, f"it cannot be opened ({error})", fix) from error
    with stream:
        yield


class Printer:
    """Prints committed words as they come; on a terminal, tentative words follow in pale color.

    Args:
        file: where to print.
    """

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self.terminal = file.isatty()
        self.line = ""
        """Committed text of the current line."""
        self._pale = 0  # columns of tentative words after it

    def show(self, update: "LiveUpdate") -> None:
        """Print the words of an update, and end the line with its utterance."""
        from asr_s2s.text.words import join_texts

        self._erase()
        for word in update.committed:
            longer = join_texts([self.line, word.text])
            if self.terminal and self.line and _columns(longer) >= _width():
                self.end_line()
                longer = word.text
            self.file.write(longer[len(self.line) :])
            self.line = longer
        if update.ended:
            self.end_line()
        elif self.terminal:
            tentative = join_texts([self.line, update.tentative_text])[len(self.line) :]
            while tentative and _columns(self.line + tentative) >= _width():
                tentative = tentative[:-1]
            self._pale = _columns(tentative)
            self.file.write(f"\x1b[2m{tentative}\x1b[0m")
        self.file.flush()

    def end_line(self) -> None:
        """End the current line, if it has words."""
        self._erase()
        if self.line:
            self.file.write("\n")
        self.line = ""
        self.file.flush()

    def _erase(self) -> None:
        if self._pale:
            self.file.write(f"\x1b[{self._pale}D\x1b[K")
        self._pale = 0


def _columns(text: str) -> int:
    """Columns that text takes on a terminal."""
    from rich.cells import cell_len

    return cell_len(text)


def _width() -> int:
    """Columns of the terminal."""
    from shutil import get_terminal_size

    return get_terminal_size().columns
