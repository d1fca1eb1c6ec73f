"""The command `asr-s2s check`: problems of training data, and its overlap with held-out text."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeVar

import typer

from asr_s2s.cli.options import MODEL_HELP
from asr_s2s.errors import EXIT_BAD_INPUT, ConfigError, ManifestError

if TYPE_CHECKING:
    from lhotse.cut import Cut

    from asr_s2s.config import DataSource
    from asr_s2s.data.check import Finding
    from asr_s2s.data.parallel import TextPair

T = TypeVar("T")
EXAMPLES = 10
"""Findings printed of each kind, unless all are requested."""


class _Data(NamedTuple):
    """Content of the checked files, by split."""

    cuts: "dict[str, list[Cut]]"
    pairs: "dict[str, list[TextPair]]"
    lines: dict[str, list[tuple[Path, list[str]]]]
    """Files of plain text with their lines."""
    findings: "list[Finding]"
    """Rows that cannot be used."""


class Format(StrEnum):
    """Output format of the findings."""

    text = "text"
    json = "json"


def check(
    manifests: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="TRAIN [VALID ...]",
            help="Manifests or parallel text ('train.{en,de}', or a table of source and target), "
            "training data first; with --held-out also plain text, one sentence per line. "
            "[default: the files named by --config]",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="Recipe (YAML) that provides data, normalizers, time reduction and the maximum "
            "lengths of utterances and texts."
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override of a recipe setting, such as data.max_tokens=100; may be repeated.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help=MODEL_HELP)] = None,
    held_out: Annotated[
        list[Path] | None,
        typer.Option(
            help="Held-out manifest, parallel text or plain text; other files must not share seven "
            "consecutive words with it. May be repeated.",
            show_default=False,
        ),
    ] = None,
    format: Annotated[
        Format, typer.Option(help="text: findings by kind; json: JSON Lines, one per finding.")
    ] = Format.text,
    all: Annotated[
        bool,
        typer.Option("--all", help=f"Print all findings. [default: {EXAMPLES} of each kind]"),
    ] = False,
) -> None:
    """Find problems in manifests and parallel text.

    Every recording is read completely. Every character must be in the vocabulary of --model, or
    without --model in the training texts. The normalizers and the time reduction, which limits the
    length of a text, come from --config, or else from --model. Duplicates across splits are
    reported too. The exit code is 1 if there are findings.

    With --held-out, texts are also compared with held-out transcripts: none may share seven
    consecutive words with one, or equal one of four to six words. Validation data that is itself
    held out is not compared. Plain text is only compared, not checked otherwise.
    """
    from lhotse import CutSet
    from rich.console import Console
    from rich.progress import Progress

    from asr_s2s.config_file import load_config
    from asr_s2s.data.check import check_manifests
    from asr_s2s.data.check_text import check_pairs
    from asr_s2s.data.corpus import data_sources
    from asr_s2s.data.overlap import check_overlap, read_held_out
    from asr_s2s.model.folder import find_model, load_tokenizers, read_config
    from asr_s2s.text.normalize import normalizer
    from asr_s2s.text.vocabulary import phonemes_of_lexicon
    from asr_s2s.train.settings import check_names

    messages = Console(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)
    if overrides and config is None:
        raise ConfigError("--set", "there is no recipe to change", "Give a recipe with --config")
    recipe = load_config(config, overrides or []) if config else None
    if recipe:
        check_names(recipe)
    folder = find_model(model) if model else None
    own = read_config(folder) if folder else None
    tokenizer, source_tokenizer = load_tokenizers(folder, own) if folder and own else (None, None)
    settings = recipe or own
    if recipe and config and tokenizer is None and recipe.text.tokenizer == "phonemes":
        tokenizer = phonemes_of_lexicon(recipe.text, config.parent)
    sources: dict[Path, DataSource] = {}
    if manifests:
        named_before: set[Path] = set()
        for path in manifests:
            if path.resolve() in named_before:
                raise ManifestError(path, "this manifest is named twice", "Name it once")
            named_before.add(path.resolve())
        files = {str(path): [path] for path in manifests}
    elif recipe and config:
        data = recipe.data
        named = {"train": data.train, "valid": data.valid, "test": data.test}
        files = {}
        for split, entries in named.items():
            for source in data_sources(entries):
                path = config.parent / source.manifest
                files.setdefault(split, []).append(path)
                sources[path] = source
    else:
        files = {}
    if not any(files.values()):
        raise ManifestError(
            config or "asr-s2s check", "there is no manifest to check", "Give a training manifest"
        )

    unseen, unseen_places = read_held_out(held_out or [])
    read = _read(files, sources, with_lines=bool(held_out))
    cuts, pairs, findings = read.cuts, read.pairs, read.findings
    time_reduction = settings.speech_encoder.time_reduction if settings else None
    skipped = "texts are not compared with the length of their audio"
    if cuts and settings is None:
        messages.print(
            f"Without --config or --model, {skipped}: the number of memory frames is unknown."
        )
    elif cuts and settings and settings.text.tokenizer != "characters" and tokenizer is None:
        time_reduction = None
        messages.print(f"Without --model, {skipped}: the number of tokens is unknown.")
    if pairs and recipe and tokenizer is None:
        messages.print(
            "Without --model, sentences are not compared with data.max_tokens: the number of "
            "tokens is unknown."
        )
    utterances, sentences = sum(map(len, cuts.values())), sum(map(len, pairs.values()))
    lines = sum(len(found) for texts in read.lines.values() for _, found in texts)
    normalize = normalizer(settings.text.normalizer) if settings else None
    with Progress(console=messages, transient=True, disable=not messages.is_terminal) as bar:
        task = bar.add_task("Checking", total=utterances + sentences)
        findings += check_manifests(
            {split: CutSet(members) for split, members in cuts.items()},
            tokenizer=tokenizer,
            normalizer=normalize,
            time_reduction=time_reduction,
            ctc_per_frame=settings.objective.ctc_per_frame if settings else 1,
            edge_frames=settings.features.edge_frames if settings else 0,
            max_seconds=recipe.data.max_seconds if recipe else None,
            languages=settings.text.languages if settings else (),
            translation_languages=settings.text.translation_languages if settings else (),
            progress=lambda: bar.advance(task),
        )
        findings += check_pairs(
            pairs,
            tokenizer=tokenizer,
            source_tokenizer=source_tokenizer,
            normalizer=normalize,
            source_normalizer=normalizer(settings.source_text.normalizer) if settings else None,
            max_tokens=min(recipe.data.max_tokens, recipe.data.batch_tokens) if recipe else None,
            truncated=settings is not None and settings.source_text.long_sources == "truncate",
            languages=settings.text.languages if settings else (),
            progress=lambda: bar.advance(task),
        )
        if held_out:
            texts = bar.track(
                _texts(files, read, held_out),
                total=utterances + sentences + lines,
                description="Comparing",
            )
            findings += check_overlap(texts, unseen, unseen_places)

    counts = []
    if cuts:
        hours = sum(cut.duration for split in cuts.values() for cut in split) / 3600
        counts += [_count(utterances, "utterance"), f"{hours:.2f} hours"]
    if pairs:
        counts.append(_count(sentences, "sentence pair"))
    if read.lines:
        counts.append(_count(lines, "line"))
    summary = ", ".join([*counts, _count(len(findings), "finding")])
    if format is Format.json:
        for finding in findings:
            typer.echo(json.dumps(vars(finding), ensure_ascii=False))
        typer.echo(summary, err=True)
    else:
        _print_by_kind(findings, len(findings) if all else EXAMPLES)
        typer.echo(summary)
    if findings:
        raise typer.Exit(EXIT_BAD_INPUT)


def _read(
    files: dict[str, list[Path]], sources: "dict[Path, DataSource]", *, with_lines: bool
) -> _Data:
    """Read all files.

    Args:
        files: files by split.
        sources: entries of the recipe, which may give the language of a file.
        with_lines: accept plain text; otherwise a text file is reported as one side of parallel
            text.
    """
    from asr_s2s.data.corpus import with_cut_language, with_pair_language
    from asr_s2s.data.manifest import iter_manifest
    from asr_s2s.data.parallel import is_one_side, is_parallel, iter_parallel
    from asr_s2s.text_files import read_lines

    data = _Data({}, {}, {}, [])
    for split, paths in files.items():
        for path in paths:
            one_side = is_one_side(path)
            if one_side and with_lines:
                data.lines.setdefault(split, []).append((path, read_lines(path)))
            # Reports one side of parallel text once, not each of its lines as a bad manifest row.
            elif one_side or is_parallel(path):
                source = sources.get(path)
                columns = source.columns if source is not None else ()
                usable = _usable(iter_parallel(path, columns), data.findings)
                if source is not None:
                    usable = (with_pair_language(pair, source) for pair in usable)
                if len(paths) > 1:
                    usable = (replace(pair, id=f"{path}: {pair.id}") for pair in usable)
                data.pairs.setdefault(split, []).extend(usable)
            else:
                cuts = _usable(iter_manifest(path), data.findings)
                if (source := sources.get(path)) is not None:
                    cuts = (with_cut_language(cut, source) for cut in cuts)
                data.cuts.setdefault(split, []).extend(cuts)
    return data


def _texts(
    files: dict[str, list[Path]], data: _Data, held_out: list[Path]
) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield location and text (or both sides of a pair) of all that is compared with held-out
    transcripts."""
    from asr_s2s.data.manifest import cut_text

    held_out_paths = {path.resolve() for path in held_out}
    for number, (split, paths) in enumerate(files.items()):
        # The first split is training data: held-out files in it are errors to report.
        if number > 0 and any(path.resolve() in held_out_paths for path in paths):
            continue
        for cut in data.cuts.get(split, []):
            yield f"{split}: {cut.id}", (cut_text(cut),)
        for pair in data.pairs.get(split, []):
            yield f"{split}: {pair.id}", (pair.source, pair.target)
        for path, lines in data.lines.get(split, []):
            for place, line in enumerate(lines, start=1):
                yield f"{path}:{place}", (line,)


def _usable(items: Iterable[T | ManifestError], findings: list["Finding"]) -> Iterator[T]:
    """Yield the usable items; append errors to `findings`."""
    from asr_s2s.data.check import Finding

    for item in items:
        if isinstance(item, ManifestError):
            findings.append(Finding("bad row", item.where, item.problem, item.fix))
        else:
            yield item


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _print_by_kind(findings: list["Finding"], examples: int) -> None:
    kinds: defaultdict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        kinds[finding.kind].append(finding)
    for kind, members in kinds.items():
        typer.echo(f"{kind} ({len(members):,})")
        for finding in members[:examples]:
            typer.echo(f"  {finding.where}: {finding.problem}. {finding.fix}.")
        if len(members) > examples:
            typer.echo(f"  and {len(members) - examples:,} more; --all prints them")
        typer.echo()
