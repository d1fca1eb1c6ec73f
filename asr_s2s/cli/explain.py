"""The command `asr-s2s explain`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr_s2s.cli.options import (
    MODEL_HELP,
    BeamSize,
    Device,
    Language,
    Source,
    command_names,
)
from asr_s2s.inspect.source import Limits, check_output, read_source, write_output

if TYPE_CHECKING:
    from asr_s2s.inspect.explain import Explanation
    from asr_s2s.inspect.random_weights import RankCorrelations

LIMITS = Limits(seconds=30.0, tokens=200)


def explain(
    source: Source,
    model: Annotated[str, typer.Option(help=MODEL_HELP)],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="File to write: a picture (.png, .svg) or the numbers (.json)."
        ),
    ] = Path("explanation.png"),
    output_text: Annotated[
        str | None, typer.Option(help="Output text to explain. [default: the model's own output]")
    ] = None,
    language: Language = None,
    beam_size: BeamSize = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Also compare with random weights, whose attributions should differ."
        ),
    ] = False,
    device: Device = None,
) -> None:
    """Attribute each output word to parts of the source.

    Computes integrated gradients and occlusion over the frames and mel bins of a recording, or the
    words of a sentence. On a CPU, a recording takes some seconds per output word. Requires captum:
    pip install 'asr-s2s[explain]'.
    """
    from rich.console import Console

    from asr_s2s.inspect.explain import check_installed
    from asr_s2s.inspect.explain import explain as explain_output
    from asr_s2s.inspect.explain_picture import draw_explanation
    from asr_s2s.inspect.random_weights import compare_with_random_weights
    from asr_s2s.model.device import choose_device
    from asr_s2s.model.folder import load_model
    from asr_s2s.search.options import DecodeOptions

    check_output(output)
    check_installed()
    loaded = load_model(model, choose_device(device), exact=True)
    options = DecodeOptions(language=language, beam_size=beam_size)
    with command_names():
        subject = read_source(loaded, source, LIMITS, options, output_text)
    values = subject.values if subject.sentence is None else subject.sentence
    inputs = (loaded.model, subject.dataset, values, subject.prompt, subject.tokens)
    with Console(stderr=True, highlight=False, emoji=False).status("explaining"):
        explanation = explain_output(*inputs)
        correlations = compare_with_random_weights(explanation, *inputs) if check else None
    print(_summary(explanation), file=sys.stderr)
    if correlations is not None:
        print(_check_summary(correlations), file=sys.stderr)
    write_output(
        output,
        lambda: (
            explanation.to_record() | {"random_weights": correlations and correlations.to_record()}
        ),
        lambda path: draw_explanation(path, explanation, subject.title),
    )


def _summary(explanation: "Explanation") -> str:
    from asr_s2s.inspect.integrated_gradients import TOLERANCE

    worst = max(explanation.words, key=lambda word: word.completeness_error)
    error = f"integrated gradients are complete within {100 * worst.completeness_error:.2f} %"
    if worst.completeness_error <= TOLERANCE:
        return error
    return (
        f"{error} only, after {worst.steps:,} steps for {worst.text!r}: "
        "its attributions are imprecise"
    )


def _check_summary(correlations: "RankCorrelations") -> str:
    from asr_s2s.inspect.random_weights import ALIKE

    values = (
        "rank correlation with random weights: "
        f"{correlations.integrated_gradients:.2f} by integrated gradients, "
        f"{correlations.occlusion:.2f} by occlusion"
    )
    alike = any(value >= ALIKE for value in correlations)
    return f"{values}: the attributions depend little on the trained weights" if alike else values
