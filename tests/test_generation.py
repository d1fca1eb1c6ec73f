"""Decoding options of generation, with `Translator` and `asr-s2s translate`, and loops in text."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from asr_s2s.config import (
    Config,
    DecoderConfig,
    ModelConfig,
    SearchConfig,
    TextEncoderConfig,
)
from asr_s2s.errors import ConfigError, TextError
from asr_s2s.model.folder import LoadedModel, build_model
from asr_s2s.pipeline import Transcriber
from asr_s2s.text.tokenizer import EOS, WordTokenizer
from asr_s2s.translator import Translator
from tests.support.limits import TIMEOUT

LINES = [
    "Two dogs are playing.",
    "A man in a red shirt rides a bicycle.",
    "Children eat ice cream.",
]
WORDS = ["vo", "wun", "xil", "yor"]


@pytest.fixture(scope="module")
def translator() -> Translator:
    return Translator.load("en-de", "cpu")


def looping(**search: float) -> Translator:
    """An untrained model of words that repeats the word "vo" until the maximum length."""
    config = Config(
        model=ModelConfig(encoders=("text",)),
        text_encoder=TextEncoderConfig(layers=1, size=8, embedding_size=8),
        decoder=DecoderConfig(size=8, embedding_size=8),
        search=SearchConfig(
            **({"beam_size": 2, "max_length_ratio": 4.0, "piece_tokens": 9} | search)
        ),
    )
    words = WordTokenizer(WORDS)
    torch.manual_seed(0)
    model = build_model(config, words, words).eval()
    model.decoder.output.bias.data[words.encode("vo")] = 5.0
    model.decoder.output.bias.data[EOS] = -5.0
    return Translator(
        LoadedModel(model, words, words, config, Path("looping")), torch.device("cpu")
    )


def run(*arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "asr_s2s", "translate", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=TIMEOUT)


def test_samples_are_the_same_alone_and_in_any_batch(translator: Translator) -> None:
    options = {"sample": True, "n_best": 3, "seed": 5, "temperature": 1.2, "top_p": 0.95}
    together = translator.translate(LINES, **options)
    for line, result in zip(LINES, together, strict=True):
        assert len(result.alternatives) == 3
        assert result.text == result.alternatives[0].text
        alone = translator.translate(line, **options)
        assert [a.text for a in alone.alternatives] == [a.text for a in result.alternatives]
        assert alone.score == pytest.approx(result.score, abs=1e-4)
        (first,) = translator.translate([line], **(options | {"n_best": 1}))
        assert first.text == result.text
    other = translator.translate(LINES, **(options | {"seed": 6}))
    assert [r.text for r in other] != [r.text for r in together]


def test_phrases_that_must_occur_and_the_prefix_do(translator: Translator) -> None:
    must = ["Katze", "blauen Ball"]
    for result in translator.translate(LINES, must=must, prefix="Heute", n_best=2):
        for each in result.alternatives:
            assert each.text.startswith("Heute")
            for phrase in must:
                assert re.search(rf"\b{phrase}\b", each.text)


def test_favored_phrases_change_a_translation(translator: Translator, tmp_path: Path) -> None:
    line = "A man in a red shirt is riding a bike."
    (tmp_path / "phrases.txt").write_text("Oberteil\t5\n")
    assert "Oberteil" not in translator.translate(line).text
    assert "Oberteil" in translator.translate(line, phrases=tmp_path / "phrases.txt").text


def test_minimum_length_and_diverse_groups(translator: Translator) -> None:
    tokenizer = translator.output.tokenizer
    for result in translator.translate(LINES, min_length=30):
        assert len(tokenizer.encode(result.text)) >= 15  # other segmentations are shorter
    lines = [
        "A man in a red shirt is riding a bike.",
        "The old woman is sitting on a bench and reads a newspaper in the sun.",
    ]
    plain = translator.translate(lines, n_best=4, beam_size=4)
    diverse = translator.translate(lines, n_best=4, beam_size=4, beam_groups=4, diversity=3.0)

    def words(results: list) -> int:
        return len({word for r in results for a in r.alternatives for word in a.text.split()})

    assert words(diverse) > words(plain)


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"temperature": 0.5}, "temperature"),
        ({"seed": 0}, "seed"),
        ({"diversity": 1.0}, "diversity"),
        ({"sample": True, "temperature": 0.0}, "temperature"),
        ({"sample": True, "top_p": 1.5}, "top_p"),
        ({"sample": True, "top_k": 0}, "top_k"),
        ({"sample": True, "beam_size": 4}, "beam_size"),
        ({"sample": True, "beam_groups": 2}, "beam_groups"),
        ({"sample": True, "must": ["vo"]}, "must"),
        ({"must": ["vo"], "beam_groups": 2}, "must"),
        ({"must": "vo"}, "must"),
        ({"beam_groups": 3}, "beam_groups"),
        ({"min_length": -1}, "min_length"),
        ({"no_repeat_ngram": 10**9}, "no_repeat_ngram"),
    ],
    ids=str,
)
def test_options_that_cannot_be_combined_are_refused_at_the_call(options: dict, where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        looping().stream([], **options)
    assert caught.value.where == where


@pytest.mark.parametrize("options", [{"prefix": "vo quux"}, {"must": ["quux"]}], ids=str)
def test_text_that_the_model_cannot_write_is_refused(options: dict) -> None:
    with pytest.raises(TextError, match="quux"):
        looping().stream([], **options)


@pytest.mark.parametrize(
    "options",
    [{"sample": True}, {"prefix": "one"}, {"must": ["one"]}, {"min_length": 3}],
    ids=str,
)
def test_options_of_text_are_refused_for_speech(options: dict) -> None:
    with pytest.raises(ConfigError):
        Transcriber.load("digits", "cpu").stream([], **options)


def test_a_transcript_obeys_options_of_generation(sample: Path) -> None:
    transcriber = Transcriber.load("digits", "cpu")
    found = transcriber.transcribe(
        sample, n_best=4, beam_size=8, beam_groups=4, diversity=2.0, no_repeat_ngram=12
    )
    assert "three" in found.text
    assert len(found.alternatives) > 1


def test_an_output_that_repeats_itself_is_decoded_again_and_reported() -> None:
    translator = looping()
    result, empty = translator.translate(["wun xil yor", ""])
    assert (result.reason, result.remedy) == ("loop", "no_repeat")
    assert result.warning is not None and "repeated" in str(result.warning)
    words = result.text.split()
    triples = [tuple(words[i : i + 3]) for i in range(len(words) - 2)]
    assert len(set(triples)) == len(triples) > 3
    assert empty.reason is empty.warning is None


def test_a_repetition_of_the_source_is_no_loop() -> None:
    (kept,) = looping(max_length_ratio=1.0).translate(["vo vo vo vo vo vo vo vo"])
    assert (kept.reason, kept.text) == (None, " ".join(["vo"] * 9))


def test_a_loop_that_remains_is_reported() -> None:
    result = looping(no_repeat_ngram=3).translate("wun xil yor", prefix=" ".join(["vo"] * 8))
    assert (result.reason, result.remedy) == ("loop", None)
    assert result.warning is not None


def test_a_line_in_pieces_keeps_its_alternatives() -> None:
    line = "wun xil yor vo wun xil yor vo wun xil yor vo"
    result = looping(no_repeat_ngram=2).translate(line, n_best=2)
    assert len(result.alternatives) == 2
    assert result.alternatives[0].text == result.text
    assert result.alternatives[0].score >= result.alternatives[1].score
    sampled = looping().translate(line, n_best=3, sample=True)
    assert len(sampled.alternatives) == 3
    assert "too long" in str(result.warning)


def test_alternatives_are_printed_with_line_and_score(translator: Translator) -> None:
    stdin = f"{LINES[0]}\n\n{LINES[2]}\n"
    done = run("--n-best", "2", "--must", "Katze", "--prefix", "Die", stdin=stdin)
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == ["1", "1", "2", "3", "3"]
    expected = translator.translate(LINES[0], n_best=2, must=["Katze"], prefix="Die")
    assert [row[2] for row in rows[:2]] == [each.text for each in expected.alternatives]
    assert float(rows[0][1]) == pytest.approx(expected.score, abs=1e-3)
    assert rows[2] == ["2", "0.0000", ""]


def test_the_command_samples(translator: Translator) -> None:
    options = ["--sample", "--temperature", "0.8", "--top-k", "20", "--top-p", "0.9", "--seed", "4"]
    done = run(*options, "--format", "json", stdin="\n".join(LINES))
    assert done.returncode == 0, done.stderr
    texts = [json.loads(line)["text"] for line in done.stdout.splitlines()]
    expected = translator.translate(
        LINES, sample=True, temperature=0.8, top_k=20, top_p=0.9, seed=4
    )
    assert texts == [result.text for result in expected]


def test_the_command_names_an_option_that_is_excluded() -> None:
    done = run("--sample", "--beam-groups", "2", stdin="x")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("asr-s2s: --beam-groups") and done.stderr.count("\n") == 1
