"""The command `asr-s2s calibrate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr_s2s.cli.options import BatchSeconds, BeamSize, Device

if TYPE_CHECKING:
    from rich.console import Console

    from asr_s2s.evaluate.calibration import JudgedWord
    from asr_s2s.pipeline import Transcriber


def calibrate(
    manifests: Annotated[
        list[Path],
        typer.Argument(help="Manifests of development data with transcripts; not test data."),
    ],
    model: Annotated[str, typer.Option(help="Model folder to calibrate.")],
    beam_size: BeamSize = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the result without changing the model folder.")
    ] = False,
    device: Device = None,
    batch_seconds: BatchSeconds = 120.0,
) -> None:
    """Fit the word confidences of a model on development data.

    A calibrated confidence equals the probability that the word is correct. Transcribes the data,
    fits the confidence to which words are correct, and stores the fit in the model folder. Prints
    the expected calibration error before and after. The latter is cross-validated: each half of
    the data (of the speakers, if known) is scored with the fit on the other half.
    """
    from rich.console import Console

    from asr_s2s.allocator import keep_freed_memory
    from asr_s2s.evaluate.calibration import calibration_error, cross_validated, fit_confidence
    from asr_s2s.model.folder import change_search, find_model, own_folder
    from asr_s2s.pipeline import Transcriber

    keep_freed_memory()
    folder = find_model(model) if dry_run else own_folder(model)
    console = Console(stderr=True, highlight=False, emoji=False)
    transcriber = Transcriber.load(folder, device)
    words = _judged_words(manifests, transcriber, beam_size, batch_seconds, console)
    right = [word.right for word in words]
    where = ", ".join(map(str, manifests))
    weights = fit_confidence(words, where)
    before = calibration_error([word.confidence for word in words], right)
    after = calibration_error(cross_validated(words, where), right)
    print(f"{len(words):,} words, {100 * sum(right) / len(words):.2f} % right")
    print(f"expected calibration error: {before:.4f} before, {after:.4f} after (cross-validated)")
    print("search.confidence: [" + ", ".join(f"{weight:.4f}" for weight in weights) + "]")
    if not dry_run:
        change_search(folder, {"confidence": [round(weight, 4) for weight in weights]})


def _judged_words(
    manifests: list[Path],
    transcriber: "Transcriber",
    beam_size: int | None,
    batch_seconds: float,
    console: "Console",
) -> "list[JudgedWord]":
    """Transcribe a data set and judge each word against the reference. Translations are left
    out."""
    from rich.progress import track

    from asr_s2s.data.manifest import cut_speaker, cut_text, read_manifest
    from asr_s2s.evaluate.calibration import JudgedWord
    from asr_s2s.evaluate.decoding import select_cuts, stream_by_language
    from asr_s2s.metrics.error_rate import Utterance, score
    from asr_s2s.pipeline import Failure
    from asr_s2s.search.options import DecodeOptions

    rows = [
        (cut, language)
        for manifest in manifests
        for cut, language in select_cuts(read_manifest(manifest), transcriber, None, str(manifest))
        if transcriber.output.task(language) == "transcribe"
    ]
    options = DecodeOptions(beam_size=beam_size, words=True)
    shown = track(
        stream_by_language(rows, transcriber, options, batch_seconds),
        "transcribing",
        total=len(rows),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    judged: list[JudgedWord] = []
    for (cut, _), result in zip(rows, shown, strict=True):
        if isinstance(result, Failure):
            console.print(f"asr-s2s: {result.error}", markup=False, soft_wrap=True)
            continue
        recognized = [word for segment in result.segments for word in segment.words]
        text = " ".join(word.text for word in recognized)
        rates = score([Utterance(cut.id, cut_text(cut), text)], transcriber.config.text.normalizer)
        pairs = rates.utterances[0].pairs
        outcomes = [operation for operation, _, hypothesis in pairs if hypothesis]
        if len(outcomes) != len(recognized):  # the normalizer changed the number of words
            continue
        group = cut_speaker(cut) or cut.id
        judged += [
            JudgedWord(word.evidence, word.confidence, outcome == "equal", group)
            for word, outcome in zip(recognized, outcomes, strict=True)
        ]
    return judged
