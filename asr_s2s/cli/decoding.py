"""Decoding of test sets for `asr-s2s evaluate`."""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, TextIO, TypeVar

from lhotse.cut import Cut
from rich.console import Console
from rich.progress import track

from asr_s2s.data.parallel import TextPair
from asr_s2s.errors import UserError
from asr_s2s.evaluate.report import Decoding, TextDecoding
from asr_s2s.evaluate.transcripts import cut_entry
from asr_s2s.metrics.error_rate import Utterance
from asr_s2s.pipeline import Failure, Transcriber
from asr_s2s.translator import Translation, Translator

T = TypeVar("T")


class Decoded(NamedTuple):
    """Hypotheses of a model for a test set."""

    utterances: list[Utterance]
    decoding: Decoding | TextDecoding
    failures: int
    """Number of recordings that could not be transcribed; their hypotheses are empty."""


def transcribe_cuts(
    cuts: Sequence[Cut],
    transcriber: Transcriber,
    *,
    language: str | None,
    beam_size: int | None,
    batch_seconds: float,
    output: Path | None,
) -> Decoded:
    """Transcribe utterances, writing each result to `output` (JSON Lines) as it is ready.

    Raises:
        UserError: `output` cannot be written.
    """
    console = Console(stderr=True, highlight=False, emoji=False)
    utterances: list[Utterance] = []
    audio_seconds, failures = 0.0, 0
    with ExitStack() as stack:
        file = _open(output, stack)
        started = time.perf_counter()
        results = transcriber.stream(
            cuts, language=language, beam_size=beam_size, batch_seconds=batch_seconds
        )
        tracked = _with_progress(results, "transcribing", len(cuts), console)
        for cut, result in zip(cuts, tracked, strict=True):
            row = {"id": cut.id, "text": ""}
            if isinstance(result, Failure):
                failures += 1
                row["error"] = str(result.error)
                _print_error(result.error, console)
            else:
                audio_seconds += result.duration
                row["text"] = result.text
                if result.warning is not None:
                    _print_error(result.warning, console)
            reference = cut_entry(cut)
            utterances.append(
                Utterance(
                    id=cut.id,
                    reference=reference.text,
                    hypothesis=row["text"],
                    speaker=reference.speaker,
                )
            )
            _write(row, file)
        seconds = time.perf_counter() - started
    return Decoded(utterances, Decoding(audio_seconds, seconds), failures)


def translate_groups(
    groups: Sequence[Sequence[TextPair]],
    translator: Translator,
    *,
    language: str | None,
    beam_size: int | None,
    output: Path | None,
) -> Decoded:
    """Translate sentences, writing each result to `output` (JSON Lines) as it is ready.

    Args:
        groups: sentence pairs with the same source; their targets are the references.
        language: target language; overrides the language of the pairs.

    Raises:
        UserError: `output` cannot be written, or the model does not support a target language.
    """
    console = Console(stderr=True, highlight=False, emoji=False)
    utterances: list[Utterance] = []
    with ExitStack() as stack:
        file = _open(output, stack)
        started = time.perf_counter()
        rows = [(group[0].source, language or group[0].language) for group in groups]
        results = _translations(rows, translator, beam_size)
        tracked = _with_progress(results, "translating", len(groups), console)
        for group, result in zip(groups, tracked, strict=True):
            if result.warning is not None:
                _print_error(result.warning, console)
            first, *others = group
            utterances.append(
                Utterance(
                    id=first.id,
                    reference=first.target,
                    hypothesis=result.text,
                    alternatives=tuple(pair.target for pair in others),
                    source=first.source,
                )
            )
            row = {"id": first.id, "source": first.source}
            _write({**row, "text": result.text, "score": result.score}, file)
        seconds = time.perf_counter() - started
    return Decoded(utterances, TextDecoding(len(groups), seconds), 0)


def _translations(
    rows: Sequence[tuple[str, str | None]], translator: Translator, beam_size: int | None
) -> Iterator[Translation]:
    """Translate rows of `(source, language)`; yields translations in the same order."""
    sources: dict[str | None, list[str]] = {}
    for source, language in rows:
        sources.setdefault(language, []).append(source)
    # A stream has one language; it batches sentences of similar length from the whole set.
    streams = {
        language: translator.stream(lines, language=language, beam_size=beam_size)
        for language, lines in sources.items()
    }
    for _, language in rows:
        yield next(streams[language])


def _open(output: Path | None, stack: ExitStack) -> TextIO | None:
    if output is None:
        return None
    try:
        return stack.enter_context(output.open("w", encoding="utf-8"))
    except OSError as error:
        raise UserError(
            output, f"cannot be written: {error.strerror}", "Choose another file"
        ) from error


def _write(row: dict[str, Any], file: TextIO | None) -> None:
    if file is not None:
        print(json.dumps(row, ensure_ascii=False), file=file, flush=True)


def _with_progress(
    results: Iterable[T], description: str, total: int, console: Console
) -> Iterable[T]:
    """Show a progress bar on a terminal while results are consumed."""
    return track(
        results,
        description,
        total=total,
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _print_error(error: UserError, console: Console) -> None:
    console.print(f"asr-s2s: {error}", markup=False, soft_wrap=True)
