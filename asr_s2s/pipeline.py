"""From sound to text with a trained model: `Transcriber` and its results."""

import io
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, overload

import numpy as np
import torch
from lhotse.cut import Cut
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from asr_s2s.audio.decode import read_audio
from asr_s2s.audio.waveform import SAMPLE_RATE, from_array, is_silent
from asr_s2s.config import SearchConfig
from asr_s2s.data.datasets import Output
from asr_s2s.data.manifest import cut_source, read_cut_audio
from asr_s2s.errors import AudioError, ConfigError, ModelError, UserError
from asr_s2s.model.folder import LoadedModel, load_model
from asr_s2s.search.beam import Hypothesis
from asr_s2s.search.decode import decode
from asr_s2s.text.normalize import normalizer

Source: TypeAlias = str | Path | BinaryIO | NDArray[Any] | Cut
"""A path, an open binary file, an array at 16 kHz, or a lhotse cut."""

READERS = 2
READ_AHEAD = 16
"""Recordings read before they are needed."""
BATCH_SECONDS = 120.0
"""Seconds of audio decoded together, padding included."""
DEVICES = ("cpu", "cuda", "mps")
LONGEST_SECONDS = 30 * 60.0
"""Longest recording decoded in one piece; memory grows with its length."""


@dataclass(frozen=True)
class Alternative:
    """One of the n best transcripts."""

    text: str
    score: float
    """Natural log-probability over length, by the search's scorers."""


@dataclass(frozen=True)
class Transcript:
    """What was said in one recording."""

    source: str
    """The recording, as it was given."""
    duration: float
    """Seconds."""
    text: str
    score: float
    """Natural log-probability over length, by the search's scorers; 0 for silence."""
    alternatives: tuple[Alternative, ...] = ()
    """The n best, best first, when more than one was asked for."""
    warning: UserError | None = None
    """Why the text is empty, when the recording is silent."""


@dataclass(frozen=True)
class Failure:
    """A recording that could not be transcribed."""

    source: str
    error: UserError


class Transcriber:
    """A speech recogniser: `Transcriber.load("digits").transcribe("call.wav").text`."""

    def __init__(self, loaded: LoadedModel, device: torch.device) -> None:
        if "speech" not in loaded.config.model.encoders:
            raise ModelError(
                loaded.folder,
                "this model reads text, not speech",
                "Use it with asr-s2s translate, or name a model that transcribes",
            )
        self.model = loaded.model
        self.output = Output(
            loaded.tokenizer,
            normalizer(loaded.config.text.normalizer),
            loaded.config.text.languages,
        )
        self.config = loaded.config
        self.folder = loaded.folder
        self.device = device

    @classmethod
    def load(cls, model: str | Path, device: str | None = None) -> "Transcriber":
        """Load a shipped model by name or a model folder by path.

        Raises:
            ModelError: there is no such model or device, or the folder is incomplete.
        """
        chosen = choose_device(device)
        return cls(load_model(model, chosen), chosen)

    @overload
    def transcribe(
        self,
        source: Source,
        *,
        sample_rate: int = ...,
        language: str | None = ...,
        beam_size: int | None = ...,
        n_best: int = ...,
        batch_seconds: float = ...,
    ) -> Transcript: ...
    @overload
    def transcribe(
        self,
        source: Sequence[Source],
        *,
        sample_rate: int = ...,
        language: str | None = ...,
        beam_size: int | None = ...,
        n_best: int = ...,
        batch_seconds: float = ...,
    ) -> list[Transcript]: ...

    def transcribe(
        self,
        source: Source | Sequence[Source],
        *,
        sample_rate: int = SAMPLE_RATE,
        language: str | None = None,
        beam_size: int | None = None,
        n_best: int = 1,
        batch_seconds: float = BATCH_SECONDS,
    ) -> Transcript | list[Transcript]:
        """Transcribe one recording, or a list of them.

        Args:
            source: a path, an open binary file, an array of samples `(samples,)` or
                `(samples, channels)`, a lhotse cut, or a list of these.
            sample_rate: rate of arrays, in Hz; files carry their own.
            language: of the output, for a model of several.
            beam_size: width of the search, by default the model's own; at least `n_best`.
            n_best: how many distinct alternatives to return at most.
            batch_seconds: seconds of audio decoded together.

        Raises:
            AudioError: a recording cannot be used. `stream` goes on past such recordings.
        """
        many = isinstance(source, (list, tuple))
        sources: Any = source if many else [source]
        results = []
        for result in self.stream(
            sources,
            sample_rate=sample_rate,
            language=language,
            beam_size=beam_size,
            n_best=n_best,
            batch_seconds=batch_seconds,
        ):
            if isinstance(result, Failure):
                raise result.error
            results.append(result)
        return results if many else results[0]

    def stream(
        self,
        sources: Iterable[Source],
        *,
        sample_rate: int = SAMPLE_RATE,
        language: str | None = None,
        beam_size: int | None = None,
        n_best: int = 1,
        batch_seconds: float = BATCH_SECONDS,
    ) -> Iterator[Transcript | Failure]:
        """Transcribe recordings lazily, in order; those that fail yield a `Failure`.

        Neighbouring recordings are decoded together, up to `batch_seconds`, while the next ones
        are read. Options are as in `transcribe`.
        """
        for option, value in (("beam_size", beam_size), ("n_best", n_best)):
            if value is not None and value < 1:
                raise ConfigError(option, f"expected at least 1, found {value}", "Raise it")
        search = self.config.search
        if beam_size is not None:
            search = replace(search, beam_size=beam_size)
        search = replace(search, beam_size=max(search.beam_size, n_best))
        prompt = self.output.prompt(language, "language")
        waiting: list[tuple[str, NDArray[np.float32] | UserError]] = []
        longest = 0
        for name, sound in _read_ahead(sources, sample_rate):
            length = 0 if isinstance(sound, UserError) else len(sound)
            padded = max(longest, length) * (len(waiting) + 1) / SAMPLE_RATE
            if waiting and padded > batch_seconds:
                yield from self._decode(waiting, search, prompt, n_best)
                waiting, longest = [], 0
            waiting.append((name, sound))
            longest = max(longest, length)
        if waiting:
            yield from self._decode(waiting, search, prompt, n_best)

    def _decode(
        self,
        batch: Sequence[tuple[str, NDArray[np.float32] | UserError]],
        search: SearchConfig,
        prompt: list[int],
        n_best: int,
    ) -> Iterator[Transcript | Failure]:
        """Decode what is sound in a batch, and answer all of it in order."""
        spoken = [s for _, s in batch if not isinstance(s, UserError) and not is_silent(s)]
        results: Iterator[list[Hypothesis]] = iter(())
        if spoken:
            waveforms = pad_sequence([torch.from_numpy(s) for s in spoken], batch_first=True)
            lengths = torch.tensor([len(s) for s in spoken])
            prompts = torch.tensor([prompt] * len(spoken), dtype=torch.long)
            results = iter(
                decode(
                    self.model,
                    "speech",
                    waveforms.to(self.device),
                    lengths.to(self.device),
                    search,
                    prompts.to(self.device),
                )
            )
        for name, sound in batch:
            if isinstance(sound, UserError):
                yield Failure(name, sound)
                continue
            duration = len(sound) / SAMPLE_RATE
            if is_silent(sound):
                silent = AudioError(
                    name, "the recording is silent: nothing to transcribe", "Check the microphone"
                )
                yield Transcript(name, duration, "", 0.0, warning=silent)
                continue
            best: dict[str, float] = {}  # several token sequences may spell one text
            for hypothesis in next(results):
                best.setdefault(self.output.tokenizer.decode(hypothesis.tokens), hypothesis.score)
            alternatives = tuple(Alternative(text, score) for text, score in best.items())
            yield Transcript(
                name,
                duration,
                alternatives[0].text,
                alternatives[0].score,
                alternatives[:n_best] if n_best > 1 else (),
            )


