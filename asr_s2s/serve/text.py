"""Translation requests: lines are translated in batches across clients."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Unpack

from asr_s2s.search.options import DecodeKeywords, DecodeOptions
from asr_s2s.serve.batcher import Batcher, BatchReport
from asr_s2s.serve.pictures import check_attention, text_attention
from asr_s2s.translator import Translation, Translator

BATCH_CHARACTERS = 16_000
"""Maximum characters of a batch, padding included."""


class Line(NamedTuple):
    """A line to translate."""

    text: str
    alignment: bool
    """Whether the result holds attention weights."""


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
        self.batcher: Batcher[DecodeOptions, Line, Answer] = Batcher(
            self._translate, BATCH_CHARACTERS, workers=workers, report=report
        )

    @property
    def languages(self) -> Sequence[str]:
        """Output languages that requests can choose from; empty if there is no choice."""
        return self.translator.config.text.languages

    def options(self, **keywords: Unpack[DecodeKeywords]) -> DecodeOptions:
        """Check a client's options; the language is ignored if the model has no `languages`.

        Raises:
            UserError: an option, such as a language, is not supported by the model.
        """
        options = DecodeOptions(**keywords)
        if not self.languages:
            options = replace(options, language=None)
        self.translator.stream([], options)  # checks them
        return options

    async def translate(
        self,
        lines: Sequence[str],
        options: DecodeOptions,
        time_limit: float,
        *,
        alignment: bool = False,
    ) -> list[Answer]:
        """Translate lines; results are in order.

        Args:
            lines: source lines.
            options: checked options.
            time_limit: maximum processing time, in seconds.
            alignment: whether to return attention weights.

        Raises:
            UserError: a line holds half of a surrogate pair, or `alignment` is set and the model
                has no attention.
            TimeoutError: translation took longer than `time_limit` seconds.
            StoppedError: the server is shutting down.
        """
        if alignment:
            check_attention(self.translator)
        submit = self.batcher.submit
        # Canceling the gather also cancels all lines that are still queued.
        futures = [submit(options, max(1, len(line)), Line(line, alignment)) for line in lines]
        async with asyncio.timeout(time_limit):
            return await asyncio.gather(*map(asyncio.wrap_future, futures))

    def close(self) -> None:
        """Finish all queued work and end the threads."""
        self.batcher.close()

    def _translate(self, options: DecodeOptions, lines: Sequence[Line]) -> list[Answer]:
        translations = self.translator.translate([line.text for line in lines], options)
        return [
            Answer(
                translation,
                text_attention(self.translator, line.text, translation.text, options.language)
                if line.alignment
                else None,
            )
            for line, translation in zip(lines, translations, strict=True)
        ]
