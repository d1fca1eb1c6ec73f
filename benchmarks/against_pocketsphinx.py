"""Word error rate and speed beside PocketSphinx 5 with its own model of US English.

    pip install 'asr-s2s[benchmark]'
    python benchmarks/against_pocketsphinx.py MANIFEST ... --model digits --output FOLDER

The recordings of each manifest are recognized in rounds: some of them by asr_s2s, then the same by
PocketSphinx, so that both share whatever else the machine does. PocketSphinx uses one thread, so as
many processes of it run as asr_s2s has threads. Times are from files on disk to text, without
loading. Cepstral means are taken over each utterance, so that what PocketSphinx recognizes does not
depend on what came before it.

Its hypotheses are kept in FOLDER, a file for each manifest, which `asr-s2s evaluate --hypothesis`
reads. Recordings that stand there are not recognized by it again: an interrupted run goes on, and
another model is compared without waiting for PocketSphinx. Its real-time factor is that of what it
recognized in this run.
"""

import argparse
import json
import multiprocessing
import platform
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from importlib.metadata import version
from multiprocessing.pool import Pool
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lhotse.cut import Cut
from report import processor
from rich.console import Console
from rich.progress import Progress

import asr_s2s
from asr_s2s.audio.waveform import SAMPLE_RATE
from asr_s2s.data.manifest import cut_speaker, cut_text, read_cut_audio, read_manifest
from asr_s2s.errors import EXIT_BAD_INPUT, EXIT_INTERRUPTED, ManifestError, UserError
from asr_s2s.evaluate.error_rate import ErrorRates, Utterance, score
from asr_s2s.evaluate.significance import compare_error_rates, confidence
from asr_s2s.pipeline import Failure, Transcriber

NORMALIZER = "english"
"""Of both systems' texts, whatever the model's own is."""
ROUND = 64
"""Recordings that one system recognizes before the other takes its turn."""

messages = Console(stderr=True, highlight=False, emoji=False)


@dataclass
class Recognized:
    """What one system made of a set."""

    texts: dict[str, str] = field(default_factory=dict)
    """By the utterances' ids."""
    audio: float = 0.0
    """Seconds recognized in this run."""
    elapsed: float = 0.0
    """Seconds that it took."""

    def measured(self, cuts: list[Cut], started: float) -> None:
        """Count recordings whose recognition began at that reading of the clock, and just ended."""
        self.elapsed += time.perf_counter() - started
        self.audio += sum(cut.duration for cut in cuts)

    @property
    def real_time_factor(self) -> str:
        return f"{self.elapsed / self.audio:.3f}" if self.audio else "-"


@dataclass
class Corpus:
    """A manifest, and what both systems made of it."""

    name: str
    cuts: list[Cut]
    kept: Path
    """PocketSphinx's hypotheses."""
    own: Recognized = field(default_factory=Recognized)
    sphinx: Recognized = field(default_factory=Recognized)
    sphinx_names: set[str] = field(default_factory=set)
    """PocketSphinx with its version; several where hypotheses of another one were kept."""

    def rates(self, system: Recognized) -> ErrorRates:
        utterances = [
            Utterance(cut.id, cut_text(cut), system.texts[cut.id], speaker=cut_speaker(cut))
            for cut in self.cuts
        ]
        return score(utterances, NORMALIZER)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("manifests", nargs="+", type=Path)
    parser.add_argument("--model", default="digits")
    parser.add_argument("--output", type=Path, required=True, help="folder for hypotheses")
    parser.add_argument("--beam-size", type=int, help="of asr_s2s, by default the model's own")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    try:
        compare(options)
    except UserError as error:
        messages.print(str(error), markup=False, soft_wrap=True)
        raise SystemExit(EXIT_BAD_INPUT) from None
    except KeyboardInterrupt:
        messages.print("interrupted; the same command goes on from here")
        raise SystemExit(EXIT_INTERRUPTED) from None


def compare(options: argparse.Namespace) -> None:
    """Recognize all sets with both systems, and print the table.

    Raises:
        UserError: a manifest, a recording, the model or a file of hypotheses cannot be used, or
            PocketSphinx is needed and not installed.
    """
    corpora = [read_corpus(path, options.output) for path in options.manifests]
    if len({corpus.name for corpus in corpora}) < len(corpora):
        raise UserError(
            "the manifests",
            "two have the same name, after which hypotheses are kept",
            "Rename one of them",
        )
    missing = any(cut.id not in corpus.sphinx.texts for corpus in corpora for cut in corpus.cuts)
    torch.set_num_threads(options.threads)
    recognizer = asr_s2s.load(options.model, "cpu")
    recognizer.transcribe(corpora[0].cuts[0])  # the first batch warms up
    columns = Progress.get_default_columns()
    with (
        start_pocketsphinx(options.threads) if missing else nullcontext() as pool,
        Progress(*columns, console=messages, disable=not messages.is_terminal) as bar,
    ):
        for corpus in corpora:
            task = bar.add_task(corpus.name, total=len(corpus.cuts))
            for start in range(0, len(corpus.cuts), ROUND):
                cuts = corpus.cuts[start : start + ROUND]
                # Who comes first finds the files out of the operating system's cache.
                recognize(corpus, cuts, recognizer, options.beam_size)
                if pool is not None:
                    recognize_with_pocketsphinx(corpus, cuts, pool)
                bar.advance(task, len(cuts))
    print(report(options, recognizer, corpora))


