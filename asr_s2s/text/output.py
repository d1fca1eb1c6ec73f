"""Conversion of texts to output tokens, and the languages of outputs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from asr_s2s.config import TextConfig
from asr_s2s.errors import ManifestError, TextError
from asr_s2s.text.normalize import normalizer
from asr_s2s.text.tokenizer import UNK, Tokenizer

SpeechTask: TypeAlias = Literal["transcribe", "translate"]
"""Task of a model of speech: to write it in the language spoken, or in another one."""


@dataclass(frozen=True)
class Output:
    """Conversion of texts to output tokens."""

    tokenizer: Tokenizer
    normalize: Callable[[str], str]
    languages: Sequence[str] = ()
    """Output languages; their tokens follow those of the tokenizer, in this order."""
    translation_languages: Sequence[str] = ()
    """Output languages in which text is a translation of speech; a part of `languages`."""

    @classmethod
    def of_model(cls, tokenizer: Tokenizer, text: TextConfig) -> "Output":
        """Create the conversion for a model with this section `text` of the configuration."""
        return cls(
            tokenizer, normalizer(text.normalizer), text.languages, text.translation_languages
        )

    @property
    def targets(self) -> Sequence[str]:
        """Languages that the model can translate speech into. If no language is declared as spoken,
        these are all of several languages."""
        undeclared = self.languages if len(self.languages) > 1 else ()
        return self.translation_languages or undeclared

    def task(self, language: str | None) -> SpeechTask:
        """Return what the model does with speech for an output in a language."""
        return "translate" if language in self.translation_languages else "transcribe"

    def spoken_language(self) -> str | None:
        """Return the language of transcripts, or None if there are several or no languages."""
        spoken = [name for name in self.languages if name not in self.translation_languages]
        return spoken[0] if len(spoken) == 1 else None

    def target(self, language: str | None, where: str) -> str:
        """Return the language of a translation of speech.

        Args:
            language: requested language; may be None if there is only one target.
            where: place reported in an error.

        Raises:
            ManifestError: the language is missing, or speech cannot be translated into it.
        """
        if language is None and len(self.targets) == 1:
            return self.targets[0]
        if language is not None and language in self.targets:
            return language
        found = "no language is given"
        if language is not None:
            found = f"this model does not translate speech into {language}"
        raise ManifestError(
            where, found, f"Give one of its languages: {', '.join(self.targets) or 'none'}"
        )

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
