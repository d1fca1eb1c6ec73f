"""Dataset of plain text, one sentence per line, for language models."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from lhotse.dataset.sampling.base import TokenConstraint

from asr_s2s.config import DataConfig
from asr_s2s.data.datasets import Batch, BatchDataset, collate
from asr_s2s.text.output import Output

_SAMPLE_LINES = 1000
"""Number of lines tokenized to estimate the tokens per character."""


@dataclass
class Line:
    """Sentence with its length, as lhotse's samplers expect it; they add attributes to it."""

    index: int
    text: str
    num_tokens: int
    """Estimate from the number of characters; tokenizing a million lines would delay the start."""

    @property
    def id(self) -> str:
        return str(self.index)


class LineDataset(BatchDataset):
    """Tokenizes and collates the lines of a batch, in the most likely segmentation.

    Args:
        max_tokens: maximum tokens per line; longer lines are truncated.
    """

    kind = "lines"
    noun = "lines of text"
    speed = ("tokens_per_second", "tokens/s")
    short_first = False

    def __init__(self, output: Output, max_tokens: int) -> None:
        self.output = output
        self.max_tokens = max_tokens
        self.epoch = 0

    def limit(self, config: DataConfig) -> TokenConstraint:
        """Limit the tokens in a batch."""
        return TokenConstraint(max_tokens=config.batch_tokens)

    def measure(self, texts: Iterable[str]) -> list[Line]:
        """Return the lines that are not blank, with estimated token counts, end token included."""
        kept = [text for text in texts if text and not text.isspace()]
        sample = kept[:: max(1, len(kept) // _SAMPLE_LINES)]
        characters = sum(map(len, sample))
        rate = sum(len(self._encode(self.output.normalize(t))) for t in sample) / max(1, characters)
        return [
            Line(index, text, min(self.max_tokens, round(rate * len(text))) + 1)
            for index, text in enumerate(kept)
        ]

    def __getitem__(self, lines: Iterable[Line]) -> Batch:
        """Collate the lines; those that are empty once normalized are left out."""
        ids, texts, tokens = [], [], []
        for line in lines:
            text = self.output.normalize(line.text)
            row = self._encode(text)
            if row:
                ids.append(line.id)
                texts.append(text)
                tokens.append(row)
        prompts: list[list[int]] = [[] for _ in ids]
        source, lengths = torch.zeros(len(ids), 0), torch.zeros(len(ids), dtype=torch.long)
        return collate(self.kind, ids, texts, source, lengths, prompts, tokens, [])

    def _encode(self, text: str) -> list[int]:
        return self.output.tokenizer.encode(text)[: self.max_tokens]
