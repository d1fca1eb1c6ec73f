import itertools
import math

import pytest
import torch

from asr_s2s.config import (
    Config,
    DecoderConfig,
    DistillConfig,
    FeatureConfig,
    ObjectiveConfig,
    SpeechEncoderConfig,
    TrainConfig,
)
from asr_s2s.data.datasets import Batch
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.text.tokenizer import BLANK, BOS, EOS
from asr_s2s.train.distill import Distillation
from asr_s2s.train.objective import (
    IGNORED,
    attention_loss,
    ctc_loss,
    joint_loss,
    mix_guesses,
    teacher_forcing,
)
from asr_s2s.train.schedule import learning_rate, sampling_probability

TOKENS = torch.tensor([[4, 5, 5], [4, BLANK, BLANK]])
LENGTHS = torch.tensor([3, 1])


def test_teacher_forcing_adds_start_and_end_tokens() -> None:
    prefix, target = teacher_forcing(TOKENS, LENGTHS)
    assert prefix.tolist() == [[BOS, 4, 5, 5], [BOS, 4, BLANK, BLANK]]
    assert target.tolist() == [[4, 5, 5, EOS], [4, EOS, IGNORED, IGNORED]]


def test_attention_loss_has_correct_gradients_and_none_for_padding() -> None:
    _, target = teacher_forcing(TOKENS, LENGTHS)
    logits = torch.randn(2, 4, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: attention_loss(x, target, 0.1), (logits,))
    attention_loss(logits, target, 0.1).backward()
    assert torch.all(logits.grad[1, 2:] == 0.0)
    assert torch.all(logits.grad[1, :2] != 0.0)


def test_ctc_loss_has_correct_gradients_and_none_for_padding() -> None:
    frames = torch.tensor([6, 4])
    logits = torch.randn(2, 6, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: ctc_loss(x, frames, TOKENS, LENGTHS), (logits,))
    ctc_loss(logits, frames, TOKENS, LENGTHS).backward()
    assert torch.all(logits.grad[1, 4:] == 0.0)
    assert torch.all(logits.grad[1, :4] != 0.0)


def test_ctc_loss_equals_the_sum_over_all_alignments() -> None:
    logits = torch.randn(1, 5, 6, dtype=torch.float64)
    log_probs = logits.log_softmax(-1)[0]
    log_probabilities = []
    for path in itertools.product((BLANK, 4, 5), repeat=5):
        output = [token for token, _ in itertools.groupby(path) if token != BLANK]
        if output == [4, 5, 5]:
            log_probabilities.append(sum(log_probs[t, token] for t, token in enumerate(path)))
    expected = -torch.stack(log_probabilities).logsumexp(0) / 3
    loss = ctc_loss(logits, torch.tensor([5]), TOKENS[:1], LENGTHS[:1])
    torch.testing.assert_close(loss, expected)


def test_a_transcript_too_long_for_its_frames_contributes_nothing() -> None:
    logits = torch.randn(2, 4, 7, requires_grad=True)
    loss = ctc_loss(logits, torch.tensor([2, 4]), TOKENS, LENGTHS)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()
    assert torch.all(logits.grad[0] == 0.0)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "inverse_sqrt", "constant"])
def test_learning_rate_warms_up_and_then_does_not_rise(schedule: str) -> None:
    config = TrainConfig(
        schedule=schedule, steps=100, warmup_steps=10, learning_rate=1.0, final_learning_rate=0.01
    )
    rates = [learning_rate(step, config) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    if schedule in ("cosine", "linear"):
        assert rates[-1] == pytest.approx(0.01)
    if schedule == "inverse_sqrt":
        assert rates[39] == pytest.approx(math.sqrt(10 / 40))


def test_scheduled_sampling_rises_to_its_final_probability() -> None:
    config = ObjectiveConfig(scheduled_sampling=0.2, scheduled_sampling_start=10)
    assert sampling_probability(9, config) == 0.0
    assert sampling_probability(14, config) == pytest.approx(0.1)
    assert sampling_probability(50, config) == pytest.approx(0.2)


def test_scheduled_sampling_replaces_neither_start_token_nor_padding() -> None:
    config = Config(
        features=FeatureConfig(mel_bins=16),
        speech_encoder=SpeechEncoderConfig(layers=1, size=8, time_reduction=2),
        decoder=DecoderConfig(attention_size=8, size=8, embedding_size=4),
    )
    model = Seq2Seq(config, 30).eval()
    memory = model.encode("speech", torch.randn(2, 8000), torch.tensor([8000, 8000]))
    prefix, _ = teacher_forcing(
        torch.tensor([[4] * 20, [5] * 3 + [BLANK] * 17]), torch.tensor([20, 3])
    )
    mixed = mix_guesses(model, memory, prefix, probability=1.0)
    assert torch.all(mixed[:, 0] == BOS)
    assert torch.all(mixed[1, 4:] == BLANK)
    assert (mixed[0, 1:] != 4).float().mean() > 0.5
    assert torch.equal(mix_guesses(model, memory, prefix, probability=0.0), prefix)


@pytest.mark.parametrize("kind", ["pyramid", "conformer"])
def test_distillation_trains_the_layers_up_to_its_own(kind: str) -> None:
    encoder = SpeechEncoderConfig(
        kind=kind, convolution_layers=1, layers=2, size=8, heads=2, time_reduction=4
    )
    config = Config(
        features=FeatureConfig(mel_bins=16),
        speech_encoder=encoder,
        decoder=DecoderConfig(attention_size=8, size=8, embedding_size=4),
    )
    model = Seq2Seq(config, 30).eval()  # without dropout
    per_frame = round(50 * model.speech.frame_seconds(1))
    distillation = Distillation(
        model.speech.output_size, 6, per_frame, DistillConfig(weight=2.0, layer=1)
    )
    batch = Batch(
        kind="speech",
        ids=["a", "b"],
        texts=["", ""],
        source=0.1 * torch.randn(2, 8000),
        lengths=torch.tensor([8000, 6000]),
        prompts=torch.zeros(2, 0, dtype=torch.long),
        tokens=TOKENS,
        token_lengths=LENGTHS,
        failures=[],
    )
    plain = joint_loss(model, batch, config.objective)
    taught = batch._replace(teacher=torch.randn(2, 25, 6), teacher_lengths=torch.tensor([25, 19]))
    losses = joint_loss(model, taught, config.objective, distillation=distillation)
    torch.testing.assert_close(losses.attention, plain.attention)
    torch.testing.assert_close(losses.total, plain.total + 2.0 * losses.distill)
    first, second = (list(layer.parameters()) for layer in model.speech.layers)
    (losses.total - plain.total).backward()
    assert max(float(weight.grad.abs().max()) for weight in first) > 1e-4
    assert max(float(weight.grad.abs().max()) for weight in second) < 1e-6
