"""Decoders by their names in the configuration."""

from typing import Any

from asr_s2s.config import DecoderConfig
from asr_s2s.config_file import find_entry
from asr_s2s.model.decoder import Decoder
from asr_s2s.model.recurrent_decoder import RecurrentDecoder
from asr_s2s.model.transformer_decoder import TransformerDecoder

DECODERS: dict[str, type[Decoder[Any, Any]]] = {
    "recurrent": RecurrentDecoder,
    "transformer": TransformerDecoder,
}
"""Decoders by `decoder.kind`."""


def check_decoder(config: DecoderConfig) -> None:
    """Check that the settings of the decoder are consistent.

    Raises:
        ConfigError: they are not, or there is no such decoder; names the key.
    """
    find_entry(DECODERS, config.kind, "decoder.kind").check(config)
