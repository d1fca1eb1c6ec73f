"""A tokenizer added from outside the package: one class and one entry in a table."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from asr_s2s.config import SourceTextConfig, TextConfig
from asr_s2s.errors import ModelError
from asr_s2s.pipeline import Transcriber
from asr_s2s.text.tokenizer import UnitTokenizer
from asr_s2s.text.vocabulary import TOKENIZERS, TokenizerKind, load_tokenizer
from tests.extension.conftest import Trainer


class PairTokenizer(UnitTokenizer):
    """Tokenizer with one token per two characters."""

    kind = "pairs"
    separator = ""

    def surfaces(self, text: str) -> list[str]:
        return [text[index : index + 2] for index in range(0, len(text), 2)]


def train_pairs(
    config: TextConfig | SourceTextConfig, lines: list[str], section: str, base: Path
) -> PairTokenizer:
    """Use all pairs of the training texts."""
    return PairTokenizer(
        sorted({pair for line in lines for pair in PairTokenizer([]).surfaces(line)})
    )


def restore_pairs(content: Mapping[str, Any]) -> PairTokenizer:
    """Check that units have one or two characters."""
    if any(len(unit) > 2 for unit in content["units"]):
        raise ValueError("a unit is too long")
    return PairTokenizer(content["units"])


def test_a_tokenizer(monkeypatch: pytest.MonkeyPatch, train_tones: Trainer, corpus: Path) -> None:
    kind = TokenizerKind(train=train_pairs, restore=restore_pairs)
    monkeypatch.setitem(TOKENIZERS, "pairs", kind)
    model = train_tones("text.tokenizer=pairs")
    tokenizer = load_tokenizer(model)
    assert isinstance(tokenizer, PairTokenizer)
    assert tokenizer.decode(tokenizer.encode("abcd")) == "abcd"
    assert len(tokenizer.encode("abcd")) == 2
    transcript = Transcriber.load(model, device="cpu").transcribe(corpus / "audio" / "valid-0.wav")
    assert set(transcript.text) <= set("abcd")

    vocabulary = model / "tokenizer.json"
    vocabulary.write_text(json.dumps({"kind": "pairs", "units": ["abc"]}))
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        load_tokenizer(model)
