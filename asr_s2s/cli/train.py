"""The command `asr-s2s train`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from asr_s2s.cli.options import Device
from asr_s2s.errors import EXIT_INTERRUPTED


def train(
    config: Annotated[Path, typer.Argument(help="YAML configuration of the run.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Overrides of configuration keys, such as train.steps=2000."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Run folder. [default: runs/NAME beside the configuration]"
        ),
    ] = None,
    device: Device = None,
) -> None:
    """Train a model from a YAML configuration.

    The trained model is written to OUTPUT/model. Run the same command again to resume a run that
    was stopped by Ctrl-C or a crash: it continues from the last checkpoint with the same result as
    an uninterrupted run.
    """
    from asr_s2s.allocator import keep_freed_memory
    from asr_s2s.config_file import load_config
    from asr_s2s.model.device import choose_device
    from asr_s2s.train.loop import train as run

    keep_freed_memory()
    settings = load_config(config, overrides or [])
    folder = output or config.parent / "runs" / config.stem
    model = run(settings, config.parent, folder, choose_device(device))
    if model is None:
        typer.echo(f"stopped; run the same command again to continue in {folder}", err=True)
        raise typer.Exit(EXIT_INTERRUPTED)
    if os.environ.get("RANK", "0") == "0":  # only one of several processes prints
        typer.echo(model)
