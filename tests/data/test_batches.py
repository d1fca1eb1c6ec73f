import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lhotse import CutSet

from asr_s2s.audio.augment import WaveformAugment
from asr_s2s.config import AugmentConfig, DataConfig, TextConfig
from asr_s2s.data.batches import ordered_batches, training_batches
from asr_s2s.data.datasets import MeasuredPair, SpeechDataset, TextDataset
from asr_s2s.data.manifest import read_manifest
from asr_s2s.data.parallel import read_parallel
from asr_s2s.errors import TrainingError
from asr_s2s.text.normalize import normalizer
from asr_s2s.text.output import Output
from asr_s2s.text.tokenizer import BLANK, EOS, CharacterTokenizer
from asr_s2s.text.vocabulary import train_tokenizer
from tests.support import ciphers
from tests.support.limits import TIMEOUT
from tests.support.tones import write_corpus

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


def test_an_epoch_contains_every_utterance_once(cuts: CutSet) -> None:
    for number in (0, 1):
        ids = [name for batch in epoch(cuts, number) for name in batch.ids]
        assert sorted(ids) == sorted(cut.id for cut in cuts)


def test_batches_stay_within_batch_seconds_including_padding(cuts: CutSet) -> None:
    for batch in training_batches(cuts, make_dataset(False), CONFIG, seed=1, epoch=1, skip=0):
        assert batch.source.numel() / 16_000 <= CONFIG.batch_seconds


def test_the_same_seed_and_epoch_give_the_same_batches_with_any_number_of_workers(
    cuts: CutSet,
) -> None:
    expected = epoch(cuts, 2)
    assert_same(expected, epoch(cuts, 2))
    workers = DataConfig(batch_seconds=3, buckets=3, workers=2, short_first=False)
    assert_same(expected, epoch(cuts, 2, config=workers))
    assert [b.ids for b in expected] != [b.ids for b in epoch(cuts, 3)]


def test_speed_is_constant_within_a_batch_and_varies_between_batches(
    cuts: CutSet,
) -> None:
    durations = {cut.id: cut.duration for cut in cuts}
    found = set()
    for batch in epoch(cuts, 1):
        seconds = torch.tensor([durations[name] for name in batch.ids])
        (speed,) = {round(float(s), 1) for s in seconds / (batch.lengths / 16_000)}
        found.add(speed)
    assert found == {0.9, 1.0, 1.1}


def test_skipping_batches_continues_the_same_epoch(cuts: CutSet) -> None:
    assert_same(epoch(cuts, 2)[3:], epoch(cuts, 2, skip=3))


