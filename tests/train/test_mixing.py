"""Training on corpora that are mixed by weights: shares of an epoch, and exact resume."""

import itertools
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from asr_s2s.config import Config
from asr_s2s.config_file import load_config
from asr_s2s.data.datasets import Batch
from asr_s2s.errors import ConfigError
from asr_s2s.model.folder import load_tokenizers
from asr_s2s.train.checkpoint import Position
from asr_s2s.train.processes import Processes
from asr_s2s.train.seq2seq_task import Seq2SeqTask
from asr_s2s.train.settings import check_sources
from asr_s2s.train.streams import endless
from tests.support import ciphers, tones
from tests.support.runs import assert_same, logged, run, start, training_state, wait_for_step

TEXT = ["data.train=[{manifest: 'train.{xx,yy}', weight: 3}, {manifest: 'train.{xx,zz}'}]",
        "text.languages=[yy,zz]", "data.language_temperature=2"]  # fmt: skip
SPEECH = ["data.train=[{manifest: train.jsonl, language: t, weight: 1}, "
          "{manifest: more.jsonl, language: t, weight: 4}]", "text.languages=[t]",
          "data.valid=[{manifest: valid.jsonl, language: t}]"]  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mixed")
    ciphers.write_corpus(folder, sentences=60)
    (folder / "config.yaml").write_text(ciphers.CONFIG)
    return folder


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spoken")
    tones.write_corpus(folder, utterances=24)
    rows = (folder / "train.jsonl").read_text().splitlines(keepends=True)
    (folder / "more.jsonl").write_text("".join(rows[:4]))
    (folder / "train.jsonl").write_text("".join(rows[4:]))
    (folder / "config.yaml").write_text(tones.CONFIG)
    return folder


def batches(folder: Path, config: Config, position: Position) -> Iterator[Batch]:
    task = Seq2SeqTask(config, folder)
    task.save_tokenizers(folder)
    tokenizers = load_tokenizers(folder, config)
    (stream,) = task.streams(tokenizers, training=True, info=lambda message: None)
    return endless(stream, config, position, Processes(), lambda messages: None)


@pytest.mark.parametrize(("kind", "overrides"), [("corpus", TEXT), ("spoken", SPEECH)])
def test_batches_after_a_resume_are_those_of_an_uninterrupted_run(
    kind: str, overrides: list[str], request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(kind)
    config = load_config(folder / "config.yaml", overrides)
    position = Position()
    expected = list(itertools.islice(batches(folder, config, position), 30))
    assert max(position.epoch.values()) >= 1
    for taken in (2, 20):
        position = Position()
        list(itertools.islice(batches(folder, config, position), taken))
        resumed = list(itertools.islice(batches(folder, config, position), 30 - taken))
        assert [batch.ids for batch in resumed] == [batch.ids for batch in expected[taken:]]
        assert_same([b.source for b in resumed], [b.source for b in expected[taken:]])


def test_utterances_with_more_weight_occur_several_times_and_are_augmented_anew(
    spoken: Path,
) -> None:
    config = load_config(spoken / "config.yaml", [*SPEECH, "data.batch_seconds=0.7"])
    position = Position()
    found: dict[str, list[torch.Tensor]] = {}
    for batch in batches(spoken, config, position):
        if position.epoch["speech"] == 1:
            break
        for name, samples, length in zip(batch.ids, batch.source, batch.lengths, strict=True):
            found.setdefault(name.split("+")[0], []).append(samples[:length])
    counts = Counter({name: len(several) for name, several in found.items()})
    assert counts.total() == pytest.approx(24, abs=2)
    repeated = [name for name, count in counts.items() if count > 1]
    assert 1 <= len(repeated) <= 4  # those of more.jsonl
    first, second = found[repeated[0]][:2]
    assert first.shape != second.shape or not torch.equal(first, second)


def test_killed_and_resumed_training_equals_uninterrupted_training(
    corpus: Path, tmp_path: Path
) -> None:
    uninterrupted, resumed = tmp_path / "uninterrupted", tmp_path / "resumed"
    overrides = [*TEXT, "data.valid=[valid.tsv]", "train.steps=12", "train.log_every=1",
                 "train.checkpoint_every=2", "train.validate_every=6",
                 "train.attention_pictures=0"]  # fmt: skip
    code, messages = run(corpus, uninterrupted, *overrides)
    assert code == 0, messages
    assert "shares of each epoch: train.{xx,yy} (yy) 63.4 %" in " ".join(messages.split())
    process = start(corpus, resumed, *overrides)
    wait_for_step(resumed, 7, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    code, messages = run(corpus, resumed, *overrides)
    assert code == 0, messages
    assert_same(training_state(uninterrupted), training_state(resumed))
    weights = "model/model.safetensors"
    assert_same(load_file(uninterrupted / weights), load_file(resumed / weights))
    assert logged(uninterrupted) == logged(resumed)


def test_weights_of_validation_data_are_refused(corpus: Path) -> None:
    override = "data.valid=[{manifest: valid.tsv, weight: 2}]"
    with pytest.raises(ConfigError) as caught:
        check_sources(load_config(corpus / "config.yaml", [override]))
    assert caught.value.where == "data.valid"
