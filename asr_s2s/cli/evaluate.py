"""The command `asr-s2s evaluate`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr_s2s.cli.options import (
    MODEL_HELP,
    AnyReference,
    BatchSeconds,
    BeamSize,
    Device,
    command_names,
)
from asr_s2s.errors import EXIT_BAD_INPUT, UserError
from asr_s2s.evaluate.scoring import (
    METRICS_HELP,
    Format,
    ReportOptions,
    Scoring,
    ScoringOptions,
)

if TYPE_CHECKING:
    from asr_s2s.evaluate.decoding import Decoded
    from asr_s2s.metrics.error_rate import Utterance


def evaluate(
    manifest: Annotated[
        Path | None,
        typer.Argument(
            help="Test set to decode: a manifest with transcripts, or parallel text such as "
            "'test.{en,de}'.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help=MODEL_HELP)] = None,
    hypothesis: Annotated[
        Path | None,
        typer.Option(
            help="Existing hypotheses to score (.txt, .tsv, .csv, .jsonl; for BLEU any text file)."
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="References for --hypothesis (.txt, .tsv, .csv, .jsonl, a manifest or parallel "
            "text; for BLEU any text file, such as test.de.gz)."
        ),
    ] = None,
    any_reference: AnyReference = False,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"{METRICS_HELP}. [default: the model's; wer for --hypothesis]",
        ),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(
            help="Output language, for a multilingual model. "
            "[default: the language of each sentence pair]"
        ),
    ] = None,
    beam_size: BeamSize = None,
    device: Device = None,
    batch_seconds: BatchSeconds = 120.0,
    output: Annotated[
        Path | None, typer.Option(help="Write each hypothesis to this file (.jsonl) when ready.")
    ] = None,
    normalizer: Annotated[
        str | None,
        typer.Option(
            help="wer: normalizer applied to both sides. "
            "[default: the model's; verbatim for --hypothesis]"
        ),
    ] = None,
    bleu_tokenizer: Annotated[
        str | None,
        typer.Option(
            help="bleu: sacrebleu's tokenizer, such as 13a or zh. "
            "[default: the model's; 13a for --hypothesis]"
        ),
    ] = None,
    lowercase_tokenized: Annotated[
        str | None,
        typer.Option(
            metavar="LANGUAGE",
            help="bleu: also compute BLEU as in older papers, on text lowercased and tokenized by "
            "Moses for this language, such as de.",
        ),
    ] = None,
    worst: Annotated[
        int, typer.Option(min=0, help="Number of hypotheses to show, worst first.")
    ] = 5,
    format: Annotated[
        Format, typer.Option(help="Format of the report: text or json.")
    ] = Format.text,
    expect: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Worst acceptable value of the metric, in percent or points, such as the highest "
            "WER or the lowest BLEU; the exit code is 1 if it is missed.",
        ),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0.0, help="Points by which --expect may be missed.")
    ] = 0.0,
) -> None:
    """Measure error rates or translation scores.

    Either decodes MANIFEST with --model, or scores --hypothesis against --reference.
    """
    given = {
        "MANIFEST": manifest,
        "--model": model,
        "--hypothesis": hypothesis,
        "--reference": reference,
    }
    names = [name for name, value in given.items() if value is not None]
    if names not in (["MANIFEST", "--model"], ["--hypothesis", "--reference"]):
        raise UserError(
            "evaluate",
            "expected MANIFEST and --model, or --hypothesis and --reference; found "
            + (" and ".join(names) or "none of them"),
            "Give one of the two pairs",
        )
    if output is not None and manifest is None:
        raise UserError("--output", "nothing is decoded with --hypothesis", "Remove this option")
    if language is not None and manifest is None:
        raise UserError("--language", "nothing is decoded with --hypothesis", "Remove this option")
    from asr_s2s.allocator import keep_freed_memory
    from asr_s2s.text.normalize import normalizer as find_normalizer

    keep_freed_memory()
    if normalizer is not None:
        find_normalizer(normalizer)  # reports a wrong name before a model is loaded
    options = ScoringOptions(metric, normalizer, bleu_tokenizer, lowercase_tokenized)
    decoding, failures = None, 0
    if manifest is not None and model is not None:
        scoring, (utterances, decoding, failures) = _decode(
            manifest,
            model,
            options,
            any_reference,
            language,
            beam_size,
            device,
            batch_seconds,
            output,
        )
    if hypothesis is not None and reference is not None:
        scoring, utterances = _read(hypothesis, reference, options, any_reference)
    met = scoring.print_report(
        utterances, decoding, ReportOptions(format, worst, expect, tolerance)
    )
    if failures:
        counted = "all of their words count as deletions"
        if scoring.metric.of_translations:
            counted = "their texts count as empty"
        print(
            f"{manifest}: {failures} of {len(utterances)} recordings failed; {counted}",
            file=sys.stderr,
        )
    if failures or not met:
        raise typer.Exit(EXIT_BAD_INPUT)


def _decode(
    manifest: Path,
    model: str,
    options: ScoringOptions,
    any_reference: bool,
    language: str | None,
    beam_size: int | None,
    device: str | None,
    batch_seconds: float,
    output: Path | None,
) -> "tuple[Scoring, Decoded]":
    """Decode recordings or the source side of parallel text."""
    from asr_s2s.data.manifest import read_manifest
    from asr_s2s.data.parallel import is_parallel, read_parallel
    from asr_s2s.evaluate.decoding import transcribe_cuts, translate_groups
    from asr_s2s.evaluate.transcripts import group_pairs
    from asr_s2s.pipeline import Transcriber
    from asr_s2s.search.options import DecodeOptions
    from asr_s2s.translator import Translator

    decoding = DecodeOptions(language=language, beam_size=beam_size)
    if any_reference or is_parallel(manifest):
        groups = group_pairs(read_parallel(manifest), any_reference=any_reference)
        translator = Translator.load(model, device)
        scoring = options.resolve(translator.config.text)
        with command_names():
            return scoring, translate_groups(groups, translator, decoding, output=output)
    cuts = list(read_manifest(manifest))
    transcriber = Transcriber.load(model, device)
    scoring = options.resolve(transcriber.config.text)
    with command_names():
        decoded = transcribe_cuts(
            cuts, transcriber, decoding, batch_seconds=batch_seconds, output=output
        )
    return scoring, decoded


def _read(
    hypothesis: Path, reference: Path, options: ScoringOptions, any_reference: bool
) -> "tuple[Scoring, list[Utterance]]":
    """Read existing hypotheses and pair them with their references."""
    from asr_s2s.config import TextConfig
    from asr_s2s.evaluate.transcripts import pair, read_transcripts

    scoring = options.resolve(TextConfig())
    translations = scoring.metric.of_translations
    utterances = pair(
        read_transcripts(reference, translations=translations, any_reference=any_reference),
        read_transcripts(hypothesis, translations=translations),
        reference_file=reference,
        hypothesis_file=hypothesis,
    )
    return scoring, utterances
