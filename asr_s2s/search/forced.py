"""Forced decoding: probabilities that a model gives to outputs, rather than its own outputs."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from asr_s2s.model.attention import Memory
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.search.align import forced_decode
from asr_s2s.text.tokenizer import EOS


@dataclass(frozen=True)
class Likelihood:
    """Log-probabilities of a given output by the decoder under teacher forcing.

    They are those of the decoder alone, without CTC, language models and penalties. The tokens of
    the prompt, such as the language, are given and have no probability.
    """

    tokens: tuple[int, ...]
    """Ids of the output's tokens, and of the end token."""
    log_probs: tuple[float, ...]
    """Natural log-probability of each token, given the source and the tokens before it."""

    @property
    def total(self) -> float:
        """Natural log-probability of the output."""
        return sum(self.log_probs)

    @property
    def per_token(self) -> float:
        """Mean log-probability per token, the end token included; its negative exponential is the
        perplexity."""
        return self.total / len(self.log_probs)


@torch.inference_mode()
def likelihoods(
    model: Seq2Seq, memory: Memory, outputs: Sequence[Sequence[int]], prompts: Tensor
) -> list[Likelihood]:
    """Compute the log-probabilities of one given output per row of a memory.

    Args:
        model: in evaluation mode.
        memory: of the batch.
        outputs: tokens of each row, without special tokens.
        prompts: tokens at the start of each output, `(batch, prompt)`.
    """
    logits, _ = forced_decode(model, memory, [list(output) for output in outputs], prompts)
    log_probs = logits.float().log_softmax(-1)
    found = []
    for row, output in enumerate(outputs):
        tokens = (*output, EOS)
        chosen = torch.tensor(tokens, device=log_probs.device)[:, None]
        values = log_probs[row, : len(tokens)].gather(1, chosen)[:, 0]
        found.append(Likelihood(tokens, tuple(values.tolist())))
    return found
