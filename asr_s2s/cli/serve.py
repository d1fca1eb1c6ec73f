"""`asr-s2s serve`."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr_s2s.cli.options import Device
from asr_s2s.errors import UserError

if TYPE_CHECKING:
    from asr_s2s.pipeline import Transcriber
    from asr_s2s.translator import Translator

NEEDED = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")
MOST_WORKERS = 8
"""By default: more wait for each other, as Python runs one of them at a time."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="A shipped model's name, or a model folder. May be repeated: of those that "
            "transcribe, and of those that translate text, the first serves requests that name "
            "none. [default: english]"
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="ASR_S2S_TOKEN",
            help="What clients must send as Authorization: Bearer TOKEN; other users of this "
            "machine can read it here, but not in the variable.",
        ),
    ] = None,
    max_upload: Annotated[
        float, typer.Option(min=0.01, help="Largest request, in megabytes.")
    ] = 200.0,
    max_requests: Annotated[
        int,
        typer.Option(min=1, help="Requests served at a time; more are answered 429 Retry-After."),
    ] = 100,
    time_limit: Annotated[
        float, typer.Option(min=1.0, help="Seconds that a request may take.")
    ] = 600.0,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Threads that decode, for each model [default: one a core on a CPU, but not more "
            "than 8; else 1].",
        ),
    ] = None,
    batch_seconds: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help="Seconds of audio decoded together [default: 90 on a CPU, else 120].",
        ),
    ] = None,
    device: Device = None,
) -> None:
    """Serve models over HTTP, to OpenAI's clients and to a page in the browser.

    Requests of different clients are decoded together. The page is at /, the documentation at
    /docs. SIGTERM or Ctrl-C end the server when it has answered what it accepted.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise UserError(
            "asr-s2s serve",
            f"it needs {', '.join(missing)}, which are not installed",
            "Install them with pip install 'asr-s2s[serve]'",
        )
    if token is not None and not (token.isascii() and token.isprintable() and token.strip()):
        raise UserError("--token", "expected printable ASCII characters", "Choose another token")

    names = _names(model or ["english"])

    from asr_s2s.serve.sockets import open_listener

    listener = open_listener(host, port)  # before what takes long

    import torch

    from asr_s2s.serve.app import make_app
    from asr_s2s.serve.server import run
    from asr_s2s.serve.service import Limits, Service

    models = _load(names, device)
    cores = torch.get_num_threads()
    if workers is None:
        # Batches side by side gain more than threads within one: between its products is Python.
        on_cpu = all(model.device.type == "cpu" for model in models.values())
        workers = min(cores, MOST_WORKERS) if on_cpu else 1
    torch.set_num_threads(max(1, cores // workers))
    limits = Limits(int(max_upload * 1024**2), max_requests, time_limit)
    service = Service(models, limits, batch_seconds, workers)
    shown = f"[{host}]" if ":" in host else host
    if token is None and host not in LOOPBACK:
        print("anyone who reaches this address may use it; --token asks for one", file=sys.stderr)
    greeting = f"listening at http://{shown}:{listener.getsockname()[1]}"
    run(make_app(service, token), service, listener, greeting)


def _names(models: list[str]) -> dict[str, str]:
    """Models by the names that clients call them, the last parts of their paths."""
    names: dict[str, str] = {}
    for model in models:
        name = Path(model).resolve().name if Path(model).is_dir() else model
        if name in names:
            raise UserError(f"--model {model}", f"two models are called {name}", "Rename one")
        names[name] = model
    return names


def _load(models: dict[str, str], device: str | None) -> "dict[str, Transcriber | Translator]":
    from asr_s2s.model.folder import load_model
    from asr_s2s.pipeline import Transcriber, choose_device
    from asr_s2s.translator import Translator

    chosen = choose_device(device)
    found: dict[str, Transcriber | Translator] = {}
    for name, model in models.items():
        loaded = load_model(model, chosen)
        speech = "speech" in loaded.config.model.encoders
        found[name] = Transcriber(loaded, chosen) if speech else Translator(loaded, chosen)
    return found
