"""Everything wrong with the manifests of a run, each with its fix, before training starts."""

import functools
import hashlib
import math
import os
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from lhotse import CutSet
from lhotse.cut import Cut
from numpy.typing import NDArray

from asr_s2s.audio.decode import AudioInfo, probe
from asr_s2s.audio.waveform import SAMPLE_RATE, is_silent
from asr_s2s.data.manifest import audio_file, cut_speaker, cut_text, read_cut_audio
from asr_s2s.data.plain import LENGTH_TOLERANCE
from asr_s2s.errors import AudioError
from asr_s2s.text.tokenizer import Tokenizer

MIN_SECONDS = 0.1
"""No word is shorter."""
CLIPPED_LEVEL = 0.99
"""Full scale, less what a lossy codec or resampling takes from a flat top."""
CLIPPED_PART = 0.005
"""Clean recordings touch full scale at single peaks. An utterance is clipped when this part of
its samples ends a run of three or more at full scale; that is audible as distortion."""
FRAMES_PER_SECOND = 100


@dataclass(frozen=True)
class Finding:
    """One thing to fix."""

    kind: str
    """The sort of fault, by which findings are grouped."""
    where: str
    """The split and the utterance's id, the manifest's line, or the speaker."""
    problem: str
    fix: str


@dataclass(frozen=True)
class _AudioStats:
    """What decoding an utterance tells."""

    seconds: float
    """Length of the decoded utterance."""
    recording_seconds: float
    """Length of the recording that the utterance is, or is a part of."""
    silent: bool
    clipped: float
    """Part of the samples that are clipped."""
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
    progress: Callable[[], object] | None = None,
) -> Iterator[Finding]:
    """Decode every utterance; judge it by itself and against all others.

    Args:
        splits: utterances by the name of their split, the training split first.
        tokenizer: makes the tokens, and tells the characters outside its vocabulary. Without
            one, each character is a token, and the vocabulary is the training split's characters.
        normalizer: applied to each text before it is judged.
        time_reduction: input frames per encoder output. When given, texts with more tokens than
            CTC can place in their audio are found.
        ctc_per_frame: CTC's predictions an encoder output.
        edge_frames: frames that the model adds at each end of an utterance.
        max_seconds: the longest utterance that training takes.
        progress: called after each utterance.

    Yields:
        Findings in the order of the utterances, then the speakers that splits share.
    """
    earlier = _Earlier()
    training_characters: set[str] | None = None
    for split, cuts in splits.items():
        texts = [normalizer(cut_text(cut)) if normalizer else cut_text(cut) for cut in cuts]
        if training_characters is None:
            training_characters = set().union(*texts)
        sounds = _in_order(functools.partial(_measure_audio, probed=functools.cache(probe)), cuts)
        for cut, text, sound in zip(cuts, texts, sounds, strict=True):
            where = f"{split}: {cut.id}"
            if isinstance(sound, AudioError):
                problem = f"{sound.where}: {sound.problem}"
                yield Finding("unreadable", where, problem, sound.fix)
            else:
                yield from _judge_sound(where, cut, sound, max_seconds)
                if time_reduction is not None:
                    tokens = tokenizer.encode(text) if tokenizer else [ord(c) for c in text]
                    frames = 1 + int(sound.seconds * FRAMES_PER_SECOND) + 2 * edge_frames
                    frames = ctc_per_frame * math.ceil(frames / time_reduction)
                    yield from _judge_length(where, tokens, sound.seconds, frames)
            yield from _judge_text(where, text, tokenizer, training_characters)
            yield from earlier.compare(split, cut, text, sound)
            if progress is not None:
                progress()
    yield from _shared_speakers(splits)


def _measure_audio(cut: Cut, probed: Callable[[str], AudioInfo]) -> _AudioStats | AudioError:
    try:
        file = audio_file(cut)
        recording_seconds = probed(file).duration if file else cut.duration
        samples = read_cut_audio(cut)
    except AudioError as error:
        return error
    return _AudioStats(
        seconds=len(samples) / SAMPLE_RATE,
        recording_seconds=recording_seconds,
        silent=is_silent(samples),
        clipped=_clipped_part(samples),
        digest=hashlib.blake2b(samples.tobytes(), digest_size=16).digest(),
    )


