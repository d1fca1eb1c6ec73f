"""Speech recognition and translation with a trained model: `Transcriber` and its result types."""

import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Unpack, overload

import torch
from torch.nn.utils.rnn import pad_sequence

from asr_s2s.audio.segment import DetectorName, find_detector
from asr_s2s.audio.waveform import HIGHEST_RATE, LOWEST_RATE, SAMPLE_RATE, Waveform
from asr_s2s.errors import AudioError, ConfigError, ModelError, UserError
from asr_s2s.model.device import choose_device
from asr_s2s.model.folder import LoadedModel, load_model
from asr_s2s.reading import End, Piece, read_ahead, read_whole
from asr_s2s.search.align import align, align_words
from asr_s2s.search.confidence import Evidence, confidence
from asr_s2s.search.forced import Likelihood, likelihoods
from asr_s2s.search.guard import Reason
from asr_s2s.search.options import DEFAULTS, DecodeKeywords, DecodeOptions, DecodeSettings
from asr_s2s.search.recognize import Part, Remedy, Result, Search, join_memories, recognize
from asr_s2s.sources import Source, as_collection, as_recording
from asr_s2s.text.output import Output, SpeechTask
from asr_s2s.text.words import join_texts

BATCH_SECONDS = 120.0
"""Seconds of audio decoded together, padding included."""


@dataclass(frozen=True)
class Alternative:
    """One of the n-best outputs."""

    text: str
    score: float
    """Natural log-probability over length, by the scorers of the search."""


@dataclass(frozen=True)
class Word:
    """A word of a transcript; a character in Chinese and Japanese."""

    text: str
    start: float
    """Start time, in seconds."""
    end: float
    """End time, in seconds."""
    confidence: float
    """Probability that the word is right, if the model is calibrated (`asr-s2s calibrate`) and the
    text is a transcript; else the decoder's probability of the word, as geometric mean over its
    tokens."""
    evidence: Evidence
    """Values from which the confidence is computed; CTC's are the decoder's in translations."""
    known: bool = True
    """Whether the word is in the model's lexicon, rather than spelled by its sound."""


@dataclass(frozen=True)
class Segment:
    """Transcript of a part of a recording."""

    start: float
    """Start time, in seconds."""
    end: float
    """End time, in seconds."""
    text: str
    """Transcript; empty if the segment holds no speech."""
    score: float
    """Natural log-probability over length, by the scorers of the search."""
    alternatives: tuple[Alternative, ...] = ()
    """The n-best outputs, best first, if `n_best` is more than 1."""
    words: tuple[Word, ...] = ()
    """Words in order, if requested."""
    reason: Reason | None = None
    """Problem that the guard found in the first output; None if it found none."""
    remedy: Remedy | None = None
    """Remedy that produced the text; None if none was needed or none helped."""


@dataclass(frozen=True)
class Transcript:
    """Transcript of one recording, or its translation."""

    source: str
    """Name of the recording, as given."""
    duration: float
    """Duration, in seconds."""
    text: str
    score: float
    """Natural log-probability over length, by the scorers of the search; the mean over segments
    with text; 0 without text."""
    segments: tuple[Segment, ...] = ()
    """Segments in order. A short recording is one segment; a long one is cut at its silences."""
    alternatives: tuple[Alternative, ...] = ()
    """The n-best outputs of a short recording, if `n_best` is more than 1; those of a long one are
    in its segments."""
    warning: UserError | None = None
    """Why the text is empty (no speech) or incomplete (damaged recording)."""
    language: str | None = None
    """Language of the text; None if the model has no languages."""
    task: SpeechTask = "transcribe"
    """Whether the text is a transcript or a translation."""


@dataclass(frozen=True)
class Failure:
    """A recording that could not be transcribed."""

    source: str
    """Name of the recording, as given."""
    error: UserError


class IncompleteError(AudioError):
    """Some recordings of a list could not be transcribed.

    Where, problem and fix are those of the first of them.

    Args:
        results: the transcript, or the failure, of each recording, in order.
    """

    def __init__(self, results: Sequence[Transcript | Failure]) -> None:
        self.results = tuple(results)
        failures = [result for result in results if isinstance(result, Failure)]
        first = failures[0].error
        count = f"{len(failures)} of {len(results)} recordings failed"
        super().__init__(first.where, f"{first.problem} ({count})", first.fix)

    def __reduce__(self) -> Any:
        return type(self), (self.results,)


class TranscribeKeywords(DecodeKeywords, total=False):
    """Keyword arguments of `Transcriber.transcribe`; see `Transcriber.stream`."""

    sample_rate: int
    batch_seconds: float
    vad: DetectorName
    audio_track: int | None


