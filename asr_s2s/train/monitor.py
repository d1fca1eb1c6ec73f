"""Reports of a run: progress bar, metrics.jsonl, TensorBoard, attention pictures."""

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from asr_s2s.config import TrainConfig
from asr_s2s.data.datasets import Batch, BatchDataset
from asr_s2s.errors import TrainingError
from asr_s2s.inspect.attention import draw_attention
from asr_s2s.train.checkpoint import Position
from asr_s2s.train.objective import Losses
from asr_s2s.train.processes import Processes
from asr_s2s.train.streams import Stream
from asr_s2s.train.validation import Validation

MAX_SKIPPED = 20
"""Maximum consecutive steps with infinite or NaN gradients before the run is aborted."""


class Monitor:
    """Reports to the terminal and the run folder, without effect on training. Among several
    processes, all but the first report only utterances that they could not read."""

    def __init__(self, output: Path, config: TrainConfig, processes: Processes) -> None:
        self.output = output
        self.config = config
        self.processes = processes
        self.console = Console(stderr=True, highlight=False, emoji=False)
        self.metrics = output / "metrics.jsonl"
        self.tensorboard: SummaryWriter | None = None
        self.bar = Progress(
            TextColumn("step {task.completed:.0f}/{task.total:.0f}"),
            BarColumn(),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not (self.console.is_terminal and processes.first),
        )
        self.task = self.bar.add_task("train", total=config.steps, status="")
        self.warned: set[str] = set()
        self.skipped = 0
        self.amounts: dict[str, float] = {}
        self.losses: dict[str, Losses] = {}
        self.speeds: dict[str, tuple[str, str]] = {}
        """Name and unit of the training speed, by kind of source."""
        self.since = time.monotonic()

    def info(self, message: str) -> None:
        """Print a line to standard error, in the first process only."""
        if self.processes.first:
            self._print(message)

    def _print(self, message: str) -> None:
        self.console.print(message, markup=False, soft_wrap=True)

    def warn(self, failures: Sequence[str]) -> None:
        """Print a line to standard error for each utterance left out, once per utterance."""
        for failure in failures:
            if failure not in self.warned:
                self.warned.add(failure)
                self._print(f"left out: {failure}")

    def resume(self, step: int) -> None:
        """Drop metrics logged after the step from which the run resumes."""
        if self.processes.first and self.metrics.is_file():
            lines = self.metrics.read_text("utf-8").splitlines()
            # A killed run may leave an incomplete last line.
            whole = [line for line in lines if line.endswith("}")]
            kept = [line for line in whole if json.loads(line)["step"] <= step]
            self.metrics.write_text("".join(f"{line}\n" for line in kept if step), "utf-8")
        if step:
            self.info(f"resuming {self.output} at step {step}")

    def start(self, model: nn.Module, streams: Sequence[Stream[BatchDataset]], step: int) -> None:
        """Report the number of training items per kind of source, and show the progress bar."""
        if self.processes.first:
            self.tensorboard = SummaryWriter(str(self.output / "tensorboard"), purge_step=step + 1)
        count = sum(p.numel() for p in model.parameters())
        self.speeds = {stream.kind: stream.dataset.speed for stream in streams}
        counts = " and ".join(f"{len(s.items)} {s.dataset.noun}" for s in streams)
        self.info(f"training on {counts}; {count / 1e6:.2f} M parameters")
        self.bar.update(self.task, completed=step)
        self.bar.start()
        self.since = time.monotonic()

    def count(self, batch: Batch, losses: Losses) -> None:
        """Add the audio or tokens of a batch, times the number of processes, and keep its losses
        as the latest of its kind."""
        amount = batch.amount * self.processes.count
        self.amounts[batch.kind] = self.amounts.get(batch.kind, 0.0) + amount
        self.losses[batch.kind] = losses

    def check_finite(self, norm: Tensor, scaled: bool) -> bool:
        """Return whether the gradients are finite.

        Raises:
            TrainingError: more than `MAX_SKIPPED` consecutive steps had infinite or NaN gradients.
        """
        finite = bool(norm.isfinite())
        self.skipped = 0 if finite else self.skipped + 1
        if self.skipped == 1 and not scaled:  # with loss scaling, occasional overflow is normal
            self.info("gradients are not finite: this step is skipped")
        if self.skipped > MAX_SKIPPED:
            raise TrainingError(
                "train.learning_rate",
                f"gradients were not finite in {self.skipped} consecutive steps",
                "Lower the learning rate, or resume from an earlier copy of the run",
            )
        return finite

    def log(self, position: Position, norm: Tensor, rate: float) -> None:
        """Log every `log_every`-th step."""
        self.bar.update(self.task, completed=position.step)
        if position.step % self.config.log_every or not self.processes.first:
            return
        elapsed = time.monotonic() - self.since
        values: dict[str, float] = {}
        status = []
        several = len(self.speeds) > 1
        for kind, losses in self.losses.items():
            prefix = f"{kind}/" if several else ""
            values |= {
                f"{prefix}loss": float(losses.total.detach()),
                f"{prefix}attention_loss": float(losses.attention),
                f"{prefix}accuracy": float(losses.accuracy),
            }
            if losses.ctc is not None:
                values[f"{prefix}ctc_loss"] = float(losses.ctc)
            if losses.distill is not None:
                values[f"{prefix}distill_loss"] = float(losses.distill)
            if losses.coverage is not None:
                values[f"{prefix}coverage_loss"] = float(losses.coverage)
            name, unit = self.speeds[kind]
            values[name] = self.amounts.get(kind, 0.0) / elapsed
            status.append(
                f"{kind + ': ' if several else ''}loss {values[f'{prefix}loss']:.3f}  "
                f"accuracy {values[f'{prefix}accuracy']:.3f}  {values[name]:,.0f} {unit}"
            )
        values |= {"gradient_norm": float(norm), "learning_rate": rate}
        self.amounts, self.losses, self.since = {}, {}, time.monotonic()
        self.bar.update(self.task, status="  ".join(status))
        if not self.console.is_terminal:
            self.info(f"step {position.step}  {'  '.join(status)}")
        self._write("train", position, values)

    def validated(self, position: Position, result: Validation) -> None:
        """Log a validation."""
        mark = " (best)" if position.stale == 0 else ""
        self.info(f"step {position.step}  validation {result}{mark}")
        for reference, hypothesis in result.samples:
            self.info(f"    {reference!r} -> {hypothesis!r}")
        self.warn(result.failures)
        self._write("valid", position, result.measures)
        for number, (name, shown) in enumerate(result.attended):
            path = self.output / "attention" / f"step-{position.step:07d}-{number}.png"
            draw_attention(path, shown, f"{name}, step {position.step}")
        self.amounts, self.losses, self.since = {}, {}, time.monotonic()

    def finished(self, result: Validation, folder: Path) -> None:
        """Report the final model."""
        self.info(f"validation {result}; model in {folder}")

    def __enter__(self) -> "Monitor":
        return self

    def __exit__(self, *_: object) -> None:
        """Hide the progress bar and flush logs, also after an error."""
        self.bar.stop()
        if self.tensorboard is not None:
            self.tensorboard.close()

    def _write(self, kind: str, position: Position, values: dict[str, float]) -> None:
        epoch = max(position.epoch.values(), default=0)
        line: dict[str, object] = {"kind": kind, "step": position.step, "epoch": epoch}
        # JSON has no NaN and no infinity.
        line |= {name: v if math.isfinite(v) else None for name, v in values.items()}
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self.tensorboard is not None:
            for name, value in values.items():
                self.tensorboard.add_scalar(f"{kind}/{name}", value, position.step)
