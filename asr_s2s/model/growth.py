"""Loading weights of a model into one with an extended vocabulary, or with other outputs."""

from pathlib import Path

import torch
from torch import Tensor, nn

from asr_s2s.config import Config
from asr_s2s.config_file import to_dict
from asr_s2s.errors import ModelError
from asr_s2s.model.folder import load_tokenizers, read_config
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.model.weights import apply_weights, read_weights
from asr_s2s.nn.low_precision import restore_matrices
from asr_s2s.text.tokenizer import SPECIALS, Tokenizer

NOISE = 0.1
"""Standard deviation of the noise in added rows, as a fraction of that of the existing ones."""
SOURCE_EMBEDDING = "source_embedding."
"""Prefix of the weights whose rows are tokens of the source; those of others are of the output."""
SPEECH_ENCODER_WEIGHTS = "encoders.speech."
"""Prefix of the names of the speech encoder's weights, and of the frontend's statistics."""


def load_into_extended(
    network: nn.Module, folder: Path, tokenizers: tuple[Tokenizer, Tokenizer | None], seed: int
) -> None:
    """Load the weights of a model folder into a network whose vocabularies begin with those of the
    folder. Rows of added tokens are the mean of the rows of existing tokens, with noise (after
    Hewitt, 2021).

    Args:
        network: network with the same settings.
        tokenizers: vocabularies of output and source of the network.
        seed: seed of the noise.

    Raises:
        ModelError: the weights are missing, damaged, or do not fit the network.
    """
    config = read_config(folder)
    languages = len(config.text.languages)
    generator = torch.Generator().manual_seed(seed)
    weights = restore_matrices(read_weights(folder))
    sizes = [
        (len(old) if old else 0, len(new) if new else 0)
        for old, new in zip(load_tokenizers(folder, config), tokenizers, strict=True)
    ]
    for name, wanted in network.state_dict().items():
        if name in weights and weights[name].shape != wanted.shape:
            of_source = name.startswith(SOURCE_EMBEDDING)
            old, new = sizes[of_source]
            rest = 0 if of_source else languages
            weights[name] = _grown(weights[name], old, new, rest, generator)
    apply_weights(network, weights, folder)


def _grown(weight: Tensor, old: int, new: int, rest: int, generator: torch.Generator) -> Tensor:
    """Add rows for tokens `old` to `new` before the `rest` rows of languages. A head with several
    predictions per frame repeats all of these rows."""
    if len(weight) % (old + rest):
        return weight  # not of the vocabulary: the network will refuse it
    repeated = weight.view(-1, old + rest, *weight.shape[1:])
    units = repeated[:, len(SPECIALS) : old]
    mean, deviation = units.mean(1, keepdim=True), units.std(1, keepdim=True, correction=0)
    noise = torch.randn(len(repeated), new - old, *weight.shape[1:], generator=generator)
    added = mean + NOISE * deviation * noise
    return torch.cat([repeated[:, :old], added, repeated[:, old:]], 1).flatten(0, 1)


def load_speech_encoder(network: Seq2Seq, folder: Path, config: Config) -> None:
    """Load the speech encoder of a model folder, and its statistics of features, in float32 into a
    network with other outputs.

    Args:
        network: with a speech encoder of the same settings.
        folder: model folder.
        config: configuration of the network.

    Raises:
        ModelError: the folder has no speech encoder, its weights are missing, damaged, or do not
            fit the network, or its features have other settings.
    """
    own = read_config(folder)
    if "speech" not in own.model.encoders:
        raise ModelError(folder, "this model has no speech encoder", "Choose a speech model")
    for key, value in to_dict(own.features).items():
        if value != (found := getattr(config.features, key)):
            raise ModelError(
                folder,
                f"its encoder was trained with features.{key}={value}, not {found}",
                "Repeat the features and the speech_encoder of its config.yaml",
            )
    encoder, others = (
        {
            name: value
            for name, value in weights.items()
            if name.startswith(SPEECH_ENCODER_WEIGHTS) == wanted
        }
        for weights, wanted in (
            (restore_matrices(read_weights(folder)), True),
            (network.state_dict(), False),
        )
    )
    apply_weights(network, others | encoder, folder)
