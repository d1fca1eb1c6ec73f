"""One model: named encoders, a shared attention decoder, and an optional CTC head."""

from typing import NamedTuple

from torch import Tensor, nn

from asr_s2s.config import Config
from asr_s2s.model.attention import Memory
from asr_s2s.model.decoder import Decoder
from asr_s2s.model.encoder import SpeechEncoder


class Predictions(NamedTuple):
    """What the training objective needs of one batch."""

    logits: Tensor
    """Decoder logits, `(batch, steps, vocabulary)`."""
    weights: Tensor
    """Attention weights, `(batch, steps, time)`."""
    ctc_logits: Tensor | None
    """CTC logits, `(batch, time, vocabulary)`, when there is a CTC head."""
    memory: Memory


class Seq2Seq(nn.Module):
    """Encoders by name (`speech`), one decoder, and CTC on the speech encoder's memory
    (Chan et al., 2016; joint CTC after Kim et al., 2017).

    Args:
        config: the run's configuration; only the model's sections are read.
        vocabulary: number of tokens, specials included.
    """

    def __init__(self, config: Config, vocabulary: int) -> None:
        super().__init__()
        speech = SpeechEncoder(config.speech_encoder, config.features, config.augment)
        self.encoders = nn.ModuleDict({"speech": speech})
        self.decoder = Decoder(vocabulary, speech.output_size, config.decoder)
        self.ctc = (
            nn.Linear(speech.output_size, vocabulary) if config.objective.ctc_weight > 0 else None
        )

    @property
    def speech(self) -> SpeechEncoder:
        """The speech encoder."""
        encoder = self.encoders["speech"]
        assert isinstance(encoder, SpeechEncoder)
        return encoder

    def encode(self, kind: str, source: Tensor, lengths: Tensor) -> Memory:
        """The memory of a batch of sources: for `speech`, waveforms `(batch, samples)` in [-1, 1]
        at 16 kHz and sample counts `(batch,)`."""
        memory: Memory = self.encoders[kind](source, lengths)
        return memory

    def forward(self, kind: str, source: Tensor, lengths: Tensor, prefix: Tensor) -> Predictions:
        """Teacher-forced predictions after the prefixes `(batch, steps)`."""
        memory = self.encode(kind, source, lengths)
        logits, weights = self.decoder(prefix, memory)
        ctc_logits = self.ctc(memory.values) if self.ctc is not None else None
        return Predictions(logits, weights, ctc_logits, memory)
