"""A training task added from outside the package: one class and one entry in a table."""

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from lhotse import CutSet
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from asr_s2s.config import Config
from asr_s2s.config_file import load_config
from asr_s2s.data.batches import ordered_batches
from asr_s2s.data.datasets import Batch
from asr_s2s.data.lines import LineDataset
from asr_s2s.metrics.metric import METRICS
from asr_s2s.text.normalize import normalizer
from asr_s2s.text.output import Output
from asr_s2s.text.tokenizer import BLANK, CharacterTokenizer, Tokenizer
from asr_s2s.text_files import read_lines
from asr_s2s.train.loop import train
from asr_s2s.train.objective import Losses
from asr_s2s.train.streams import Stream
from asr_s2s.train.task import TASKS, Tokenizers
from asr_s2s.train.validation import Validation

LINES = ["abba", "baab", "acab"] * 20


class Unigrams(nn.Module):
    """Distribution of tokens, whatever precedes them."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, tokens: Tensor) -> Tensor:
        """Compute the mean cross-entropy of tokens `(batch, tokens)`."""
        logits = self.logits.expand(*tokens.shape, -1).flatten(0, 1)
        return F.cross_entropy(logits, tokens.flatten(), ignore_index=BLANK)


class UnigramLoss(nn.Module):
    """Cross-entropy per token."""

    def forward(self, model: Unigrams, batch: Batch, step: int) -> Losses:
        loss = model(batch.tokens)
        return Losses(loss, loss.detach(), None, torch.zeros(()))


class UnigramTask:
    """Task of unigram models of characters; see `Task`."""

    def __init__(self, config: Config, base: Path) -> None:
        self.config = config
        self.lines, self.valid_lines = (
            [line for name in names for line in read_lines(base / name)]
            for names in (config.data.train, config.data.valid)
        )

    @staticmethod
    def complete(config: Config, base: Path) -> Config:
        return config

    def save_tokenizers(self, folder: Path) -> None:
        CharacterTokenizer("".join(self.lines)).save(folder)

    def streams(
        self, tokenizers: Tokenizers, *, training: bool, info: Callable[[str], None]
    ) -> list[Stream[LineDataset]]:
        output = Output(tokenizers[0], normalizer(self.config.text.normalizer))
        dataset = LineDataset(output, self.config.data.max_tokens)
        lines = self.lines if training else self.valid_lines
        return [Stream(CutSet(dataset.measure(lines)), dataset)]

    def build_model(self, tokenizers: tuple[Tokenizer, Tokenizer | None]) -> Unigrams:
        return Unigrams(len(tokenizers[0]))

    def build_criterion(
        self, model: Unigrams, streams: Sequence[Stream[LineDataset]]
    ) -> UnigramLoss:
        return UnigramLoss()

    def prepare(self, model: Unigrams, streams: Sequence[Stream[LineDataset]]) -> None:
        pass

    def notes(self, streams: Sequence[Stream[LineDataset]]) -> list[str]:
        return []

    @torch.inference_mode()
    def validate(
        self, model: Unigrams, streams: Sequence[Stream[LineDataset]], device: torch.device
    ) -> Validation:
        (stream,) = streams
        batches = list(ordered_batches(stream.items, stream.dataset, self.config.data))
        counts = [int(batch.token_lengths.sum()) for batch in batches]
        total = sum(n * float(model(b.tokens)) for n, b in zip(counts, batches, strict=True))
        metric, value = METRICS["perplexity"], math.exp(total / sum(counts))
        return Validation(value, {metric.field: value}, [], [], [], metric)


def test_a_task(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(TASKS, ("unigrams",), UnigramTask)
    (tmp_path / "lines.txt").write_text("\n".join(LINES) + "\n")
    (tmp_path / "config.yaml").write_text(
        "model: {encoders: [unigrams]}\n"
        "data: {train: [lines.txt], valid: [lines.txt], batch_tokens: 100, workers: 0}\n"
        "train: {schedule: constant, warmup_steps: 1, learning_rate: 0.2, validate_every: 20}\n"
    )

    def run(steps: int, output: str) -> Path:
        config = load_config(tmp_path / "config.yaml", [f"train.steps={steps}"])
        folder = train(config, tmp_path, tmp_path / output, torch.device("cpu"))
        assert folder is not None
        return folder

    model = run(60, "whole")
    rows = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").open()]
    perplexity = [row["perplexity"] for row in rows if row["kind"] == "valid"]
    counts = Counter("".join(LINES))
    shares = [count / counts.total() for count in counts.values()]
    lowest = math.exp(-sum(share * math.log(share) for share in shares))
    assert perplexity[-1] == pytest.approx(lowest, rel=0.02)

    run(20, "stopped")
    resumed = load_file(run(60, "stopped") / "model.safetensors")
    assert resumed["logits"].equal(load_file(model / "model.safetensors")["logits"])
