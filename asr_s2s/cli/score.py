"""The command `asr-s2s score`: log-probabilities that a model gives to outputs."""

import json
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from asr_s2s.cli.options import MODEL_HELP, BatchSeconds, Device
from asr_s2s.errors import EXIT_BAD_INPUT, ManifestError, UserError
from asr_s2s.writers import line_writer

if TYPE_CHECKING:
    from lhotse.cut import Cut

    from asr_s2s.search.forced import Likelihood
    from asr_s2s.text.output import Output


class Format(StrEnum):
    """Output format of scores."""

    tsv = "tsv"
    json = "json"


class _Data(NamedTuple):
    """Sources with the outputs to score."""

    ids: list[str]
    sources: "Sequence[str] | Sequence[Cut]"
    targets: list[str]
    languages: list[str | None]


COLUMNS = ("id", "log_prob", "tokens", "per_token")


def score(
    source: Annotated[
        str,
        typer.Argument(
            help="Text file with one source per line; or parallel text ('test.{en,de}', or a table "
            "of source and target); or a manifest of recordings with transcripts.",
        ),
    ],
    target: Annotated[
        str | None,
        typer.Argument(
            help="Text file with one output per line of SOURCE, if that is a text file.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[str, typer.Option(help=MODEL_HELP)] = "en-de",
    language: Annotated[
        str | None,
        typer.Option(
            help="Output language, for a multilingual model. [default: the language of each row]"
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write. [default: standard output]"),
    ] = None,
    format: Annotated[
        Format,
        typer.Option(help="tsv: a table; json: JSON Lines with the log-probability of each token."),
    ] = Format.tsv,
    device: Device = None,
    batch_tokens: Annotated[
        int, typer.Option(min=1, help="Source or output tokens of text in one batch.")
    ] = 4000,
    batch_seconds: BatchSeconds = 120.0,
) -> None:
    """Compute the log-probabilities of given outputs.

    The decoder is given the tokens of each output (forced decoding). Line i of the result is about
    line i of the input: natural log-probability, number of tokens with the end token, and
    log-probability per token. Scores do not depend on the batch. CTC, language models and
    penalties of the search are not part of them. The exit code is 1 if a recording cannot be
    scored.
    """
    from asr_s2s.allocator import keep_freed_memory
    from asr_s2s.pipeline import Failure, Transcriber
    from asr_s2s.translator import Translator

    keep_freed_memory()
    data, spoken = _read(source, target)
    languages: list[str | None] = data.languages if language is None else [language] * len(data.ids)
    found: Sequence[Likelihood | Failure]
    if spoken:
        transcriber = Transcriber.load(model, device)
        outputs = transcriber.output
        languages = languages if outputs.languages else [None] * len(data.ids)
        found = transcriber.score(
            list(data.sources), data.targets, languages=languages, batch_seconds=batch_seconds
        )
    else:
        translator = Translator.load(model, device)
        outputs = translator.output
        sources = [str(text) for text in data.sources]
        found = translator.score(
            sources, data.targets, languages=languages, batch_tokens=batch_tokens
        )
    if language is not None and not outputs.languages:
        raise UserError("--language", "this model writes one language only", "Remove this option")
    failures = 0
    with line_writer(output) as write_line:
        if format is Format.tsv:
            write_line("\t".join(COLUMNS))
        for name, one in zip(data.ids, found, strict=True):
            record: dict[str, Any] = {"id": name}
            if isinstance(one, Failure):
                failures += 1
                print(f"asr-s2s: {one.error}", file=sys.stderr)
                record["error"] = str(one.error)
            else:
                record |= _record(one, outputs, format)
            if format is Format.json:
                write_line(json.dumps(record, ensure_ascii=False))
            else:
                write_line("\t".join(str(record.get(column, "")) for column in COLUMNS))
    if failures:
        raise typer.Exit(EXIT_BAD_INPUT)


def _record(one: "Likelihood", outputs: "Output", format: Format) -> dict[str, Any]:
    pieces = outputs.tokenizer.pieces
    tokens: Any = len(one.tokens)
    if format is Format.json:
        tokens = [
            {"text": pieces[token], "log_prob": round(value, 4)}
            for token, value in zip(one.tokens, one.log_probs, strict=True)
        ]
    return {
        "log_prob": round(one.total, 4),
        "tokens": tokens,
        "per_token": round(one.per_token, 4),
    }


def _read(source: str, target: str | None) -> tuple[_Data, bool]:
    """Read sources and outputs; returns whether the sources are recordings.

    Raises:
        UserError: they cannot be read, or do not fit together.
    """
    from asr_s2s.data.parallel import is_one_side, is_parallel, read_parallel

    if target is not None:
        from asr_s2s.text_files import read_lines

        sources, targets = read_lines(source), read_lines(target)
        if len(sources) != len(targets):
            raise ManifestError(
                target,
                f"it has {len(targets):,} lines, and {source} has {len(sources):,}",
                "Give one output per source",
            )
        ids = [str(number) for number in range(1, len(sources) + 1)]
        return _Data(ids, sources, targets, [None] * len(ids)), False
    if is_parallel(source):
        pairs = read_parallel(source)
        return _Data(
            [pair.id for pair in pairs],
            [pair.source for pair in pairs],
            [pair.target for pair in pairs],
            [pair.language for pair in pairs],
        ), False
    if is_one_side(source):
        raise UserError("TARGET", "it is missing, and SOURCE is plain text", "Give the outputs")
    from asr_s2s.data.manifest import cut_language, cut_text, read_manifest

    cuts = list(read_manifest(source))
    return _Data(
        [cut.id for cut in cuts],
        cuts,
        [cut_text(cut) for cut in cuts],
        [cut_language(cut) for cut in cuts],
    ), True
