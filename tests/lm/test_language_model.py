import torch

from asr_s2s.config import LanguageModelConfig
from asr_s2s.lm.language_model import LanguageModel
from asr_s2s.text.tokenizer import BOS

CONFIG = LanguageModelConfig(layers=2, size=12, embedding_size=6, dropout=0.5)


def test_forward_equals_repeated_step() -> None:
    model = LanguageModel(9, CONFIG).eval()
    prefix = torch.randint(3, 9, (4, 7))
    prefix[:, 0] = BOS
    whole = model(prefix)
    state = model.start(4)
    for index in range(prefix.size(1)):
        logits, state = model.step(prefix[:, index], state)
        torch.testing.assert_close(logits, whole[:, index])


def test_states_can_be_reordered_between_steps() -> None:
    model = LanguageModel(9, CONFIG).eval()
    _, state = model.step(torch.tensor([3, 4, 5]), model.start(3))
    reordered = type(state)(*(part.index_select(0, torch.tensor([2, 0, 0])) for part in state))
    logits, _ = model.step(torch.tensor([6, 6, 7]), reordered)
    _, alone = model.step(torch.tensor([5]), model.start(1))
    expected, _ = model.step(torch.tensor([6]), alone)
    torch.testing.assert_close(logits[:1], expected)


def test_output_and_embedding_share_one_matrix() -> None:
    assert {name for name, _ in LanguageModel(9, CONFIG).named_parameters()} >= {
        "embedding.weight",
        "output_bias",
    }
    sizes = [p.shape[0] for p in LanguageModel(9, CONFIG).parameters() if p.ndim > 1]
    assert sizes.count(9) == 1
