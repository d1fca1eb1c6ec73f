"""From a batch of sources to hypotheses: encode, set up the scorers, search."""

import torch
from torch import Tensor

from asr_s2s.config import SearchConfig
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.search.beam import Hypothesis, beam_search
from asr_s2s.search.scorers import AttentionScorer, CTCPrefixScorer, Scorer


@torch.inference_mode()
def decode(
    model: Seq2Seq, kind: str, source: Tensor, lengths: Tensor, config: SearchConfig
) -> list[list[Hypothesis]]:
    """Transcribe a batch.

    Args:
        model: in evaluation mode.
        kind: encoder to use (`speech`).
        source: for `speech`, waveforms `(batch, samples)` at 16 kHz in [-1, 1].
        lengths: valid samples of each row, `(batch,)`.
        config: search settings; a model without a CTC head ignores `ctc_weight`.

    Returns:
        For each row its hypotheses, best first.
    """
    memory = model.encode(kind, source, lengths)
    ctc_weight = config.ctc_weight if model.ctc is not None else 0.0
    scorers: list[tuple[Scorer, float]] = [
        (AttentionScorer(model.decoder, memory), 1.0 - ctc_weight)
    ]
    if model.ctc is not None and ctc_weight > 0.0:
        log_probs = model.ctc(memory.values).float().log_softmax(-1)
        scorers.append((CTCPrefixScorer(log_probs, memory.lengths), ctc_weight))
    return beam_search(scorers, memory.lengths, config)
