"""Datasets that turn utterances or sentence pairs into batches of tensors, as in lhotse."""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from asr_s2s.audio.waveform import SAMPLE_RATE
from asr_s2s.config import Config, DataConfig
from asr_s2s.data.parallel import TextPair
from asr_s2s.errors import UserError
from asr_s2s.text.copying import CopyingTokenizer
from asr_s2s.text.output import Output
from asr_s2s.text.tokenizer import BLANK, EOS, Tokenizer

if TYPE_CHECKING:  # lhotse is imported where it is used, as translating does without it
    from lhotse.cut import Cut
    from lhotse.dataset.sampling.base import SamplingConstraint, TimeConstraint, TokenConstraint


class Augment(Protocol):
    """Waveform augmentation for the utterances of a batch."""

    def draw_speed(self, rng: np.random.Generator) -> float:
        """Draw the speed factor of a batch."""

    def __call__(
        self, samples: NDArray[np.float32], speed: float, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Augment one waveform, `(samples,)` at 16 kHz.

        Args:
            speed: speed factor of the batch.
            rng: random generator of this utterance.
        """


class PairAugment(Protocol):
    """Augmentation of the sentence pairs of a batch."""

    def __call__(self, source: str, target: str, rng: np.random.Generator) -> tuple[str, str]:
        """Augment the normalized texts of a pair.

        Args:
            rng: random generator of this pair.
        """


class Batch(NamedTuple):
    """A batch of sources with their texts."""

    kind: str
    """Kind of the items: the encoder of their sources, `speech` or `text`; `lines` of text have no
    source."""
    ids: list[str]
    texts: list[str]
    """Normalized transcripts or translations."""
    source: Tensor
    """Speech: waveforms `(batch, samples)` at 16 kHz in [-1, 1], padded with zeros. Text: token ids
    `(batch, tokens)`, padded with BLANK."""
    lengths: Tensor
    """Samples or tokens per row, `(batch,)`."""
    prompts: Tensor
    """Prompt tokens of the outputs, `(batch, 0 or 1)`: the language, if the model has several."""
    tokens: Tensor
    """Outputs `(batch, tokens)`, padded with BLANK, without start, end and prompt tokens."""
    token_lengths: Tensor
    """Tokens per output, `(batch,)`."""
    failures: list[str]
    """Error messages of utterances that could not be read and are left out."""
    teacher: Tensor | None = None
    """Features of a teacher, `(batch, frames, size)`, padded with zeros; None without a teacher."""
    teacher_lengths: Tensor | None = None
    """Teacher frames per row, `(batch,)`; 0 for utterances without teacher features."""
    sources: tuple[str, ...] = ()
    """Normalized source texts of sentence pairs."""

    @property
    def amount(self) -> float:
        """Seconds of audio, or tokens of source and output, without padding."""
        if self.kind == "speech":
            return float(self.lengths.sum()) / SAMPLE_RATE
        return float(self.lengths.sum() + self.token_lengths.sum())

    @property
    def outputs(self) -> list[list[int]]:
        """Tokens of each output, without padding."""
        rows = zip(self.tokens, self.token_lengths.tolist(), strict=True)
        return [row[:length].tolist() for row, length in rows]

    def to(self, device: torch.device) -> "Batch":
        """Move the tensors to a device."""
        moved: Any = (part.to(device) if isinstance(part, Tensor) else part for part in self)
        return Batch(*moved)


class BatchDataset(Dataset[Batch], ABC):
    """Makes batches of items of one kind, and says how they are measured."""

    kind: ClassVar[str]
    """As `Batch.kind`."""
    noun: ClassVar[str]
    """Plural noun of the items, for messages."""
    speed: ClassVar[tuple[str, str]]
    """Name of the training speed in metrics.jsonl, and its unit in messages."""
    short_first: ClassVar[bool]
    """Whether `data.short_first` applies."""
    output: Output
    epoch: int
    """Current epoch, which determines randomness."""

    @abstractmethod
    def __getitem__(self, items: Any) -> Batch:
        """Make a batch of the items that can be used."""

    def tokenizers(self, batch: Batch) -> list[Tokenizer]:
        """Return the tokenizer of each row's output."""
        return [self.output.tokenizer] * len(batch.ids)

    @abstractmethod
    def limit(self, config: DataConfig) -> "SamplingConstraint":
        """Return the limit on the size of a batch, padding included."""


class SpeechDataset(BatchDataset):
    """Reads, augments and collates the cuts of a batch.

    Augmentation depends only on the seed, the epoch and the utterance's id (speed: the first id of
    the batch), so neither the reading order nor the number of processes changes it.

    Args:
        teacher_size: channels of the teacher features to read; 0 reads none.
    """

    kind = "speech"
    noun = "utterances"
    speed = ("audio_seconds_per_second", "s audio/s")
    short_first = True

    def __init__(
        self,
        output: Output,
        augment: Augment | None = None,
        seed: int = 0,
        teacher_size: int = 0,
    ) -> None:
        self.output = output
        self.augment = augment
        self.seed = seed
        self.teacher_size = teacher_size
        self.epoch = 0

    def limit(self, config: DataConfig) -> "TimeConstraint":
        """Limit the seconds of audio in a batch."""
        from lhotse.dataset.sampling.base import TimeConstraint

        return TimeConstraint(max_duration=config.batch_seconds)

    def __getitem__(self, cuts: "Iterable[Cut]") -> Batch:
        """Collate the cuts that can be read; the batch may consist of failures only."""
        from asr_s2s.data.manifest import (
            cut_language,
            cut_source,
            cut_teacher_features,
            cut_text,
            read_cut_audio,
        )

        ids, texts, waveforms, prompts, tokens, failures = [], [], [], [], [], []
        teacher: list[Tensor] = []
        speed = 1.0
        for number, cut in enumerate(cuts):
            if number == 0 and self.augment is not None:
                speed = self.augment.draw_speed(_make_rng(self.seed, self.epoch, f"{cut.id} speed"))
            prompt = self.output.prompt(cut_language(cut), cut_source(cut))
            try:
                samples = read_cut_audio(cut)
                if self.augment is not None:
                    samples = self.augment(samples, speed, _make_rng(self.seed, self.epoch, cut.id))
                if self.teacher_size:
                    features = cut_teacher_features(cut)
                    no_features = torch.zeros(0, self.teacher_size)
                    teacher.append(no_features if features is None else torch.from_numpy(features))
            except UserError as error:
                failures.append(str(error))
                continue
            text = self.output.normalize(cut_text(cut))
            ids.append(cut.id)
            texts.append(text)
            waveforms.append(torch.from_numpy(samples))
            prompts.append(prompt)
            tokens.append(self.output.tokenizer.encode(text))
        source = pad_sequence(waveforms, batch_first=True) if ids else torch.zeros(0, 0)
        lengths = torch.tensor([len(w) for w in waveforms])
        batch = collate(self.kind, ids, texts, source, lengths, prompts, tokens, failures)
        if not teacher:
            return batch
        return batch._replace(
            teacher=pad_sequence(teacher, batch_first=True),
            teacher_lengths=torch.tensor([len(features) for features in teacher]),
        )


class TextDataset(BatchDataset):
    """Tokenizes and collates the sentence pairs of a batch.

    Augmentation and subword regularization depend only on the seed, the epoch and the id, as in
    `SpeechDataset`.

    Args:
        copying: number the unknown words of each source, for models that copy; the tokenizers of
            source and output must be the same.
        max_source_tokens: tokens to which longer sources are truncated, including the end token;
            None to keep them whole.
    """

    kind = "text"
    noun = "sentence pairs"
    speed = ("tokens_per_second", "tokens/s")
    short_first = False

    def __init__(
        self,
        output: Output,
        source_tokenizer: Tokenizer,
        source_normalize: Callable[[str], str],
        *,
        augment: PairAugment | None = None,
        sampling: float = 0.0,
        source_sampling: float = 0.0,
        seed: int = 0,
        copying: bool = False,
        max_source_tokens: int | None = None,
    ) -> None:
        self.output = output
        self.augment = augment
        self.source_tokenizer = source_tokenizer
        self.source_normalize = source_normalize
        self.sampling = sampling
        self.source_sampling = source_sampling
        self.seed = seed
        self.copying = copying
        self.max_source_tokens = max_source_tokens
        self.epoch = 0

    def limit(self, config: DataConfig) -> "TokenConstraint":
        """Limit the tokens in a batch, counted on the longer side of each pair."""
        from lhotse.dataset.sampling.base import TokenConstraint

        return TokenConstraint(max_tokens=config.batch_tokens)

    def source_tokens(self, source: str) -> list[int]:
        """Return the token ids of a source, including the end token, so that none is empty."""
        return self._ended(self._source_tokenizer(source).encode(self.source_normalize(source)))

    def _source_tokenizer(self, source: str) -> Tokenizer:
        return self.output_tokenizer(source) if self.copying else self.source_tokenizer

    def _ended(self, tokens: list[int]) -> list[int]:
        """Truncate the tokens of a source, and add the end token."""
        if self.max_source_tokens is not None:
            tokens = tokens[: self.max_source_tokens - 1]
        return [*tokens, EOS]

    def is_truncated(self, source: str) -> bool:
        """Return whether a source has more tokens than are read of it."""
        if self.max_source_tokens is None:
            return False
        tokens = self.source_tokenizer.encode(self.source_normalize(source))
        return len(tokens) >= self.max_source_tokens

    def output_tokenizer(self, source: str) -> Tokenizer:
        """Return the tokenizer of the output for a source: with copying, it includes the unknown
        words of the source."""
        if not self.copying:
            return self.output.tokenizer
        normalized = self.source_normalize(source)
        return CopyingTokenizer(self.output.tokenizer, self.output.languages, normalized)

    def tokenizers(self, batch: Batch) -> list[Tokenizer]:
        return [self.output_tokenizer(source) for source in batch.sources]

    def num_tokens(self, pair: TextPair) -> int:
        """Count the tokens of the longer side of a pair, in the most likely segmentation."""
        target = self.output.tokenizer.encode(self.output.normalize(pair.target))
        return max(len(self.source_tokens(pair.source)), len(target) + 1)

    def __getitem__(self, pairs: Iterable["MeasuredPair"]) -> Batch:
        """Collate the pairs."""
        ids, texts, source_texts, sources, prompts, tokens = [], [], [], [], [], []
        for item in pairs:
            pair = item.pair
            rng = _make_rng(self.seed, self.epoch, pair.id)
            text = self.output.normalize(pair.target)
            source = self.source_normalize(pair.source)
            if self.augment is not None:
                changes = _make_rng(self.seed, self.epoch, f"{pair.id} augment")
                source, text = self.augment(source, text, changes)
            ids.append(pair.id)
            texts.append(text)
            tokenizer = self.output_tokenizer(source)
            source_tokenizer = tokenizer if self.copying else self.source_tokenizer
            source_ids = _encode(source_tokenizer, source, self.source_sampling, rng)
            source_texts.append(source)
            sources.append(torch.tensor(self._ended(source_ids)))
            prompts.append(self.output.prompt(pair.language, pair.id))
            tokens.append(_encode(tokenizer, text, self.sampling, rng))
        source_batch = pad_sequence(sources, batch_first=True, padding_value=BLANK)
        lengths = torch.tensor([len(s) for s in sources])
        batch = collate(self.kind, ids, texts, source_batch, lengths, prompts, tokens, [])
        return batch._replace(sources=tuple(source_texts))


def max_source_tokens(config: Config) -> int | None:
    """Return the tokens to which a model truncates sources; None if it reads them whole."""
    truncated = config.source_text.long_sources == "truncate"
    return config.search.piece_tokens if truncated else None


@dataclass
class MeasuredPair:
    """Sentence pair with its length, as lhotse's samplers expect it; they add attributes to it."""

    pair: TextPair
    num_tokens: int
    """Tokens of the longer side."""

    @property
    def id(self) -> str:
        return self.pair.id


def _encode(
    tokenizer: Tokenizer, text: str, sampling: float, rng: np.random.Generator
) -> list[int]:
    return tokenizer.sample(text, sampling, rng) if sampling > 0 else tokenizer.encode(text)


def _make_rng(seed: int, epoch: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, epoch, zlib.crc32(name.encode())])


def collate(
    kind: str,
    ids: list[str],
    texts: list[str],
    source: Tensor,
    lengths: Tensor,
    prompts: list[list[int]],
    tokens: list[list[int]],
    failures: list[str],
) -> Batch:
    """Build a batch from padded sources and from lists of prompt and output tokens."""
    rows = [torch.tensor(row, dtype=torch.long) for row in tokens]
    return Batch(
        kind,
        ids,
        texts,
        source,
        lengths,
        torch.tensor(prompts, dtype=torch.long).view(len(ids), -1 if ids else 0),
        pad_sequence(rows, batch_first=True, padding_value=BLANK) if ids else torch.zeros(0, 0),
        torch.tensor([len(row) for row in rows]),
        failures,
    )
