"""Write the pronunciation of each word of texts and manifests, for `text.lexicon`.

    python recipes/english/pronounce.py TEXT ... --manifest TRAIN.jsonl --output lexicon.txt

TEXT are lines of English (.txt, .gz, .xz). The most frequent words of them and every word of the
manifests are looked up in Festival's dictionary, or pronounced by its letter-to-sound rules. Each
line of the output is a word, a tab, and its phonemes; the more frequent word comes first.
"""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from corpus_rows import read_corpus_rows

from asr_s2s.data.parallel import read_lines
from asr_s2s.errors import UserError
from asr_s2s.text.normalize import english

WORD = re.compile(r"[a-z]+('[a-z]+)*")
ENTRY = re.compile(r'\("[^"]*" \S+ \(((?:\(\([a-z ]+\) \d\) ?)+)\)\)')
SYLLABLE = re.compile(r"\(\(([a-z ]+)\) \d\)")
HISSING = ("s", "z", "sh", "zh", "ch", "jh")
AT_ONCE = 1000
"""Words that one process of Festival looks up: after some 3,000 it hangs."""
VOICELESS = ("p", "t", "k", "f", "th")

messages = Console(stderr=True, highlight=False, emoji=False)


def pronounce(
    texts: Annotated[list[Path], typer.Argument(help="Lines of text (.txt, .gz, .xz).")],
    output: Annotated[Path, typer.Option(help="File to write.")],
    manifest: Annotated[
        list[Path] | None,
        typer.Option(help="JSONL manifest, every word of which is wanted; may be repeated."),
    ] = None,
    words: Annotated[int, typer.Option(min=1, help="Words of the texts, the most frequent.")] = (
        60_000
    ),
) -> None:
    """Write the pronunciations of words."""
    counts = Counter(
        word for path in texts for line in read_lines(path) for word in english(line).split()
    )
    wanted = dict(counts.most_common(words))
    for path in manifest or []:
        for _, row in read_corpus_rows(path):
            for word in english(row["text"]).split():
                wanted[word] = counts[word]
    ordered = sorted(filter(WORD.fullmatch, wanted), key=lambda word: (-wanted[word], word))
    found = look_up(ordered)
    lines = [f"{word}\t{' '.join(way)}\n" for word in ordered for way in found[word]]
    output.write_text("".join(lines), "utf-8")
    known = sum(bool(found[word]) for word in ordered)
    messages.print(f"{output}: {known:,} words, {len(lines):,} pronunciations")


def look_up(words: list[str]) -> dict[str, list[list[str]]]:
    """The ways to say each word, the usual one first, in Festival's phonemes of American English;
    none where it fails.

    Raises:
        UserError: Festival is not installed, or has no such dictionary.
    """
    stems = sorted({stem for word in words for stem in (word, *_stems(word))})
    parts = [stems[i : i + AT_ONCE] for i in range(0, len(stems), AT_ONCE)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        known = {stem: ways for part in pool.map(_ask, parts) for stem, ways in part.items()}
    return {word: known.get(word) or _by_stems(word, known) for word in words}


def _stems(word: str) -> tuple[str, str]:
    """What a word with an apostrophe may be made of: its stem before 's, and its letters alone."""
    return word.removesuffix("'s"), word.replace("'", "")


def _by_stems(word: str, known: dict[str, list[list[str]]]) -> list[list[str]]:
    """The ways to say a word that the dictionary does not hold."""
    stem, letters = _stems(word)
    if stem == word:
        return known.get(letters, [])
    return [[*way, *_possessive(way[-1])] for way in known.get(stem) or []]


def _possessive(last: str) -> list[str]:
    """How 's is said after a phoneme."""
    if last in HISSING:
        return ["ax", "z"]
    return ["s" if last in VOICELESS else "z"]


def _ask(stems: Sequence[str]) -> dict[str, list[list[str]]]:
    """Festival's pronunciations: that of its first entry or its letter-to-sound rules, then those
    of other entries."""
    request = '(lex.select "cmu")\n' + "".join(
        f'(format t "%s %l %l\\n" "{stem}" (lex.lookup "{stem}" nil) (lex.lookup_all "{stem}"))\n'
        for stem in stems
    )
    try:
        answer = subprocess.run(
            ["festival", "--pipe"], input=request.encode(), capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(
            "festival",
            "it cannot look words up",
            "On Debian: apt-get install festival festlex-cmu",
        ) from error
    found: dict[str, list[list[str]]] = {}
    for line in answer.stdout.decode("utf-8", "replace").splitlines():
        stem, _, entries = line.partition(" ")
        ways = [" ".join(SYLLABLE.findall(syllables)) for syllables in ENTRY.findall(entries)]
        found[stem] = [way.split() for way in dict.fromkeys(ways) if way]
    return found


if __name__ == "__main__":
    try:
        typer.run(pronounce)
    except UserError as error:
        messages.print(f"pronounce: {error}", markup=False, soft_wrap=True)
        raise SystemExit(1) from None
