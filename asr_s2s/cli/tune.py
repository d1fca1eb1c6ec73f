"""The command `asr-s2s tune`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr_s2s.cli.options import BeamSize, Device

if TYPE_CHECKING:
    from asr_s2s.train.tune import Trial


def tune(
    manifest: Annotated[
        Path,
        typer.Argument(help="Development data: a manifest or parallel text; not test data."),
    ],
    model: Annotated[
        str, typer.Option(help="Model folder to tune, with its language models if any.")
    ],
    utterances: Annotated[
        int, typer.Option(min=1, help="Maximum number of utterances to use, drawn at random.")
    ] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Random seed for drawing utterances.")] = 1,
    beam_size: BeamSize = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the result without changing the model folder.")
    ] = False,
    device: Device = None,
) -> None:
    """Tune a model's decoding settings on development data.

    Coordinate descent over the weights of CTC and language models, the bonuses per token and word,
    and the length normalization: sets each to its best value in turn, until no setting changes.
    Prints all trials, best first, and stores the best settings in the model folder.
    """
    from dataclasses import replace

    from rich.console import Console
    from rich.progress import Progress

    from asr_s2s.allocator import keep_freed_memory
    from asr_s2s.model.device import choose_device
    from asr_s2s.model.folder import change_search, find_model, load_model, own_folder
    from asr_s2s.train.tune import VALUES, Trial, Tuner
    from asr_s2s.train.tune import tune as run

    keep_freed_memory()
    folder = find_model(model) if dry_run else own_folder(model)
    chosen = choose_device(device)
    loaded = load_model(folder, chosen)
    search = loaded.config.search
    if beam_size is not None:
        search = replace(search, beam_size=beam_size)
    console = Console(stderr=True, highlight=False, emoji=False)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("encoding", total=None)
        tuner = Tuner(loaded, manifest, utterances=utterances, seed=seed, device=chosen)
        bar.update(task, total=sum(len(VALUES[key]) for key in tuner.keys))

        def report(trial: Trial) -> None:
            values = "  ".join(f"{key} {value:g}" for key, value in trial.values.items())
            bar.update(task, advance=1, description=f"{_percent(trial)}  {values}")

        trials = run(tuner, search, report)
    print("\t".join(["error", *tuner.keys]))
    for trial in trials:
        print("\t".join([_percent(trial), *(f"{value:g}" for value in trial.values.values())]))
    if not dry_run:
        change_search(folder, trials[0].values)


def _percent(trial: "Trial") -> str:
    return f"{100 * trial.error:.2f} %"
