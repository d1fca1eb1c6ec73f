"""Write the lexicon of the English recipe: words and their pronunciations, for `text.lexicon`.

    python recipes/english/pronounce.py DICTIONARY ... --text TEXT ... --manifest TRAIN.jsonl \
        --g2p MODEL --output lexicon.txt

DICTIONARY are tables (.tsv, .gz) of a word, a tab, and its phonemes, one line per pronunciation,
such as CMUdict without stress. The lexicon holds all of their words, the most frequent words of
the texts, and every word of the manifests. Words that no dictionary holds are pronounced by
MODEL, a grapheme-to-phoneme model (`recipes/g2p_cmudict`), possessives by their stems. Each line
of the output is a word, a tab, and its phonemes; the more frequent word comes first.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from corpus_rows import read_corpus_rows

import asr_s2s
from asr_s2s.errors import TextError, UserError
from asr_s2s.text.normalize import english
from asr_s2s.text_files import read_lines

WORD = re.compile(r"[a-z]+('[a-z]+)*")
SIBILANTS = ("s", "z", "sh", "zh", "ch", "jh")
VOICELESS = ("p", "t", "k", "f", "th")

Lexicon = dict[str, list[list[str]]]

messages = Console(stderr=True, highlight=False, emoji=False)


def pronounce(
    dictionaries: Annotated[list[Path], typer.Argument(help="Tables of words and phonemes.")],
    g2p: Annotated[str, typer.Option(help="Model folder of recipes/g2p_cmudict.")],
    output: Annotated[Path, typer.Option(help="File to write.")],
    text: Annotated[
        list[Path] | None, typer.Option(help="Lines of text (.txt, .gz, .xz); repeatable.")
    ] = None,
    manifest: Annotated[
        list[Path] | None,
        typer.Option(help="JSONL manifest, every word of which is included; repeatable."),
    ] = None,
    words: Annotated[int, typer.Option(min=1, help="Most frequent words of the texts.")] = 60_000,
) -> None:
    """Write the pronunciations of the words of dictionaries, texts and manifests."""
    known: Lexicon = {}
    for path in dictionaries:
        for word, phonemes in read_dictionary(path):
            known.setdefault(word, []).append(phonemes)
    counts = Counter(
        word for path in text or [] for line in read_lines(path) for word in english(line).split()
    )
    wanted = {word for word, _ in counts.most_common(words)}
    for path in manifest or []:
        spoken = Counter(
            word for _, row in read_corpus_rows(path) for word in english(row["text"]).split()
        )
        wanted |= set(spoken)
        counts += spoken
    missing = sorted(word for word in wanted - known.keys() if WORD.fullmatch(word))
    possessives = {word: ways for word in missing if (ways := possessive(word, known))}
    spelled = [word for word in missing if word not in possessives]
    known |= possessives | dict(zip(spelled, by_model(spelled, g2p), strict=True))
    ordered = sorted(filter(WORD.fullmatch, known), key=lambda word: (-counts[word], word))
    lines = [f"{word}\t{' '.join(way)}\n" for word in ordered for way in known[word]]
    output.write_text("".join(lines), "utf-8")
    messages.print(
        f"{output}: {len(ordered):,} words, {len(lines):,} pronunciations; "
        f"{len(spelled):,} words by the grapheme-to-phoneme model"
    )


def read_dictionary(path: Path) -> Iterable[tuple[str, list[str]]]:
    """Words of a dictionary, in lower case, with their phonemes.

    Raises:
        TextError: the file holds a line that is not a word, a tab and phonemes.
    """
    for number, line in enumerate(read_lines(path), start=1):
        word, tab, phonemes = line.lower().partition("\t")
        if not tab or not phonemes.split():
            raise TextError(
                f"{path}:{number}",
                f"expected a word, a tab and its phonemes, found {line!r}",
                "Name a pronunciation dictionary",
            )
        yield word.strip(), phonemes.split()


def possessive(word: str, known: Lexicon) -> list[list[str]]:
    """Pronunciations of a possessive ('s) whose stem is known; none otherwise."""
    stem = word.removesuffix("'s")
    if stem == word:
        return []
    return [[*way, *_possessive_ending(way[-1])] for way in known.get(stem, [])]


def _possessive_ending(last: str) -> list[str]:
    if last in SIBILANTS:
        return ["ah", "z"]
    return ["s" if last in VOICELESS else "z"]


def by_model(words: list[str], model: str) -> list[list[list[str]]]:
    """The most probable pronunciation of each word by a grapheme-to-phoneme model."""
    if not words:
        return []
    translations = asr_s2s.load_translator(model).translate(words)
    return [[translation.text.lower().split()] for translation in translations]


if __name__ == "__main__":
    try:
        typer.run(pronounce)
    except UserError as error:
        messages.print(f"pronounce: {error}", markup=False, soft_wrap=True)
        raise SystemExit(1) from None
