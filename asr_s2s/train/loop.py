"""Training loop: from a configuration to a model folder, exactly resumable."""

import itertools
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType

import torch
import yaml
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from asr_s2s.config import Config, DataSource
from asr_s2s.config_file import load_config, to_dict
from asr_s2s.data.corpus import data_sources
from asr_s2s.errors import TrainingError
from asr_s2s.model.folder import load_tokenizers, save_model
from asr_s2s.model.growth import load_into_extended
from asr_s2s.model.weights import load_weights
from asr_s2s.nn.low_precision import multiplies_bf16
from asr_s2s.text_files import write_text
from asr_s2s.train.checkpoint import BestCheckpoints, Position, load_state, save_state
from asr_s2s.train.lock import lock_folder
from asr_s2s.train.monitor import Monitor
from asr_s2s.train.objective import Losses
from asr_s2s.train.processes import Processes, join, leave
from asr_s2s.train.schedule import learning_rate
from asr_s2s.train.settings import check_settings, resolve_model
from asr_s2s.train.streams import endless
from asr_s2s.train.task import find_task
from asr_s2s.train.validation import Validation

RESUMABLE_CHANGES = {
    "data.workers",
    "data.test",
    *("train." + key for key in ("steps", "validate_every", "validation_beam_size", "patience")),
    *("train." + key for key in ("checkpoint_every", "log_every", "attention_pictures")),
    "train.saved_precision",
    "text.bleu_tokenizer",
    "text.further_metrics",
}
"""Keys that may change when a run is resumed: they affect its length, its reports, and what later
validations measure. With `train.average_every` above 1, processes also average their weights at
validations and checkpoints, so there these keys affect training as well."""
MOMENTS = ("exp_avg", "exp_avg_sq")
"""Moments of each parameter's gradients in AdamW's state."""


def train(config: Config, base: Path, output: Path, device: torch.device) -> Path | None:
    """Train a model or a language model, or resume the run in `output`.

    Under torchrun, all processes train one model together.

    Args:
        config: complete configuration.
        base: folder that manifest paths are relative to.
        output: run folder for state, metrics, pictures, and finally `model/`.
        device: device to train on.

    Returns:
        The model folder, or None if SIGINT or SIGTERM stopped the run; its state is then saved.

    Raises:
        UserError: a setting, manifest or run folder cannot be used, or another process is training
            in the folder.
    """
    check_settings(config, device)
    config = find_task(config).complete(config, base)
    processes = join(device)
    try:
        with lock_folder(output) if processes.first else nullcontext():
            return _train(config, base, output, device, processes)
    finally:
        leave(processes)


