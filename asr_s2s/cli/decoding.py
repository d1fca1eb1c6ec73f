"""Hypotheses for `asr-s2s evaluate`: a data set transcribed or translated with a model."""

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
from asr_s2s.evaluate.error_rate import Utterance
from asr_s2s.evaluate.report import Decoding, TextDecoding
from asr_s2s.evaluate.transcripts import cut_entry
from asr_s2s.pipeline import Failure, Transcriber
from asr_s2s.translator import Translation, Translator

T = TypeVar("T")


class Decoded(NamedTuple):
    """What a model made of a data set."""

    utterances: list[Utterance]
    decoding: Decoding | TextDecoding
    failures: int
    """Recordings that could not be transcribed; their hypotheses are empty."""


def transcribe_cuts(
    cuts: Sequence[Cut],
    transcriber: Transcriber,
    *,
    language: str | None,
    beam_size: int | None,
    batch_seconds: float,
    output: Path | None,
) -> Decoded:
    """Transcribe recordings, and write a row for each to `output` as they come.

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
        shown = _shown(results, "transcribing", len(cuts), console)
        for cut, result in zip(cuts, shown, strict=True):
            row = {"id": cut.id, "text": ""}
            if isinstance(result, Failure):
                failures += 1
                row["error"] = str(result.error)
                _complain(result.error, console)
            else:
                audio_seconds += result.duration
                row["text"] = result.text
                if result.warning is not None:
                    _complain(result.warning, console)
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
    """Translate the one source of each group, whose targets are its references, and write a row
    for each to `output` as they come.

    Args:
        language: to write, in place of what the pairs name.

    Raises:
        UserError: `output` cannot be written, or the model does not write a pair's language.
    """
    console = Console(stderr=True, highlight=False, emoji=False)
    utterances: list[Utterance] = []
    with ExitStack() as stack:
        file = _open(output, stack)
        started = time.perf_counter()
        rows = [(group[0].source, language or group[0].language) for group in groups]
        results = _translations(rows, translator, beam_size)
        shown = _shown(results, "translating", len(groups), console)
        for group, result in zip(groups, shown, strict=True):
            if result.warning is not None:
                _complain(result.warning, console)
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
    """The translations of sources, each into its language, in order."""
    sources: dict[str | None, list[str]] = {}
    for source, language in rows:
        sources.setdefault(language, []).append(source)
    # A stream is of one language, and batches what is of similar length in all of the set.
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


def _shown(results: Iterable[T], doing: str, total: int, console: Console) -> Iterable[T]:
    """The results, with a bar on a terminal that tells how many there are."""
    return track(
        results,
        doing,
        total=total,
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _complain(error: UserError, console: Console) -> None:
    console.print(f"asr-s2s: {error}", markup=False, soft_wrap=True)
