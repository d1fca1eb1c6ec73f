"""Check machine-made transcripts against a Whisper model, and keep the rows on which both agree.

    python recipes/english/verify.py MANIFEST --teacher FOLDER --output KEPT.jsonl

MANIFEST is a corpus manifest as `prepare.py` reads it, FOLDER a Whisper model in CTranslate2
form. Rows whose transcript differs from the model's by more than `--tolerance` words in a hundred
are left out. Every row with the model's transcript and the error rate between the two is kept
beside the output, as KEPT.checked.jsonl: an interrupted run continues there.
"""

import json
import sys
from pathlib import Path
from typing import Annotated

import jiwer
import typer
from rich.console import Console
from rich.progress import track

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from corpus_rows import read_corpus_rows, write_rows

from asr_s2s.audio.decode import read_audio
from asr_s2s.errors import UserError
from asr_s2s.text.normalize import english

messages = Console(stderr=True, highlight=False, emoji=False)


def verify(
    manifest: Annotated[Path, typer.Argument(help="Manifest of the corpora.")],
    teacher: Annotated[Path, typer.Option(help="Whisper model in CTranslate2 form.")],
    output: Annotated[Path, typer.Option(help="Manifest to write.")],
    corpus: Annotated[str | None, typer.Option(help="Check rows of this corpus only.")] = None,
    tolerance: Annotated[
        float, typer.Option(min=0.0, help="Largest word error rate kept, in percent.")
    ] = 10.0,
) -> None:
    """Write the rows whose transcripts a Whisper model confirms."""
    from faster_whisper import WhisperModel

    rows = {row["id"]: row for _, row in read_corpus_rows(manifest)}
    wanted = {name: row for name, row in rows.items() if corpus in (None, row["corpus"])}
    checked = output.with_suffix(".checked.jsonl")
    done = (
        {row["id"]: row for row in map(json.loads, checked.read_text("utf-8").splitlines())}
        if checked.is_file()
        else {}
    )
    model = WhisperModel(str(teacher), device="cpu", compute_type="int8", cpu_threads=1)
    with checked.open("a", encoding="utf-8") as file:
        for name, row in track(wanted.items(), console=messages, disable=not messages.is_terminal):
            if name in done:
                continue
            audio = read_audio(manifest.parent / row["audio"])
            segments, _ = model.transcribe(audio, language="en", beam_size=1, temperature=0.0)
            text = english(" ".join(segment.text for segment in segments))
            reference = english(row["text"])
            rate = 100.0 * jiwer.wer(reference, text) if reference else float(bool(text)) * 100.0
            done[name] = {"id": name, "teacher_text": text, "error_rate": round(rate, 2)}
            file.write(json.dumps(done[name]) + "\n")
            file.flush()
    kept = [row for name, row in wanted.items() if done[name]["error_rate"] <= tolerance]
    write_rows(
        output, [row | {"audio": str((manifest.parent / row["audio"]).resolve())} for row in kept]
    )
    messages.print(f"{len(wanted) - len(kept):,} of {len(wanted):,} rows left out")


if __name__ == "__main__":
    try:
        typer.run(verify)
    except UserError as error:
        messages.print(f"verify: {error}", markup=False, soft_wrap=True)
        raise SystemExit(1) from None