def _train(
    config: Config, base: Path, output: Path, device: torch.device, processes: Processes
) -> Path | None:
    start_from = resolve_model(config.train.initialize, base)
    state_path = output / "last.pt"
    if processes.first:
        _claim_folder(output, config)
    torch.manual_seed(config.train.seed)
    monitor = Monitor(output, config.train, processes)
    task = find_task(config)(config, base)
    if processes.first and not state_path.is_file():
        task.save_tokenizers(output)
    processes.wait()
    tokenizers = load_tokenizers(output, config)
    streams = task.streams(tokenizers, training=True, info=monitor.info)
    valid_streams = task.streams(tokenizers, training=False, info=monitor.info)

    model = task.build_model(tokenizers).to(device)
    criterion = task.build_criterion(model, streams)
    learner = torch.nn.ModuleList([model, criterion]).to(device)
    optimizer = torch.optim.AdamW(
        _parameter_groups(learner, config.train.weight_decay),
        lr=config.train.learning_rate,
        betas=(0.9, 0.98),
        fused=True,
    )
    precision = config.train.precision
    if precision == "bf16" and device.type == "cpu" and not multiplies_bf16():
        precision = "fp32"
        monitor.info("this processor has no bf16 instructions: training in fp32")
    scaler = GradScaler(device.type, enabled=precision == "fp16")
    autocast = torch.autocast(
        device.type,
        dtype=torch.float16 if precision == "fp16" else torch.bfloat16,
        enabled=precision != "fp32",
    )
    best = BestCheckpoints(output / "best", config.train.keep_best)
    position = Position()
    if not processes.first:
        torch.manual_seed(config.train.seed + processes.rank)  # different dropout in each process
    if state_path.is_file():
        position = load_state(state_path, model, criterion, optimizer, scaler, processes.rank)
    else:
        if processes.first:
            best.prune(position)  # remains of a run killed before it first saved its state
        if start_from is not None:
            load_into_extended(model, start_from, tokenizers, config.train.seed)
        else:
            task.prepare(model, streams)
    processes.share_weights(learner)
    monitor.resume(position.step)
    monitor.start(model, streams, position.step)
    for note in task.notes(streams):
        monitor.info(note)
    # Streams alternate, so a resumed run must continue with the stream whose turn it is.
    turn = position.step * config.train.accumulate % len(streams)
    batches = [endless(s, config, position, processes, monitor.warn) for s in streams]
    turns = itertools.islice(itertools.cycle(batches), turn, None)

    # Local SGD: processes step independently and average weights, rather than every gradient.
    local_sgd = processes.count > 1 and config.train.average_every > 1

    def measure() -> Validation:
        return task.validate(model, valid_streams, device)

    with _stop_signals() as stopped, monitor:
        while position.step < config.train.steps and not _is_stale(position, config):
            rate = learning_rate(position.step, config.train)
            for group in optimizer.param_groups:
                group["lr"] = rate
            learner.train()
            for _ in range(config.train.accumulate):
                batch = next(next(turns))
                batch = batch.to(device)
                with autocast:
                    losses: Losses = criterion(model, batch, position.step)
                monitor.count(batch, losses)
                torch.autograd.backward(scaler.scale(losses.total / config.train.accumulate))
            stopping = False
            if not local_sgd:
                gradients = [p.grad for p in learner.parameters() if p.grad is not None]
                stopping = processes.average(gradients, bool(stopped))
            scaler.unscale_(optimizer)
            norm = torch.nn.utils.clip_grad_norm_(learner.parameters(), config.train.clip_norm)
            if monitor.check_finite(norm, scaler.is_enabled()):
                scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            position.step += 1
            monitor.log(position, norm, rate)

            validating = (
                position.step == config.train.steps
                or position.step % config.train.validate_every == 0
            )
            saving = validating or position.step % config.train.checkpoint_every == 0
            if local_sgd and (saving or position.step % config.train.average_every == 0):
                stopping = processes.average(
                    _weights_and_moments(learner, optimizer), bool(stopped)
                )
            if validating:
                if processes.first:
                    result = measure()
                    is_best = best.add(position, result.error, model)
                    position.stale = 0 if is_best else position.stale + 1
                    monitor.validated(position, result)
                position.stale = processes.share(position.stale)
            if stopping or saving:
                save_state(state_path, position, model, criterion, optimizer, scaler, processes)
                if processes.first:
                    best.prune(position)
            if stopping:
                return None
        if _is_stale(position, config):
            monitor.info(f"stopped early: no improvement in {position.stale} validations")

        folder = output / "model"
        if not processes.first:
            processes.wait()
            return folder
        if not position.best:  # resumed with train.steps below the steps already taken
            best.add(position, measure().error, model)

        def finish(steps: list[int]) -> Validation:
            """Write the mean of some steps as the model folder, and validate what was written."""
            weights, saved_as = best.load(steps), config.train.saved_precision
            save_model(folder, config, *tokenizers, weights, saved_as)
            load_weights(model, folder)
            return measure()

        # Average the best checkpoints, unless the single best one validates better.
        steps = [step for _, step in position.best]
        result = finish(steps)
        if result.error > position.best[0][0] and len(steps) > 1:
            monitor.info(
                f"the mean of {len(steps)} checkpoints is worse than the best one: not used"
            )
            steps = steps[:1]
            result = finish(steps)
        write_text(folder / "README.md", _model_card(config, steps, result))
        monitor.finished(result, folder)
        processes.wait()
    return folder


def _is_stale(position: Position, config: Config) -> bool:
    return 0 < config.train.patience <= position.stale


def _parameter_groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Split parameters into groups; only matrices get weight decay."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]


@torch.no_grad()
def _weights_and_moments(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Return the weights and the optimizer's moments of their gradients."""
    moments = [state[name] for state in optimizer.state.values() for name in MOMENTS]
    return [*(p.detach() for p in model.parameters()), *moments]


def _claim_folder(output: Path, config: Config) -> None:
    """Save the configuration in the run folder; refuse a folder that contains another run."""
    path = output / "config.yaml"
    if path.is_file() and (output / "last.pt").is_file():
        recorded, wanted = _flat(to_dict(load_config(path))), _flat(to_dict(config))
        for key, value in wanted.items():
            if recorded[key] != value and key not in RESUMABLE_CHANGES:
                raise TrainingError(
                    output,
                    f"it contains a run with {key}={recorded[key]}, not {value}",
                    "Choose another --output, or delete that folder to start over",
                )
    write_text(path, yaml.safe_dump(to_dict(config), sort_keys=False))


def _flat(values: dict[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM, so that the loop stops after the current step; a second signal
    stops it immediately."""
    stopped: list[int] = []

    def record(number: int, frame: FrameType | None) -> None:
        if stopped:
            raise KeyboardInterrupt
        stopped.append(number)

    previous = {s: signal.signal(s, record) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _names(entries: Sequence[str | DataSource]) -> str:
    return ", ".join(f"`{source.manifest}`" for source in data_sources(entries))


def _model_card(config: Config, steps: list[int], result: Validation) -> str:
    search = f" ({result.search})" if result.search else ""
    return f"""# Model card

Trained with `asr-s2s train` on {_names(config.data.train)}.

| | |
|---|---|
| validation | {_names(config.data.valid)} |
| result there | {result}{search} |
| weights | mean of steps {", ".join(map(str, sorted(steps)))} |
| normalizer | `{config.text.normalizer}` |

Add here: the data's licenses, what the model is for, and where it fails.
"""
