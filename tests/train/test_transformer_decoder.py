"""Training with a Transformer decoder, and use of the trained model, in real processes."""

import json
from pathlib import Path

import numpy as np
import pytest
import sacrebleu

from asr_s2s.translator import Translator
from tests.support.ciphers import CONFIG, write_corpus
from tests.support.commands import run_text_command
from tests.support.runs import run


def test_a_model_with_a_transformer_decoder_learns_and_is_explained(tmp_path: Path) -> None:
    corpus, output = tmp_path / "corpus", tmp_path / "run"
    write_corpus(corpus, sentences=600)
    (corpus / "config.yaml").write_text(CONFIG)
    code, messages = run(
        corpus, output, "decoder.kind=transformer", "decoder.layers=2",
        "decoder.feedforward_size=128", "decoder.tied_output=true", "decoder.dropout=0",
        "train.steps=400", "train.learning_rate=4e-3", "train.warmup_steps=40",
        "train.validate_every=200", "search.coverage_penalty=0.1",
    )  # fmt: skip
    assert code == 0, messages
    model = output / "model"
    translator = Translator.load(model, device="cpu")
    sources = (corpus / "valid.xx").read_text().splitlines()
    references = (corpus / "valid.yy").read_text().splitlines()
    texts = [result.text for result in translator.translate(sources)]
    assert sacrebleu.corpus_bleu(texts, [references], tokenize="none").score > 60

    pictures = list((output / "attention").iterdir())
    assert pictures and all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)
    drawn = run_text_command("attention", sources[0], "--model", model, "-o", tmp_path / "a.json")
    assert drawn.returncode == 0, drawn.stderr
    attended = json.loads((tmp_path / "a.json").read_text("utf-8"))
    weights = np.array(attended["weights"])
    assert weights.shape == (len(attended["output"]), len(attended["source"]))
    assert weights.sum(1) == pytest.approx(np.ones(len(weights)), abs=1e-3)

    explained = run_text_command("explain", sources[0], "--model", model, "-o", tmp_path / "e.json")
    assert explained.returncode == 0, explained.stderr
    words = json.loads((tmp_path / "e.json").read_text("utf-8"))["words"]
    assert [word["text"] for word in words] == texts[0].split()
    for word in words:
        gain = word["log_prob"] - word["baseline_log_prob"]
        assert sum(word["integrated_gradients"]) == pytest.approx(gain, rel=0.02, abs=0.02)
