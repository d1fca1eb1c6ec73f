"""`asr-s2s ngram` and `asr-s2s attach`: language models for a model's search."""

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
            help="Text, a sentence a line (also .gz or .xz); or one n-gram model in ARPA format "
            "(.arpa, .arpa.gz), of the model's tokens or, with --words, of words."
        ),
    ],
    model: Annotated[str, typer.Option(help="Model whose search it is to serve.")],
    words: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="N-grams of words, the most frequent so many, for a model that writes "
            "characters or phonemes.",
            show_default=False,
        ),
    ] = None,
    order: Annotated[int, typer.Option(min=1, help="Tokens of the longest n-grams.")] = 4,
    prune: Annotated[
        str,
        typer.Option(
            help="For each order, leave out n-grams that occur no more often than this, as 0,0,1; "
            "the last value holds for all higher orders."
        ),
    ] = "0",
    held_out: Annotated[
        list[Path] | None,
        typer.Option(
            help="Manifest, parallel text or plain text; lines that share seven words in a row "
            "with it are left out. May be given several times.",
            show_default=False,
        ),
    ] = None,
    domain: Annotated[
        list[Path] | None,
        typer.Option(
            help="Text of the kind that will be said, such as transcripts: its own n-grams, all of "
            "them, are mixed in. May be given several times.",
            show_default=False,
        ),
    ] = None,
    domain_weight: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of --domain in all probabilities.")
    ] = 0.2,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path(
        "ngram.safetensors"
    ),
) -> None:
    """Build an n-gram model over a model's own tokens, by modified Kneser-Ney estimation.

    With --words it is over words, which the search spells: better where text is plenty. Put it
    into the model's folder with asr-s2s attach.
    """
    from rich.console import Console

    from asr_s2s.data.overlap import read_held_out
    from asr_s2s.data.parallel import read_lines
    from asr_s2s.errors import ConfigError, UserError
    from asr_s2s.model.arpa import arpa_words, is_arpa, read_arpa
    from asr_s2s.model.folder import find_model, read_config
    from asr_s2s.model.ngram import from_levels
    from asr_s2s.model.ngram_file import save_ngram
    from asr_s2s.model.word_ngram import check_spelling, spell
    from asr_s2s.text.normalize import normalizer
    from asr_s2s.text.tokenizer import WordTokenizer
    from asr_s2s.text.vocabulary import load_tokenizer
    from asr_s2s.train.interpolate import interpolate
    from asr_s2s.train.ngram import check_order, encode_lines, estimate, frequent_words

    folder = find_model(model)
    normalize = normalizer(read_config(folder).text.normalizer)
    tokenizer = load_tokenizer(folder)
    units, vocabulary = tokenizer, []
    if words is not None:
        check_spelling(tokenizer)
    console = Console(stderr=True, highlight=False, emoji=False)
    if is_arpa(texts[0]):
        if len(texts) > 1:
            raise ConfigError(str(texts[1]), "one ARPA file makes a model alone", "Name only it")
        if held_out:
            raise ConfigError("--held-out", "an ARPA file holds no lines", "Leave it out")
        if domain:
            raise ConfigError("--domain", "only texts are mixed", "Leave it out, or give texts")
        if words is not None:
            vocabulary = arpa_words(texts[0], tokenizer)[:words]
            units = WordTokenizer(vocabulary)
        levels = read_arpa(texts[0], units)
    else:
        try:
            thresholds = check_order(order, [int(value) for value in prune.split(",")])
        except ValueError as error:
            raise ConfigError(
                "--prune", f"expected numbers, found {prune!r}", "Write for example 0,0,1"
            ) from error
        unseen, _ = read_held_out(held_out or [])

        def usable(paths: list[Path]) -> list[str]:
            lines = [line for path in paths for line in read_lines(path)]
            if not held_out:
                return lines
            shown = _shown(lines, "comparing", console)
            kept = [line for line in shown if unseen.overlap(line) is None]
            overlapping = f"{len(lines) - len(kept):,} of {len(lines):,} lines"
            console.print(f"{overlapping} overlap held-out transcripts and are left out")
            return kept

        lines, said = usable(texts), usable(domain) if domain else []
        if words is not None:
            shown = _shown([*lines, *said], "counting words", console)
            vocabulary = frequent_words(shown, tokenizer, normalize, words)
            units = WordTokenizer(vocabulary)
        tokens = encode_lines(_shown(lines, "tokenizing", console), units, normalize)
        with console.status("estimating"):
            levels = estimate(tokens, len(units), order, thresholds)
            if domain:
                tokens = encode_lines(said, units, normalize)
                levels = interpolate(levels, estimate(tokens, len(units), order), domain_weight)
    built = from_levels(levels)
    try:
        save_ngram(output, spell(built, vocabulary, tokenizer) if words else built, tokenizer)
    except OSError as error:
        raise UserError(
            output, f"cannot be written: {error.strerror}", "Choose another file"
        ) from error
    counts = ", ".join(f"{len(level.token):,}" for level in levels)
    typer.echo(f"{output}: {counts} n-grams of order 1 to {len(levels)}")


def _shown(lines: list[str], doing: str, console: "Console") -> Iterable[str]:
    """The lines, with a bar on a terminal that tells how many there are."""
    from rich.progress import track

    return track(lines, doing, console=console, transient=True, disable=not console.is_terminal)


def attach(
    language_model: Annotated[
        Path,
        typer.Argument(
            help="N-gram model that asr-s2s ngram wrote, or folder of a language model that "
            "asr-s2s train wrote."
        ),
    ],
    model: Annotated[str, typer.Option(help="Folder of the model whose search it serves.")],
    weight: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=10.0,
            help="Its weight in the search; asr-s2s tune finds a better one.",
        ),
    ] = 0.3,
) -> None:
    """Put a language model into a model's folder, in place of any of its kind, for its search."""
    import shutil

    from asr_s2s.errors import ModelError
    from asr_s2s.model.folder import (
        LANGUAGE_MODEL_FOLDER,
        change_search,
        load_language_model,
        own_folder,
    )
    from asr_s2s.model.ngram_file import NGRAM_FILE, load_ngram
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
        pass  # it is there already; its weight may change
    elif language_model.is_dir():
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(language_model, place)
    else:
        shutil.copyfile(language_model, place)
    change_search(folder, {key: weight})
    typer.echo(f"{place}, with search.{key} {weight:g}")
