"""Training from a configuration to a model folder; resumable at every step."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import FrameType

import torch
import yaml
from lhotse import CutSet
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from asr_s2s.audio.augment import WaveformAugment
from asr_s2s.audio.features import FRAMES_PER_SECOND, padding_mask
from asr_s2s.config import Config, load_config, to_dict
from asr_s2s.data.batches import Batch, SpeechDataset, ordered_batches, training_batches
from asr_s2s.data.manifest import cut_text, read_manifest
from asr_s2s.errors import ConfigError, TrainingError
from asr_s2s.model.folder import (
    find_model,
    load_model,
    load_weights,
    pretrained_names,
    save_model,
)
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.text.normalize import normalizer
from asr_s2s.text.tokenizer import Tokenizer, load_tokenizer, train_tokenizer
from asr_s2s.train.checkpoint import BestCheckpoints, Position, load_state, save_state
from asr_s2s.train.monitor import Monitor
from asr_s2s.train.objective import joint_loss
from asr_s2s.train.schedule import learning_rate, sampling_probability
from asr_s2s.train.settings import check_settings
from asr_s2s.train.validation import Validation, validate

RESUMABLE_CHANGES = {
    "data.workers",
    *("train." + key for key in ("steps", "validate_every", "validation_beam_size", "patience")),
    *("train." + key for key in ("checkpoint_every", "log_every", "attention_pictures")),
    "train.saved_precision",
}
"""Keys that may differ when a run is resumed: they change how long it trains and what it tells."""
NORMALIZATION_UTTERANCES = 1000
"""Training utterances whose mean and variance stand for all of them."""


def train(config: Config, base: Path, output: Path, device: torch.device) -> Path | None:
    """Train a model, or go on with the run that `output` holds.

    Args:
        config: the whole configuration.
        base: folder that manifest paths are relative to.
        output: run folder: state, metrics, pictures, and at the end `model/`.
        device: where to train.

    Returns:
        The model folder; None if SIGINT or SIGTERM stopped the run, its state saved.

    Raises:
        UserError: a setting, manifest or run folder that cannot be used.
    """
    check_settings(config, device)
    _claim(output, config)
    torch.manual_seed(config.train.seed)
    normalize = normalizer(config.text.normalizer)
    monitor = Monitor(output, config.train)
    cuts = _training_cuts(config, base, normalize, monitor)
    valid_cuts = _read_all(config.data.valid, base, "data.valid")
    start_from = _model_to_start_from(config, base)
    tokenizer = _tokenizer(config, output, start_from, (cut_text(cut) for cut in cuts))
    augment = WaveformAugment(config.augment, base)
    dataset = SpeechDataset(tokenizer, normalize, augment, config.train.seed)
    valid_set = SpeechDataset(tokenizer, normalize)

    model = Seq2Seq(config, len(tokenizer)).to(device)
    optimizer = torch.optim.AdamW(
        _parameter_groups(model, config.train.weight_decay),
        lr=config.train.learning_rate,
        betas=(0.9, 0.98),
        fused=device.type == "cuda",
    )
    scaler = GradScaler(device.type, enabled=config.train.precision == "fp16")
    autocast = torch.autocast(
        device.type,
        dtype=torch.float16 if config.train.precision == "fp16" else torch.bfloat16,
        enabled=config.train.precision != "fp32",
    )
    best = BestCheckpoints(output / "best", config.train.keep_best)
    state_path = output / "last.pt"
    position = Position()
    if state_path.is_file():
        position = load_state(state_path, model, optimizer, scaler)
    else:
        best.prune(position)  # what an earlier run left that was killed before its first state
        if start_from is not None:
            load_weights(model, start_from)
        elif config.features.normalization == "global":
            _measure_features(model, cuts, valid_set, config)
    monitor.resume(position.step)
    monitor.start(model, len(cuts), position.step)
    if model.ctc is not None:
        monitor.warn_infeasible(_infeasible(cuts, dataset, config))
    batches = _endless(cuts, dataset, config, position, monitor)

    def measure() -> Validation:
        return validate(model, valid_cuts, valid_set, config, device)

    with _stop_signals() as stopped, monitor:
        while position.step < config.train.steps and not _is_stale(position, config):
            rate = learning_rate(position.step, config.train)
            for group in optimizer.param_groups:
                group["lr"] = rate
            sampling = sampling_probability(position.step, config.objective)
            model.train()
            for _ in range(config.train.accumulate):
                batch = next(batches)
                monitor.count(batch)
                batch = batch.to(device)
                with autocast:
                    losses = joint_loss(model, batch, config.objective, sampling)
                torch.autograd.backward(scaler.scale(losses.total / config.train.accumulate))
            scaler.unscale_(optimizer)
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.train.clip_norm)
            if monitor.check_finite(norm, scaler.is_enabled()):
                scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            position.step += 1
            monitor.log(position, losses, norm, rate)

            validating = (
                position.step == config.train.steps
                or position.step % config.train.validate_every == 0
            )
            if validating:
                result = measure()
                is_best = best.add(position, result.word_error_rate, model)
                position.stale = 0 if is_best else position.stale + 1
                monitor.validated(position, result)
            if stopped or validating or position.step % config.train.checkpoint_every == 0:
                save_state(state_path, position, model, optimizer, scaler)
                best.prune(position)
            if stopped:
                return None
        if _is_stale(position, config):
            monitor.say(f"stopped early: no improvement in {position.stale} validations")

        if not position.best:  # resumed with fewer steps than were already taken
            best.add(position, measure().word_error_rate, model)

        def finish(steps: list[int]) -> Validation:
            """Write the mean of these steps as the model folder, and measure what was written."""
            dtype = torch.float16 if config.train.saved_precision == "fp16" else torch.float32
            save_model(folder, config, tokenizer, best.load(steps), dtype)
            model.load_state_dict(load_model(folder, device).model.state_dict())
            return measure()

        # The mean of the best checkpoints, unless the single best one validates better.
        folder = output / "model"
        steps = [step for _, step in position.best]
        result = finish(steps)
        if result.word_error_rate > position.best[0][0] and len(steps) > 1:
            monitor.say(f"the mean of {len(steps)} checkpoints is worse than the best: not used")
            steps = steps[:1]
            result = finish(steps)
        (folder / "README.md").write_text(_model_card(config, steps, result), "utf-8")
        monitor.finished(result, folder)
    return folder


def _is_stale(position: Position, config: Config) -> bool:
    return 0 < config.train.patience <= position.stale


def _endless(
    cuts: CutSet, dataset: SpeechDataset, config: Config, position: Position, monitor: Monitor
) -> Iterator[Batch]:
    """Batches, epoch after epoch, from where the position stands; moves the position along."""
    while True:
        tried = read = 0
        for batch in training_batches(
            cuts,
            dataset,
            config.data,
            seed=config.train.seed,
            epoch=position.epoch,
            skip=position.batch,
        ):
            position.batch += 1
            tried, read = tried + 1, read + len(batch.ids)
            monitor.warn(batch.failures)
            if batch.ids:
                yield batch
        if tried and not read:
            raise TrainingError(
                "data.train", "none of the recordings could be read", "Run asr-s2s check"
            )
        position.epoch += 1
        position.batch = 0


def _training_cuts(
    config: Config, base: Path, normalize: Callable[[str], str], monitor: Monitor
) -> CutSet:
    cuts = _read_all(config.data.train, base, "data.train")
    longest = min(config.data.max_seconds, config.data.batch_seconds)
    usable = [cut for cut in cuts if cut.duration <= longest and normalize(cut_text(cut))]
    if not usable:
        raise ConfigError(
            "data.max_seconds",
            f"all {len(cuts)} training utterances are empty or longer than {longest:g} s",
            "Raise data.max_seconds and data.batch_seconds",
        )
    if len(usable) < len(cuts):
        monitor.say(f"{len(cuts) - len(usable)} utterances are empty or over {longest:g} s: unused")
    return CutSet.from_cuts(usable)


def _read_all(manifests: tuple[str, ...], base: Path, key: str) -> CutSet:
    """All utterances of several manifests; ids that repeat get the manifest's number."""
    if not manifests:
        raise ConfigError(key, "no manifest is named", f"Set {key} to one or more manifests")
    cuts, seen = [], set()
    for number, name in enumerate(manifests, start=1):
        for cut in read_manifest(base / name):
            if cut.id in seen:
                cut = cut.with_id(f"{cut.id}#{number}")
            seen.add(cut.id)
            cuts.append(cut)
    return CutSet.from_cuts(cuts)


