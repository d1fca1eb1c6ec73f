"""Weights of a model in one whose vocabulary was extended."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from asr_s2s.config import (
    Config,
    DecoderConfig,
    ModelConfig,
    ObjectiveConfig,
    SourceTextConfig,
    SpeechEncoderConfig,
    TextConfig,
    TextEncoderConfig,
)
from asr_s2s.errors import ModelError
from asr_s2s.model.folder import build_model, save_model
from asr_s2s.model.growth import load_into_extended
from asr_s2s.text.tokenizer import CharacterTokenizer

OLD, SOURCE = CharacterTokenizer("abcdefgh"), CharacterTokenizer("rstuv")
NEW, NEW_SOURCE = OLD.extended("XYZ"), SOURCE.extended("PQ")
BASE = Config(
    text=TextConfig(languages=("yy", "zz")),
    text_encoder=TextEncoderConfig(layers=1, size=8, embedding_size=6),
    speech_encoder=SpeechEncoderConfig(layers=1, size=8, time_reduction=1),
    decoder=DecoderConfig(size=10, embedding_size=6, attention_size=8, copy=False),
    objective=ObjectiveConfig(ctc_per_frame=2),
)


def sizes(config: Config) -> dict[str, tuple[int, int]]:
    """Return old and new number of units by name of the tables that grow."""
    output = (len(OLD), len(NEW))
    tables = {"decoder.embedding.weight": output}
    if config.decoder.tied_output:
        tables |= {"decoder.output_bias": output}
    else:
        tables |= {"decoder.output.weight": output, "decoder.output.bias": output}
    if "text" in config.model.encoders and not config.source_text.joint:
        tables |= {"source_embedding.weight": (len(SOURCE), len(NEW_SOURCE))}
    if config.model.encoders == ("speech",):
        tables |= {"ctc.weight": output, "ctc.bias": output}
    return tables


@pytest.mark.parametrize(
    "config",
    [
        replace(BASE, model=ModelConfig(encoders=("speech",))),
        replace(BASE, model=ModelConfig(encoders=("text",))),
        replace(
            BASE,
            model=ModelConfig(encoders=("text",)),
            source_text=SourceTextConfig(joint=True),
            text_encoder=replace(BASE.text_encoder, shared_embedding=True),
            decoder=replace(BASE.decoder, tied_output=True, copy=True),
        ),
    ],
    ids=["speech", "text", "joint"],
)
def test_existing_rows_are_kept_and_added_ones_are_near_their_mean(
    config: Config, tmp_path: Path
) -> None:
    text, joint = "text" in config.model.encoders, config.source_text.joint
    old_source, new_source = (OLD, NEW) if joint else (SOURCE, NEW_SOURCE)
    old = build_model(config, OLD, old_source if text else None)
    for parameter in old.parameters():  # biases start with zeros
        torch.nn.init.normal_(parameter)
    tokenizers = NEW, new_source if text else None
    grown, other = build_model(config, *tokenizers), build_model(config, *tokenizers)
    save_model(tmp_path, config, OLD, old_source if text else None, old.state_dict())
    load_into_extended(grown, tmp_path, tokenizers, seed=3)
    load_into_extended(other, tmp_path, tokenizers, seed=3)
    before, after = old.state_dict(), grown.state_dict()
    tables = sizes(config)
    for name, weight in after.items():
        torch.testing.assert_close(weight, other.state_dict()[name], atol=0, rtol=0)
        if name not in tables:
            torch.testing.assert_close(weight, before[name], atol=0, rtol=0)
            continue
        first, last = tables[name]
        repeats = 2 if name.startswith("ctc") else 1
        for part, kept in zip(weight.chunk(repeats), before[name].chunk(repeats), strict=True):
            assert len(part) - len(kept) == last - first
            torch.testing.assert_close(part[:first], kept[:first], atol=0, rtol=0)
            torch.testing.assert_close(part[last:], kept[first:], atol=0, rtol=0)  # languages
            added, units = part[first:last], kept[4:first]
            assert ((added - units.mean(0)).abs() <= 0.5 * units.std(0)).all()
            assert added.std(0).gt(0).all()


def test_other_sizes_are_refused(tmp_path: Path) -> None:
    config = replace(BASE, model=ModelConfig(encoders=("text",)))
    save_model(tmp_path, config, OLD, SOURCE, build_model(config, OLD, SOURCE).state_dict())
    other = replace(config, decoder=replace(config.decoder, size=12))
    with pytest.raises(ModelError, match="do not fit"):
        load_into_extended(build_model(other, NEW, SOURCE), tmp_path, (NEW, SOURCE), seed=1)
