"""The command `asr-s2s teach`."""

from pathlib import Path
from typing import Annotated

import typer


def teach(
    manifest: Annotated[Path, typer.Argument(help="Manifest of recordings.", show_default=False)],
    teacher: Annotated[
        Path,
        typer.Option(help="Folder of a Whisper model in CTranslate2 format.", show_default=False),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder for features and manifest.", show_default=False
        ),
    ],
    rate: Annotated[int, typer.Option(help="Features per second; must divide 50.")] = 25,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
) -> None:
    """Store a teacher model's encoder features for distillation.

    Train on OUTPUT/cuts.jsonl.gz with the `distill` section of the configuration. If interrupted,
    run the same command again to continue.
    """
    from rich.console import Console
    from rich.progress import Progress

    from asr_s2s.data.manifest import read_manifest
    from asr_s2s.errors import UserError
    from asr_s2s.train.teacher import WhisperTeacher, write_teacher_features

    console = Console(stderr=True, highlight=False, emoji=False)
    whisper = WhisperTeacher(teacher, rate, threads)
    total = len(read_manifest(manifest))
    count, seconds = 0, 0.0
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("teach", total=total)

        def advance(utterances: int, duration: float) -> None:
            nonlocal count, seconds
            count, seconds = count + utterances, seconds + duration
            bar.advance(task, utterances)

        failures = write_teacher_features(manifest, whisper, output, advance)
    for failure in failures:
        console.print(f"left out: {failure}", markup=False, soft_wrap=True)
    print(f"{output / 'cuts.jsonl.gz'}: features of {count:,} utterances, {seconds / 3600:.2f} h")
    if failures:
        raise UserError(
            manifest, f"{len(failures)} utterances were left out", "Correct or remove them"
        )
