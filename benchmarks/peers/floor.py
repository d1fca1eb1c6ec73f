"""Lower bound on the time: only the matrix products of the model with a query layer and additive
attention, at the same sizes and in the same order of steps, without gates, softmax and search.

In training each product costs three: the product and the gradients of both factors. Recurrent
products run step by step, except for the gradient of their weights.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from peers.case import Case
from peers.work import Setting, Work
from torch import Tensor

from asr_s2s.allocator import keep_freed_memory


class Product(NamedTuple):
    """`(batch, rows, inner)` times `(batch, inner, columns)`, repeated `times` times."""

    rows: int
    inner: int
    columns: int
    times: int = 1
    batch: int = 1


def version() -> str:
    """Name and version of the system."""
    return f"torch {torch.__version__}"


def build(work: Work, setting: Setting) -> Case:
    """Build all products, each with its own output; freed memory is kept as in `with_ours`."""
    keep_freed_memory()
    products = encoder(work)
    if work.training:
        steps = work.tokens + 1
        products += decoder(work, rows=work.batch * steps, attending=steps)
        products += [
            *recurrence(work.batch, steps, work.size),
            *recurrence(work.batch, steps, work.size),
        ]
        products = [gradient for product in products for gradient in with_gradients(product)]
    else:
        rows = work.batch * work.beam
        step = decoder(work, rows=rows, attending=work.beam)
        step += 2 * [Product(rows, work.size, 4 * work.size)]
        products += [p._replace(times=p.times * work.steps) for p in step]
        keys = Product(work.batch * work.memory_length, 2 * work.size, work.size)
        products.append(keys)
        if work.ctc:
            products.append(keys._replace(columns=work.vocabulary))
    runs = [prepare(product, setting) for product in products]

    @torch.inference_mode()
    def run() -> None:
        for product in runs:
            product()

    return Case(run, None)


def encoder(work: Work) -> list[Product]:
    """Products of the bidirectional layers, which read pairs of frames for speech."""
    products = []
    time, size = work.length, work.mel_bins if work.kind == "speech" else work.size
    for _ in range(work.layers):
        if work.kind == "speech":
            time, size = time // 2, 2 * size
        for _ in range(2):
            products.append(Product(work.batch * time, size, 4 * work.size))
            products += recurrence(work.batch, time, work.size)
        size = 2 * work.size
    return products


def recurrence(rows: int, steps: int, size: int) -> list[Product]:
    """Products of an LSTM with its state."""
    return [Product(rows, size, 4 * size, times=steps)]


def decoder(work: Work, rows: int, attending: int) -> list[Product]:
    """Products of the decoder, without its recurrences.

    Args:
        rows: utterances x steps in training, utterances x hypotheses in a search.
        attending: rows per utterance.
    """
    size, channels, time = work.size, 2 * work.size, work.memory_length
    products = [
        Product(rows, size, 4 * size),  # the query layer reads tokens
        Product(rows, size, size),  # queries
        Product(rows * time, size, 1),  # energies
        Product(attending, time, channels, batch=work.batch),  # contexts
        Product(rows, size + channels, 4 * size),  # the upper layer reads queries and contexts
        Product(rows, size + channels, size),  # readout
        Product(rows, size, work.vocabulary),
    ]
    if work.training:
        keys = Product(work.batch * time, channels, size)
        products.append(keys)
        if work.kind == "speech":
            products.append(keys._replace(columns=work.vocabulary))  # CTC
    return products


def with_gradients(product: Product) -> list[Product]:
    """A product and the products of its gradients."""
    rows, inner, columns, times, batch = product
    return [
        product,
        Product(rows, columns, inner, times, batch),
        # The gradient of the weights is one product for all steps.
        Product(inner, times * rows, columns, 1, batch),
    ]


def prepare(product: Product, setting: Setting) -> Callable[[], None]:
    """Build a function that computes the product of random matrices."""
    rows, inner, columns, times, batch = product
    one: Tensor = torch.randn(batch, rows, inner, device=setting.device)
    other = torch.randn(batch, inner, columns, device=setting.device)
    result = torch.empty(batch, rows, columns, device=setting.device)
    if batch == 1:
        one, other, result = one[0], other[0], result[0]
    multiply = torch.mm if batch == 1 else torch.bmm

    def run() -> None:
        for _ in range(times):
            multiply(one, other, out=result)

    return run