def test_a_process_that_exits_during_an_epoch_does_not_wait_for_its_workers(
    cuts: CutSet, tmp_path: Path
) -> None:
    cuts.to_file(tmp_path / "cuts.jsonl")
    script = f"""
import sys, time
from multiprocessing.process import BaseProcess
from pathlib import Path
from lhotse import CutSet
from asr_s2s.config import DataConfig
from asr_s2s.data.batches import training_batches
kill = BaseProcess.kill
BaseProcess.kill = lambda self: (kill(self), time.sleep(0.2))  # dies before the next is killed
from asr_s2s.data.datasets import Output, SpeechDataset
from asr_s2s.text.normalize import normalizer
from asr_s2s.text.tokenizer import CharacterTokenizer
dataset = SpeechDataset(Output(CharacterTokenizer("abcd"), normalizer("verbatim")))
cuts = CutSet.from_file({str(tmp_path / "cuts.jsonl")!r}).to_eager()
config = DataConfig(batch_seconds=1, workers=2)
sys.batches = training_batches(cuts, dataset, config, seed=1, epoch=0, skip=0)
print(len(next(sys.batches).ids))  # referenced until the interpreter exits, as by a traceback
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


def test_the_first_epoch_is_ordered_by_length(cuts: CutSet) -> None:
    config = DataConfig(batch_seconds=3, workers=0, short_first=True)
    dataset = make_dataset(augment=False)
    batches = training_batches(cuts, dataset, config, seed=1, epoch=0, skip=0)
    longest = [int(batch.lengths.max()) for batch in batches]
    assert longest == sorted(longest)


def test_augmentation_differs_between_epochs(cuts: CutSet) -> None:
    def waveform(number: int) -> np.ndarray:
        dataset = make_dataset()
        dataset.epoch = number
        return dataset[CutSet.from_cuts([cuts[0]])].source.numpy()

    first, again, other = waveform(0), waveform(0), waveform(1)
    assert np.array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)


def test_reading_does_not_change_the_global_random_state(cuts: CutSet) -> None:
    before = torch.get_rng_state()
    list(ordered_batches(cuts, make_dataset(False), CONFIG))
    epoch(cuts, 1)
    assert torch.equal(before, torch.get_rng_state())


TEXT_CONFIG = DataConfig(batch_tokens=120, buckets=3, workers=0)


@pytest.fixture(scope="module")
def parallel_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    ciphers.write_corpus(folder, sentences=200)
    return folder


def make_text_dataset(folder: Path, sampling: float = 0.2) -> tuple[CutSet, TextDataset]:
    """Return pairs with token counts, and the dataset that segments them into subwords."""
    pairs = read_parallel(folder / "train.{xx,yy}")
    texts = [text for pair in pairs for text in (pair.source, pair.target)]
    tokenizer = train_tokenizer(TextConfig(tokenizer="sentencepiece", vocabulary_size=40), texts)
    verbatim = normalizer("verbatim")
    dataset = TextDataset(
        Output(tokenizer, verbatim),
        tokenizer,
        verbatim,
        sampling=sampling,
        source_sampling=sampling,
        seed=5,
    )
    return CutSet([MeasuredPair(pair, dataset.num_tokens(pair)) for pair in pairs]), dataset


def text_epoch(
    folder: Path,
    number: int,
    skip: int = 0,
    config: DataConfig = TEXT_CONFIG,
    sampling: float = 0.2,
) -> list:
    pairs, dataset = make_text_dataset(folder, sampling)
    return list(training_batches(pairs, dataset, config, seed=5, epoch=number, skip=skip))


@pytest.mark.parametrize("buckets", [1, 3, 50])
def test_text_batches_contain_every_pair_once_and_stay_within_batch_tokens(
    parallel_folder: Path, buckets: int
) -> None:
    config = DataConfig(batch_tokens=120, buckets=buckets, workers=0)
    for number in (0, 1):
        batches = text_epoch(parallel_folder, number, config=config, sampling=0.0)
        names = [name for batch in batches for name in batch.ids]
        assert sorted(names) == sorted(f"train:{line}" for line in range(1, 201))
        for batch in batches:  # the end token counts on both sides
            assert len(batch.ids) * max(batch.source.size(1), batch.tokens.size(1) + 1) <= 120
        assert len(batches) < 100


def test_a_long_pair_does_not_make_its_batch_too_large(tmp_path: Path) -> None:
    lines = ["bado"] * 40
    lines[20] = "bado " * 90
    for side in ("xx", "yy"):
        (tmp_path / f"train.{side}").write_text("\n".join(lines) + "\n")
    tokenizer = CharacterTokenizer("bado ")
    verbatim = normalizer("verbatim")
    dataset = TextDataset(Output(tokenizer, verbatim), tokenizer, verbatim)
    pairs = read_parallel(tmp_path / "train.{xx,yy}")
    items = CutSet([MeasuredPair(pair, dataset.num_tokens(pair)) for pair in pairs])
    config = DataConfig(batch_tokens=500, buckets=2, workers=0)
    batches = list(training_batches(items, dataset, config, seed=1, epoch=0, skip=0))
    assert sum(len(batch.ids) for batch in batches) == 40
    assert max(batch.source.numel() for batch in batches) <= 500


def test_text_batches_do_not_depend_on_workers_and_can_be_resumed(
    parallel_folder: Path,
) -> None:
    expected = text_epoch(parallel_folder, 2)
    workers = DataConfig(batch_tokens=120, buckets=3, workers=2)
    assert_same(expected, text_epoch(parallel_folder, 2, config=workers))
    assert_same(expected[3:], text_epoch(parallel_folder, 2, skip=3))
    assert [b.ids for b in expected] != [b.ids for b in text_epoch(parallel_folder, 3)]


def test_segmentation_differs_between_epochs_and_keeps_the_text(
    parallel_folder: Path,
) -> None:
    pairs, dataset = make_text_dataset(parallel_folder)
    seen = []
    for number in (0, 0, 1):
        dataset.epoch = number
        batch = dataset[list(pairs)[:20]]
        for row, item in enumerate(list(pairs)[:20]):
            source, length = batch.source[row].tolist(), int(batch.lengths[row])
            assert source[length - 1] == EOS and set(source[length:]) <= {BLANK}
            assert dataset.source_tokenizer.decode(source[:length]) == item.pair.source
            assert dataset.output.tokenizer.decode(batch.tokens[row].tolist()) == item.pair.target
        seen.append(batch)
    assert_same(seen[:1], seen[1:2])
    assert seen[0].source.shape != seen[2].source.shape or bool(
        (seen[0].source != seen[2].source).any()
    )


def test_prompts_are_the_tokens_of_the_languages(parallel_folder: Path) -> None:
    pairs = read_parallel(parallel_folder / "train.tsv")
    tokenizer = CharacterTokenizer("".join(pair.source + pair.target for pair in pairs))
    verbatim = normalizer("verbatim")
    dataset = TextDataset(Output(tokenizer, verbatim, ["zz", "yy"]), tokenizer, verbatim)
    some = [pairs[0], pairs[-1]]
    batch = dataset[[MeasuredPair(pair, dataset.num_tokens(pair)) for pair in some]]
    assert [pair.language for pair in some] == ["yy", "zz"]
    assert batch.prompts.tolist() == [[len(tokenizer) + 1], [len(tokenizer)]]
    assert batch.tokens.max() < len(tokenizer)


def test_missing_shared_memory_is_one_error_that_names_the_workers(
    cuts: CutSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("multiprocessing.synchronize.SemLock.__init__", fail)
    with pytest.raises(TrainingError, match="shared memory") as caught:
        epoch(cuts, 0, config=replace(CONFIG, workers=1))
    assert caught.value.where == "data.workers"
