"""Measure the delay of live transcription, and its error against the text of whole recordings.

    python benchmarks/live.py RECORDING... [--model english] [--interval 1] [--window 15]

Plays each recording in simulated real time: audio that arrives while a window is decoded waits for
the next decoding, as it would with a microphone. Prints how long after its end each word is
committed (median, 90th percentile, maximum), the word error rate of the committed words against
`Transcriber.transcribe`, and the seconds of decoding per second of audio.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

import asr_s2s
from asr_s2s.audio.decode import read_audio
from asr_s2s.audio.waveform import SAMPLE_RATE, Waveform
from asr_s2s.errors import EXIT_BAD_INPUT, UserError
from asr_s2s.live import LiveTranscriber
from asr_s2s.metrics.error_rate import Utterance, score
from asr_s2s.text.words import join_texts

BLOCK_SECONDS = 0.1
"""Seconds of audio that a microphone delivers at once."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("recordings", nargs="+", type=Path)
    parser.add_argument("--model", default="english")
    parser.add_argument("--interval", type=float, default=1.0)
    parser.add_argument("--window", type=float, default=15.0)
    options = parser.parse_args()
    try:
        model = asr_s2s.load(options.model, "cpu")
        delays: list[float] = []
        texts: list[Utterance] = []
        audio = busy = 0.0
        for path in options.recordings:
            samples = read_audio(path)
            live = LiveTranscriber(model, interval=options.interval, window=options.window)
            text, own, seconds = play(live, samples)
            delays += own
            busy += seconds
            audio += len(samples) / SAMPLE_RATE
            texts.append(Utterance(str(path), model.transcribe(samples).text, text))
    except UserError as error:
        print(error, file=sys.stderr)
        raise SystemExit(EXIT_BAD_INPUT) from None
    median, high = np.percentile(delays, [50, 90]) if delays else (0.0, 0.0)
    print(f"recordings: {len(texts)}, {audio:.1f} s; committed words: {len(delays)}")
    print(f"delay: median {median:.2f} s, 90 % {high:.2f} s, max {max(delays, default=0.0):.2f} s")
    print(f"WER against the text of whole recordings: {100 * score(texts).word_error_rate:.2f} %")
    print(f"decoding: {busy / audio:.2f} s per second of audio")


def play(live: LiveTranscriber, samples: Waveform) -> tuple[str, list[float], float]:
    """Play a recording (samples,); returns the text, the delay of each word, and the seconds of
    decoding."""
    now = busy = 0.0  # simulated time, and the part of it that was spent decoding
    given = 0
    words: list[str] = []
    delays: list[float] = []
    while True:
        arrived = min(len(samples), int(now * SAMPLE_RATE))
        started = time.perf_counter()
        update = live.finish() if given == len(samples) else live.add(samples[given:arrived])
        elapsed = time.perf_counter() - started
        now += elapsed
        busy += elapsed
        words += [word.text for word in update.committed]
        delays += [max(0.0, now - word.end) for word in update.committed]
        if given == len(samples):
            return join_texts(words), delays, busy
        given = arrived
        now = max(now, min(given / SAMPLE_RATE + BLOCK_SECONDS, len(samples) / SAMPLE_RATE))


if __name__ == "__main__":
    main()
