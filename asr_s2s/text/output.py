"""Conversion of texts to output tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from asr_s2s.errors import ManifestError
from asr_s2s.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Output:
    """Conversion of texts to output tokens."""

    tokenizer: Tokenizer
    normalize: Callable[[str], str]
    languages: Sequence[str] = ()
    """Output languages; their tokens follow those of the tokenizer, in this order."""

    def prompt(self, language: str | None, where: str) -> list[int]:
        """Return the prompt tokens of an output in a language.

        Args:
            language: may be None if there is at most one output language.
            where: place reported in an error.

        Raises:
            ManifestError: the language is missing, or not a language of the model.
        """
        if not self.languages:
            return []
        if language is None and len(self.languages) == 1:
            language = self.languages[0]
        if language is None or language not in self.languages:
            found = (
                f"{language} is not a language of the model" if language else "no language is given"
            )
            raise ManifestError(
                where, found, f"Give one of text.languages: {', '.join(self.languages)}"
            )
        return [len(self.tokenizer) + list(self.languages).index(language)]
