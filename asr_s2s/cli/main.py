"""Entry point of the `asr-s2s` command line.

Each command has its own module and imports torch only when it runs, which keeps `--help` fast.
"""

import io
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import typer

from asr_s2s import __version__
from asr_s2s.allocator import restart_with_huge_pages
from asr_s2s.cli.attention import attention
from asr_s2s.cli.calibrate import calibrate
from asr_s2s.cli.check import check
from asr_s2s.cli.compare import compare
from asr_s2s.cli.evaluate import evaluate
from asr_s2s.cli.explain import explain
from asr_s2s.cli.export import export
from asr_s2s.cli.help import Command, with_metavars
from asr_s2s.cli.info import info
from asr_s2s.cli.listen import listen
from asr_s2s.cli.ngram import attach, ngram
from asr_s2s.cli.prepare import prepare
from asr_s2s.cli.score import score
from asr_s2s.cli.serve import serve
from asr_s2s.cli.teach import teach
from asr_s2s.cli.train import train
from asr_s2s.cli.transcribe import transcribe
from asr_s2s.cli.translate import translate
from asr_s2s.cli.tune import tune
from asr_s2s.errors import EXIT_BAD_INPUT, UserError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # help texts contain literal square brackets
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(requested: bool) -> None:
    if requested:
        print(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(
        False,
        "--version",
        callback=_print_version,
        is_eager=True,
        help="Print the version and exit.",
    ),
) -> None:
    """Speech recognition and translation with attention-based recurrent models."""


for command in (
    transcribe, listen, translate, score, serve, train, evaluate, compare, attention, explain,
    ngram, attach, tune, calibrate, prepare, teach, check, export, info,
):  # fmt: skip
    app.command(cls=Command)(with_metavars(command))


EXTRAS = {
    "train": (
        "jinja2", "jiwer", "lhotse", "librosa", "matplotlib", "omegaconf", "rouge_score",
        "sacrebleu", "sacremoses", "scipy", "sklearn", "tensorboard",
    ),
    "teach": ("lilcom",),
    "live": ("sounddevice",),
}  # fmt: skip
"""Modules that are installed with an extra of the package, by its name."""


def name_extra(error: ModuleNotFoundError) -> UserError | None:
    """Explain a missing module by the extra that installs it; None for any other module."""
    missing = (error.name or "").partition(".")[0]
    for extra, modules in EXTRAS.items():
        if missing in modules:
            return UserError(
                missing,
                "this command needs the module, and it is not installed",
                f"Install the extra {extra}: pip install 'asr-s2s[{extra}]'",
            )
    return None


def _need_no_environment() -> None:
    """Let the libraries work without PATH and without a home folder, quietly, and make nothing in
    the home folder.

    lhotse extends PATH when it is imported, by a folder that it makes in the home folder for
    programs that are not used here.
    """
    os.environ.setdefault("PATH", os.defpath)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # warns if it has no home folder
    with suppress(OSError, RuntimeError):  # there is no home folder
        if (Path.home() / ".lhotse").is_dir():
            return
    if sys.platform != "darwin":  # there the module also finds libraries
        sys.modules.setdefault("lhotse.tools.env", _NoTools("lhotse.tools.env"))


class _NoTools(ModuleType):
    """Stands for a module whose functions do nothing."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: None


def main() -> None:
    """Run the command line. A `UserError` becomes one line on standard error and exit code 1."""
    _need_no_environment()
    if sys.argv[1:2] == ["train"]:
        restart_with_huge_pages()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # File names need not be valid in any encoding; their bytes are printed unchanged.
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    try:
        if sys.stdout is None:
            # Results would be lost, or be written to whichever file is opened next.
            raise UserError(
                "standard output", "it is closed", "Leave it open, or send it to /dev/null"
            )
        app()
    except UserError as error:
        print(f"asr-s2s: {error}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
    except ModuleNotFoundError as error:
        explained = name_extra(error)
        if explained is None:
            raise
        print(f"asr-s2s: {explained}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
