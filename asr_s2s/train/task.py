"""Tasks: what a run trains, as the training loop sees it.

The loop knows no kind of model or data. A task is a class with the methods below and an entry in
`TASKS`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import nn

from asr_s2s.config import Config
from asr_s2s.text.tokenizer import Tokenizer
from asr_s2s.train.language_model_task import LanguageModelTask
from asr_s2s.train.seq2seq_task import Seq2SeqTask
from asr_s2s.train.streams import Stream
from asr_s2s.train.validation import Validation

Model = TypeVar("Model", bound=nn.Module)
Tokenizers = tuple[Tokenizer, Tokenizer | None]
"""Tokenizers of the output and of a text source, if any."""


class Task(Protocol[Model]):
    """Model, data, loss and validation of a training run.

    Args:
        config: complete configuration, returned by `complete`.
        base: folder that paths in the configuration are relative to.

    Raises:
        UserError: the data of the configuration cannot be used.
    """

    def __init__(self, config: Config, base: Path) -> None: ...

    @staticmethod
    def complete(config: Config, base: Path) -> Config:
        """Check the settings of the task, and fill in those of models that the run builds on.

        Raises:
            UserError: a setting or such a model cannot be used.
        """
        ...

    def save_tokenizers(self, folder: Path) -> None:
        """Save the tokenizers of a new run in its folder."""
        ...

    def streams(
        self, tokenizers: Tokenizers, *, training: bool, info: Callable[[str], None]
    ) -> Sequence[Stream[Any]]:
        """Build the streams of training or validation batches.

        Args:
            info: receives a message about items that are left out.
        """
        ...

    def build_model(self, tokenizers: Tokenizers) -> Model:
        """Build the model with random weights."""
        ...

    def build_criterion(self, model: Model, streams: Sequence[Stream[Any]]) -> nn.Module:
        """Build the loss: a module called with model, batch and step, which returns `Losses`. Its
        weights, if any, are trained and saved in the state of the run, but not in the model."""
        ...

    def prepare(self, model: Model, streams: Sequence[Stream[Any]]) -> None:
        """Set what a model with random weights takes from its training data."""
        ...

    def notes(self, streams: Sequence[Stream[Any]]) -> list[str]:
        """Return messages about the training data, for the start of a run."""
        ...

    def validate(
        self, model: Model, streams: Sequence[Stream[Any]], device: torch.device
    ) -> Validation:
        """Measure the model on the validation streams.

        Raises:
            TrainingError: the streams have nothing to validate on.
        """
        ...


TASKS: dict[tuple[str, ...], type[Task[Any]]] = {("none",): LanguageModelTask}
"""Tasks by `model.encoders`; all other encoders are those of `Seq2SeqTask`."""


def find_task(config: Config) -> type[Task[Any]]:
    """Return the task of a configuration."""
    return TASKS.get(config.model.encoders, Seq2SeqTask)
