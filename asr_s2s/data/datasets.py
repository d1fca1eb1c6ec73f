"""From utterances and sentence pairs to batches of tensors, as lhotse's datasets do it."""

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from lhotse.cut import Cut
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from asr_s2s.audio.waveform import SAMPLE_RATE
from asr_s2s.data.manifest import (
    cut_language,
    cut_source,
    cut_teacher_features,
    cut_text,
    read_cut_audio,
)
from asr_s2s.data.parallel import TextPair
from asr_s2s.errors import ManifestError, UserError
from asr_s2s.text.tokenizer import BLANK, EOS, Tokenizer


class Augment(Protocol):
    """Changes to the recordings of a batch."""

    def draw_speed(self, rng: np.random.Generator) -> float:
        """A speed factor for all of them."""

    def __call__(
        self, samples: NDArray[np.float32], speed: float, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """A waveform, the batch's speed, and the utterance's own source of chance, to a changed
        waveform."""


class Batch(NamedTuple):
    """Sources with their texts."""

    kind: str
    """The encoder that reads them: `speech` or `text`; `lines`, which have no source, are for
    language models."""
    ids: list[str]
    texts: list[str]
    """Normalized transcripts or translations."""
    source: Tensor
    """For speech, waveforms `(batch, samples)` at 16 kHz in [-1, 1], zero beyond each length; for
    text, token ids `(batch, tokens)`, padded with BLANK."""
    lengths: Tensor
    """Samples or tokens of each row, `(batch,)`."""
    prompts: Tensor
    """What outputs begin with: the language's token where outputs have languages,
    `(batch, 0 or 1)`."""
    tokens: Tensor
    """Outputs `(batch, tokens)`, padded with BLANK; no start or end tokens, and no prompts."""
    token_lengths: Tensor
    """`(batch,)`"""
    failures: list[str]
    """Messages about utterances left out because they could not be read."""
    teacher: Tensor | None = None
    """A teacher's features of the utterances, `(batch, frames, size)`, zero beyond each length;
    None where none are read."""
    teacher_lengths: Tensor | None = None
    """Frames of each row, `(batch,)`; 0 for an utterance without such features."""

    @property
    def amount(self) -> float:
        """Seconds of audio, or tokens of source and output; padding not counted."""
        if self.kind == "speech":
            return float(self.lengths.sum()) / SAMPLE_RATE
        return float(self.lengths.sum() + self.token_lengths.sum())

    def to(self, device: torch.device) -> "Batch":
        """The batch with its tensors on a device."""
        moved: Any = (part.to(device) if isinstance(part, Tensor) else part for part in self)
        return Batch(*moved)


@dataclass(frozen=True)
class Output:
    """How texts become output tokens."""

    tokenizer: Tokenizer
    normalize: Callable[[str], str]
    languages: Sequence[str] = ()
    """Their tokens follow the tokenizer's, in this order."""

    def prompt(self, language: str | None, where: str) -> list[int]:
        """What an output in this language begins with.

        Args:
            language: may be None where there is one only.
            where: what to name in an error.

        Raises:
            ManifestError: it is none of those that the model writes.
        """
        if not self.languages:
            return []
        if language is None and len(self.languages) == 1:
            language = self.languages[0]
        if language is None or language not in self.languages:
            found = (
                f"{language} is no language of the model" if language else "no language is given"
            )
            raise ManifestError(
                where, found, f"Give one of text.languages: {', '.join(self.languages)}"
            )
        return [len(self.tokenizer) + list(self.languages).index(language)]


class SpeechDataset(Dataset[Batch]):
    """Reads, augments and collates the cuts of a batch.

    An utterance's augmentation depends on the seed, the epoch and its id alone, its speed on the
    first id of its batch: neither the order of reading nor the number of processes changes it.

    Args:
        teacher_size: read a teacher's features of so many channels; 0 reads none.
    """

    kind = "speech"

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

    def __getitem__(self, cuts: Iterable[Cut]) -> Batch:
        """A batch of what could be read of the cuts; it may be empty but for its failures."""
        ids, texts, waveforms, prompts, tokens, failures = [], [], [], [], [], []
        teacher: list[Tensor] = []
        speed = 1.0
        for number, cut in enumerate(cuts):
            if number == 0 and self.augment is not None:
                speed = self.augment.draw_speed(_chance(self.seed, self.epoch, f"{cut.id} speed"))
            prompt = self.output.prompt(cut_language(cut), cut_source(cut))
            try:
                samples = read_cut_audio(cut)
                if self.augment is not None:
                    samples = self.augment(samples, speed, _chance(self.seed, self.epoch, cut.id))
                if self.teacher_size:
                    features = cut_teacher_features(cut)
                    none = torch.zeros(0, self.teacher_size)
                    teacher.append(none if features is None else torch.from_numpy(features))
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


class TextDataset(Dataset[Batch]):
    """Tokenizes and collates the sentence pairs of a batch.

    Subword regularization draws from (seed, epoch, id) alone, as augmentation does.
    """

    kind = "text"

    def __init__(
        self,
        output: Output,
        source_tokenizer: Tokenizer,
        source_normalize: Callable[[str], str],
        *,
        sampling: float = 0.0,
        source_sampling: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.output = output
        self.source_tokenizer = source_tokenizer
        self.source_normalize = source_normalize
        self.sampling = sampling
        self.source_sampling = source_sampling
        self.seed = seed
        self.epoch = 0

    def source_tokens(self, source: str) -> list[int]:
        """Token ids of a source, end token included: no source is empty."""
        return [*self.source_tokenizer.encode(self.source_normalize(source)), EOS]

    def num_tokens(self, pair: TextPair) -> int:
        """Tokens on the longer side of a pair, in its best segmentation."""
        target = self.output.tokenizer.encode(self.output.normalize(pair.target))
        return max(len(self.source_tokens(pair.source)), len(target) + 1)

    def __getitem__(self, pairs: Iterable["MeasuredPair"]) -> Batch:
        """A batch of these pairs."""
        ids, texts, sources, prompts, tokens = [], [], [], [], []
        for item in pairs:
            pair = item.pair
            chance = _chance(self.seed, self.epoch, pair.id)
            text = self.output.normalize(pair.target)
            ids.append(pair.id)
            texts.append(text)
            source = self.source_normalize(pair.source)
            source_ids = _encode(self.source_tokenizer, source, self.source_sampling, chance)
            sources.append(torch.tensor([*source_ids, EOS]))
            prompts.append(self.output.prompt(pair.language, pair.id))
            tokens.append(_encode(self.output.tokenizer, text, self.sampling, chance))
        source_batch = pad_sequence(sources, batch_first=True, padding_value=BLANK)
        lengths = torch.tensor([len(s) for s in sources])
        return collate(self.kind, ids, texts, source_batch, lengths, prompts, tokens, [])


@dataclass
class MeasuredPair:
    """A sentence pair with its length, as lhotse's sampler wants it; it adds fields of its own."""

    pair: TextPair
    num_tokens: int
    """On the longer side."""

    @property
    def id(self) -> str:
        return self.pair.id


def _encode(
    tokenizer: Tokenizer, text: str, sampling: float, chance: np.random.Generator
) -> list[int]:
    return tokenizer.sample(text, sampling, chance) if sampling > 0 else tokenizer.encode(text)


def _chance(seed: int, epoch: int, name: str) -> np.random.Generator:
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
    """A batch of outputs as rows of tokens, and of sources that are tensors already."""
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
