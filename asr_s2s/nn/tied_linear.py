"""Output layer that shares its matrix with an embedding."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TiedLinear(nn.Module):
    """Linear layer with the matrix of an embedding (Press and Wolf, 2017).

    It owns no parameters: embedding and bias belong to the model that contains it, so that each
    weight is stored once, under one name.

    Args:
        embedding: `(vocabulary, features)`.
        bias: `(vocabulary,)`.
    """

    def __init__(self, embedding: nn.Embedding, bias: nn.Parameter) -> None:
        super().__init__()
        # Held in a tuple, because attributes would be registered a second time.
        self._shared = embedding, bias

    @property
    def weight(self) -> Tensor:
        """Matrix of the embedding, `(vocabulary, features)`."""
        return self._shared[0].weight

    @property
    def bias(self) -> Tensor:
        """Bias, `(vocabulary,)`."""
        return self._shared[1]

    def forward(self, features: Tensor) -> Tensor:
        """Map `(..., features)` to logits `(..., vocabulary)`."""
        return F.linear(features, self.weight, self.bias)


def initialize_tied(embedding: nn.Embedding) -> None:
    """Draw the weights of a tied embedding with a standard deviation of size ** -0.5, which keeps
    initial logits small; the vector of padding stays zero."""
    nn.init.normal_(embedding.weight, std=embedding.embedding_dim**-0.5)
    if embedding.padding_idx is not None:
        with torch.no_grad():
            embedding.weight[embedding.padding_idx] = 0.0
