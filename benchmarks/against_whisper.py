"""Error rate, processor time, memory and start-up beside Whisper (faster-whisper) and PocketSphinx.

    pip install 'asr-s2s[benchmark]'
    python benchmarks/against_whisper.py MANIFEST ... --model english \
        --whisper tiny.en=FOLDER --whisper base=FOLDER --threads 1

Each system runs in a process of its own and transcribes one file after another, as a user would
have it. The systems take turns on the same files, so that all share whatever else the machine does.
FOLDER is a Whisper model in CTranslate2 form, computed with in 8 bits with greedy decoding.

Processor seconds (user and system, all threads) are divided by seconds of audio and include reading
the files; loading is reported separately. The texts of all systems and the references are
normalized by Whisper's English normalizer (package whisper-normalizer), which unifies numbers and
abbreviations.
"""

import argparse
import json
import os
import platform
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from report import processor
from rich.console import Console
from rich.progress import Progress

from asr_s2s.data.manifest import audio_file, cut_speaker, cut_text, read_manifest
from asr_s2s.errors import EXIT_BAD_INPUT, UserError
from asr_s2s.metrics.error_rate import Utterance, score
from asr_s2s.metrics.significance import confidence

ROUND = 16
"""Recordings that one system transcribes before the next takes its turn."""

messages = Console(stderr=True, highlight=False, emoji=False)
Transcribe = Callable[[str], str]


