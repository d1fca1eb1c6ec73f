"""Problems in the manifests of a run, each with its fix, found before training starts."""

import functools
import hashlib
import math
import os
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from lhotse import CutSet
from lhotse.cut import Cut
from numpy.typing import NDArray

from asr_s2s.audio.decode import AudioInfo, probe
from asr_s2s.audio.waveform import SAMPLE_RATE, is_silent
from asr_s2s.data.manifest import (
    audio_file,
    cut_language,
    cut_speaker,
    cut_text,
    read_cut_audio,
)
from asr_s2s.data.plain import LENGTH_TOLERANCE
from asr_s2s.errors import AudioError
from asr_s2s.text.tokenizer import Tokenizer

MIN_SECONDS = 0.1
"""Minimum duration of an utterance in seconds; no word is shorter."""
CLIPPED_LEVEL = 0.99
"""Amplitude that counts as full scale; lossy codecs and resampling lower clipped peaks to it."""
CLIPPED_FRACTION = 0.005
"""Fraction of samples that end a run of three or more at full scale, from which an utterance
counts as clipped: audible as distortion. Clean recordings reach full scale at single peaks only."""
FRAMES_PER_SECOND = 100


@dataclass(frozen=True)
class Finding:
    """A problem in a data set, with its fix."""

    kind: str
    """Category of the problem, by which findings are grouped."""
    where: str
    """Split and utterance id, line of a manifest, or speaker."""
    problem: str
    fix: str


@dataclass(frozen=True)
class _AudioStats:
    """Measurements of the audio of an utterance."""

    seconds: float
    """Duration of the utterance as read."""
    recording_seconds: float
    """Duration of the whole recording that contains the utterance."""
    silent: bool
    clipped: float
    """Fraction of the samples that are clipped."""
    digest: bytes


def check_manifests(
    splits: Mapping[str, CutSet],
    *,
    tokenizer: Tokenizer | None = None,
    normalizer: Callable[[str], str] | None = None,
    time_reduction: int | None = None,
    ctc_per_frame: int = 1,
    edge_frames: int = 0,
    max_seconds: float | None = None,
    languages: Sequence[str] = (),
    translation_languages: Sequence[str] = (),
    progress: Callable[[], object] | None = None,
) -> Iterator[Finding]:
    """Read every utterance, and check it by itself and against all others.

    Args:
        splits: utterances by name of the split, the training split first.
        tokenizer: counts tokens and defines the vocabulary. Without one, each character is a
            token, and the vocabulary consists of the characters of the training split.
        normalizer: applied to each text before it is checked.
        time_reduction: feature frames per memory frame. If given, texts with more tokens than
            CTC can align with their audio are reported.
        ctc_per_frame: CTC frames per memory frame.
        edge_frames: frames that the model adds at each end of an utterance.
        max_seconds: maximum duration of utterances used in training.
        languages: output languages of the model. If given, each text must be in one of them; with a
            single language, rows need not name it.
        translation_languages: those in which texts are translations, which CTC does not align.
        progress: called after each utterance.

    Yields:
        Findings in the order of the utterances, then speakers that occur in several splits.
    """
    seen = _SeenUtterances()
    training_characters: set[str] | None = None
    for split, cuts in splits.items():
        texts = [normalizer(cut_text(cut)) if normalizer else cut_text(cut) for cut in cuts]
        if training_characters is None:
            training_characters = set().union(*texts)
        measured = _map_in_order(
            functools.partial(_measure_audio, probe_file=functools.cache(probe)), cuts
        )
        for cut, text, stats in zip(cuts, texts, measured, strict=True):
            where = f"{split}: {cut.id}"
            if isinstance(stats, AudioError):
                problem = f"{stats.where}: {stats.problem}"
                yield Finding("unreadable", where, problem, stats.fix)
            else:
                yield from _check_audio(where, cut, stats, max_seconds)
                if time_reduction is not None and cut_language(cut) not in translation_languages:
                    tokens = tokenizer.encode(text) if tokenizer else [ord(c) for c in text]
                    frames = 1 + int(stats.seconds * FRAMES_PER_SECOND) + 2 * edge_frames
                    frames = ctc_per_frame * math.ceil(frames / time_reduction)
                    yield from _check_length(where, tokens, stats.seconds, frames)
            yield from check_language(where, cut_language(cut), languages)
            yield from _check_text(where, text, tokenizer, training_characters)
            yield from seen.compare(split, cut, text, stats)
            if progress is not None:
                progress()
    yield from _shared_speakers(splits)


def check_language(where: str, language: str | None, languages: Sequence[str]) -> Iterator[Finding]:
    """Check that a text is in one of the languages of the model, if it has any."""
    if language in languages or not languages or (language is None and len(languages) == 1):
        return
    problem = f"{language} is not a language of the model" if language else "no language is given"
    yield Finding(
        "wrong language",
        where,
        problem,
        f"Give one of text.languages: {', '.join(languages)}; training refuses it",
    )


def _measure_audio(cut: Cut, probe_file: Callable[[str], AudioInfo]) -> _AudioStats | AudioError:
    try:
        file = audio_file(cut)
        recording_seconds = probe_file(file).duration if file else cut.duration
        samples = read_cut_audio(cut)
    except AudioError as error:
        return error
    return _AudioStats(
        seconds=len(samples) / SAMPLE_RATE,
        recording_seconds=recording_seconds,
        silent=is_silent(samples),
        clipped=_clipped_fraction(samples),
        digest=hashlib.blake2b(samples.tobytes(), digest_size=16).digest(),
    )