class Transcriber:
    """A speech recognizer: `Transcriber.load("digits").transcribe("call.wav").text`."""

    def __init__(self, loaded: LoadedModel, device: torch.device) -> None:
        if "speech" not in loaded.config.model.encoders:
            raise ModelError(
                loaded.folder,
                "this model reads text, not speech",
                "Use it with asr-s2s translate, or choose a speech model",
            )
        self.model = loaded.model
        self.output = Output.of_model(loaded.tokenizer, loaded.config.text)
        self.config = loaded.config
        self.folder = loaded.folder
        self.device = device
        self.language_models = loaded.language_models

    @classmethod
    def load(cls, model: str | Path, device: str | None = None) -> "Transcriber":
        """Load a shipped model by name or a model folder by path.

        Args:
            model: name of a shipped model, or path of a model folder.
            device: torch device; by default the GPU if there is one.

        Raises:
            ModelError: there is no such model or device, or the folder is incomplete.
        """
        chosen = choose_device(device)
        return cls(load_model(model, chosen), chosen)

    @overload
    def transcribe(
        self, source: Source, options: DecodeOptions = ..., **keywords: Unpack[TranscribeKeywords]
    ) -> Transcript: ...
    @overload
    def transcribe(
        self,
        source: Iterable[Source],
        options: DecodeOptions = ...,
        **keywords: Unpack[TranscribeKeywords],
    ) -> list[Transcript]: ...

    def transcribe(
        self,
        source: Source | Iterable[Source],
        options: DecodeOptions = DEFAULTS,
        **keywords: Unpack[TranscribeKeywords],
    ) -> Transcript | list[Transcript]:
        """Transcribe one recording or several recordings of any length.

        Args:
            source: a recording in any form of `asr_s2s.sources.Source`: a path, a file, bytes,
                samples `(samples,)` or `(samples, channels)` as array or tensor, also with their
                sampling rate, or a lhotse cut; or a list or other collection of these.
            options: decoding options.
            keywords: fields of `DecodeOptions`, which override `options`, and the other arguments
                of `stream`, such as `sample_rate`.

        Raises:
            AudioError: a recording cannot be used. For a list, all others are transcribed first;
                the error is an `IncompleteError`, whose `results` hold the transcripts.
            UserError: an option cannot be used; see `DecodeOptions.prepare`.
        """
        many = as_collection(source)
        sources: Iterable[Any] = [source] if many is None else many
        results = list(self.stream(sources, options, **keywords))
        failures = [result for result in results if isinstance(result, Failure)]
        if failures and many is None:
            raise failures[0].error
        if failures:
            raise IncompleteError(results) from failures[0].error
        transcripts = [result for result in results if isinstance(result, Transcript)]
        return transcripts[0] if many is None else transcripts

    def stream(
        self,
        sources: Iterable[Source],
        options: DecodeOptions = DEFAULTS,
        *,
        sample_rate: int = SAMPLE_RATE,
        batch_seconds: float = BATCH_SECONDS,
        vad: DetectorName = "energy",
        audio_track: int | None = None,
        **keywords: Unpack[DecodeKeywords],
    ) -> Iterator[Transcript | Failure]:
        """Transcribe recordings lazily, in order; yields a `Failure` for each unusable one.

        Neighboring recordings, and the segments of long ones, are decoded together, up to
        `batch_seconds`, while the next ones are read.

        Args:
            sources: recordings, as in `transcribe`.
            options: decoding options.
            sample_rate: sampling rate of arrays without one of their own, in Hz; ignored for
                files.
            batch_seconds: seconds of audio decoded together, padding included.
            vad: voice activity detector for recordings longer than 25 s: `energy`, or the neural
                `silero`, which needs the package silero-vad.
            audio_track: number of the audio track, from 1, of files with several; by default the
                one that players choose.
            keywords: fields of `DecodeOptions`, which override `options`.

        Raises:
            UserError: at the call: an option cannot be used; see `DecodeOptions.prepare`.
        """
        options = self.check(replace(options, **keywords))
        _check_number("sample_rate", sample_rate, LOWEST_RATE, HIGHEST_RATE)
        _check_number("batch_seconds", batch_seconds, 0.1, math.inf)
        if audio_track is not None:
            _check_number("audio_track", audio_track, 1, math.inf)
        pieces = read_ahead(sources, sample_rate, find_detector(vad), audio_track)
        return self._stream(pieces, options, batch_seconds)

    def _stream(
        self,
        read: Generator[Piece | End, None, None],
        options: DecodeOptions,
        batch_seconds: float,
    ) -> Iterator[Transcript | Failure]:
        segments: list[Segment] = []  # of the current recording
        # Closes the readers even if an exception's traceback keeps this generator alive.
        with closing(read) as pieces:
            for batch in _batches(pieces, batch_seconds):
                decoded = iter(self.decode([p for p in batch if isinstance(p, Piece)], options))
                for item in batch:
                    if isinstance(item, Piece):
                        segments.append(next(decoded))
                    else:
                        task = self.output.task(options.language)
                        yield assemble(item, tuple(segments), options.language, task)
                        segments = []

    def score(
        self,
        sources: Sequence[Source],
        texts: Sequence[str],
        *,
        languages: Sequence[str | None] | str | None = None,
        sample_rate: int = SAMPLE_RATE,
        batch_seconds: float = BATCH_SECONDS,
    ) -> list[Likelihood | Failure]:
        """Compute the log-probabilities that the decoder gives to transcripts, by forced decoding.

        Args:
            sources: recordings of at most 25 s, as in `transcribe`.
            texts: one transcript for each recording.
            languages: output language of each transcript or of all of them, for a multilingual
                model.
            sample_rate: sampling rate of arrays, in Hz; ignored for files.
            batch_seconds: seconds of audio computed together, padding included.

        Returns:
            Log-probabilities of the tokens of each transcript, or a `Failure` for a recording that
            cannot be read, is silent or is longer than 25 s; in order.

        Raises:
            ManifestError: a language is missing, or not one of the model.
        """
        if languages is None or isinstance(languages, str):
            languages = [languages] * len(sources)
        if not len(sources) == len(texts) == len(languages):
            raise ValueError("expected one transcript, and one language, for each recording")
        prompts = [self.output.prompt(name, f"transcript {i}") for i, name in enumerate(languages)]
        found: dict[int, Likelihood | Failure] = {}
        batch: dict[int, Waveform] = {}
        for number, source in enumerate(sources):
            try:
                samples = read_whole(as_recording(source, number, sample_rate))
            except AudioError as error:
                found[number] = Failure(error.where, error)
                continue
            longest = max(map(len, [samples, *batch.values()]))
            if batch and longest * (len(batch) + 1) > batch_seconds * SAMPLE_RATE:
                found |= self._score(batch, texts, prompts)
                batch = {}
            batch[number] = samples
        found |= self._score(batch, texts, prompts)
        return [found[number] for number in range(len(sources))]

    def _score(
        self, batch: dict[int, Waveform], texts: Sequence[str], prompts: Sequence[list[int]]
    ) -> dict[int, Likelihood]:
        """Score the transcripts of one batch of waveforms, by their numbers."""
        if not batch:
            return {}
        rows = [torch.from_numpy(samples) for samples in batch.values()]
        source = pad_sequence(rows, batch_first=True).to(self.device)
        lengths = torch.tensor([len(row) for row in rows], device=self.device)
        prompt = torch.tensor([prompts[i] for i in batch], device=self.device).long()
        prompt = prompt.view(len(batch), -1)
        with torch.inference_mode():
            memory = self.model.encode("speech", source, lengths, prompt)
        outputs = [self.output.tokenizer.encode(self.output.normalize(texts[i])) for i in batch]
        return dict(zip(batch, likelihoods(self.model, memory, outputs, prompt), strict=True))

    def decode(self, pieces: Sequence[Piece], options: DecodeOptions = DEFAULTS) -> list[Segment]:
        """Decode pieces of recordings in one batch; returns one segment per piece.

        Args:
            pieces: short recordings, or segments of long ones, of at most 25 s each.
            options: decoding options.

        Raises:
            UserError: an option cannot be used; see `DecodeOptions.prepare`.
        """
        settings = self._prepare(options)
        if not pieces:
            return []
        search = Search(
            self.model, settings.search, settings.prompt, self.language_models, settings.phrases
        )
        results = recognize(search, [piece.samples for piece in pieces])
        parts = [part for result in results for part in result.parts]
        timed = iter(self._words(parts, search) if options.words else [])
        segments = []
        for piece, result in zip(pieces, results, strict=True):
            alternatives = self._alternatives(result, options.n_best)
            segment = Segment(
                piece.start,
                piece.start + len(piece.samples) / SAMPLE_RATE,
                alternatives[0].text,
                alternatives[0].score,
                alternatives if options.n_best > 1 else (),
                tuple(
                    replace(word, start=piece.start + word.start, end=piece.start + word.end)
                    for _ in result.parts
                    for word in next(timed, ())
                ),
                result.reason,
                result.remedy,
            )
            segments.append(segment)
        return segments

    def check(self, options: DecodeOptions) -> DecodeOptions:
        """Check options, and complete them with phrases read from a file and the output language.

        Raises:
            UserError: an option cannot be used; see `DecodeOptions.prepare`.
        """
        settings = self._prepare(options)
        return replace(options, phrases=settings.phrases, language=settings.language)

    def _prepare(self, options: DecodeOptions) -> DecodeSettings:
        return options.prepare(self.config, self.output, "speech", self.device)

    def _alternatives(self, result: Result, n_best: int) -> tuple[Alternative, ...]:
        """At most `n_best` distinct texts of a piece, best first; only the best if the guard cut it
        in two. Further hypotheses are not decoded, since choosing their words takes time."""
        per_part = []
        for part in result.parts:
            best: dict[str, float] = {}  # several token sequences may have the same text
            for hypothesis in part.hypotheses:
                if len(best) == n_best:
                    break
                text = self.output.tokenizer.decode(hypothesis.tokens).strip()
                best.setdefault(text, hypothesis.score)
            per_part.append([Alternative(text, score) for text, score in best.items()])
        if len(per_part) == 1:
            return tuple(per_part[0])
        text = join_texts(alternatives[0].text for alternatives in per_part)
        return (Alternative(text, fmean(alternatives[0].score for alternatives in per_part)),)

    def _words(self, parts: Sequence[Part], search: Search) -> Iterator[tuple[Word, ...]]:
        """Words of each part, with times from the start of its piece."""
        outputs = [part.hypotheses[0].tokens for part in parts]
        prompts = torch.tensor([search.prompt] * len(parts), device=self.device).long()
        # Calibration is fitted to transcripts, with evidence by CTC.
        weights = self.config.search.confidence if search.transcribes else ()
        memory = join_memories([part.memory for part in parts])
        alignments = align(self.model, memory, outputs, prompts)
        for part, tokens, alignment in zip(parts, outputs, alignments, strict=True):
            aligned = align_words(
                self.model, self.output.tokenizer, tokens, alignment, part.samples
            )
            yield tuple(
                Word(
                    word.text,
                    part.start + word.start,
                    part.start + word.end,
                    confidence(word.evidence, weights),
                    word.evidence,
                    word.known,
                )
                for word in aligned
            )