def choose_device(name: str | None) -> torch.device:
    """The device of that name; by default the GPU where there is one.

    Raises:
        ModelError: there is no such device here.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in DEVICES:
            raise RuntimeError(f"{device.type} is not one of {DEVICES}")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ModelError(
            f"device {name}", "torch cannot use this device here", "Use cpu, or cuda with a GPU"
        ) from error
    return device


def _read_ahead(
    sources: Iterable[Source], sample_rate: int
) -> Iterator[tuple[str, NDArray[np.float32] | UserError]]:
    """Names and waveforms, or what was wrong, in order; read in threads ahead of need."""
    pending: deque[tuple[str, Future[NDArray[np.float32] | UserError]]] = deque()
    with ThreadPoolExecutor(READERS) as pool:
        for index, source in enumerate(sources):
            name = _name(source, index)
            pending.append((name, pool.submit(_read, source, name, sample_rate)))
            if len(pending) > READ_AHEAD:
                first, future = pending.popleft()
                yield first, future.result()
        while pending:
            first, future = pending.popleft()
            yield first, future.result()


def _name(source: Source, index: int) -> str:
    if isinstance(source, (str, Path)):
        return str(source)
    if isinstance(source, np.ndarray):
        return f"array {index}"
    if isinstance(source, io.IOBase):
        return str(getattr(source, "name", f"stream {index}"))
    if isinstance(source, Cut):
        return cut_source(source)
    raise TypeError(
        f"cannot transcribe a {type(source).__name__}; expected a path, a binary file, a numpy "
        "array of samples, or a lhotse cut"
    )


def _read(source: Source, name: str, sample_rate: int) -> NDArray[np.float32] | UserError:
    try:
        if isinstance(source, np.ndarray):
            samples = from_array(source, sample_rate, name=name)
        elif isinstance(source, Cut):
            samples = read_cut_audio(source)
        else:
            samples = read_audio(source, name=name)
    except UserError as error:
        return error
    if len(samples) > LONGEST_SECONDS * SAMPLE_RATE:
        return AudioError(
            name,
            f"it lasts {len(samples) / SAMPLE_RATE / 60:.0f} minutes; at most "
            f"{LONGEST_SECONDS / 60:.0f} are transcribed in one piece",
            "Split it, for example with ffmpeg -f segment -segment_time 600",
        )
    return samples
