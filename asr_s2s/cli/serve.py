"""The command `asr-s2s serve`."""

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
MAX_DEFAULT_WORKERS = 8
"""Upper bound of the default number of decoding threads; more contend for the GIL."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Addresses that only this machine can reach."""


def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Name of a shipped model, or a model folder; may be repeated. Requests that name "
            "no model use the first that transcribes, or the first that translates text. "
            "[default: english]"
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 chooses a free port.")
    ] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="ASR_S2S_TOKEN",
            help="Token that clients must send as Authorization: Bearer TOKEN. On the command "
            "line, other users of this machine can see it; in the environment, they cannot.",
        ),
    ] = None,
    max_upload: Annotated[
        float, typer.Option(min=0.01, help="Maximum size of a request in megabytes.")
    ] = 200.0,
    max_requests: Annotated[
        int,
        typer.Option(
            min=1,
            help="Maximum number of concurrent requests; more get status 429 with Retry-After.",
        ),
    ] = 100,
    time_limit: Annotated[
        float, typer.Option(min=1.0, help="Maximum duration of a request in seconds.")
    ] = 600.0,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Decoding threads per model. [default: one per core but at most 8 on a CPU; 1 on "
            "a GPU]",
        ),
    ] = None,
    batch_seconds: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help="Seconds of audio decoded in one batch. [default: 90 on a CPU, 120 on a GPU]",
        ),
    ] = None,
    device: Device = None,
) -> None:
    """Serve models over HTTP with an OpenAI-compatible API.

    Requests of different clients are batched together. A web page is at /, the documentation of
    the API at /docs. After SIGTERM or Ctrl-C, the server answers accepted requests and exits.
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

    names = _model_names(model or ["english"])

    from asr_s2s.serve.server import open_listener, run

    listener = open_listener(host, port)  # reports a port in use before models are loaded

    import torch

    from asr_s2s.serve.app import make_app
    from asr_s2s.serve.service import Limits, Service

    models = _load(names, device)
    cores = torch.get_num_threads()
    if workers is None:
        # Parallel batches gain more than parallel operations within a batch, whose decoder steps
        # spend much of their time in Python.
        on_cpu = all(model.device.type == "cpu" for model in models.values())
        workers = min(cores, MAX_DEFAULT_WORKERS) if on_cpu else 1
    torch.set_num_threads(max(1, cores // workers))
    limits = Limits(int(max_upload * 1024**2), max_requests, time_limit)
    service = Service(models, limits, batch_seconds, workers)
    shown = f"[{host}]" if ":" in host else host
    if token is None and host not in LOOPBACK:
        print("anyone who can reach this address can use it; set --token", file=sys.stderr)
    greeting = f"listening at http://{shown}:{listener.getsockname()[1]}"
    run(make_app(service, token), service, listener, greeting)


def _model_names(models: list[str]) -> dict[str, str]:
    """Models by the names that clients use: shipped names, or names of folders."""
    names: dict[str, str] = {}
    for model in models:
        name = Path(model).resolve().name if Path(model).is_dir() else model
        if name in names:
            raise UserError(f"--model {model}", f"two models are called {name}", "Rename one")
        names[name] = model
    return names


def _load(models: dict[str, str], device: str | None) -> "dict[str, Transcriber | Translator]":
    from asr_s2s.model.device import choose_device
    from asr_s2s.model.folder import load_model
    from asr_s2s.pipeline import Transcriber
    from asr_s2s.translator import Translator

    chosen = choose_device(device)
    found: dict[str, Transcriber | Translator] = {}
    for name, model in models.items():
        loaded = load_model(model, chosen)
        speech = "speech" in loaded.config.model.encoders
        found[name] = Transcriber(loaded, chosen) if speech else Translator(loaded, chosen)
    return found
