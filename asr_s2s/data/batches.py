"""Batches of utterances of similar length, the same for the same seed and epoch."""

import itertools
import random
import signal
import warnings
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from lhotse import CutSet
from lhotse.dataset import DynamicBucketingSampler, SimpleCutSampler
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from asr_s2s.config import DataConfig
from asr_s2s.data.manifest import cut_text, read_cut_audio
from asr_s2s.errors import UserError
from asr_s2s.text.tokenizer import BLANK, Tokenizer

Augment = Callable[[NDArray[np.float32], np.random.Generator], NDArray[np.float32]]
"""A waveform, and the utterance's own source of chance, to a changed waveform."""


class Batch(NamedTuple):
    """Utterances with their transcripts."""

    ids: list[str]
    texts: list[str]
    """Normalised transcripts."""
    waveforms: Tensor
    """`(batch, samples)`, zero beyond each length; 16 kHz in [-1, 1]."""
    lengths: Tensor
    """Samples of each row, `(batch,)`."""
    tokens: Tensor
    """Transcripts `(batch, tokens)`, padded with BLANK; no start or end tokens."""
    token_lengths: Tensor
    """`(batch,)`"""
    failures: list[str]
    """Messages about utterances left out because they could not be read."""

    @property
    def seconds(self) -> float:
        """Seconds of audio, padding not counted."""
        return float(self.lengths.sum()) / 16_000

    def to(self, device: torch.device) -> "Batch":
        """The batch with its tensors on a device."""
        moved: Any = (part.to(device) if isinstance(part, Tensor) else part for part in self)
        return Batch(*moved)


class SpeechDataset(Dataset[Batch]):
    """Reads, augments and collates the cuts of a batch, as lhotse's datasets do.

    An utterance's augmentation depends on the seed, the epoch and its id alone: neither the
    order of reading nor the number of processes changes it.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        normalize: Callable[[str], str],
        augment: Augment | None = None,
        seed: int = 0,
        epoch: int = 0,
    ) -> None:
        self.tokenizer = tokenizer
        self.normalize = normalize
        self.augment = augment
        self.seed = seed
        self.epoch = epoch

    def __getitem__(self, cuts: CutSet) -> Batch:
        """A batch of what could be read of the cuts; it may be empty but for its failures."""
        ids, texts, waveforms, tokens, failures = [], [], [], [], []
        for cut in cuts:
            try:
                samples = read_cut_audio(cut)
                if self.augment is not None:
                    name = zlib.crc32(cut.id.encode())
                    chance = np.random.default_rng([self.seed, self.epoch, name])
                    samples = self.augment(samples, chance)
            except UserError as error:
                failures.append(str(error))
                continue
            text = self.normalize(cut_text(cut))
            ids.append(cut.id)
            texts.append(text)
            waveforms.append(torch.from_numpy(samples))
            tokens.append(torch.tensor(self.tokenizer.encode(text), dtype=torch.long))
        return Batch(
            ids,
            texts,
            pad_sequence(waveforms, batch_first=True) if ids else torch.zeros(0, 0),
            torch.tensor([len(w) for w in waveforms]),
            pad_sequence(tokens, batch_first=True, padding_value=BLANK)
            if ids
            else torch.zeros(0, 0),
            torch.tensor([len(t) for t in tokens]),
            failures,
        )


def training_batches(
    cuts: CutSet, dataset: SpeechDataset, config: DataConfig, *, seed: int, epoch: int, skip: int
) -> Iterator[Batch]:
    """One epoch of bucketed batches in a random order, from its `skip`-th batch on.

    The first epoch comes in order of length where `short_first` says so.
    """
    dataset.epoch = epoch
    seconds, buckets = config.batch_seconds, min(config.buckets, len(cuts) // 2)
    mixed = cuts.shuffle(random.Random(f"{seed} {epoch}"))
    if epoch == 0 and config.short_first:
        ordered = CutSet.from_cuts(sorted(cuts, key=lambda cut: (cut.duration, cut.id)))
        sampler = SimpleCutSampler(ordered, max_duration=seconds, world_size=1, rank=0)
    elif buckets < 2:
        sampler = SimpleCutSampler(mixed, max_duration=seconds, world_size=1, rank=0)
    else:
        with warnings.catch_warnings(category=UserWarning, action="ignore"):
            # It would rather have the cuts lazily, but mixes only a window of those.
            sampler = DynamicBucketingSampler(
                mixed,
                max_duration=seconds,
                num_buckets=buckets,
                shuffle=True,
                seed=seed,
                world_size=1,
                rank=0,
            )
        sampler.set_epoch(epoch)
    return iter(_loader(itertools.islice(sampler, skip, None), dataset, config.workers))


def ordered_batches(
    cuts: CutSet, dataset: SpeechDataset, batch_seconds: float, workers: int
) -> Iterator[Batch]:
    """All cuts once, longest first, for validation and statistics."""
    ordered = CutSet.from_cuts(sorted(cuts, key=lambda cut: (-cut.duration, cut.id)))
    sampler = SimpleCutSampler(ordered, max_duration=batch_seconds, world_size=1, rank=0)
    return iter(_loader(sampler, dataset, workers))


def _loader(sampler: Any, dataset: SpeechDataset, workers: int) -> DataLoader[Batch]:
    return DataLoader(
        dataset,
        sampler=sampler,
        batch_size=None,
        num_workers=workers,
        worker_init_fn=_ignore_stop_signals,
        # Starting to read must not draw from the generator that a resumed run restores.
        generator=torch.Generator(),
        prefetch_factor=4 if workers else None,
    )


def _ignore_stop_signals(worker: int) -> None:
    """Ctrl-C reaches all processes of the terminal; only the training process answers it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
