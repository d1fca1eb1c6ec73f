"""Interface of decoders, which attend to a memory and predict tokens."""

from abc import ABC, abstractmethod
from typing import Generic, Protocol, TypeVar

from torch import Tensor, nn

from asr_s2s.config import DecoderConfig
from asr_s2s.model.attention import Memory


class DecoderState(Protocol):
    """State between decoder steps: a NamedTuple of tensors whose first axis is rows, utterances x
    hypotheses, so that beam search reorders it with `index_select`."""

    @property
    def alignment(self) -> Tensor:
        """Attention weights of the last step, `(rows, time)`, in float32."""


class PreparedMemory(Protocol):
    """A memory with everything that a decoder computes of it once per utterance."""

    @property
    def padded(self) -> Tensor:
        """True beyond each row's length, `(batch, 1, time)`."""


State = TypeVar("State", bound=DecoderState)
Prepared = TypeVar("Prepared", bound=PreparedMemory)


class Decoder(nn.Module, ABC, Generic[State, Prepared]):
    """Base class of decoders.

    Implementations are built as `(vocabulary, memory_size, config)`: number of tokens, channels of
    the memory, and the section `decoder` of the configuration.
    """

    embedding: nn.Embedding
    """Embedding of all tokens of the vocabulary, which a text encoder may share."""
    attends = True
    """Whether attention weights are meaningful; without attention they are zero."""
    can_copy = False
    """Whether the decoder implements `decoder.copy`."""

    @abstractmethod
    def __init__(self, vocabulary: int, memory_size: int, config: DecoderConfig) -> None:
        super().__init__()

    @staticmethod
    @abstractmethod
    def check(config: DecoderConfig) -> None:
        """Check that the settings are consistent.

        Raises:
            ConfigError: they are not; names the key.
        """

    @abstractmethod
    def prepare(self, memory: Memory) -> Prepared:
        """Compute once per utterance what `step` needs of a memory."""

    @abstractmethod
    def start(self, memory: Memory, beam_size: int = 1) -> State:
        """Return the state before the first token, for `beam_size` hypotheses per row."""

    @abstractmethod
    def step(self, previous: Tensor, state: State, memory: Prepared) -> tuple[Tensor, State]:
        """Compute logits `(rows, vocabulary)` after the previous tokens `(rows,)`, and the next
        state. A decoder that copies (`decoder.copy`) appends the unknown words of the sources.

        Rows are grouped by utterance: rows r * n to r * n + n - 1 are the n hypotheses of row r of
        the memory, which is not copied for them.
        """

    @abstractmethod
    def forward(self, prefix: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Compute all steps at once; equal to repeated calls of `step`.

        Args:
            prefix: previous tokens of each step, `(batch, steps)`.
            memory: of the batch.

        Returns:
            Logits `(batch, steps, vocabulary)`, as in `step`, and attention weights `(batch, steps,
            time)` in float32, exactly zero beyond each row's length.
        """
