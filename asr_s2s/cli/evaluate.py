"""`asr-s2s evaluate`: word error rate of a model, or of transcripts that exist already."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr_s2s.cli.options import MODEL_HELP, BatchSeconds, BeamSize, Device
from asr_s2s.errors import EXIT_BAD_INPUT, UserError

if TYPE_CHECKING:
    from asr_s2s.evaluate.error_rate import Utterance
    from asr_s2s.evaluate.report import Decoding


class Format(StrEnum):
    """How the report is written."""

    text = "text"
    json = "json"


def evaluate(
    manifest: Annotated[
        Path | None,
        typer.Argument(help="Recordings to transcribe, with their texts.", show_default=False),
    ] = None,
    model: Annotated[str | None, typer.Option(help=MODEL_HELP)] = None,
    hypothesis: Annotated[
        Path | None,
        typer.Option(help="Score these transcripts instead (.txt, .tsv or .jsonl)."),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(help="What was said, for --hypothesis (.txt, .tsv, .jsonl or a manifest)."),
    ] = None,
    beam_size: BeamSize = None,
    device: Device = None,
    batch_seconds: BatchSeconds = 120.0,
    output: Annotated[
        Path | None, typer.Option(help="Write the transcripts here as they come (.jsonl).")
    ] = None,
    normalizer: Annotated[
        str | None,
        typer.Option(
            help="Applied to both sides before scoring; by default the model's own, and verbatim "
            "for --hypothesis."
        ),
    ] = None,
    worst: Annotated[int, typer.Option(min=0, help="Utterances shown with alignment.")] = 5,
    format: Annotated[Format, typer.Option(help="Report for people or programs.")] = Format.text,
    expect: Annotated[
        float | None,
        typer.Option(min=0.0, help="Highest acceptable WER in percent; above it, exit code 1."),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0.0, help="Percentage points that --expect may be exceeded by.")
    ] = 0.0,
) -> None:
    """Measure word, character and sentence error rates.

    Either transcribe MANIFEST with --model, or score --hypothesis against --reference.
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
        raise UserError(
            "--output", "nothing is transcribed with --hypothesis", "Leave --output out"
        )
    from asr_s2s.allocator import keep_freed_memory
    from asr_s2s.evaluate.error_rate import score
    from asr_s2s.evaluate.report import Expectation, json_report, text_report
    from asr_s2s.text.normalize import normalizer as find_normalizer

    keep_freed_memory()
    if normalizer is not None:
        find_normalizer(normalizer)  # a wrong name is an error now, not after decoding
    decoding, failures = None, 0
    if manifest is not None and model is not None:
        utterances, decoding, failures, own_normalizer = _transcribe(
            manifest, model, device, beam_size, batch_seconds, output
        )
        normalizer = normalizer or own_normalizer
    if hypothesis is not None and reference is not None:
        from asr_s2s.evaluate.transcripts import pair, read_transcripts

        utterances = pair(
            read_transcripts(reference),
            read_transcripts(hypothesis),
            reference_file=reference,
            hypothesis_file=hypothesis,
        )
    rates = score(utterances, normalizer or "verbatim")

    expectation = None
    if expect is not None:
        expectation = Expectation(expect, tolerance, 100 * rates.word_error_rate)
    if format is Format.json:
        print(json.dumps(json_report(rates, decoding, worst, expectation), ensure_ascii=False))
    else:
        print(text_report(rates, decoding, worst))
        if expectation is not None:
            print(f"\n{expectation}")
    if failures:
        print(
            f"{manifest}: {failures} of {len(utterances)} recordings failed; all of their words "
            "count as deletions",
            file=sys.stderr,
        )
    if failures or (expectation is not None and not expectation.met):
        raise typer.Exit(EXIT_BAD_INPUT)


def _transcribe(
    manifest: Path,
    model: str,
    device: str | None,
    beam_size: int | None,
    batch_seconds: float,
    output: Path | None,
) -> "tuple[list[Utterance], Decoding, int, str]":
    """Utterances, the time taken, how many recordings failed, and the model's normaliser."""
    import time
    from contextlib import ExitStack

    from rich.console import Console
    from rich.progress import track

    import asr_s2s
    from asr_s2s.data.manifest import cut_text, read_manifest
    from asr_s2s.evaluate.error_rate import Utterance
    from asr_s2s.evaluate.report import Decoding
    from asr_s2s.pipeline import Failure

    console = Console(stderr=True, highlight=False)
    cuts = list(read_manifest(manifest))
    transcriber = asr_s2s.load(model, device)
    utterances: list[Utterance] = []
    audio_seconds, failures = 0.0, 0
    with ExitStack() as stack:
        file = None
        if output is not None:
            try:
                file = stack.enter_context(output.open("w", encoding="utf-8"))
            except OSError as error:
                raise UserError(
                    output, f"cannot be written: {error.strerror}", "Choose another file"
                ) from error
        started = time.perf_counter()
        results = transcriber.stream(cuts, beam_size=beam_size, batch_seconds=batch_seconds)
        shown = track(
            results,
            "transcribing",
            total=len(cuts),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        for cut, result in zip(cuts, shown, strict=True):
            row = {"id": cut.id, "text": ""}
            if isinstance(result, Failure):
                failures += 1
                row["error"] = str(result.error)
                console.print(f"asr-s2s: {result.error}", markup=False, soft_wrap=True)
            else:
                audio_seconds += result.duration
                row["text"] = result.text
                if result.warning is not None:
                    console.print(f"asr-s2s: {result.warning}", markup=False, soft_wrap=True)
            utterances.append(Utterance(cut.id, cut_text(cut), row["text"]))
            if file is not None:
                print(json.dumps(row, ensure_ascii=False), file=file, flush=True)
        seconds = time.perf_counter() - started
    decoding = Decoding(audio_seconds, seconds)
    return utterances, decoding, failures, transcriber.config.text.normalizer
