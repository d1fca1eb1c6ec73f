"""The commands `asr-s2s ngram` and `asr-s2s attach`: language models for decoding."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console


def ngram(
    texts: Annotated[
        list[Path],
        typer.Argument(
            help="Text, one sentence per line (also .gz or .xz); or one n-gram model in ARPA "
            "format (.arpa, .arpa.gz) over the model's tokens or, with --words, over words."
        ),
    ],
    model: Annotated[
        str,
        typer.Option(help="Name of a shipped model, or a model folder, that will use the n-grams."),
    ],
    words: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Build n-grams of words instead of tokens, over this many most frequent words; "
            "for models that output characters or phonemes.",
            show_default=False,
        ),
    ] = None,
    order: Annotated[int, typer.Option(min=1, help="Length of the longest n-grams.")] = 4,
    prune: Annotated[
        str,
        typer.Option(
            help="Count thresholds for each order, such as 0,0,1: n-grams that occur no more "
            "often are removed. The last value applies to all higher orders."
        ),
    ] = "0",
    held_out: Annotated[
        list[Path] | None,
        typer.Option(
            help="Held-out manifest, parallel text or plain text; lines that share seven "
            "consecutive words with it are left out. May be repeated.",
            show_default=False,
        ),
    ] = None,
    domain: Annotated[
        list[Path] | None,
        typer.Option(
            help="In-domain text, such as transcripts; its unpruned n-grams are interpolated with "
            "those of TEXTS. May be repeated.",
            show_default=False,
        ),
    ] = None,
    domain_weight: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Interpolation weight of --domain.")
    ] = 0.2,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path(
        "ngram.safetensors"
    ),
) -> None:
    """Build an n-gram language model for decoding.

    Estimates modified Kneser-Ney probabilities over the model's tokens. With --words the n-grams
    are over words, which the search spells in tokens; this is better with much text. Add the
    result to a model folder with asr-s2s attach.
    """
    from rich.console import Console

    from asr_s2s.data.overlap import read_held_out
    from asr_s2s.errors import ConfigError, writing
    from asr_s2s.lm.arpa import arpa_words, is_arpa, read_arpa
    from asr_s2s.lm.interpolate import interpolate
    from asr_s2s.lm.kneser_ney import check_order, encode_lines, estimate, frequent_words
    from asr_s2s.lm.ngram import from_levels
    from asr_s2s.lm.ngram_file import save_ngram
    from asr_s2s.lm.word_ngram import check_spelling, spell
    from asr_s2s.model.folder import find_model, read_config
    from asr_s2s.text.normalize import normalizer
    from asr_s2s.text.tokenizer import WordTokenizer
    from asr_s2s.text.vocabulary import load_tokenizer
    from asr_s2s.text_files import read_lines

    folder = find_model(model)
    normalize = normalizer(read_config(folder).text.normalizer)
    tokenizer = load_tokenizer(folder)
    units, vocabulary = tokenizer, []
    if words is not None:
        check_spelling(tokenizer)
    console = Console(stderr=True, highlight=False, emoji=False)
    if is_arpa(texts[0]):
        if len(texts) > 1:
            raise ConfigError(
                str(texts[1]), "an ARPA file cannot be combined with other files", "Give it alone"
            )
        if held_out:
            raise ConfigError("--held-out", "an ARPA file has no lines", "Remove this option")
        if domain:
            raise ConfigError(
                "--domain",
                "an ARPA file cannot be interpolated",
                "Remove this option, or give text instead of an ARPA file",
            )
        if words is not None:
            vocabulary = arpa_words(texts[0], tokenizer)[:words]
            units = WordTokenizer(vocabulary)
        levels = read_arpa(texts[0], units)
    else:
        try:
            thresholds = check_order(order, [int(value) for value in prune.split(",")])
        except ValueError as error:
            raise ConfigError(
                "--prune", f"expected integers, found {prune!r}", "Write for example 0,0,1"
            ) from error
        unseen, _ = read_held_out(held_out or [])

        def usable(paths: list[Path]) -> list[str]:
            lines = [line for path in paths for line in read_lines(path)]
            if not held_out:
                return lines
            tracked = _with_progress(lines, "comparing", console)
            kept = [line for line in tracked if unseen.overlap(line) is None]
            overlapping = f"{len(lines) - len(kept):,} of {len(lines):,} lines"
            console.print(f"{overlapping} overlap held-out transcripts and are left out")
            return kept

        lines, domain_lines = usable(texts), usable(domain) if domain else []
        if words is not None:
            tracked = _with_progress([*lines, *domain_lines], "counting words", console)
            vocabulary = frequent_words(tracked, tokenizer, normalize, words)
            units = WordTokenizer(vocabulary)
        tokens = encode_lines(_with_progress(lines, "tokenizing", console), units, normalize)
        with console.status("estimating"):
            levels = estimate(tokens, len(units), order, thresholds)
            if domain:
                tokens = encode_lines(domain_lines, units, normalize)
                levels = interpolate(levels, estimate(tokens, len(units), order), domain_weight)
    built = from_levels(levels)
    with writing(output):
        save_ngram(output, spell(built, vocabulary, tokenizer) if words else built, tokenizer)
    counts = ", ".join(f"{len(level.token):,}" for level in levels)
    typer.echo(f"{output}: {counts} n-grams of order 1 to {len(levels)}")


def _with_progress(lines: list[str], description: str, console: "Console") -> Iterable[str]:
    """Show a progress bar on a terminal while lines are consumed."""
    from rich.progress import track

    return track(
        lines, description, console=console, transient=True, disable=not console.is_terminal
    )


def attach(
    language_model: Annotated[
        Path,
        typer.Argument(
            help="N-gram model written by asr-s2s ngram, or folder of a language model trained "
            "with asr-s2s train."
        ),
    ],
    model: Annotated[str, typer.Option(help="Model folder to add it to.")],
    weight: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=10.0,
            help="Weight of its log-probabilities in decoding; asr-s2s tune finds the best value.",
        ),
    ] = 0.3,
) -> None:
    """Add a language model to a model folder.

    Decoding then uses it. A language model of the same kind (n-gram or recurrent) is replaced.
    """
    import shutil

    from asr_s2s.errors import ModelError
    from asr_s2s.lm.ngram_file import NGRAM_FILE, load_ngram
    from asr_s2s.model.folder import (
        LANGUAGE_MODEL_FOLDER,
        change_search,
        load_language_model,
        own_folder,
    )
    from asr_s2s.text.vocabulary import load_tokenizer

    folder = own_folder(model)
    tokenizer = load_tokenizer(folder)
    if language_model.is_dir():
        load_language_model(language_model, tokenizer)
        key, place = "language_model_weight", folder / LANGUAGE_MODEL_FOLDER
    elif language_model.is_file():
        load_ngram(language_model, tokenizer)
        key, place = "ngram_weight", folder / NGRAM_FILE
    else:
        raise ModelError(language_model, "there is no such file or folder", "Check the path")
    if place.exists() and place.samefile(language_model):
        pass  # already in place; only the weight changes
    elif language_model.is_dir():
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(language_model, place)
    else:
        shutil.copyfile(language_model, place)
    change_search(folder, {key: weight})
    typer.echo(f"{place}, with search.{key} {weight:g}")
