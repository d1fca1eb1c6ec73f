"""Compare word error rate and speed with PocketSphinx 5 and its US English model.

    pip install 'asr-s2s[benchmark]'
    python benchmarks/against_pocketsphinx.py MANIFEST ... --model digits --output FOLDER

The recordings of each manifest are recognized in rounds, first by asr_s2s and then by PocketSphinx,
so that other load on the machine affects both equally. PocketSphinx is single-threaded, so as many
of its processes run as asr_s2s has threads. Times are from files on disk to text, without loading.
PocketSphinx computes cepstral means over each utterance, so that its results do not depend on
previous utterances.

Hypotheses of PocketSphinx are kept in FOLDER, one file per manifest, readable by `asr-s2s evaluate
--hypothesis`. Recordings with a kept hypothesis are not recognized by it again: an interrupted run
resumes, and another model can be compared without running PocketSphinx. Its real-time factor covers
only the recordings recognized in this run.
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
from asr_s2s.metrics.error_rate import ErrorRates, Utterance, score
from asr_s2s.metrics.significance import compare_error_rates, confidence
from asr_s2s.pipeline import Failure, Transcriber

NORMALIZER = "english"
"""Normalizer of the texts of both systems, whatever the model's normalizer."""
ROUND = 64
"""Recordings that one system recognizes before it is the other's turn."""

messages = Console(stderr=True, highlight=False, emoji=False)


@dataclass
class Recognized:
    """Texts and times of one system on one corpus."""

    texts: dict[str, str] = field(default_factory=dict)
    """Recognized texts by utterance id."""
    audio: float = 0.0
    """Seconds of audio recognized in this run."""
    elapsed: float = 0.0
    """Seconds that the recognition took."""

    def add_time(self, cuts: list[Cut], started: float) -> None:
        """Add recordings whose recognition began at `started` and has just ended."""
        self.elapsed += time.perf_counter() - started
        self.audio += sum(cut.duration for cut in cuts)

    @property
    def real_time_factor(self) -> str:
        return f"{self.elapsed / self.audio:.3f}" if self.audio else "-"


@dataclass
class Corpus:
    """A manifest with the results of both systems."""

    name: str
    cuts: list[Cut]
    kept: Path
    """File of PocketSphinx's hypotheses."""
    own: Recognized = field(default_factory=Recognized)
    sphinx: Recognized = field(default_factory=Recognized)
    sphinx_names: set[str] = field(default_factory=set)
    """PocketSphinx with its version; several if kept hypotheses are of other versions."""

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
    parser.add_argument(
        "--output", type=Path, required=True, help="folder for PocketSphinx's hypotheses"
    )
    parser.add_argument("--beam-size", type=int, help="beam of asr_s2s (default: the model's)")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    try:
        compare(options)
    except UserError as error:
        messages.print(str(error), markup=False, soft_wrap=True)
        raise SystemExit(EXIT_BAD_INPUT) from None
    except KeyboardInterrupt:
        messages.print("interrupted; run the same command again to resume")
        raise SystemExit(EXIT_INTERRUPTED) from None


def compare(options: argparse.Namespace) -> None:
    """Recognize all corpora with both systems, and print the table.

    Raises:
        UserError: a manifest, a recording, the model or a file of hypotheses cannot be used, or
            PocketSphinx is needed but not installed.
    """
    corpora = [read_corpus(path, options.output) for path in options.manifests]
    if len({corpus.name for corpus in corpora}) < len(corpora):
        raise UserError(
            "the manifests",
            "two of them have the same name, which names the files of hypotheses",
            "Rename one of them",
        )
    missing = any(cut.id not in corpus.sphinx.texts for corpus in corpora for cut in corpus.cuts)
    torch.set_num_threads(options.threads)
    recognizer = asr_s2s.load(options.model, "cpu")
    recognizer.transcribe(corpora[0].cuts[0])  # warm-up
    columns = Progress.get_default_columns()
    with (
        start_pocketsphinx(options.threads) if missing else nullcontext() as pool,
        Progress(*columns, console=messages, disable=not messages.is_terminal) as bar,
    ):
        for corpus in corpora:
            task = bar.add_task(corpus.name, total=len(corpus.cuts))
            for start in range(0, len(corpus.cuts), ROUND):
                cuts = corpus.cuts[start : start + ROUND]
                # asr_s2s goes first, so only PocketSphinx reads files from the cache.
                recognize(corpus, cuts, recognizer, options.beam_size)
                if pool is not None:
                    recognize_with_pocketsphinx(corpus, cuts, pool)
                bar.advance(task, len(cuts))
    print(report(options, recognizer, corpora))


def read_corpus(manifest: Path, folder: Path) -> Corpus:
    """Read a manifest and the kept hypotheses of PocketSphinx.

    Raises:
        ManifestError: the manifest or a kept hypothesis cannot be used.
    """
    kept = folder / f"{manifest.stem}.jsonl"
    corpus = Corpus(manifest.stem, list(read_manifest(manifest)), kept)
    folder.mkdir(parents=True, exist_ok=True)
    content = corpus.kept.read_text("utf-8") if corpus.kept.exists() else ""
    whole = content[: content.rfind("\n") + 1]
    if whole != content:  # a previous run was killed while writing the last line
        corpus.kept.write_text(whole, "utf-8")
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            row = json.loads(line)
            corpus.sphinx.texts[row["id"]] = row["text"]
            corpus.sphinx_names.add(row["system"])
        except (ValueError, KeyError, TypeError) as error:
            raise ManifestError(
                f"{corpus.kept}:{number}",
                "this line is not a hypothesis written by this benchmark",
                "Remove the file, or choose another --output",
            ) from error
    return corpus


def recognize(
    corpus: Corpus, cuts: list[Cut], recognizer: Transcriber, beam_size: int | None
) -> None:
    """Recognize recordings of a corpus with asr_s2s.

    Raises:
        AudioError: a recording cannot be read.
    """
    started = time.perf_counter()
    for cut, result in zip(cuts, recognizer.stream(cuts, beam_size=beam_size), strict=True):
        if isinstance(result, Failure):
            raise result.error
        corpus.own.texts[cut.id] = result.text
    corpus.own.add_time(cuts, started)


def recognize_with_pocketsphinx(corpus: Corpus, cuts: list[Cut], pool: Pool) -> None:
    """Recognize recordings without a kept hypothesis, and keep their hypotheses.

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
    corpus.sphinx.add_time(cuts, started)


@contextmanager
def start_pocketsphinx(processes: int) -> Iterator[Pool]:
    """Start processes that have PocketSphinx's model loaded.

    Raises:
        UserError: PocketSphinx is not installed.
    """
    try:
        import pocketsphinx  # noqa: F401 - only checks that it is installed
    except ImportError as error:
        problem = f"this package cannot be imported ({error})"
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
    """Format the table with the versions and settings, as Markdown."""
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
    """Format word error rate in percent, with its 95 % interval if there are enough utterances."""
    intervals = confidence(rates)
    interval = ""
    if intervals is not None and intervals.words is not None:
        low, high = intervals.words
        interval = f" ({100 * low:.1f} to {100 * high:.1f})"
    return f"{100 * rates.word_error_rate:.1f}{interval}"


if __name__ == "__main__":
    main()
