"""Training of speech translation: what CTC learns, validation, resumed runs, another encoder."""

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from asr_s2s.config import (
    Config,
    DecoderConfig,
    FeatureConfig,
    ObjectiveConfig,
    SpeechEncoderConfig,
    TextConfig,
)
from asr_s2s.data.datasets import Batch, collate
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.search.decode import decode
from asr_s2s.train.objective import joint_loss
from tests.support.runs import assert_same, logged, run, start, training_state, wait_for_step
from tests.support.spoken import write_corpus

CONFIG = Config(
    text=TextConfig(languages=("xx", "yy"), spoken_languages=("xx",)),
    features=FeatureConfig(mel_bins=16),
    speech_encoder=SpeechEncoderConfig(layers=1, size=8, time_reduction=2, dropout=0.0),
    decoder=DecoderConfig(attention="dot", size=8, attention_size=8, embedding_size=4, dropout=0.0),
    objective=ObjectiveConfig(ctc_weight=0.5, label_smoothing=0.0),
)
XX, YY = 8, 9
"""Tokens of the languages; text has tokens 4 to 7."""


@pytest.fixture
def network() -> Seq2Seq:
    return Seq2Seq(CONFIG, 10).eval()


def make_batch(prompts: list[int], texts: list[list[int]]) -> Batch:
    names = [str(row) for row in range(len(prompts))]
    source = torch.randn(len(prompts), 8000)
    lengths = torch.full((len(prompts),), 8000)
    rows = [[prompt] for prompt in prompts]
    return collate("speech", names, names, source, lengths, rows, texts, [])


def test_ctc_learns_transcripts_only_and_counts_by_their_share(network: Seq2Seq) -> None:
    texts = [[4, 5, 6], [7, 4], [5]]
    batch = make_batch([XX, YY, XX], texts)
    losses = joint_loss(network, batch, CONFIG.objective)
    rows = torch.tensor([0, 2])
    alone = batch._replace(
        ids=["0", "2"], texts=["0", "2"], source=batch.source[rows], lengths=batch.lengths[rows],
        prompts=batch.prompts[rows], tokens=batch.tokens[rows],
        token_lengths=batch.token_lengths[rows],
    )  # fmt: skip
    transcripts = joint_loss(network, alone, CONFIG.objective)
    torch.testing.assert_close(losses.ctc, transcripts.ctc)
    torch.testing.assert_close(losses.total, 0.5 * losses.attention + 0.5 * losses.ctc * 4 / 6)


def test_a_batch_of_translations_has_gradients_of_zero_for_ctc(network: Seq2Seq) -> None:
    losses = joint_loss(network, make_batch([YY, YY], [[4, 5], [6]]), CONFIG.objective)
    assert losses.ctc is None
    torch.testing.assert_close(losses.total, 0.5 * losses.attention)
    losses.total.backward()
    for parameter in network.ctc.parameters():
        assert parameter.grad is not None and not parameter.grad.any()
    assert all(p.grad is not None and p.grad.any() for p in network.decoder.embedding.parameters())


def test_without_spoken_languages_all_texts_are_transcripts() -> None:
    every = replace(CONFIG, text=TextConfig(languages=("xx", "yy")))
    network = Seq2Seq(every, 10).eval()
    assert network.transcribes(torch.tensor([[XX], [YY]])).tolist() == [True, True]
    assert Seq2Seq(CONFIG, 10).transcribes(torch.tensor([[XX], [YY]])).tolist() == [True, False]
    assert network.transcribes(torch.zeros(2, 0).long()).tolist() == [True, True]


def test_ctc_does_not_score_translations_in_the_beam(network: Seq2Seq) -> None:
    source, lengths = torch.randn(1, 8000), torch.tensor([8000])
    memory = network.encode("speech", source, lengths)
    scores = {}
    for name, token in (("xx", XX), ("yy", YY)):
        for weight in (0.0, 0.3):
            search = replace(CONFIG.search, ctc_weight=weight, beam_size=2)
            (found,) = decode(network, "speech", memory, search, torch.tensor([[token]]))
            scores[name, weight] = found[0].score
    assert scores["yy", 0.0] == scores["yy", 0.3]
    assert scores["xx", 0.0] != scores["xx", 0.3]
    both = network.encode("speech", source.repeat(2, 1), lengths.repeat(2))
    with pytest.raises(ValueError, match="separate"):
        decode(network, "speech", both, CONFIG.search, torch.tensor([[XX], [YY]]))


