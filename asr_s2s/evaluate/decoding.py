"""Decoding of test sets, with progress and errors on standard error."""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar

from lhotse.cut import Cut
from rich.console import Console
from rich.progress import track

from asr_s2s.data.corpus import Corpus
from asr_s2s.data.manifest import cut_language
from asr_s2s.data.parallel import TextPair
from asr_s2s.errors import ManifestError, UserError
from asr_s2s.evaluate.report import Decoding, TextDecoding
from asr_s2s.evaluate.transcripts import cut_entry, pair_fields
from asr_s2s.metrics.error_rate import Utterance
from asr_s2s.pipeline import Failure, Transcriber, Transcript
from asr_s2s.search.options import DecodeOptions
from asr_s2s.translator import Translation, Translator
from asr_s2s.writers import line_writer

T = TypeVar("T")


class Decoded(NamedTuple):
    """Hypotheses of a model for a test set."""

    utterances: list[Utterance]
    decoding: Decoding | TextDecoding
    failures: int
    """Number of recordings that could not be transcribed; their hypotheses are empty."""


def select_cuts(
    cuts: Iterable[Cut], transcriber: Transcriber, language: str | None, manifest: str
) -> list[tuple[Cut, str | None]]:
    """Return utterances with their output languages.

    Args:
        cuts: of the manifest.
        transcriber: the model.
        language: requested language; utterances of other languages are left out. Utterances
            without a language are in this one, or else in the only language spoken. The languages
            of utterances are ignored if the model has only one.
        manifest: named in errors.

    Raises:
        ManifestError: the manifest has no utterance in the language.
    """
    if len(transcriber.output.languages) < 2:
        return [(cut, language) for cut in cuts]
    default = language or transcriber.output.spoken_language()
    rows = [(cut, cut_language(cut) or default) for cut in cuts]
    chosen = [(cut, own) for cut, own in rows if language in (None, own)]
    if rows and not chosen:
        found = ", ".join(sorted({own for _, own in rows if own}))
        raise ManifestError(
            manifest, f"it has texts in {found}, none in {language}", "Give one of its languages"
        )
    return chosen


def stream_by_language(
    rows: Sequence[tuple[Cut, str | None]],
    transcriber: Transcriber,
    options: DecodeOptions,
    batch_seconds: float,
) -> Iterator[Transcript | Failure]:
    """Transcribe utterances in their languages; returns results in the same order.

    Raises:
        UserError: at the call: an option or a language cannot be used.
    """
    sources: dict[str | None, list[Cut]] = {}
    for cut, language in rows:
        sources.setdefault(language, []).append(cut)
    # A stream has one language.
    streams = {
        language: transcriber.stream(
            own, replace(options, language=language), batch_seconds=batch_seconds
        )
        for language, own in sources.items()
    }
    return (next(streams[language]) for _, language in rows)


def with_corpus(decoded: Decoded, corpus: Corpus, names: Sequence[str]) -> Decoded:
    """Give each utterance the field `corpus`, the name of its manifest, if there are several.

    Args:
        decoded: hypotheses for the items of the corpus.
        corpus: the test sets.
        names: names of the manifests.
    """
    if len(names) == 1:
        return decoded
    utterances = [
        replace(one, fields={"corpus": names[corpus.origins[one.id]], **one.fields})
        for one in decoded.utterances
    ]
    return decoded._replace(utterances=utterances)


def transcribe_cuts(
    rows: Sequence[tuple[Cut, str | None]],
    transcriber: Transcriber,
    options: DecodeOptions,
    *,
    batch_seconds: float,
    output: Path | None,
    forced: bool = False,
) -> Decoded:
    """Transcribe utterances, writing each result to `output` (JSON Lines) as it is ready.

    Args:
        rows: utterances with their output languages; see `select_cuts`.
        transcriber: the model.
        options: decoding options; the language is that of each row.
        batch_seconds: seconds of audio decoded together.
        output: file to write, if any.
        forced: also compute the model's log-probability of each reference; it stays unknown for
            recordings that cannot be read.

    Raises:
        UserError: an option or a language cannot be used, or `output` cannot be written.
    """
    console = Console(stderr=True, highlight=False, emoji=False)
    utterances: list[Utterance] = []
    audio_seconds, failures = 0.0, 0
    results = stream_by_language(rows, transcriber, options, batch_seconds)
    with line_writer(output) if output is not None else nullcontext() as write_line:
        started = time.perf_counter()
        tracked = _with_progress(results, "transcribing", len(rows), console)
        for (cut, language), result in zip(rows, tracked, strict=True):
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
                    fields=reference.fields,
                )
            )
            if language is not None:
                row["language"] = language
            if write_line is not None:
                write_line(json.dumps(row, ensure_ascii=False))
        seconds = time.perf_counter() - started
    if forced:
        texts = [utterance.reference for utterance in utterances]
        cuts, languages = zip(*rows, strict=True) if rows else ((), ())
        scores = transcriber.score(cuts, texts, languages=languages)
        utterances = [
            u
            if isinstance(one, Failure)
            else replace(u, log_prob=one.total, tokens=len(one.tokens))
            for u, one in zip(utterances, scores, strict=True)
        ]
    return Decoded(utterances, Decoding(audio_seconds, seconds), failures)


def translate_groups(
    groups: Sequence[Sequence[TextPair]],
    translator: Translator,
    options: DecodeOptions,
    *,
    output: Path | None,
    forced: bool = False,
) -> Decoded:
    """Translate sentences, writing each result to `output` (JSON Lines) as it is ready.

    Args:
        groups: sentence pairs with the same source; their targets are the references.
        translator: the model.
        options: decoding options; their language overrides that of the pairs, which only a model
            of several languages uses.
        output: file to write, if any.
        forced: also compute the model's log-probability of the first reference of each sentence.

    Raises:
        UserError: `output` cannot be written, or an option or a target language cannot be used.
    """
    console = Console(stderr=True, highlight=False, emoji=False)
    utterances: list[Utterance] = []
    several = bool(translator.output.languages)
    rows = [
        (group[0].source, options.language or (group[0].language if several else None))
        for group in groups
    ]
    results = _translations(rows, translator, options)
    with line_writer(output) if output is not None else nullcontext() as write_line:
        started = time.perf_counter()
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
                    fields=pair_fields(first),
                )
            )
            if write_line is not None:
                row = {"id": first.id, "source": first.source, "text": result.text}
                write_line(json.dumps({**row, "score": result.score}, ensure_ascii=False))
        seconds = time.perf_counter() - started
    if forced:
        firsts = [group[0] for group in groups]
        scores = translator.score(
            [pair.source for pair in firsts],
            [pair.target for pair in firsts],
            languages=[language for _, language in rows],
        )
        utterances = [
            replace(u, log_prob=one.total, tokens=len(one.tokens))
            for u, one in zip(utterances, scores, strict=True)
        ]
    return Decoded(utterances, TextDecoding(len(groups), seconds), 0)


def _translations(
    rows: Sequence[tuple[str, str | None]], translator: Translator, options: DecodeOptions
) -> Iterator[Translation]:
    """Translate rows of `(source, language)`; returns translations in the same order.

    Raises:
        UserError: at the call: an option or a language cannot be used.
    """
    sources: dict[str | None, list[str]] = {}
    for source, language in rows:
        sources.setdefault(language, []).append(source)
    # A stream has one language; it batches sentences of similar length from the whole set.
    streams = {
        language: translator.stream(lines, replace(options, language=language))
        for language, lines in sources.items()
    }
    return (next(streams[language]) for _, language in rows)


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