def _clipped_part(samples: NDArray[np.float32]) -> float:
    """Part of the samples that end a run of three or more at full scale."""
    full = np.abs(samples) >= CLIPPED_LEVEL
    if len(full) < 3 or not full.any():
        return 0.0
    return float(np.mean(full[2:] & full[1:-1] & full[:-2]))


def _in_order(
    measure: Callable[[Cut], _AudioStats | AudioError], cuts: Iterable[Cut]
) -> Iterator[_AudioStats | AudioError]:
    """`measure` over the cuts in threads, a few ahead of the caller; results in the cuts' order."""
    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[_AudioStats | AudioError]] = deque()
        for cut in cuts:
            waiting.append(pool.submit(measure, cut))
            if len(waiting) > 8 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _judge_sound(
    where: str, cut: Cut, sound: _AudioStats, max_seconds: float | None
) -> Iterator[Finding]:
    stated = cut.recording.duration if audio_file(cut) else cut.duration
    if sound.silent:
        yield Finding("silent", where, "nothing can be heard", "Record it again, or leave it out")
    if sound.clipped >= CLIPPED_PART:
        yield Finding(
            "clipped",
            where,
            f"{sound.clipped:.1%} of the samples are cut off at full scale",
            "Record it again at a lower level, or leave it out",
        )
    if sound.seconds < MIN_SECONDS:
        problem = f"{sound.seconds:.3f} s is shorter than {MIN_SECONDS} s"
        yield Finding("too short", where, problem, "Leave it out")
    if max_seconds is not None and sound.seconds > max_seconds:
        yield Finding(
            "too long",
            where,
            f"{sound.seconds:.1f} s is longer than data.max_seconds, {max_seconds:g} s",
            "Split it, or raise data.max_seconds; training leaves it out",
        )
    if abs(sound.recording_seconds - stated) > LENGTH_TOLERANCE:
        problem = f"stated as {stated:.2f} s, its file holds {sound.recording_seconds:.2f} s"
        yield Finding(
            "wrong duration",
            where,
            problem,
            "Correct the duration, or leave it out of the manifest; for a part state its start too",
        )
    elif abs(sound.seconds - cut.duration) > LENGTH_TOLERANCE:
        problem = f"{cut.duration:.2f} s is stated, {sound.seconds:.2f} s could be decoded"
        yield Finding("wrong duration", where, problem, "Copy the file again: it may be cut short")


def _judge_length(where: str, tokens: list[int], seconds: float, frames: int) -> Iterator[Finding]:
    # CTC must place a blank between two equal tokens.
    needed = len(tokens) + sum(first == second for first, second in pairwise(tokens))
    if needed > frames:
        yield Finding(
            "text too long",
            where,
            f"{len(tokens)} tokens need {needed} frames of CTC; {seconds:.2f} s give {frames}",
            "Compare the text with the audio; if it is right, lower speech_encoder.time_reduction "
            "or raise objective.ctc_per_frame or features.edge_frames",
        )


def _judge_text(
    where: str, text: str, tokenizer: Tokenizer | None, training_characters: set[str]
) -> Iterator[Finding]:
    if not text.strip():
        yield Finding(
            "empty text",
            where,
            "there is no text",
            "Write what is said; if it is nothing, set data.learn_silence",
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
            "Choose a normalizer that writes it otherwise, or add texts that hold it to training",
        )


class _Earlier:
    """The utterances before, to find those with the same audio or the same id."""

    def __init__(self) -> None:
        self.by_audio: dict[bytes, tuple[str, str, str]] = {}
        self.by_id: dict[str, tuple[str, str, str]] = {}

    def compare(
        self, split: str, cut: Cut, text: str, sound: _AudioStats | AudioError
    ) -> Iterator[Finding]:
        where = f"{split}: {cut.id}"
        this = (split, where, text)
        same_audio = this
        if isinstance(sound, _AudioStats) and not sound.silent:
            same_audio = self.by_audio.setdefault(sound.digest, this)
        same_id = self.by_id.setdefault(cut.id, this)
        if same_audio is not this:
            other_split, other, other_text = same_audio
            text_too = "and the same text" if text == other_text else "but another text"
            yield Finding(
                "duplicate" if split == other_split else "shared audio",
                where,
                f"the same audio {text_too} as {other}",
                "Keep one of them",
            )
        elif same_id is not this:
            problem = f"{same_id[0]} has this id too"
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
                "Keep each speaker in one split, or the error rate of new voices is not known",
            )
