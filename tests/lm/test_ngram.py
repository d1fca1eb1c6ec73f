"""N-gram models, compared with a simple implementation of the same ARPA files."""

import gzip
import math
import random
from pathlib import Path

import pytest
import torch

from asr_s2s.errors import ModelError
from asr_s2s.lm.arpa import read_arpa
from asr_s2s.lm.ngram import NgramModel, from_levels
from asr_s2s.lm.ngram_file import load_ngram, save_ngram
from asr_s2s.text.tokenizer import BOS, EOS, UNK, CharacterTokenizer

TOKENIZER = CharacterTokenizer("abcde ")
WORDS = ["<space>", "a", "b", "c", "d"]  # without e, which is unknown to the models
IDS = {"<s>": BOS, "</s>": EOS, "<unk>": UNK, "<space>": TOKENIZER.encode(" ")[0]}
IDS |= {letter: TOKENIZER.encode(letter)[0] for letter in "abcde"}


def random_arpa(seed: int, order: int = 4, *, unknown: bool = True) -> str:
    """Write random n-grams; some contexts and suffixes are missing, as in pruned models."""
    rng = random.Random(seed)
    text = ["\\data\\"]
    sections = []
    for n in range(1, order + 1):
        if n == 1:
            grams = [(word,) for word in ["<s>", "</s>", *WORDS, *(["<unk>"] if unknown else [])]]
        else:
            grams = sorted(
                {
                    (
                        rng.choice(["<s>", *WORDS]),
                        *(rng.choice(WORDS) for _ in range(n - 2)),
                        rng.choice([*WORDS, "</s>", *(["<unk>"] if unknown else [])]),
                    )
                    for _ in range(12 * n)
                }
            )
        lines = []
        for gram in grams:
            line = f"{-3 * rng.random():.6f}\t{' '.join(gram)}"
            if n < order and rng.random() < 0.8 and gram[-1] != "</s>":
                line += f"\t{-rng.random():.6f}"
            lines.append(line)
        text.append(f"ngram {n}={len(grams)}")
        sections.append("\n".join([f"\\{n}-grams:", *lines]))
    return "\n".join(text) + "\n\n" + "\n\n".join(sections) + "\n\n\\end\\\n"


def parse_arpa(arpa: str) -> dict[tuple[str, ...], tuple[float, float]]:
    table = {}
    for line in arpa.splitlines():
        columns = line.split("\t")
        if len(columns) > 1:
            backoff = float(columns[2]) if len(columns) > 2 else 0.0
            table[tuple(columns[1].split(" "))] = (float(columns[0]), backoff)
    return table


def backoff_score(table: dict, history: tuple[str, ...], word: str) -> float:
    """Natural log-probability by the definition of back-off models."""
    if (word,) not in table:
        word = "<unk>"
    known = tuple(w if (w,) in table else "<unk>" for w in history)

    def score(context: tuple[str, ...]) -> float:
        if (*context, word) in table:
            return table[(*context, word)][0]
        if not context:
            return -100.0
        return table.get(context, (0.0, 0.0))[1] + score(context[1:])

    return math.log(10) * score(known[-3:])


def read(path: Path, arpa: str) -> NgramModel:
    path.write_text(arpa, encoding="utf-8")
    return from_levels(read_arpa(path, TOKENIZER))


@pytest.mark.parametrize("seed", range(6))
def test_scores_equal_those_of_the_arpa_file(tmp_path: Path, seed: int) -> None:
    arpa = random_arpa(seed, unknown=seed % 2 == 0)
    table, model = parse_arpa(arpa), read(tmp_path / "a.arpa", arpa)
    rng = random.Random(seed)
    candidates = ["</s>", "e", *WORDS]
    ids = torch.tensor([[IDS[word] for word in candidates]] * 50)
    states = model.start.repeat(50)
    histories: list[tuple[str, ...]] = [("<s>",)] * 50
    for _ in range(12):
        scores, _ = model.step(states[:, None].expand_as(ids), ids)
        expected = [[backoff_score(table, h, word) for word in candidates] for h in histories]
        torch.testing.assert_close(scores, torch.tensor(expected), atol=1e-4, rtol=1e-5)
        written = [rng.choice([*WORDS, "e"]) for _ in histories]
        histories = [(*h, word) for h, word in zip(histories, written, strict=True)]
        _, states = model.step(states, torch.tensor([IDS[word] for word in written]))


def test_saving_keeps_the_scores(tmp_path: Path) -> None:
    model = read(tmp_path / "a.arpa", random_arpa(0))
    save_ngram(tmp_path / "ngram.safetensors", model, TOKENIZER)
    loaded = load_ngram(tmp_path / "ngram.safetensors", TOKENIZER)
    states = torch.arange(len(model.backoffs))[:, None].expand(-1, len(TOKENIZER))
    tokens = torch.arange(len(TOKENIZER)).expand_as(states)
    scores, following = model.step(states, tokens)
    loaded_scores, loaded_following = loaded.step(states, tokens)
    assert torch.equal(following, loaded_following)
    torch.testing.assert_close(scores, loaded_scores, atol=0.02, rtol=1e-3)


def test_a_model_of_another_vocabulary_is_rejected(tmp_path: Path) -> None:
    model = read(tmp_path / "a.arpa", random_arpa(0))
    save_ngram(tmp_path / "ngram.safetensors", model, TOKENIZER)
    with pytest.raises(ModelError, match="another vocabulary"):
        load_ngram(tmp_path / "ngram.safetensors", CharacterTokenizer("abcdf "))


def test_a_damaged_model_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "ngram.safetensors").write_bytes(b"not safetensors at all")
    with pytest.raises(ModelError, match="not an n-gram model"):
        load_ngram(tmp_path / "ngram.safetensors", TOKENIZER)


def test_compressed_arpa_files_can_be_read(tmp_path: Path) -> None:
    arpa = random_arpa(1)
    with gzip.open(tmp_path / "a.arpa.gz", "wt", encoding="utf-8") as file:
        file.write(arpa)
    packed = from_levels(read_arpa(tmp_path / "a.arpa.gz", TOKENIZER))
    plain = read(tmp_path / "a.arpa", arpa)
    assert torch.equal(packed.keys, plain.keys)
    assert torch.equal(packed.scores, plain.scores)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arpa: arpa.replace("\\data\\", ""), "not an n-gram model in ARPA"),
        (lambda arpa: arpa.replace("\\end\\", ""), "ends without"),
        (lambda arpa: arpa.replace("\\3-grams:", "\\4-grams:"), "a.arpa:.*4-grams"),
        (lambda arpa: arpa.replace("\t", "\tword "), "columns"),
        (lambda arpa: arpa.replace("-", "minus"), "invalid ARPA|not an n-gram"),
    ],
)
def test_files_that_are_not_arpa_are_rejected(tmp_path: Path, change, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        read(tmp_path / "a.arpa", change(random_arpa(0)))


def test_arpa_files_without_any_token_of_the_model_are_rejected(tmp_path: Path) -> None:
    arpa = random_arpa(0)
    for letter in "abcd":
        arpa = arpa.replace(f"{letter}\n", f"{letter}word\n").replace(f"{letter}\t", f"{letter}w\t")
    arpa = arpa.replace("<space>", "house")
    with pytest.raises(ModelError, match="none of its words"):
        read(tmp_path / "a.arpa", arpa)
