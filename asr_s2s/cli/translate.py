"""The command `asr-s2s translate`."""

import json
import os
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asr_s2s.cli.options import MODEL_HELP, BeamSize, Device, Language, check_language
from asr_s2s.errors import EXIT_BAD_INPUT, TextError, UserError

if TYPE_CHECKING:
    from asr_s2s.translator import Translation

STDIN = "-"


class Format(StrEnum):
    """Output format of translations."""

    txt = "txt"
    json = "json"


def translate(
    source: Annotated[
        str,
        typer.Argument(
            help="Text file, one sentence per line (also .gz or .xz), or - for standard input."
        ),
    ] = STDIN,
    model: Annotated[str, typer.Option(help=MODEL_HELP)] = "en-de",
    language: Language = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write. [default: standard output]"),
    ] = None,
    format: Annotated[
        Format, typer.Option(help="txt: plain text; json: JSON Lines, one object per sentence.")
    ] = Format.txt,
    beam_size: BeamSize = None,
    n_best: Annotated[
        int,
        typer.Option(
            min=1, help="json: number of alternative translations; the beam is at least as wide."
        ),
    ] = 1,
    length_penalty: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=10.0,
            help="Scores are divided by the length raised to this power. [default: the model's]",
        ),
    ] = None,
    coverage_penalty: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=10.0,
            help="Weight of the penalty for source words without attention. [default: the model's]",
        ),
    ] = None,
    replace_unknown: Annotated[
        bool,
        typer.Option(
            "--replace-unknown",
            help="Replace unknown tokens by the source words with most attention.",
        ),
    ] = False,
    device: Device = None,
    batch_tokens: Annotated[
        int, typer.Option(min=1, help="Source tokens decoded in one batch.")
    ] = 4000,
) -> None:
    """Translate text line by line.

    Models for other text-to-text tasks are run in the same way. Each input line gives one output
    line; an empty line gives an empty line. Lines typed in a terminal are translated one at a
    time; of a file or a pipe, 1,000 lines are read at a time, so that lines of similar length are
    batched. Messages are printed to standard error. The exit code is 1 if a line is not valid
    UTF-8.
    """
    from contextlib import ExitStack

    from rich.console import Console
    from rich.progress import track

    from asr_s2s.allocator import keep_freed_memory
    from asr_s2s.translator import READ_AHEAD, Translator

    keep_freed_memory()
    console = Console(stderr=True, highlight=False, emoji=False)
    translator = Translator.load(model, device)
    check_language(language, translator.output.languages)
    lines = Lines(source)
    results = translator.stream(
        lines,
        language=language,
        beam_size=beam_size,
        length_penalty=length_penalty,
        coverage_penalty=coverage_penalty,
        replace_unknown=replace_unknown,
        n_best=n_best,
        batch_tokens=batch_tokens,
        read_ahead=1 if lines.typed else READ_AHEAD,
    )
    with ExitStack() as stack:
        file = sys.stdout
        if output is not None:
            try:
                file = stack.enter_context(output.open("w", encoding="utf-8"))
            except OSError as problem:
                raise UserError(
                    output, f"cannot be written ({problem.strerror})", "Choose another file"
                ) from problem
        tracked = track(
            results,
            "translating",
            total=lines.total,
            console=console,
            transient=True,
            disable=not console.is_terminal or (output is None and sys.stdout.isatty()),
        )
        for result in tracked:
            if result.warning is not None:
                console.print(f"asr-s2s: {result.warning}", markup=False, soft_wrap=True)
            if format is Format.json:
                line = json.dumps(to_record(result), ensure_ascii=False)
            else:
                line = result.text
            _write(line, file, str(output or "standard output"))
    for error in lines.errors:
        console.print(f"asr-s2s: {error}", markup=False, soft_wrap=True)
    if lines.errors:
        raise typer.Exit(EXIT_BAD_INPUT)


def to_record(result: "Translation") -> dict[str, Any]:
    """JSON object of a translation: `source`, `text`, `score`, and `alternatives` if requested."""
    record: dict[str, Any] = {
        "source": result.source,
        "text": result.text,
        "score": round(result.score, 4),
    }
    if result.alternatives:
        record["alternatives"] = [
            {"text": a.text, "score": round(a.score, 4)} for a in result.alternatives
        ]
    return record


class Lines:
    """Lines of a file or of standard input.

    Bytes that are not valid UTF-8 are removed, and an error for the line is added to `errors`.

    Args:
        source: a file, or - for standard input.

    Raises:
        ManifestError: the file does not exist or cannot be read.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.errors: list[TextError] = []
        self.total: int | None = None
        """Number of lines of a file; None for standard input."""
        self._content: list[bytes] | None = None
        self.typed = source == STDIN and sys.stdin is not None and sys.stdin.isatty()
        """Whether lines come from a terminal, so that each must be translated at once."""
        if source != STDIN:
            from asr_s2s.text_files import read_bytes

            self._content = read_bytes(Path(source), "text file").split(b"\n")
            if not self._content[-1]:
                self._content.pop()
            self.total = len(self._content)

    def __iter__(self) -> Iterator[str]:
        if self._content is None and sys.stdin is None:
            raise TextError(STDIN, "standard input is closed", "Pipe text to the command")
        raw = self._content if self._content is not None else sys.stdin.buffer
        for number, line in enumerate(raw, start=1):
            line = line.rstrip(b"\r\n")
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            try:
                yield line.decode("utf-8")
            except UnicodeDecodeError as error:
                problem = f"byte {error.start + 1} is not UTF-8; invalid bytes were removed"
                self.errors.append(
                    TextError(f"{self.source}:{number}", problem, "Save the text as UTF-8")
                )
                yield line.decode("utf-8", errors="ignore")


def _write(line: str, file: Any, where: str) -> None:
    try:
        print(line, file=file, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        if file is sys.stdout:  # the rest of its buffer cannot be written at exit either
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise UserError(
            where, f"cannot be written ({error.strerror})", "Choose another file"
        ) from error