@dataclass
class System:
    """A recognizer in a process of its own."""

    name: str
    process: subprocess.Popen[str]
    loading: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    """Processor seconds by manifest."""
    texts: dict[str, dict[str, str]] = field(default_factory=dict)
    """Texts by manifest and utterance."""
    memory: float = 0.0
    """Peak resident memory in MB."""

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise UserError(self.name, "its process ended", "Read its message above")
        result: dict[str, Any] = json.loads(answer)
        return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("manifests", nargs="+", type=Path)
    parser.add_argument("--model", default="english", help="model of asr_s2s")
    parser.add_argument("--beam-size", type=int, help="of asr_s2s; default: the model's own")
    parser.add_argument(
        "--whisper", action="append", default=[], metavar="NAME=FOLDER", help="repeatable"
    )
    parser.add_argument("--pocketsphinx", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit", type=int, help="utterances of each manifest, evenly spread")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(json.loads(options.work))
        return
    try:
        print(compare(options))
    except UserError as error:
        messages.print(str(error), markup=False, soft_wrap=True)
        raise SystemExit(EXIT_BAD_INPUT) from None


def compare(options: argparse.Namespace) -> str:
    """Transcribe all manifests with all systems, in turns; returns the table in Markdown.

    Raises:
        UserError: a manifest or a system cannot be used.
    """
    settings: list[dict[str, Any]] = [
        {"system": "asr_s2s", "model": options.model, "beam_size": options.beam_size}
    ]
    for named in options.whisper:
        name, _, folder = named.partition("=")
        settings.append({"system": "whisper", "name": name, "model": folder})
    if options.pocketsphinx:
        settings.append({"system": "pocketsphinx"})
    corpora = {path.stem: list(read_manifest(path)) for path in options.manifests}
    for name, cuts in corpora.items():
        if options.limit and options.limit < len(cuts):
            corpora[name] = [cuts[i * len(cuts) // options.limit] for i in range(options.limit)]
    systems = [start(setting, options.threads) for setting in settings]
    try:
        for system in systems:
            system.loading = system.ask({"load": True})
        with Progress(console=messages, disable=not messages.is_terminal) as bar:
            for name, cuts in corpora.items():
                task = bar.add_task(name, total=len(cuts))
                for begin in range(0, len(cuts), ROUND):
                    part = cuts[begin : begin + ROUND]
                    files = [audio_file(cut) for cut in part]
                    for system in systems:
                        answer = system.ask({"files": files})
                        system.seconds[name] = system.seconds.get(name, 0.0) + answer["seconds"]
                        system.memory = answer["memory"]
                        texts = system.texts.setdefault(name, {})
                        for cut, text in zip(part, answer["texts"], strict=True):
                            texts[cut.id] = text
                    bar.advance(task, len(part))
        return report(options, systems, corpora)
    finally:
        for system in systems:
            system.process.kill()
            system.process.wait()


def start(setting: dict[str, Any], threads: int) -> System:
    name = setting.get("name") or setting.get("model") or setting["system"]
    process = subprocess.Popen(
        [sys.executable, __file__, "-", "--work", json.dumps(setting | {"threads": threads})],
        env=os.environ | {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    return System(f"{setting['system']} {name}" if name != setting["system"] else name, process)


def work(setting: dict[str, Any]) -> None:
    """Answer requests on standard input: to load the system, and to transcribe files."""
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not look like an answer
    transcribe: Transcribe = str
    for line in sys.stdin:
        request = json.loads(line)
        wall, cpu = time.perf_counter(), processor_seconds()
        answer: dict[str, Any] = {}
        if "load" in request:
            transcribe = SYSTEMS[setting["system"]](setting)
        else:
            answer["texts"] = [transcribe(file) for file in request["files"]]
        answer |= {
            "seconds": processor_seconds() - cpu,
            "wall": time.perf_counter() - wall,
            "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        print(json.dumps(answer), file=output, flush=True)


def processor_seconds() -> float:
    """User and system time of this process and the ones that it started."""
    times = os.times()
    return sum(times[:4])


def load_own(setting: dict[str, Any]) -> Transcribe:
    import torch

    import asr_s2s
    from asr_s2s.pipeline import Failure

    torch.set_num_threads(setting["threads"])
    recognizer = asr_s2s.load(setting["model"], "cpu")

    def transcribe(file: str) -> str:
        (result,) = recognizer.stream([file], beam_size=setting["beam_size"])
        if isinstance(result, Failure):
            raise result.error
        return result.text

    return transcribe


def load_whisper(setting: dict[str, Any]) -> Transcribe:
    from faster_whisper import WhisperModel

    model = WhisperModel(
        setting["model"], device="cpu", compute_type="int8", cpu_threads=setting["threads"]
    )

    def transcribe(file: str) -> str:
        segments, _ = model.transcribe(file, language="en", beam_size=1)
        return " ".join(segment.text for segment in segments)

    return transcribe


def load_pocketsphinx(setting: dict[str, Any]) -> Transcribe:
    import numpy as np
    from pocketsphinx import Decoder

    from asr_s2s.audio.decode import read_audio

    decoder = Decoder(samprate=16_000, cmn="batch", loglevel="FATAL")

    def transcribe(file: str) -> str:
        samples = np.round(read_audio(file).clip(-1, 1) * 32767).astype(np.int16)
        decoder.start_utt()
        decoder.process_raw(samples.tobytes(), full_utt=True)
        decoder.end_utt()
        hypothesis = decoder.hyp()
        return hypothesis.hypstr if hypothesis else ""

    return transcribe


SYSTEMS: dict[str, Callable[[dict[str, Any]], Transcribe]] = {
    "asr_s2s": load_own,
    "whisper": load_whisper,
    "pocketsphinx": load_pocketsphinx,
}


def report(options: argparse.Namespace, systems: list[System], corpora: dict[str, Any]) -> str:
    """The table, in Markdown, and what it rests on."""
    from whisper_normalizer.english import EnglishTextNormalizer

    normalize = EnglishTextNormalizer()
    rows = []
    for name, cuts in corpora.items():
        audio = sum(cut.duration for cut in cuts)
        for system in systems:
            texts = system.texts[name]
            rates = score(
                [
                    Utterance(
                        cut.id,
                        normalize(cut_text(cut)),
                        normalize(texts[cut.id]),
                        speaker=cut_speaker(cut),
                    )
                    for cut in cuts
                ]
            )
            trusted = confidence(rates)
            interval = ""
            if trusted is not None and trusted.words is not None:
                interval = " ({:.1f} to {:.1f})".format(*(100 * w for w in trusted.words))
            rows.append(
                f"| {name} | {len(cuts)} | {system.name} | "
                f"{100 * rates.word_error_rate:.1f}{interval} | "
                f"{system.seconds[name] / audio:.3f} |"
            )
    used = [
        f"| {s.name} | {s.loading['seconds']:.1f} | {s.loading['wall']:.1f} | {s.memory:.0f} |"
        for s in systems
    ]
    return "\n".join(
        [
            f"`{shlex.join(['python', *sys.argv])}`",
            "",
            f"threads {options.threads}; {processor()}, Python {platform.python_version()}",
            "",
            "| set | utterances | system | WER % (95 % interval) | processor s per s of audio |",
            "|---|---|---|---|---|",
            *rows,
            "",
            "| system | loading, processor s | loading, s | peak memory MB |",
            "|---|---|---|---|",
            *used,
        ]
    )


if __name__ == "__main__":
    main()
