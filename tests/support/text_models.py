"""Small text models with random weights, for tests that need a model rather than a good one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from asr_s2s.config import (
    Config,
    DecoderConfig,
    ModelConfig,
    SourceTextConfig,
    TextConfig,
    TextEncoderConfig,
)
from asr_s2s.model.folder import save_model
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.text.tokenizer import CharacterTokenizer


def write_text_model(folder: Path, *languages: str, **sections: dict[str, Any]) -> Path:
    """Write an untrained model from the letters x, y and z to a, b and c.

    Args:
        languages: output languages.
        sections: changed settings by section, such as `search={"piece_tokens": 5}`.
    """
    config = Config(
        model=ModelConfig(encoders=("text",)),
        text=TextConfig(metric="bleu", bleu_tokenizer="char", languages=languages),
        source_text=SourceTextConfig(tokenizer="characters"),
        text_encoder=TextEncoderConfig(layers=1, size=8, embedding_size=8),
        decoder=DecoderConfig(attention="additive", size=8, attention_size=8, embedding_size=8),
    )
    for name, values in sections.items():
        config = replace(config, **{name: replace(getattr(config, name), **values)})
    torch.manual_seed(1)
    tokenizer, source = CharacterTokenizer("abc "), CharacterTokenizer("xyz ")
    weights = Seq2Seq(config, len(tokenizer) + len(languages), len(source)).state_dict()
    save_model(folder, config, tokenizer, source, weights)
    return folder
