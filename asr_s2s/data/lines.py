"""Plain text, a sentence a line, for language models."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch.utils.data import Dataset

from asr_s2s.data.datasets import Batch, Output, collate

_SAMPLE = 1000
"""Lines whose tokens are counted, to guess at those of all others."""


@dataclass
class Line:
    """A sentence, as lhotse's sampler wants it; it adds fields of its own."""

    place: int
    text: str
    num_tokens: int
    """Estimated from the number of characters: a million lines are not tokenized to begin."""

    @property
    def id(self) -> str:
        return str(self.place)


class LineDataset(Dataset[Batch]):
    """Tokenizes and collates the lines of a batch, in their best segmentation.

    Args:
        max_tokens: longer lines are cut there.
    """

    kind = "lines"

    def __init__(self, output: Output, max_tokens: int) -> None:
        self.output = output
        self.max_tokens = max_tokens
        self.epoch = 0

    def measure(self, texts: Iterable[str]) -> list[Line]:
        """The lines that hold anything, with their estimated numbers of tokens, end included."""
        kept = [text for text in texts if text and not text.isspace()]
        sample = kept[:: max(1, len(kept) // _SAMPLE)]
        characters = sum(map(len, sample))
        rate = sum(len(self._encode(self.output.normalize(t))) for t in sample) / max(1, characters)
        return [
            Line(place, text, min(self.max_tokens, round(rate * len(text))) + 1)
            for place, text in enumerate(kept)
        ]

    def __getitem__(self, lines: Iterable[Line]) -> Batch:
        """A batch of these lines, but for those that normalization leaves nothing of."""
        ids, texts, tokens = [], [], []
        for line in lines:
            text = self.output.normalize(line.text)
            row = self._encode(text)
            if row:
                ids.append(line.id)
                texts.append(text)
                tokens.append(row)
        none: list[list[int]] = [[] for _ in ids]
        source, lengths = torch.zeros(len(ids), 0), torch.zeros(len(ids), dtype=torch.long)
        return collate(self.kind, ids, texts, source, lengths, none, tokens, [])

    def _encode(self, text: str) -> list[int]:
        return self.output.tokenizer.encode(text)[: self.max_tokens]
