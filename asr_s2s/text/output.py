"""Conversion of texts to output tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from asr_s2s.errors import ManifestError, TextError
from asr_s2s.text.tokenizer import UNK, Tokenizer


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

    def encode(self, text: str, where: str) -> list[int]:
        """Return the tokens of a text that outputs are to contain.

        Args:
            text: text as a user writes it; it is normalized.
            where: place reported in an error.

        Raises:
            TextError: the model cannot write the text.
        """
        normalized = self.normalize(text)
        tokens = self.tokenizer.encode(normalized)
        if UNK in tokens:
            unknown = "".join(sorted(self.tokenizer.unknown_characters(normalized)))
            problem = f"{text!r}: the model cannot write {unknown!r}"
            raise TextError(where, problem, "Correct or remove it")
        return tokens
