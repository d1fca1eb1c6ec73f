"""Write a manifest of speech translation: rows of recordings with their texts in each language.

    python recipes/speech_translation/translation_rows.py SPEECH ... --pairs 'train.{en,de}.gz' \
        --output train.jsonl

SPEECH are manifests of English recordings in JSON Lines, whoever spoke them: synthesize.py of
recipes/english, another synthesizer, or people. A recording belongs to the sentence pairs with its
text, compared in lower case and without punctuation, or has its own field `translations`, texts by
language. It gets a row with the English sentence as it is written (`"language": "en"`), and one per
translation. Recordings without a translation are left out.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from corpus_rows import write_rows

from asr_s2s.data.parallel import read_parallel
from asr_s2s.errors import ManifestError, UserError
from asr_s2s.text.normalize import english
from asr_s2s.text_files import Row, read_rows, read_text

SPOKEN = "en"
"""Language of the recordings."""
KEPT = ("duration", "speaker", "corpus")
"""Fields of a recording that its rows keep."""


def main(
    speech: Annotated[list[Path], typer.Argument(help="Manifests of English recordings.")],
    output: Annotated[Path, typer.Option(help="Manifest to write.")],
    pairs: Annotated[
        list[Path] | None,
        typer.Option(help="Parallel text from English, such as 'train.{en,de}.gz'."),
    ] = None,
    language: Annotated[
        list[str] | None, typer.Option(help="Languages of translations. [default: all]")
    ] = None,
    corpus: Annotated[
        str | None, typer.Option(help="Only recordings with this value of the field corpus.")
    ] = None,
) -> None:
    """Write a manifest with a row for each recording and language."""
    sentences = read_sentences(pairs or [])
    rows: list[Row] = []
    recordings = left_out = 0
    for manifest in speech:
        for row in read_recordings(manifest):
            if corpus is not None and row.get("corpus") != corpus:
                continue
            recordings += 1
            texts = texts_of(row, sentences)
            wanted = {
                name: text for name, text in texts.items() if not language or name in language
            }
            if not wanted.keys() - {SPOKEN}:
                left_out += 1
                continue
            audio = os.path.relpath(manifest.parent / row["audio"], output.parent)
            kept = {name: row[name] for name in KEPT if name in row}
            for name, text in ({SPOKEN: texts[SPOKEN]} | wanted).items():
                own = row.get("id") or Path(audio).stem
                identifier = f"{output.stem}-{own}-{name}"
                rows.append(
                    {"id": identifier, "audio": audio, "text": text, "language": name, **kept}
                )
    if not rows:
        raise UserError(
            output,
            f"none of {recordings:,} recordings has a translation",
            "Give the sentence pairs that were spoken with --pairs",
        )
    if left_out:
        print(f"{left_out:,} of {recordings:,} recordings have no translation", file=sys.stderr)
    write_rows(output, rows)


def read_sentences(pairs: list[Path]) -> dict[str, dict[str, str]]:
    """Read the texts of each English sentence by language; the first translation counts.

    Returns:
        Texts by normalized English sentence.

    Raises:
        ManifestError: parallel text cannot be read, or names no language.
    """
    sentences: dict[str, dict[str, str]] = {}
    for path in pairs:
        for pair in read_parallel(path):
            if pair.language is None:
                problem = "it does not name the language of the translations"
                raise ManifestError(path, problem, "Name the files as train.{en,de}")
            texts = sentences.setdefault(english(pair.source), {SPOKEN: pair.source})
            texts.setdefault(pair.language, pair.target)
    return sentences


def read_recordings(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a manifest.

    Raises:
        ManifestError: the manifest cannot be read, or a row has no audio, text or duration.
    """
    for _, row in read_rows(path, read_text(path), ("audio", "text", "duration")):
        if isinstance(row, ManifestError):
            raise row
        yield row


def texts_of(row: dict[str, Any], sentences: dict[str, dict[str, str]]) -> dict[str, str]:
    """Return the texts of a recording by language."""
    own = row.get("translations")
    if isinstance(own, dict):
        return {SPOKEN: row.get("raw_text") or row["text"], **own}
    return sentences.get(english(row["text"]), {SPOKEN: row["text"]})


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as error:
        print(f"translation_rows: {error}", file=sys.stderr)
        raise SystemExit(1) from None
