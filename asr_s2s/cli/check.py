"""`asr-s2s check`: everything wrong with manifests, before training starts."""

import json
from collections import defaultdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr_s2s.cli.options import MODEL_HELP
from asr_s2s.errors import EXIT_BAD_INPUT, ManifestError

if TYPE_CHECKING:
    from asr_s2s.data.check import Finding

EXAMPLES = 10


class Format(StrEnum):
    """How findings are printed."""

    text = "text"
    json = "json"


def check(
    manifests: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="TRAIN [VALID ...]",
            help="Manifests, the training one first. With --config, by default those it names.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="A recipe: its manifests, normaliser, time reduction and longest utterance."
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help=MODEL_HELP)] = None,
    format: Annotated[Format, typer.Option(help="json: one object a finding.")] = Format.text,
    all: Annotated[
        bool, typer.Option("--all", help=f"Print every finding, not {EXAMPLES} of each kind.")
    ] = False,
) -> None:
    """Find what is wrong with manifests: audio, texts, and what splits share.

    Every recording is decoded, and every character must be in the vocabulary of --model, or else
    in the training texts. The normaliser and the frames that a text may take are those of --config,
    or else of --model. Exits with 1 if anything was found.
    """
    from lhotse import CutSet
    from rich.console import Console
    from rich.progress import Progress

    from asr_s2s.config import load_config
    from asr_s2s.data.check import Finding, check_manifests
    from asr_s2s.data.manifest import iter_manifest
    from asr_s2s.model.folder import find_model, read_config
    from asr_s2s.text.normalize import normalizer
    from asr_s2s.text.tokenizer import load_tokenizer

    messages = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    recipe = load_config(config) if config else None
    folder = find_model(model) if model else None
    tokenizer = load_tokenizer(folder) if folder else None
    settings = recipe or (read_config(folder) if folder else None)
    if manifests:
        named_before: set[Path] = set()
        for path in manifests:
            if path.resolve() in named_before:
                raise ManifestError(path, "this manifest is named twice", "Name it once")
            named_before.add(path.resolve())
        files = {str(path): [path] for path in manifests}
    elif recipe and config:
        named = {"train": recipe.data.train, "valid": recipe.data.valid}
        files = {split: [config.parent / path for path in paths] for split, paths in named.items()}
    else:
        files = {}
    if not any(files.values()):
        raise ManifestError(
            config or "asr-s2s check", "there is no manifest to check", "Name a training manifest"
        )

    findings: list[Finding] = []
    splits: dict[str, CutSet] = {}
    for split, paths in files.items():
        cuts = []
        for path in paths:
            for item in iter_manifest(path):
                if isinstance(item, ManifestError):
                    findings.append(Finding("bad row", item.where, item.problem, item.mend))
                else:
                    cuts.append(item)
        splits[split] = CutSet(cuts)

    time_reduction = settings.speech_encoder.time_reduction if settings else None
    skipped = "texts are not compared with the length of their audio"
    if settings is None:
        messages.print(
            f"Without --config or --model, {skipped}: "
            "how many frames a model makes of it is not known."
        )
    elif settings.text.tokenizer != "characters" and tokenizer is None:
        time_reduction = None
        messages.print(f"Without --model, {skipped}: how many tokens they have is not known.")
    utterances = sum(len(cuts) for cuts in splits.values())
    with Progress(console=messages, transient=True, disable=not messages.is_terminal) as bar:
        task = bar.add_task("Checking", total=utterances)
        for finding in check_manifests(
            splits,
            tokenizer=tokenizer,
            normalizer=normalizer(settings.text.normalizer) if settings else None,
            time_reduction=time_reduction,
            edge_frames=settings.features.edge_frames if settings else 0,
            max_seconds=recipe.data.max_seconds if recipe else None,
            progress=lambda: bar.advance(task),
        ):
            findings.append(finding)

    hours = sum(cut.duration for cuts in splits.values() for cut in cuts) / 3600
    found = _count(len(findings), "finding")
    summary = f"{_count(utterances, 'utterance')}, {hours:.2f} hours, {found}"
    if format is Format.json:
        for finding in findings:
            typer.echo(json.dumps(vars(finding), ensure_ascii=False))
        typer.echo(summary, err=True)
    else:
        _print_by_kind(findings, len(findings) if all else EXAMPLES)
        typer.echo(summary)
    if findings:
        raise typer.Exit(EXIT_BAD_INPUT)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _print_by_kind(findings: list["Finding"], examples: int) -> None:
    kinds: defaultdict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        kinds[finding.kind].append(finding)
    for kind, members in kinds.items():
        typer.echo(f"{kind} ({len(members):,})")
        for finding in members[:examples]:
            typer.echo(f"  {finding.where}: {finding.problem}. {finding.mend}.")
        if len(members) > examples:
            typer.echo(f"  and {len(members) - examples:,} more; --all prints them")
        typer.echo()