def read_corpus(manifest: Path, folder: Path) -> Corpus:
    """A manifest, and the hypotheses of PocketSphinx that were kept.

    Raises:
        ManifestError: the one or the others cannot be used.
    """
    kept = folder / f"{manifest.stem}.jsonl"
    corpus = Corpus(manifest.stem, list(read_manifest(manifest)), kept)
    folder.mkdir(parents=True, exist_ok=True)
    content = corpus.kept.read_text("utf-8") if corpus.kept.exists() else ""
    whole = content[: content.rfind("\n") + 1]
    if whole != content:  # a run was killed while it wrote the last line
        corpus.kept.write_text(whole, "utf-8")
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            row = json.loads(line)
            corpus.sphinx.texts[row["id"]] = row["text"]
            corpus.sphinx_names.add(row["system"])
        except (ValueError, KeyError, TypeError) as error:
            raise ManifestError(
                f"{corpus.kept}:{number}",
                "this is no hypothesis that this benchmark wrote",
                "Remove the file, or name another --output",
            ) from error
    return corpus


def recognize(
    corpus: Corpus, cuts: list[Cut], recognizer: Transcriber, beam_size: int | None
) -> None:
    """Recognize some of a set with asr_s2s.

    Raises:
        AudioError: a recording cannot be read.
    """
    started = time.perf_counter()
    for cut, result in zip(cuts, recognizer.stream(cuts, beam_size=beam_size), strict=True):
        if isinstance(result, Failure):
            raise result.error
        corpus.own.texts[cut.id] = result.text
    corpus.own.measured(cuts, started)


def recognize_with_pocketsphinx(corpus: Corpus, cuts: list[Cut], pool: Pool) -> None:
    """Recognize what is still missing of them, and keep it.

    Raises:
        AudioError: a recording cannot be read.
    """
    cuts = [cut for cut in cuts if cut.id not in corpus.sphinx.texts]
    name = f"PocketSphinx {version('pocketsphinx')}"
    started = time.perf_counter()
    with corpus.kept.open("a", encoding="utf-8") as file:
        for cut, text in zip(cuts, pool.imap(_recognize, cuts), strict=True):
            corpus.sphinx.texts[cut.id] = text
            corpus.sphinx_names.add(name)
            print(json.dumps({"id": cut.id, "text": text, "system": name}), file=file, flush=True)
    corpus.sphinx.measured(cuts, started)


@contextmanager
def start_pocketsphinx(processes: int) -> Iterator[Pool]:
    """Processes that have PocketSphinx's model loaded.

    Raises:
        UserError: it is not installed.
    """
    try:
        import pocketsphinx  # noqa: F401  (each process has its own)
    except ImportError as error:
        problem = f"it is needed and cannot be imported ({error})"
        raise UserError("pocketsphinx", problem, "Install it: pip install pocketsphinx") from error
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(processes + 1)
    with context.Pool(processes, _begin, (ready,)) as pool:
        ready.wait()
        yield pool


_decoder: Any


def _begin(ready: Barrier) -> None:
    global _decoder
    from pocketsphinx import Decoder

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process ends this one
    _decoder = Decoder(samprate=SAMPLE_RATE, cmn="batch", loglevel="FATAL")
    ready.wait()


def _recognize(cut: Cut) -> str:
    samples = np.round(read_cut_audio(cut).clip(-1, 1) * 32767).astype(np.int16)
    _decoder.start_utt()
    _decoder.process_raw(samples.tobytes(), full_utt=True)
    _decoder.end_utt()
    hypothesis = _decoder.hyp()
    return hypothesis.hypstr if hypothesis else ""


def report(options: argparse.Namespace, recognizer: Transcriber, corpora: list[Corpus]) -> str:
    """The table, in Markdown, and what it rests on."""
    rows = []
    for corpus in corpora:
        own, sphinx = corpus.rates(corpus.own), corpus.rates(corpus.sphinx)
        p_value = "-"
        if len(corpus.cuts) > 1:
            p_value = f"{compare_error_rates(own, sphinx).words.p_value:.4f}"
        hours = sum(cut.duration for cut in corpus.cuts) / 3600
        rows.append(
            f"| {corpus.name} | {len(corpus.cuts)} | {hours:.2f} | {error_rate(own)} | "
            f"{error_rate(sphinx)} | {p_value} | {corpus.own.real_time_factor} | "
            f"{corpus.sphinx.real_time_factor} |"
        )
    beam_size = options.beam_size or recognizer.config.search.beam_size
    sphinx_names = sorted(set().union(*(corpus.sphinx_names for corpus in corpora)))
    return "\n".join(
        [
            f"`{shlex.join(['python', *sys.argv])}`",
            "",
            f"asr_s2s {asr_s2s.__version__}, model {options.model}, beam {beam_size}, "
            f"threads {options.threads}; {', '.join(sphinx_names)}, processes {options.threads}; "
            f"{processor()}, Python {platform.python_version()}, torch {torch.__version__}. WER in "
            f"% with 95 % interval, `{own.signature}`; p by paired bootstrap.",
            "",
            "| set | utterances | hours | WER asr_s2s | WER PocketSphinx | p | "
            "real-time factor asr_s2s | real-time factor PocketSphinx |",
            "|---|---|---|---|---|---|---|---|",
            *rows,
        ]
    )


def error_rate(rates: ErrorRates) -> str:
    """Word error rate in percent, and its 95 % interval where there is corpus."""
    trusted = confidence(rates)
    between = ""
    if trusted is not None and trusted.words is not None:
        low, high = trusted.words
        between = f" ({100 * low:.1f} to {100 * high:.1f})"
    return f"{100 * rates.word_error_rate:.1f}{between}"


if __name__ == "__main__":
    main()