def test_validation_has_a_metric_for_each_language(corpus: Path, model: Path) -> None:
    rows = logged(model.parent)
    validated = [row for row in rows if "xx/word_error_rate" in row]
    assert validated and all("yy/chrf" in row for row in validated)
    assert any("ctc_loss" in row for row in rows)


def test_killed_and_resumed_training_equals_uninterrupted_training(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    write_corpus(corpus, 30)
    uninterrupted, resumed = tmp_path / "uninterrupted", tmp_path / "resumed"
    settings = ["train.attention_pictures=0"]
    code, messages = run(corpus, uninterrupted, *settings)
    assert code == 0, messages
    process = start(corpus, resumed, *settings, "data.workers=1")
    wait_for_step(resumed, 9, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    code, messages = run(corpus, resumed, *settings)
    assert code == 0, messages
    assert_same(training_state(uninterrupted), training_state(resumed))
    weights = "model/model.safetensors"
    assert_same(load_file(uninterrupted / weights), load_file(resumed / weights))
    assert logged(uninterrupted) == logged(resumed)


def test_two_processes_train_although_only_one_has_transcripts(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    write_corpus(corpus, 20)
    small = ("data.batch_seconds=0.5", "train.steps=6", "train.attention_pictures=0")
    code, messages = run(corpus, tmp_path / "run", *small, processes=2)
    assert code == 0, messages


def test_an_encoder_of_a_model_with_another_vocabulary_is_the_start(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    write_corpus(corpus, 20)
    short = ("train.steps=1", "train.validate_every=1", "train.attention_pictures=0")
    only = tmp_path / "one.jsonl"
    rows = [
        row for row in map(json.loads, (corpus / "train.jsonl").open()) if row["language"] == "xx"
    ]
    only.write_text(
        "".join(json.dumps(r | {"audio": str(corpus / r["audio"])}) + "\n" for r in rows)
    )
    recognizer = tmp_path / "recognizer"
    one_language = (f"data.train=[{only}]", f"data.valid=[{only}]", "text.languages=[]")
    code, messages = run(
        corpus, recognizer, *short, *one_language, "text.spoken_languages=[]", "train.seed=5"
    )
    assert code == 0, messages

    frozen = (*short, "train.learning_rate=1e-12", "train.weight_decay=0")
    start_from = f"train.initialize_encoder={recognizer}/model"
    code, messages = run(corpus, tmp_path / "translator", *frozen, start_from)
    assert code == 0, messages
    before, after = (
        load_file(folder / "model/model.safetensors")
        for folder in (recognizer, tmp_path / "translator")
    )
    encoder = [name for name in before if name.startswith("encoders.speech.")]
    assert encoder
    for name in encoder:
        torch.testing.assert_close(before[name], after[name], atol=1e-6, rtol=0)
    assert before["decoder.embedding.weight"].shape != after["decoder.embedding.weight"].shape

    for number, (setting, named) in enumerate(
        (
            ("features.normalize_level=true", "features.normalize_level"),
            ("speech_encoder.layers=2", "do not fit"),
            ("train.initialize=digits", "train.initialize_encoder"),
        )
    ):
        code, messages = run(corpus, tmp_path / str(number), *short, start_from, setting)
        assert code == 1
        assert named in messages and "Traceback" not in messages


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("text.spoken_languages=[zz]", "text.spoken_languages"),
        ("data.train=[translations.jsonl]", "objective.ctc_weight"),
    ],
)
def test_settings_that_cannot_work_are_refused(setting: str, named: str, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    write_corpus(corpus, 5)
    lines = [line for line in (corpus / "train.jsonl").open() if '"yy"' in line]
    (corpus / "translations.jsonl").write_text("".join(lines))
    code, messages = run(corpus, tmp_path / "run", setting)
    assert code == 1
    assert named in messages and "Traceback" not in messages
