"""The command `asr-s2s compare`."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr_s2s.cli.options import AnyReference, By
from asr_s2s.errors import UserError, writing
from asr_s2s.evaluate.scoring import METRICS_HELP, Format, ScoringOptions

if TYPE_CHECKING:
    from asr_s2s.evaluate.comparison import Comparison
    from asr_s2s.evaluate.comparison_report import Files


def compare(
    a: Annotated[
        Path,
        typer.Argument(
            metavar="A",
            help="Hypotheses of the first system (.txt, .tsv, .jsonl; for BLEU any text file).",
        ),
    ],
    b: Annotated[
        Path,
        typer.Argument(
            metavar="B", help="Hypotheses of the second system for the same utterances."
        ),
    ],
    reference: Annotated[
        Path,
        typer.Option(
            help="Reference transcripts or translations: a manifest, .txt, .tsv, .jsonl, or "
            "parallel text such as 'test.{en,de}'; for BLEU any text file."
        ),
    ],
    any_reference: AnyReference = False,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help=f"{METRICS_HELP}. [default: bleu for parallel text, else wer]"
        ),
    ] = None,
    normalizer: Annotated[
        str | None,
        typer.Option(help="wer: normalizer applied to all texts. [default: verbatim]"),
    ] = None,
    bleu_tokenizer: Annotated[
        str | None, typer.Option(help="bleu: sacrebleu's tokenizer, such as zh. [default: 13a]")
    ] = None,
    by: By = None,
    changed: Annotated[
        int, typer.Option(min=0, help="Number of utterances to show, largest changes first.")
    ] = 10,
    format: Annotated[
        Format, typer.Option(help="Format of the report: text or json.")
    ] = Format.text,
    html: Annotated[
        Path | None,
        typer.Option(help="Also write the report, with recordings to play, to this HTML file."),
    ] = None,
) -> None:
    """Compare two systems on the same references.

    Reports scores with confidence intervals, differences (B - A) with p-values, breakdowns (by
    length and speaker always), and the utterances that changed most.
    """
    from asr_s2s.config import TextConfig
    from asr_s2s.evaluate.comparison import compare_recognition, compare_translation
    from asr_s2s.evaluate.comparison_report import Files, json_report, text_report
    from asr_s2s.evaluate.text_comparison import compare_texts
    from asr_s2s.evaluate.transcripts import pair, read_transcripts
    from asr_s2s.metrics.metric import find_metric
    from asr_s2s.text.normalize import normalizer as find_normalizer

    if normalizer is not None:
        find_normalizer(normalizer)
    as_lines = metric is not None and find_metric(metric, "--metric").of_texts
    references = read_transcripts(reference, translations=as_lines, any_reference=any_reference)
    parallel = all(entry.source_text is not None for entry in references)
    kind = TextConfig(metric="bleu" if parallel else "wer")
    chosen = () if metric is None else (metric,)
    scoring = ScoringOptions(chosen, normalizer, bleu_tokenizer, None).resolve(kind)
    if scoring.needs_model:
        raise UserError(
            "--metric",
            f"{metric} is computed from a model's probabilities of the references, and files of "
            "outputs hold none",
            "Choose another metric",
        )
    translations = scoring.metric.of_texts
    first, second = (
        pair(
            references,
            read_transcripts(file, translations=translations),
            reference_file=reference,
            hypothesis_file=file,
        )
        for file in (a, b)
    )
    if scoring.metric.report == "translation scores":
        found = compare_translation(first, second, scoring.bleu_tokenizer, by or ())
    elif scoring.metric.report == "text scores":
        found = compare_texts(first, second, scoring.metric, by or ())
    else:
        found = compare_recognition(first, second, scoring.normalizer, by or ())
    files = Files(str(a), str(b), str(reference))
    if html is not None:
        _write_page(html, found, files, changed)
    if format is Format.json:
        print(json.dumps(json_report(found, files, changed), ensure_ascii=False))
    else:
        print(text_report(found, files, changed))


def _write_page(path: Path, comparison: "Comparison", files: "Files", changed: int) -> None:
    from asr_s2s.evaluate.comparison_page import page, read_clips

    clips, errors = read_clips(comparison.changes[:changed])
    for error in errors:
        print(f"asr-s2s: {error}", file=sys.stderr)
    text = page(comparison, files, comparison.changes[:changed], clips)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    print(f"written to {path}", file=sys.stderr)
