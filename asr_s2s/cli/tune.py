"""`asr-s2s tune`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr_s2s.cli.options import BeamSize, Device

if TYPE_CHECKING:
    from asr_s2s.train.tune import Trial


def tune(
    manifest: Annotated[
        Path, typer.Argument(help="Development data: a manifest, or parallel text; no test data.")
    ],
    model: Annotated[str, typer.Option(help="Model folder to tune, with its language models.")],
    utterances: Annotated[
        int, typer.Option(min=1, help="How many of them are used at most, drawn by chance.")
    ] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Of that draw.")] = 1,
    beam_size: BeamSize = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print; leave the folder as it is.")
    ] = False,
    device: Device = None,
) -> None:
    """Find the weights of a model's search that suit development data best.

    One setting after the other takes its best value, in rounds, until none changes: CTC's and the
    language models' weights, the bonuses for each token and word, and the normalization by length.
    The best ones are recorded in the model folder; what was tried is printed, best first.
    """
    from dataclasses import replace

    from rich.console import Console
    from rich.progress import Progress

    from asr_s2s.allocator import keep_freed_memory
    from asr_s2s.model.folder import change_search, find_model, load_model, own_folder
    from asr_s2s.pipeline import choose_device
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
