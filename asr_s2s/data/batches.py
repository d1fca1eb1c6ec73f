"""Length-bucketed batches, determined by seed and epoch."""

import atexit
import itertools
import multiprocessing
import random
import re
import signal
import warnings
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from multiprocessing.process import BaseProcess
from typing import Any
from weakref import WeakSet

import torch
from lhotse import CutSet
from lhotse.dataset import DynamicBucketingSampler, DynamicCutSampler
from lhotse.dataset.sampling.base import SamplingConstraint
from torch.utils.data import DataLoader

from asr_s2s.allocator import release_freed_memory
from asr_s2s.config import DataConfig
from asr_s2s.data.datasets import Batch, BatchDataset
from asr_s2s.errors import TrainingError


def training_batches(
    items: CutSet,
    dataset: BatchDataset,
    config: DataConfig,
    *,
    seed: int,
    epoch: int,
    skip: int,
    rank: int = 0,
    processes: int = 1,
) -> Iterator[Batch]:
    """Yield one epoch of length-bucketed batches in random order, starting at batch `skip`.

    With `config.short_first`, the first epoch is ordered by length instead, if the dataset
    asks for it (`BatchDataset.short_first`).

    Args:
        items: cuts, `MeasuredPair`s or `Line`s, as the dataset expects.
        rank, processes: yield batch number `rank` of every `processes` consecutive batches. An
            incomplete group at the end is dropped, so that all processes get equally many.
    """
    dataset.epoch = epoch
    constraint = dataset.limit(config)
    buckets = min(config.buckets, len(items) // 2)
    shuffled = items.shuffle(random.Random(f"{seed} {epoch}"))
    if epoch == 0 and config.short_first and dataset.short_first:
        ordered = sorted(items, key=lambda item: (constraint.measure_length(item), item.id))
        sampler = _sequential_sampler(CutSet(ordered), constraint)
    elif buckets < 2:
        sampler = _sequential_sampler(shuffled, constraint)
    else:
        with _allow_eager_items():
            sampler = DynamicBucketingSampler(
                shuffled,
                constraint=constraint,
                num_buckets=buckets,
                shuffle=True,
                seed=seed,
                world_size=1,
                rank=0,
            )
        sampler.set_epoch(epoch)
    batches = itertools.islice(_split_oversized(constraint, sampler), skip, None)
    groups = zip(*[batches] * processes, strict=False)
    return _load((group[rank] for group in groups), dataset, config.workers)


def ordered_batches(items: CutSet, dataset: BatchDataset, config: DataConfig) -> Iterator[Batch]:
    """Yield all items once, longest first, for validation and statistics."""
    constraint = dataset.limit(config)
    ordered = sorted(items, key=lambda item: (-constraint.measure_length(item), item.id))
    sampler = _sequential_sampler(CutSet(ordered), constraint)
    return _load(sampler, dataset, config.workers)


def _sequential_sampler(items: CutSet, constraint: SamplingConstraint) -> DynamicCutSampler:
    with _allow_eager_items():
        return DynamicCutSampler(items, constraint=constraint, world_size=1, rank=0)


def _allow_eager_items() -> AbstractContextManager[object]:
    """Silence lhotse's warning about eager items: it shuffles lazy ones only within a window."""
    return warnings.catch_warnings(category=UserWarning, action="ignore")


def _split_oversized(constraint: SamplingConstraint, batches: Iterable[CutSet]) -> Iterator[CutSet]:
    """Split batches that exceed the constraint in two; lhotse closes a batch only after the item
    that makes it too large."""
    constraint = constraint.copy()  # the sampler still counts with its own
    for batch in batches:
        constraint.reset()
        for item in batch:
            constraint.add(item)
        if constraint.exceeded() and len(batch) > 1:
            yield from _split_oversized(constraint, batch.split(2))
        else:
            yield batch


def _load(sampler: Any, dataset: BatchDataset, workers: int) -> Iterator[Batch]:
    """Load the sampler's batches in this process, or ahead of time in worker processes."""
    if workers:
        release_freed_memory()  # forked workers would keep a copy of it
    loader: DataLoader[Batch] = DataLoader(
        dataset,
        sampler=sampler,
        batch_size=None,
        num_workers=workers,
        worker_init_fn=_ignore_stop_signals,
        # Creating the iterator must not draw from the generator that a resumed run restores.
        generator=torch.Generator(),
        prefetch_factor=4 if workers else None,
    )
    others = set(multiprocessing.active_children())
    try:
        batches = iter(loader)
    except OSError as error:  # the locks of worker processes lie in shared memory
        raise _no_shared_memory(error.strerror or str(error)) from error
    _workers.update(set(multiprocessing.active_children()) - others)
    return _explain_errors(batches)


def _explain_errors(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Name what to change if worker processes cannot pass batches on."""
    try:
        yield from batches
    except RuntimeError as error:
        if not re.search("shared memory|shm|Bus error", str(error)):
            raise
        raise _no_shared_memory("it is too small") from error


def _no_shared_memory(reason: str) -> TrainingError:
    return TrainingError(
        "data.workers",
        f"worker processes cannot use the shared memory of this machine, /dev/shm ({reason})",
        "Make it larger, for example by docker run --shm-size=1g, or set data.workers=0",
    )


_workers: WeakSet[BaseProcess] = WeakSet()


@atexit.register
def _kill_workers() -> None:
    """Kill workers that still run at exit. Python would send them SIGTERM, which they ignore, and
    wait for them forever."""
    if _workers:  # torch's handler raises when the first worker dies, before the next is killed
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for process in _workers:
        if process.is_alive():
            process.kill()


def _ignore_stop_signals(worker: int) -> None:
    """Leave Ctrl-C to the training process; a terminal sends it to all processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
