"""Output layers that share their matrix with an embedding."""

import copy

import torch
from safetensors import safe_open
from torch import nn

from asr_s2s.model.folder import find_model, load_model
from asr_s2s.nn.tied_linear import TiedLinear


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.output_bias = nn.Parameter(torch.randn(5))
        self.output = TiedLinear(self.embedding, self.output_bias)


def test_the_layer_multiplies_by_the_embedding_and_owns_no_parameters() -> None:
    model, features = Model(), torch.randn(2, 3)
    expected = features @ model.embedding.weight.T + model.output_bias
    torch.testing.assert_close(model.output(features), expected)
    assert list(model.state_dict()) == ["output_bias", "embedding.weight"]
    model.output(features).sum().backward()
    assert model.embedding.weight.grad is not None and model.output_bias.grad is not None


def test_a_copied_or_converted_model_uses_its_own_embedding() -> None:
    model = Model()
    copied = copy.deepcopy(model).double()
    assert copied.output.weight is copied.embedding.weight
    assert copied.output.bias is copied.output_bias
    assert model.output.weight.dtype == torch.float32
    assert copied.output(torch.ones(1, 3, dtype=torch.float64)).dtype == torch.float64


def test_weights_of_a_tied_model_keep_their_names_in_model_folders() -> None:
    model = load_model("en-de").model
    assert type(model.decoder.output) is TiedLinear
    with safe_open(find_model("en-de") / "model.safetensors", "pt") as stored:
        assert set(model.state_dict()) == set(stored.keys())