def _clipped_fraction(samples: NDArray[np.float32]) -> float:
    """Fraction of the samples that end a run of three or more at full scale."""
    full = np.abs(samples) >= CLIPPED_LEVEL
    if len(full) < 3 or not full.any():
        return 0.0
    return float(np.mean(full[2:] & full[1:-1] & full[:-2]))


def _map_in_order(
    measure: Callable[[Cut], _AudioStats | AudioError], cuts: Iterable[Cut]
) -> Iterator[_AudioStats | AudioError]:
    """Apply `measure` to the cuts in threads, slightly ahead of the caller; results in order."""
    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[_AudioStats | AudioError]] = deque()
        for cut in cuts:
            waiting.append(pool.submit(measure, cut))
            if len(waiting) > 8 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _check_audio(
    where: str, cut: Cut, stats: _AudioStats, max_seconds: float | None
) -> Iterator[Finding]:
    stated = cut.recording.duration if audio_file(cut) else cut.duration
    if stats.silent:
        yield Finding("silent", where, "the audio is silent", "Record it again, or leave it out")
    if stats.clipped >= CLIPPED_FRACTION:
        yield Finding(
            "clipped",
            where,
            f"{stats.clipped:.1%} of the samples are clipped at full scale",
            "Record it again at a lower level, or leave it out",
        )
    if stats.seconds < MIN_SECONDS:
        problem = f"{stats.seconds:.3f} s is shorter than {MIN_SECONDS} s"
        yield Finding("too short", where, problem, "Leave it out")
    if max_seconds is not None and stats.seconds > max_seconds:
        yield Finding(
            "too long",
            where,
            f"{stats.seconds:.1f} s is longer than data.max_seconds, {max_seconds:g} s",
            "Split it, or raise data.max_seconds; training skips it",
        )
    if abs(stats.recording_seconds - stated) > LENGTH_TOLERANCE:
        problem = f"expected {stated:.2f} s, found {stats.recording_seconds:.2f} s in its file"
        yield Finding(
            "wrong duration",
            where,
            problem,
            "Correct or remove the duration; for a part of a recording, give its start too",
        )
    elif abs(stats.seconds - cut.duration) > LENGTH_TOLERANCE:
        problem = f"expected {cut.duration:.2f} s, {stats.seconds:.2f} s could be read"
        yield Finding("wrong duration", where, problem, "Copy the file again: it may be truncated")


def _check_length(where: str, tokens: list[int], seconds: float, frames: int) -> Iterator[Finding]:
    # CTC needs a blank between two equal tokens.
    needed = len(tokens) + sum(first == second for first, second in pairwise(tokens))
    if needed > frames:
        yield Finding(
            "text too long",
            where,
            f"{len(tokens)} tokens need {needed} CTC frames; {seconds:.2f} s give {frames}",
            "Compare text and audio; if they agree, lower speech_encoder.time_reduction, or raise "
            "objective.ctc_per_frame or features.edge_frames",
        )


def _check_text(
    where: str, text: str, tokenizer: Tokenizer | None, training_characters: set[str]
) -> Iterator[Finding]:
    if not text.strip():
        yield Finding(
            "empty text",
            where,
            "there is no text",
            "Write the transcript; if there is no speech, set data.learn_silence",
        )
        return
    if tokenizer is not None:
        unknown, owner = tokenizer.unknown_characters(text), "the model's vocabulary"
    else:
        unknown, owner = set(text) - training_characters, "the training texts"
    if unknown:
        yield Finding(
            "unknown characters",
            where,
            f"{' '.join(map(repr, sorted(unknown)))} not in {owner}",
            "Choose a normalizer that replaces them, or add training texts that contain them",
        )


class _SeenUtterances:
    """Utterances checked so far; finds repeated audio and repeated ids."""

    def __init__(self) -> None:
        self.by_audio: dict[tuple[bytes, str, str | None], tuple[str, str, str]] = {}
        """By audio, split and language: within a split, a recording may have texts in several
        languages."""
        self.first_of_audio: dict[bytes, tuple[str, str, str]] = {}
        self.by_id: dict[str, tuple[str, str, str]] = {}

    def compare(
        self, split: str, cut: Cut, text: str, stats: _AudioStats | AudioError
    ) -> Iterator[Finding]:
        where = f"{split}: {cut.id}"
        this = (split, where, text)
        same_audio = this
        if isinstance(stats, _AudioStats) and not stats.silent:
            same_audio = self.first_of_audio.setdefault(stats.digest, this)
            if same_audio[0] == split:
                key = stats.digest, split, cut_language(cut)
                same_audio = self.by_audio.setdefault(key, this)
        same_id = self.by_id.setdefault(cut.id, this)
        if same_audio is not this:
            other_split, other, other_text = same_audio
            same_text = "and the same text" if text == other_text else "but a different text"
            yield Finding(
                "duplicate" if split == other_split else "shared audio",
                where,
                f"the same audio {same_text} as {other}",
                "Keep one of them",
            )
        elif same_id is not this:
            problem = f"{same_id[0]} has the same id"
            yield Finding("duplicate id", where, problem, "Give each utterance its own id")


def _shared_speakers(splits: Mapping[str, CutSet]) -> Iterator[Finding]:
    utterances: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for split, cuts in splits.items():
        for cut in cuts:
            speaker = cut_speaker(cut)
            if speaker is not None:
                utterances[speaker][split] += 1
    for speaker, counts in utterances.items():
        if len(counts) > 1:
            shares = ", ".join(f"{split} ({count})" for split, count in counts.items())
            yield Finding(
                "shared speaker",
                f"speaker {speaker}",
                f"utterances in {shares}",
                "Keep each speaker in one split; otherwise the error rate is too optimistic",
            )
