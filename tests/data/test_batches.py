import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from lhotse import CutSet

from asr_s2s.audio.augment import WaveformAugment
from asr_s2s.config import AugmentConfig, DataConfig
from asr_s2s.data.batches import ordered_batches, training_batches
from asr_s2s.data.datasets import Output, SpeechDataset
from asr_s2s.data.manifest import read_manifest
from asr_s2s.text.normalize import normalizer
from asr_s2s.text.tokenizer import CharacterTokenizer

sys.path.insert(0, str(Path(__file__).parent.parent / "train"))
from tones import write_corpus

CONFIG = DataConfig(batch_seconds=3, buckets=3, workers=0, short_first=False)


@pytest.fixture(scope="module")
def cuts(tmp_path_factory: pytest.TempPathFactory) -> CutSet:
    folder = tmp_path_factory.mktemp("batches")
    write_corpus(folder, utterances=60)
    return read_manifest(folder / "train.jsonl")


def make_dataset(augment: bool = True) -> SpeechDataset:
    changes = WaveformAugment(AugmentConfig(noise_probability=0.5)) if augment else None
    output = Output(CharacterTokenizer("abcd"), normalizer("verbatim"))
    return SpeechDataset(output, changes, seed=5)


def epoch(cuts: CutSet, number: int, skip: int = 0, config: DataConfig = CONFIG) -> list:
    return list(training_batches(cuts, make_dataset(), config, seed=5, epoch=number, skip=skip))


def assert_same(left: list, right: list) -> None:
    assert [batch.ids for batch in left] == [batch.ids for batch in right]
    for a, b in zip(left, right, strict=True):
        assert torch.equal(a.source, b.source) and torch.equal(a.tokens, b.tokens)


def test_an_epoch_holds_every_utterance_once(cuts: CutSet) -> None:
    for number in (0, 1):
        ids = [name for batch in epoch(cuts, number) for name in batch.ids]
        assert sorted(ids) == sorted(cut.id for cut in cuts)


def test_batches_stay_within_their_seconds_padding_included(cuts: CutSet) -> None:
    for batch in training_batches(cuts, make_dataset(False), CONFIG, seed=1, epoch=1, skip=0):
        assert batch.source.numel() / 16_000 <= CONFIG.batch_seconds


def test_the_same_seed_and_epoch_give_the_same_batches_in_any_number_of_processes(
    cuts: CutSet,
) -> None:
    here = epoch(cuts, 2)
    assert_same(here, epoch(cuts, 2))
    workers = DataConfig(batch_seconds=3, buckets=3, workers=2, short_first=False)
    assert_same(here, epoch(cuts, 2, config=workers))
    assert [b.ids for b in here] != [b.ids for b in epoch(cuts, 3)]


def test_skipping_batches_continues_the_same_epoch(cuts: CutSet) -> None:
    assert_same(epoch(cuts, 2)[3:], epoch(cuts, 2, skip=3))


def test_the_first_epoch_comes_in_order_of_length(cuts: CutSet) -> None:
    config = DataConfig(batch_seconds=3, workers=0, short_first=True)
    dataset = make_dataset(augment=False)
    batches = training_batches(cuts, dataset, config, seed=1, epoch=0, skip=0)
    longest = [int(batch.lengths.max()) for batch in batches]
    assert longest == sorted(longest)


def test_an_utterance_is_augmented_anew_each_epoch(cuts: CutSet) -> None:
    def waveform(number: int) -> np.ndarray:
        dataset = make_dataset()
        dataset.epoch = number
        return dataset[CutSet.from_cuts([cuts[0]])].source.numpy()

    first, again, other = waveform(0), waveform(0), waveform(1)
    assert np.array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)


def test_reading_draws_nothing_from_the_generator_that_training_uses(cuts: CutSet) -> None:
    before = torch.get_rng_state()
    list(ordered_batches(cuts, make_dataset(False), CONFIG))
    epoch(cuts, 1)
    assert torch.equal(before, torch.get_rng_state())