def _check_number(name: str, value: object, lowest: float, highest: float) -> None:
    """Refuse an option that is not a number within bounds, at the call."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not lowest <= value <= highest
    ):
        expected = f"at least {lowest:g}" if math.isinf(highest) else f"{lowest:g} to {highest:g}"
        problem = f"expected a number, {expected}, found {value!r}"
        raise ConfigError(name, problem, "Correct it")


def _batches(items: Iterable[Piece | End], batch_seconds: float) -> Iterator[Sequence[Piece | End]]:
    """Group pieces for decoding, up to `batch_seconds`; ends keep their positions among them."""
    batch: list[Piece | End] = []
    count = longest = 0
    for item in items:
        if isinstance(item, Piece):
            longest = max(longest, len(item.samples))
            if count and longest * (count + 1) > batch_seconds * SAMPLE_RATE:
                yield batch
                batch, count, longest = [], 0, len(item.samples)
            count += 1
        batch.append(item)
        if not count:  # no piece to decode before this end
            yield batch
            batch = []
    if batch:
        yield batch


def assemble(
    end: End,
    segments: tuple[Segment, ...],
    language: str | None = None,
    task: SpeechTask = "transcribe",
) -> Transcript | Failure:
    """Combine the segments of a recording into its result.

    Args:
        end: end of the recording.
        segments: of the recording, in order.
        language: language of the text; None if the model has no languages.
        task: whether the text is a transcript or a translation.
    """
    if not segments and end.error is not None:
        return Failure(end.source, end.error)
    with_text = [segment for segment in segments if segment.text]
    warning = end.error
    if not with_text and warning is None:
        silent = end.whole and not segments
        problem = "the recording is silent" if silent else "no speech was found in it"
        warning = AudioError(
            end.source, f"{problem}: nothing to transcribe", "Check the microphone"
        )
    return Transcript(
        end.source,
        end.duration,
        join_texts(segment.text for segment in with_text),
        fmean(segment.score for segment in with_text) if with_text else 0.0,
        segments,
        segments[0].alternatives if end.whole and segments else (),
        warning,
        language,
        task,
    )
