"""Translate recordings by two models in turn, which a model of speech translation is compared with.

    python recipes/speech_translation/cascade.py MANIFEST --translator en-de --output FILE.jsonl

A recognizer of English writes the transcript, and a translator of text translates it. `english`
writes lower case without punctuation, but translators have learned from written sentences, so each
transcript gets a capital letter and a period first.
"""

import json
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from asr_s2s.data.manifest import read_manifest
from asr_s2s.errors import UserError
from asr_s2s.pipeline import Failure, Transcriber
from asr_s2s.translator import Translator
from asr_s2s.writers import line_writer

FIRST_PERSON = re.compile(r"i('\w+)?")


def main(
    manifest: Annotated[Path, typer.Argument(help="Manifest of recordings.")],
    translator: Annotated[str, typer.Option(help="Model that translates English text.")],
    output: Annotated[Path, typer.Option(help="Translations to write (.jsonl).")],
    recognizer: Annotated[str, typer.Option(help="Model that recognizes English.")] = "english",
) -> None:
    """Transcribe recordings and translate the transcripts."""
    cuts = list(read_manifest(manifest))
    texts = []
    for result in Transcriber.load(recognizer).stream(cuts):
        if isinstance(result, Failure):
            print(f"cascade: {result.error}", file=sys.stderr)
        texts.append("" if isinstance(result, Failure) else as_written(result.text))
    translations = Translator.load(translator).translate(texts)
    with line_writer(output) as write_line:
        for cut, transcript, translation in zip(cuts, texts, translations, strict=True):
            row = {"id": cut.id, "transcript": transcript, "text": translation.text}
            write_line(json.dumps(row, ensure_ascii=False))


def as_written(text: str) -> str:
    """Write a transcript as a sentence."""
    sentence = " ".join(
        "I" + word[1:] if FIRST_PERSON.fullmatch(word) else word for word in text.split()
    )
    return f"{sentence[:1].upper()}{sentence[1:]}." if sentence else ""


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as error:
        print(f"cascade: {error}", file=sys.stderr)
        raise SystemExit(1) from None
