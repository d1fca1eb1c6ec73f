"""Lines of text to translations, those of different clients together."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from asr_s2s.serve.batcher import Batcher, BatchReport
from asr_s2s.serve.pictures import check_attention, read
from asr_s2s.translator import Translation, Translator

BATCH_CHARACTERS = 16_000
"""Characters translated together, padding included."""


@dataclass(frozen=True)
class TextOptions:
    """How to translate; what differs here is not translated together."""

    language: str | None = None
    beam_size: int | None = None
    n_best: int = 1
    alignment: bool = False


class Answer(NamedTuple):
    """What is known of a line."""

    translation: Translation
    alignment: dict[str, Any] | None
    """As `pictures.picture`, where it was asked for and can be seen."""


class Text:
    """A model that translates, for many clients at once."""

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
        """Those that the model writes, where it can be asked for one."""
        return self.translator.config.text.languages

    def options(
        self,
        *,
        language: str | None = None,
        beam_size: int | None = None,
        n_best: int = 1,
        alignment: bool = False,
    ) -> TextOptions:
        """Options as a client gives them; a language counts only for a model of several.

        Raises:
            UserError: the model does not write the language, or has no attention to align by.
        """
        language = language if self.languages else None
        self.translator.output.prompt(language, "language")
        if alignment:
            check_attention(self.translator)
        return TextOptions(language, beam_size, n_best, alignment)

    async def translate(
        self, lines: Sequence[str], options: TextOptions, time_limit: float
    ) -> list[Answer]:
        """A translation for each line.

        Raises:
            UserError: a line holds what is no character.
            TimeoutError: they took longer than `time_limit` seconds.
            StoppedError: the server stops.
        """
        submit = self.batcher.submit
        # A gather that is canceled takes back every line that still waits.
        futures = [submit(options, max(1, len(line)), line) for line in lines]
        async with asyncio.timeout(time_limit):
            return await asyncio.gather(*map(asyncio.wrap_future, futures))

    def close(self) -> None:
        """Finish what was begun, and end the threads."""
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
                read(self.translator, line, translation.text, options.language)
                if options.alignment
                else None,
            )
            for line, translation in zip(lines, translations, strict=True)
        ]
