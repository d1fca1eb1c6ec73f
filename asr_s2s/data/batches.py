"""Batches of sources of similar length, the same for the same seed and epoch."""

import atexit
import itertools
import multiprocessing
import random
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
from lhotse.dataset.sampling.base import SamplingConstraint, TimeConstraint, TokenConstraint
from torch.utils.data import DataLoader

from asr_s2s.allocator import release_freed_memory
from asr_s2s.config import DataConfig
from asr_s2s.data.datasets import Batch, SpeechDataset, TextDataset
from asr_s2s.data.lines import LineDataset


def training_batches(
    items: CutSet,
    dataset: SpeechDataset | TextDataset | LineDataset,
    config: DataConfig,
    *,
    seed: int,
    epoch: int,
    skip: int,
    rank: int = 0,
    processes: int = 1,
) -> Iterator[Batch]:
    """One epoch of bucketed batches in a random order, from its `skip`-th batch on.

    Args:
        items: cuts, `MeasuredPair`s or `Line`s, as the dataset takes them.
        rank, processes: of `processes` successive batches, the `rank`-th one; batches that do not
            suffice for all are left out, so that every process has as many.

    The first epoch of speech comes in order of length where `short_first` says so.
    """
    dataset.epoch = epoch
    constraint = _constraint(dataset, config)
    buckets = min(config.buckets, len(items) // 2)
    mixed = items.shuffle(random.Random(f"{seed} {epoch}"))
    if epoch == 0 and config.short_first and dataset.kind == "speech":
        ordered = sorted(items, key=lambda item: (constraint.measure_length(item), item.id))
        sampler = _in_order(CutSet(ordered), constraint)
    elif buckets < 2:
        sampler = _in_order(mixed, constraint)
    else:
        with _eager():
            sampler = DynamicBucketingSampler(
                mixed,
                constraint=constraint,
                num_buckets=buckets,
                shuffle=True,
                seed=seed,
                world_size=1,
                rank=0,
            )
        sampler.set_epoch(epoch)
    batches = itertools.islice(_within(constraint, sampler), skip, None)
    shared = zip(*[batches] * processes, strict=False)
    return _read((group[rank] for group in shared), dataset, config.workers)


def ordered_batches(
    items: CutSet, dataset: SpeechDataset | TextDataset | LineDataset, config: DataConfig
) -> Iterator[Batch]:
    """All items once, longest first, for validation and statistics."""
    constraint = _constraint(dataset, config)
    ordered = sorted(items, key=lambda item: (-constraint.measure_length(item), item.id))
    sampler = _in_order(CutSet(ordered), constraint)
    return _read(sampler, dataset, config.workers)


def _in_order(items: CutSet, constraint: SamplingConstraint) -> DynamicCutSampler:
    with _eager():
        return DynamicCutSampler(items, constraint=constraint, world_size=1, rank=0)


def _eager() -> AbstractContextManager[object]:
    """lhotse would rather have items lazily, but mixes only a window of those."""
    return warnings.catch_warnings(category=UserWarning, action="ignore")


def _within(constraint: SamplingConstraint, batches: Iterable[CutSet]) -> Iterator[CutSet]:
    """Batches that keep the constraint: lhotse ends a batch once an item has made it too large,
    and such a batch is parted in two."""
    constraint = constraint.copy()  # the sampler's own goes on counting
    for batch in batches:
        constraint.reset()
        for item in batch:
            constraint.add(item)
        if constraint.exceeded() and len(batch) > 1:
            yield from _within(constraint, batch.split(2))
        else:
            yield batch


def _constraint(
    dataset: SpeechDataset | TextDataset | LineDataset, config: DataConfig
) -> SamplingConstraint:
    """What a batch may hold."""
    if dataset.kind == "speech":
        return TimeConstraint(max_duration=config.batch_seconds)
    return TokenConstraint(max_tokens=config.batch_tokens)


def _read(
    sampler: Any, dataset: SpeechDataset | TextDataset | LineDataset, workers: int
) -> Iterator[Batch]:
    """The batches that the sampler names, read here or by processes that read ahead."""
    if workers:
        release_freed_memory()  # the readers are forks
    loader: DataLoader[Batch] = DataLoader(
        dataset,
        sampler=sampler,
        batch_size=None,
        num_workers=workers,
        worker_init_fn=_ignore_stop_signals,
        # Starting to read must not draw from the generator that a resumed run restores.
        generator=torch.Generator(),
        prefetch_factor=4 if workers else None,
    )
    others = set(multiprocessing.active_children())
    batches = iter(loader)
    _readers.update(set(multiprocessing.active_children()) - others)
    return batches


_readers: WeakSet[BaseProcess] = WeakSet()


@atexit.register
def _end_readers() -> None:
    """Python ends what still reads when it exits by SIGTERM, which readers ignore, and would then
    wait for them for ever."""
    if _readers:  # torch's handler raises at the first one's death, before the next is ended
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for process in _readers:
        if process.is_alive():
            process.kill()


def _ignore_stop_signals(worker: int) -> None:
    """Ctrl-C reaches all processes of the terminal; only the training process answers it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
