"""Ablation of a recognizer: word error rates as its parts are added one by one.

    python benchmarks/gains.py MANIFEST ... --model english [--trained NAME=FOLDER ...]

The models of --trained come first, in the order given, decoded by attention alone. Then follow
`--model` decoded by attention alone, with CTC in the beam, with the n-gram and the LSTM language
model (if the model has them with weights above 0), and with the guards. Each row has a 95 %
interval by a bootstrap, over speakers if they are known.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from lhotse.cut import Cut
from rich.console import Console
from rich.progress import Progress
from torch.nn.utils.rnn import pad_sequence

import asr_s2s
from asr_s2s.config import SearchConfig
from asr_s2s.data.manifest import cut_speaker, cut_text, read_cut_audio, read_manifest
from asr_s2s.errors import EXIT_BAD_INPUT, UserError
from asr_s2s.metrics.error_rate import Utterance, score
from asr_s2s.metrics.significance import confidence
from asr_s2s.pipeline import Failure, Transcriber
from asr_s2s.search.decode import decode

BATCH = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("manifests", nargs="+", type=Path)
    parser.add_argument("--model", default="english")
    parser.add_argument(
        "--trained", nargs="*", default=[], metavar="NAME=FOLDER", help="models trained with less"
    )
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    try:
        measure(options)
    except UserError as error:
        print(error, file=sys.stderr)
        raise SystemExit(EXIT_BAD_INPUT) from None


def measure(options: argparse.Namespace) -> None:
    """Measure all rows and print the table.

    Raises:
        UserError: a manifest, a recording or a model cannot be used.
    """
    corpora = [
        sorted(read_manifest(path), key=lambda cut: cut.duration) for path in options.manifests
    ]
    rows: list[tuple[str, Transcriber, SearchConfig | None]] = []
    for named in options.trained:
        name, _, folder = named.partition("=")
        ablated = asr_s2s.load(folder, "cpu")
        rows.append((name, ablated, attention_alone(ablated.config.search)))
    whole = asr_s2s.load(options.model, "cpu")
    rows += [(name, whole, search) for name, search in searches(whole)]
    print(f"| |{'|'.join(f' {path.stem} ' for path in options.manifests)}|")
    print(f"|---|{'---|' * len(corpora)}", flush=True)
    messages = Console(stderr=True)
    with Progress(console=messages, disable=not messages.is_terminal, transient=True) as bar:
        for name, model, search in rows:
            cells = []
            for cuts in corpora:
                shown = bar.track(recognize(model, cuts, search), total=len(cuts), description=name)
                cells.append(error_rate(cuts, list(shown)))
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


def attention_alone(search: SearchConfig) -> SearchConfig:
    """Disable all scorers but attention, and the bonuses that compensate for them."""
    return replace(
        search,
        ctc_weight=0.0,
        ngram_weight=0.0,
        language_model_weight=0.0,
        token_bonus=0.0,
        word_bonus=0.0,
        length_normalization=1.0,
    )


def searches(model: Transcriber) -> Iterator[tuple[str, SearchConfig | None]]:
    """Yield (name, search) with one more part each time; None is the full search with guards."""
    whole = model.config.search
    partly = attention_alone(whole)
    yield "attention", partly
    if model.model.ctc is not None and whole.ctc_weight > 0.0:
        partly = replace(partly, ctc_weight=whole.ctc_weight, length_normalization=0.0)
        yield "+ CTC in the beam", partly
    ngram, recurrent = model.language_models
    if ngram is not None and whole.ngram_weight > 0.0:
        partly = replace(whole, language_model_weight=0.0)
        yield "+ n-gram model", partly
    if recurrent is not None and whole.language_model_weight > 0.0:
        yield "+ LSTM language model", whole
    yield "+ guards", None


def recognize(model: Transcriber, cuts: list[Cut], search: SearchConfig | None) -> Iterator[str]:
    """Yield the texts of recordings, in order.

    Raises:
        AudioError: a recording cannot be read.
    """
    if search is None:
        for result in model.stream(cuts):
            if isinstance(result, Failure):
                raise result.error
            yield result.text
        return
    for start in range(0, len(cuts), BATCH):
        waveforms = [torch.from_numpy(read_cut_audio(cut)) for cut in cuts[start : start + BATCH]]
        lengths = torch.tensor([len(samples) for samples in waveforms])
        with torch.inference_mode():
            memory = model.model.encode(
                "speech", pad_sequence(waveforms, batch_first=True), lengths
            )
        found = decode(model.model, "speech", memory, search, language_models=model.language_models)
        yield from (model.output.tokenizer.decode(best.tokens) for best, *_ in found)


def error_rate(cuts: list[Cut], texts: list[str]) -> str:
    """Format the word error rate of texts in percent, with its interval."""
    utterances = [
        Utterance(cut.id, cut_text(cut), text, speaker=cut_speaker(cut))
        for cut, text in zip(cuts, texts, strict=True)
    ]
    rates = score(utterances, "english")
    intervals = confidence(rates)
    words = intervals.words if intervals else None
    interval = f" ({100 * words.low:.1f}-{100 * words.high:.1f})" if words else ""
    return f"{100 * rates.word_error_rate:.2f}{interval}"


if __name__ == "__main__":
    main()
