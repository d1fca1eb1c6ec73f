"""CTC head with several predictions per memory frame."""

import numpy as np
import pytest
import torch

import asr_s2s
from asr_s2s.config import (
    Config,
    DecoderConfig,
    FeatureConfig,
    ObjectiveConfig,
    SearchConfig,
    SpeechEncoderConfig,
)
from asr_s2s.data.datasets import Batch
from asr_s2s.model.ctc import CTCHead
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.search.align import Alignment, Span, align, align_words
from asr_s2s.search.decode import decode
from asr_s2s.train.objective import joint_loss

CONFIG = Config(
    features=FeatureConfig(mel_bins=20),
    speech_encoder=SpeechEncoderConfig(
        convolution_layers=1, convolution_channels=4, layers=2, size=12, time_reduction=8
    ),
    decoder=DecoderConfig(attention_size=8, size=12, embedding_size=8),
    objective=ObjectiveConfig(ctc_per_frame=2),
)
VOCABULARY = 7


@pytest.fixture
def model() -> Seq2Seq:
    torch.manual_seed(0)
    return Seq2Seq(CONFIG, VOCABULARY).eval()


def speech(*seconds: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise of these durations, padded, and the lengths in samples."""
    lengths = torch.tensor([int(16_000 * s) for s in seconds])
    return torch.randn(len(seconds), int(lengths.max())) * 0.1, lengths


def test_predictions_of_a_frame_are_consecutive() -> None:
    head = CTCHead(3, 5, per_frame=2)
    values = torch.randn(2, 4, 3)
    logits = head(values)
    assert logits.shape == (2, 8, 5)
    first, second = (values @ head.weight.T + head.bias).split(5, dim=2)
    torch.testing.assert_close(logits[:, 0::2], first)
    torch.testing.assert_close(logits[:, 1::2], second)


def test_padding_does_not_change_ctc_log_probabilities(model: Seq2Seq) -> None:
    waveforms, lengths = speech(2.0, 0.7)
    with torch.inference_mode():
        together = model.ctc_frames(model.encode("speech", waveforms, lengths))
        alone = model.ctc_frames(
            model.encode("speech", waveforms[1:, : int(lengths[1])], lengths[1:])
        )
    assert together is not None
    assert alone is not None
    count = int(alone.lengths[0])
    assert together.lengths[1] == count == alone.log_probs.size(1)
    torch.testing.assert_close(
        together.log_probs[1, :count], alone.log_probs[0], atol=1e-4, rtol=1e-4
    )


def test_it_learns_a_transcript_with_more_characters_than_memory_frames(model: Seq2Seq) -> None:
    waveforms, lengths = speech(1.0)  # 13 frames
    written = [4, 5, 6, 4, 6, 5, 4, 5, 4, 6, 4, 6, 5, 6, 4, 5, 6, 5, 4, 6]
    batch = Batch(
        kind="speech",
        ids=["a"],
        texts=[""],
        source=waveforms,
        lengths=lengths,
        prompts=torch.zeros(1, 0, dtype=torch.long),
        tokens=torch.tensor([written]),
        token_lengths=torch.tensor([len(written)]),
        failures=[],
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(300):
        optimizer.zero_grad()
        losses = joint_loss(model, batch, CONFIG.objective)
        losses.total.backward()
        optimizer.step()
    assert losses.ctc is not None
    assert 0.0 < losses.ctc < 0.1  # the loss of an output too long for its frames is 0
    with torch.inference_mode():
        memory = model.encode("speech", waveforms, lengths)
        assert int(memory.lengths) < len(written)
        for weight in (0.5, 1.0):
            config = SearchConfig(beam_size=4, ctc_weight=weight, max_length_ratio=2.0)
            assert decode(model, "speech", memory, config)[0][0].tokens == written
        (alignment,) = align(model, memory, [written], batch.prompts)
    assert alignment.per_frame == 2
    assert int(memory.lengths) < alignment.spans[-1].end <= 2 * int(memory.lengths)


def test_word_times_do_not_depend_on_the_predictions_per_frame() -> None:
    recognizer = asr_s2s.load("digits", device="cpu")
    tokenizer = recognizer.output.tokenizer
    tokens = tokenizer.encode("one two")
    samples = np.random.default_rng(0).standard_normal(32_000).astype(np.float32)
    spans = [Span(3 + 3 * i, 6 + 3 * i) for i in range(len(tokens))]
    sure = [-0.1] * len(tokens)
    once = Alignment(spans, 1, sure, sure)
    doubled = [Span(2 * span.start, 2 * span.end) for span in spans]
    twice = Alignment(doubled, 2, sure, sure)
    words = [
        align_words(recognizer.model, tokenizer, tokens, alignment, samples)
        for alignment in (once, twice)
    ]
    assert words[0] == words[1]
