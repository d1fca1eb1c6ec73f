"""The command `asr-s2s serve`."""

import os
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
TOKEN_VARIABLE = "ASR_S2S_TOKEN"
"""Environment variable with the token."""


def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Name of a shipped model, or a model folder; may be repeated. Requests that name "
            "no model use the first that transcribes, or the first that translates text. "
            "[default: english]"
        ),
    ] = None,
    alias: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=MODEL",
            help="Another name for a model; may be repeated. OpenAI's whisper-1, gpt-4o-transcribe "
            "and gpt-4o-mini-transcribe select the first model, unless they are given here; other "
            "unknown names get status 404.",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 chooses a free port.")
    ] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            envvar=TOKEN_VARIABLE,
            help="Token that clients must send as Authorization: Bearer TOKEN. On the command "
            "line, other users of this machine can see it; in the environment, they cannot.",
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="File with the token, instead of --token."),
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Name in the Host header of requests to accept; may be repeated; * accepts all. "
            "[default: names of this machine if only it can reach the server, else all]",
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="Origin of web pages that may use the server, such as https://app.example; may be "
            "repeated; * accepts all. [default: only the server's own page]",
        ),
    ] = None,
    max_upload: Annotated[
        float, typer.Option(min=0.01, help="Maximum size of a request in megabytes.")
    ] = 200.0,
    max_requests: Annotated[
        int,
        typer.Option(
            min=1,
            help="Maximum number of concurrent requests; more get status 429 with Retry-After. A "
            "request counts when all of it has been received.",
        ),
    ] = 100,
    max_client_requests: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Maximum number of these from one address. [default: half of --max-requests; all "
            "if only this machine can reach the server]",
        ),
    ] = None,
    max_sessions: Annotated[
        int,
        typer.Option(
            min=1,
            help="Maximum number of concurrent sessions of live transcription; one address may "
            "have half of them, or all if only this machine can reach the server.",
        ),
    ] = 20,
    max_connections: Annotated[
        int,
        typer.Option(
            min=4,
            help="Maximum number of connections, or fewer if the limit on open files is low. When "
            "it is reached, connections without a request are closed.",
        ),
    ] = 1000,
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
    grace: Annotated[
        float,
        typer.Option(
            min=1.0,
            help="Seconds after SIGTERM within which the server exits; requests that it cannot "
            "finish get status 503.",
        ),
    ] = 30.0,
    no_access_log: Annotated[
        bool,
        typer.Option(
            "--no-access-log", help="Do not print a line for each request to standard output."
        ),
    ] = False,
    device: Device = None,
) -> None:
    """Serve models over HTTP with an OpenAI-compatible API.

    Requests of different clients are batched together. A web page is at /, the documentation of
    the API at /docs. After SIGTERM or Ctrl-C, the server answers accepted requests and exits,
    within the time of --grace.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise UserError(
            "asr-s2s serve",
            f"it needs {', '.join(missing)}, which are not installed",
            "Install them with pip install 'asr-s2s[serve]'",
        )
    from asr_s2s.serve.admission import Admission, check_token, read_token

    if token is None and TOKEN_VARIABLE in os.environ:  # typer takes an empty variable for none
        check_token("", TOKEN_VARIABLE)
    if token_file is not None:
        if token is not None:
            raise UserError("--token-file", "there is also --token", "Give one of them")
        token = read_token(token_file)
    check_token(token, "--token")

    names = _model_names(model or ["english"])

    from asr_s2s.serve.connections import allowed_connections
    from asr_s2s.serve.server import is_private, open_listener, run

    listener = open_listener(host, port)  # reports a port in use before models are loaded
    private = is_private(listener)
    hosts = [host, *(allowed_host or ())] if private else allowed_host
    admission = Admission(token, hosts, allow_origin or ())

    import torch

    from asr_s2s.serve.access import print_line
    from asr_s2s.serve.app import make_app
    from asr_s2s.serve.service import Limits, Service, check_aliases

    aliases = _aliases(alias or [])
    check_aliases(aliases, names)
    models = _load(names, device)
    cores = torch.get_num_threads()
    if workers is None:
        # Parallel batches gain more than parallel operations within a batch, whose decoder steps
        # spend much of their time in Python.
        on_cpu = all(model.device.type == "cpu" for model in models.values())
        workers = min(cores, MAX_DEFAULT_WORKERS) if on_cpu else 1
    torch.set_num_threads(max(1, cores // workers))
    if max_client_requests is None:
        max_client_requests = max_requests if private else max(1, max_requests // 2)
    connections = allowed_connections(max_connections)
    limits = Limits(
        upload=int(max_upload * 1024**2),
        requests=max_requests,
        client_requests=max_client_requests,
        uploads=max(1, connections // 2),
        sessions=max_sessions,
        client_sessions=max_sessions if private else max(1, max_sessions // 2),
        seconds=time_limit,
    )
    service = Service(models, limits, batch_seconds, workers, aliases)
    shown = f"[{host}]" if ":" in host else host
    if token is None and not private:
        print("anyone who can reach this address can use it; set --token", file=sys.stderr)
    greeting = f"listening at http://{shown}:{listener.getsockname()[1]}"
    app = make_app(service, admission, None if no_access_log else print_line)
    run(app, service, listener, greeting, connections=connections, grace=grace)


def _aliases(given: list[str]) -> dict[str, str]:
    """Models by their aliases."""
    aliases: dict[str, str] = {}
    for text in given:
        name, equals, model = text.partition("=")
        if not (name and equals and model):
            raise UserError(f"--alias {text}", "expected NAME=MODEL", "Correct it")
        if aliases.setdefault(name, model) != model:
            raise UserError(f"--alias {text}", f"{name} is given twice", "Remove one")
    return aliases


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