def _model_to_start_from(config: Config, base: Path) -> Path | None:
    """The folder of the model that is fine-tuned, if any."""
    name = config.train.initialize
    if name is None or name in pretrained_names():
        return None if name is None else find_model(name)
    return find_model(base / name)


def _tokenizer(
    config: Config, output: Path, start_from: Path | None, texts: Iterator[str]
) -> Tokenizer:
    """The run's tokenizer: the one already there when resuming, that of the model to start from,
    or else made from the transcripts."""
    if (output / "last.pt").is_file():
        return load_tokenizer(output)
    if start_from is not None:
        tokenizer = load_tokenizer(start_from)
    else:
        tokenizer = train_tokenizer(config.text, texts)
    tokenizer.save(output)
    return tokenizer


def _parameter_groups(model: Seq2Seq, weight_decay: float) -> list[dict[str, object]]:
    """Weight decay for matrices only, as is usual for AdamW."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]


@torch.inference_mode()
def _measure_features(model: Seq2Seq, cuts: CutSet, dataset: SpeechDataset, config: Config) -> None:
    """Set global feature normalisation from a sample of the training set."""
    stride = max(1, len(cuts) // NORMALIZATION_UTTERANCES)
    sample = CutSet.from_cuts([cut for i, cut in enumerate(cuts) if i % stride == 0])
    encoder = model.speech
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for batch in ordered_batches(sample, dataset, config.data.batch_seconds, config.data.workers):
        if not batch.ids:
            continue
        device = next(model.parameters()).device
        features, lengths = encoder.log_mel(batch.waveforms.to(device), batch.lengths.to(device))
        valid: Tensor = features[~padding_mask(lengths, features.size(1))].double().cpu()
        count, total = count + len(valid), total + valid.sum(0)
        squares = squares + valid.square().sum(0)
    if count == 0:
        raise TrainingError("data.train", "no recording could be read", "Run asr-s2s check")
    mean = total / count
    encoder.normalize.set_statistics(mean, (squares / count - mean.square()).clamp_min(0.0).sqrt())


def _infeasible(cuts: CutSet, dataset: SpeechDataset, config: Config) -> int:
    """Utterances whose transcripts have more tokens than CTC can place in their frames."""
    edge, reduction = 2 * config.features.edge_frames, config.speech_encoder.time_reduction
    count = 0
    for cut in cuts:
        tokens = dataset.tokenizer.encode(dataset.normalize(cut_text(cut)))
        needed = len(tokens) + sum(a == b for a, b in pairwise(tokens))
        frames = 1 + edge + int(cut.duration * FRAMES_PER_SECOND)
        count += needed > -(-frames // reduction)  # rounded up
    return count


def _claim(output: Path, config: Config) -> None:
    """Record the configuration in the run folder; refuse a folder that holds another run."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(
            output, f"this run folder cannot be made ({error.strerror})", "Name another --output"
        ) from error
    path = output / "config.yaml"
    if path.is_file() and (output / "last.pt").is_file():
        recorded, wanted = _flat(to_dict(load_config(path))), _flat(to_dict(config))
        for key, value in wanted.items():
            if recorded[key] != value and key not in RESUMABLE_CHANGES:
                raise TrainingError(
                    output,
                    f"it holds a run with {key}={recorded[key]}, not {value}",
                    "Name another --output, or delete that folder to begin anew",
                )
    partial = path.with_suffix(".partial")
    partial.write_text(yaml.safe_dump(to_dict(config), sort_keys=False), "utf-8")
    partial.replace(path)


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
    """Collect SIGINT and SIGTERM, so that the loop stops after the step at hand; a second one
    stops at once."""
    stopped: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if stopped:
            raise KeyboardInterrupt
        stopped.append(number)

    previous = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _model_card(config: Config, steps: list[int], result: Validation) -> str:
    rate = f"{100 * result.word_error_rate:.2f} % (beam {config.train.validation_beam_size})"
    return f"""# Model card

Trained with `asr-s2s train` on {", ".join(f"`{name}`" for name in config.data.train)}.

| | |
|---|---|
| validation | {", ".join(f"`{name}`" for name in config.data.valid)} |
| word error rate there | {rate} |
| weights | mean of steps {", ".join(map(str, sorted(steps)))} |
| normaliser | `{config.text.normalizer}` |

Add here: the data's licences, what the model is for, and where it fails.
"""
