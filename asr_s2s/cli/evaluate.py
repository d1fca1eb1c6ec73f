"""The command `asr-s2s evaluate`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from asr_s2s.cli.options import (
    MODEL_HELP,
    AnyReference,
    BatchSeconds,
    BeamSize,
    By,
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
    print_by_language,
)

if TYPE_CHECKING:
    from asr_s2s.config import DataSource
    from asr_s2s.evaluate.report import Decoding, TextDecoding
    from asr_s2s.metrics.error_rate import Utterance

    Part: TypeAlias = tuple[Scoring, list[Utterance]]


def evaluate(
    manifests: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="MANIFEST",
            help="Test set to decode: a manifest with transcripts, or parallel text such as "
            "'test.{en,de}'. Of several, scores are also reported one by one.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help=MODEL_HELP)] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="Recipe (YAML) whose test sets, data.test, are decoded."),
    ] = None,
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
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help=f"{METRICS_HELP}. May be repeated for further metrics. "
            "[default: the model's; wer for --hypothesis]",
        ),
    ] = None,
    by: By = None,
    language: Annotated[
        str | None,
        typer.Option(
            help="Output language, for a multilingual model; recordings with texts in other "
            "languages are left out. [default: the language of each utterance or sentence pair]"
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
    """Measure error rates, or scores of translated or other text.

    Either decodes MANIFEST with --model, or scores --hypothesis against --reference. Scores are
    broken down by language and by MANIFEST if there are several. Of a model that translates
    speech, each language has a report of its own: error rates of texts in the language spoken,
    and translation scores of the others.
    """
    if config is not None and manifests:
        raise UserError("--config", "MANIFEST is given as well", "Give one of them")
    tests: Sequence[str | DataSource] = [str(path) for path in manifests or ()]
    base = Path()
    if config is not None:
        from asr_s2s.config_file import load_config
        from asr_s2s.data.corpus import require_names

        tests, base = load_config(config).data.test, config.parent
        require_names(tests, f"{config}: data.test")
    given = {
        "MANIFEST": tests or None,
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
    if output is not None and not tests:
        raise UserError("--output", "nothing is decoded with --hypothesis", "Remove this option")
    if language is not None and not tests:
        raise UserError("--language", "nothing is decoded with --hypothesis", "Remove this option")
    from asr_s2s.allocator import keep_freed_memory
    from asr_s2s.data.corpus import data_sources
    from asr_s2s.text.normalize import normalizer as find_normalizer

    keep_freed_memory()
    if normalizer is not None:
        find_normalizer(normalizer)  # reports a wrong name before a model is loaded
    options = ScoringOptions(metric or (), normalizer, bleu_tokenizer, lowercase_tokenized)
    decoding, failures = None, 0
    if tests and model is not None:
        parts, decoding, failures = _decode(
            tests,
            base,
            model,
            options,
            any_reference,
            language,
            beam_size,
            device,
            batch_seconds,
            output,
            expected=expect is not None,
        )
    if hypothesis is not None and reference is not None:
        parts = {None: _read(hypothesis, reference, options, any_reference)}
    report, met = ReportOptions(format, worst, expect, tolerance, by or ()), True
    if len(parts) > 1 and decoding is not None:
        print_by_language({str(name): part for name, part in parts.items()}, decoding, report)
    else:
        ((scoring, utterances),) = parts.values()
        met = scoring.print_report(utterances, decoding, report)
    if failures:
        counted = "all of their words count as deletions"
        if any(scoring.metric.of_texts for scoring, _ in parts.values()):
            counted = "their texts count as empty"
        files = ", ".join(source.manifest for source in data_sources(tests))
        total = sum(len(utterances) for _, utterances in parts.values())
        print(f"{files}: {failures} of {total} recordings failed; {counted}", file=sys.stderr)
    if failures or not met:
        raise typer.Exit(EXIT_BAD_INPUT)


def _decode(
    tests: "Sequence[str | DataSource]",
    base: Path,
    model: str,
    options: ScoringOptions,
    any_reference: bool,
    language: str | None,
    beam_size: int | None,
    device: str | None,
    batch_seconds: float,
    output: Path | None,
    *,
    expected: bool,
) -> "tuple[dict[str | None, Part], Decoding | TextDecoding, int]":
    """Decode recordings or the source side of parallel text.

    Args:
        expected: whether one score is expected, so that all texts must have the same metric.

    Returns:
        Outputs, by language if the model translates speech; their decoding, and the number of
        failures.
    """
    from asr_s2s.data.corpus import data_sources, read_corpus
    from asr_s2s.data.parallel import read_parallel
    from asr_s2s.evaluate.decoding import (
        select_cuts,
        transcribe_cuts,
        translate_groups,
        with_corpus,
    )
    from asr_s2s.evaluate.transcripts import group_pairs
    from asr_s2s.pipeline import Transcriber
    from asr_s2s.search.options import DecodeOptions
    from asr_s2s.translator import Translator

    decoding = DecodeOptions(language=language, beam_size=beam_size)
    sources = data_sources(tests)
    if any_reference:
        for source in sources:
            read_parallel(base / source.manifest, source.columns)  # refuses recordings
    corpus = read_corpus(tests, base, "MANIFEST")
    manifests = [source.manifest for source in sources]
    if corpus.pairs and corpus.cuts:
        raise UserError(
            "MANIFEST",
            "some test sets are recordings, others are parallel text",
            "Evaluate them one by one",
        )
    if corpus.pairs:
        groups = [
            group
            for number in range(len(sources))
            for group in group_pairs(
                [pair for pair in corpus.pairs if corpus.origins[pair.id] == number],
                any_reference=any_reference,
            )
        ]
        translator = Translator.load(model, device)
        scoring = options.resolve(translator.config.text)
        with command_names():
            decoded = translate_groups(
                groups, translator, decoding, output=output, forced=scoring.needs_model
            )
        decoded = with_corpus(decoded, corpus, manifests)
        return {None: (scoring, decoded.utterances)}, decoded.decoding, 0
    transcriber = Transcriber.load(model, device)
    rows = select_cuts(corpus.cuts, transcriber, language, ", ".join(manifests))
    text = transcriber.config.text
    keys = [own if text.translation_languages else None for _, own in rows]
    scorings = {key: options.resolve(text, key) for key in keys}
    if expected and len(scorings) > 1:
        raise UserError(
            "--expect",
            f"the texts are in several languages: {', '.join(map(str, scorings))}",
            "Choose one with --language",
        )
    with command_names():
        decoded = transcribe_cuts(
            rows,
            transcriber,
            decoding,
            batch_seconds=batch_seconds,
            output=output,
            forced=any(scoring.needs_model for scoring in scorings.values()),
        )
    decoded = with_corpus(decoded, corpus, manifests)
    parts: dict[str | None, Part] = {key: (scoring, []) for key, scoring in scorings.items()}
    for utterance, key in zip(decoded.utterances, keys, strict=True):
        parts[key][1].append(utterance)
    return parts, decoded.decoding, decoded.failures


def _read(
    hypothesis: Path, reference: Path, options: ScoringOptions, any_reference: bool
) -> "tuple[Scoring, list[Utterance]]":
    """Read existing hypotheses and pair them with their references."""
    from asr_s2s.config import TextConfig
    from asr_s2s.evaluate.transcripts import pair, read_transcripts

    scoring = options.resolve(TextConfig())
    if scoring.needs_model:
        raise UserError(
            "--metric",
            "perplexity is computed from a model's probabilities of the references, and there is "
            "no model",
            "Give MANIFEST and --model",
        )
    translations = scoring.metric.of_texts
    utterances = pair(
        read_transcripts(reference, translations=translations, any_reference=any_reference),
        read_transcripts(hypothesis, translations=translations),
        reference_file=reference,
        hypothesis_file=hypothesis,
    )
    return scoring, utterances
