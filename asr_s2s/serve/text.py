"""Translation requests: lines are translated in batches across clients."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from asr_s2s.serve.batcher import Batcher, BatchReport
from asr_s2s.serve.pictures import check_attention, text_attention
from asr_s2s.translator import Translation, Translator

BATCH_CHARACTERS = 16_000
"""Maximum characters of a batch, padding included."""


@dataclass(frozen=True)
class TextOptions:
    """Translation options; only requests with equal options are translated together."""

    language: str | None = None
    beam_size: int | None = None
    n_best: int = 1
    alignment: bool = False


class Answer(NamedTuple):
    """Result for one line."""

    translation: Translation
    alignment: dict[str, Any] | None
    """Result of `pictures.text_attention`; None if not requested."""


class Text:
    """Serves a text model to concurrent clients.

    Args:
        translator: the model.
        workers: number of decoding threads.
        report: called after every batch.
    """

    def __init__(
        self,
        translator: Translator,
        *,
        workers: int = 1,
        report: Callable[[BatchReport], None] = lambda report: None,
    ) -> None:
        self.translator = translator
        self.batcher: Batcher[TextOptions, str, Answer] = Batcher(
            self._translate, BATCH_CHARACTERS, workers=workers, report=report
        )

    @property
    def languages(self) -> Sequence[str]:
        """Output languages that requests can choose from; empty if there is no choice."""
        return self.translator.config.text.languages

    def options(
        self,
        *,
        language: str | None = None,
        beam_size: int | None = None,
        n_best: int = 1,
        alignment: bool = False,
    ) -> TextOptions:
        """Check a client's options; the language is ignored if the model has no `languages`.

        Raises:
            UserError: the model does not support the language, or `alignment` is set and it has no
                attention.
        """
        language = language if self.languages else None
        self.translator.output.prompt(language, "language")
        if alignment:
            check_attention(self.translator)
        return TextOptions(language, beam_size, n_best, alignment)

    async def translate(
        self, lines: Sequence[str], options: TextOptions, time_limit: float
    ) -> list[Answer]:
        """Translate lines; results are in order.

        Raises:
            UserError: a line holds half of a surrogate pair.
            TimeoutError: translation took longer than `time_limit` seconds.
            StoppedError: the server is shutting down.
        """
        submit = self.batcher.submit
        # Canceling the gather also cancels all lines that are still queued.
        futures = [submit(options, max(1, len(line)), line) for line in lines]
        async with asyncio.timeout(time_limit):
            return await asyncio.gather(*map(asyncio.wrap_future, futures))

    def close(self) -> None:
        """Finish all queued work and end the threads."""
        self.batcher.close()

    def _translate(self, options: TextOptions, lines: Sequence[str]) -> list[Answer]:
        translations = self.translator.translate(
            list(lines),
            language=options.language,
            beam_size=options.beam_size,
            n_best=options.n_best,
        )
        return [
            Answer(
                translation,
                text_attention(self.translator, line, translation.text, options.language)
                if options.alignment
                else None,
            )
            for line, translation in zip(lines, translations, strict=True)
        ]
