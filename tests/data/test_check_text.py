import random

import pytest

from asr_s2s.config import TextConfig
from asr_s2s.data.check import Finding
from asr_s2s.data.check_text import check_pairs
from asr_s2s.data.datasets import TextDataset
from asr_s2s.data.parallel import TextPair, read_parallel
from asr_s2s.errors import ManifestError
from asr_s2s.text.normalize import normalizer
from asr_s2s.text.output import Output
from asr_s2s.text.tokenizer import CharacterTokenizer, WordTokenizer
from asr_s2s.text.vocabulary import train_tokenizer

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def pairs(*texts: tuple[str, str], language: str | None = None) -> list[TextPair]:
    return [TextPair(str(i), *both, language) for i, both in enumerate(texts, start=1)]


def sentences(number: int, seed: int = 0) -> list[tuple[str, str]]:
    """Return pairs of random words, the target up to one word longer than its source."""
    rng = random.Random(seed)

    def sentence(words: int) -> str:
        return " ".join("".join(rng.choices(LETTERS, k=5)) for _ in range(words)) + "."

    return [
        (sentence(n), sentence(n + rng.randint(0, 1))) for n in rng.choices(range(3, 9), k=number)
    ]


def find(training: list[tuple[str, str]], **options: object) -> list[Finding]:
    return list(check_pairs({"train": pairs(*training)}, **options))


def kinds(splits: dict[str, list[TextPair]], **options: object) -> list[tuple[str, str]]:
    return [(finding.kind, finding.where) for finding in check_pairs(splits, **options)]


def test_good_pairs_have_no_findings():
    splits = {
        "train": pairs(*sentences(200, seed=1), ("yes", "but of course"), ("oh", "oh")),
        "valid": pairs(*sentences(50, seed=2), ("no", "but of course")),
    }
    assert kinds(splits) == []


@pytest.mark.parametrize(
    ("pair", "kind", "problem"),
    [
        (("", "ein haus"), "empty text", "the source is empty"),
        (("a house", " \u3000"), "empty text", "the target is empty"),
        (("a house by the wide gray sea", "ja"), "length ratio", "2 characters for 28 characters"),
        (
            ("ja", "a house by the wide gray sea, with a garden"),
            "length ratio",
            "training texts suggest",
        ),
        (("the old town hall of rome",) * 2, "copied", "the target is a copy of the source"),
        (("nine pears", "neun \ufffdpfel"), "wrong encoding", "the target contains '\ufffd'"),
        (("nine pears", "neun Ã¤pfel"), "wrong encoding", "the target contains 'Ã¤'"),
        (("it\u2019s".encode().decode("cp1252"), "es ist"), "wrong encoding", "contains 'â€'"),
        (("it\x92s mine", "es ist mein"), "wrong encoding", r"the source contains '\x92'"),
        (("три года".encode().decode("cp1252", "replace"), "drei jahre"), "wrong encoding", "Ñ"),
        (("好的先生".encode().decode("latin-1"), "ja, mein herr"), "wrong encoding", "contains"),
        (("a\x07 house", "ein haus"), "control characters", r"the control character '\x07'"),
    ],
)
def test_problems_of_single_pairs_are_found(pair, kind, problem):
    training = [*sentences(50), pair, ("a tree", "ein baum")]
    (finding,) = find(training, normalizer=str.strip, source_normalizer=str.strip)
    assert (finding.kind, finding.where) == (kind, "train: 51")
    assert problem in finding.problem
    assert finding.fix


@pytest.mark.parametrize(
    "text",
    ["«l'été…»", "Spaß“ und „Maß“", "AMANHÃ, NÃO", "ĐÃ…", "naïve façade", "20 °C ± 1", "ÎLE ÑÓ"],
)
def test_accented_letters_beside_punctuation_are_not_a_wrong_encoding(text):
    assert find([(text, "so it is")]) == []


def test_lengths_are_compared_with_the_ratio_in_training():
    # Sources are three times as long as their targets, as from English to Chinese.
    rng = random.Random(0)
    short = [
        ("".join(rng.choices(LETTERS, k=3 * n)), "".join(rng.choices(LETTERS, k=n)))
        for n in rng.choices(range(8, 30), k=100)
    ]
    assert find(short) == []
    even = (LETTERS, LETTERS[::-1])
    assert kinds({"train": pairs(*short), "valid": pairs(even)}) == []
    long = (LETTERS, LETTERS[::-1] * 2)
    assert kinds({"train": pairs(*short), "valid": pairs(long)}) == [("length ratio", "valid: 1")]

    # If lengths hardly depend on each other, as in summaries, no length is suspect.
    summaries = [(LETTERS * n, LETTERS[: 1 + n % 26]) for n in range(1, 100)]
    assert find(summaries) == []


def test_copies_are_accepted_if_most_training_pairs_are_copies():
    right = [(source, source) for source, _ in sentences(50) if len(source) > 20]
    wrong = sentences(10, seed=3)
    assert find(right + wrong) == []
    assert len(find(right + sentences(200, seed=3))) == len(right)


def test_characters_outside_the_training_texts_or_the_vocabulary_are_found():
    splits = {"train": pairs(("a bee", "eine biene")), "valid": pairs(("one bee?", "äne biene!"))}
    source, target = check_pairs(splits)
    assert source.problem == "'?' 'n' 'o' of the source not in the training sources"
    assert target.problem == "'!' 'ä' of the target not in the training targets"

    words, letters = WordTokenizer(["a", "one", "bee?"]), CharacterTokenizer(" abeinä!")
    (finding,) = check_pairs(splits, source_tokenizer=words, tokenizer=letters)
    assert (finding.where, finding.problem) == (
        "train: 1",
        "'bee' of the source not in the model's vocabulary",
    )


def test_texts_are_checked_after_normalization():
    training = [("Hello, bee!", "Grün!"), ("?", "!")]
    splits = {"train": pairs(*training), "valid": pairs(("BEE hello", "GRÜN"))}
    found = list(
        check_pairs(
            splits, normalizer=normalizer("lowercase"), source_normalizer=normalizer("english")
        )
    )
    assert [finding.where for finding in found] == ["train: 2"]
    assert found[0].problem == "the source is empty once normalized: '?'"


def test_lengths_in_tokens_are_checked_if_tokenizers_are_given():
    splits = {"train": pairs(("a a a a", "b b b"), ("a a a", "b b b b"))}
    options = {"source_tokenizer": WordTokenizer(["a"]), "max_tokens": 4}
    (finding,) = check_pairs(splits, **options)
    assert (finding.kind, finding.where) == ("too long", "train: 1")
    assert finding.problem == (
        "5 tokens of the source, including the end token, exceed the 4 of data.max_tokens and "
        "data.batch_tokens"
    )
    options["tokenizer"] = CharacterTokenizer("b ")
    assert kinds(splits, **options) == [("too long", f"train: {i}") for i in (1, 1, 2)]
    assert kinds(splits, max_tokens=4) == []


@pytest.mark.parametrize("kind", ["characters", "sentencepiece"])
def test_the_length_limit_is_that_of_training(kind):
    tokenizer = train_tokenizer(TextConfig(tokenizer=kind, vocabulary_size=8), ["abc", "a b"])
    splits = {"train": pairs(("cba", "abc"))}
    dataset = TextDataset(Output(tokenizer, str), tokenizer, str)
    tokens = dataset.num_tokens(splits["train"][0])
    options = {"tokenizer": tokenizer, "source_tokenizer": tokenizer}
    assert kinds(splits, **options, max_tokens=tokens) == []
    assert ("too long", "train: 1") in kinds(splits, **options, max_tokens=tokens - 1)


@pytest.mark.parametrize("language", ["de", "fr", None])
@pytest.mark.parametrize("languages", [(), ("de",), ("de", "fr")])
def test_the_accepted_languages_are_those_of_training(language, languages):
    splits = {"train": pairs(("a bee", "eine biene"), language=language)}
    try:
        Output(CharacterTokenizer("a"), str, languages).prompt(language, "train")
        expected = []
    except ManifestError:
        expected = [("wrong language", "train: 1")]
    assert kinds(splits, languages=languages) == expected


def test_repeated_pairs_are_found_but_several_targets_of_a_source_are_accepted():
    training = [("a bee", "eine biene"), ("a bee", "biene"), ("a fly", "biene")]
    assert find(training) == []
    (finding,) = find([*training, ("a bee", "biene")])
    assert (finding.kind, finding.where) == ("duplicate", "train: 4")
    assert finding.problem == "the same pair as train: 2"


def test_texts_shared_by_splits_are_found_regardless_of_case_and_punctuation():
    training = [("The bee, it flies.", "Die Biene fliegt doch gern."), ("we're off", "wir gehen")]
    splits = {
        "train": pairs(*training),
        "valid": pairs(
            ("the bee \u2014 it flies", "die biene fliegt doch gern!"), ("a fly", "die fliege")
        ),
        "test": pairs(
            ("The bee it flies?", "Sie fliegt."),
            ("that one flies", "die  biene fliegt doch gern"),
            ("A fly…", "Die Fliege."),
            ("were off", "waren weg"),
            ("we\u2019re off", "los"),
        ),
    }
    # All characters are in the vocabulary, so that only shared texts are found.
    every = CharacterTokenizer(map(chr, range(32, 0x2030)))
    found = list(check_pairs(splits, tokenizer=every, source_tokenizer=every))
    assert [(f.kind, f.where, f.problem) for f in found] == [
        ("shared pair", "valid: 1", "train: 1 has the same source and target"),
        ("shared source", "test: 1", "train: 1 has the same source"),
        ("shared target", "test: 2", "train: 1 has the same target"),
        ("shared pair", "test: 3", "valid: 2 has the same source and target"),
        ("shared source", "test: 5", "train: 2 has the same source"),
    ]


def test_combining_marks_of_other_scripts_distinguish_texts():
    training = pairs(("कि", "k i"), ("advisers", "x"), ("你好\uff0c先生。", "y"))
    other = pairs(("के", "k e"), ("advisers'", "x z"), ("你好先生", "y z"))
    every = WordTokenizer(
        ["k", "i", "e", "x", "y", "z", *(pair.source for pair in training + other)]
    )
    options = {"tokenizer": every, "source_tokenizer": every}
    assert kinds({"train": training, "valid": other}, **options) == [("shared source", "valid: 3")]


def test_the_same_source_with_another_target_language_is_not_shared():
    german = pairs(("a bee", "eine biene"), language="de")
    french = pairs(("a bee", "une abeille"), language="fr")
    assert "shared source" not in dict(kinds({"train": german, "valid": french}))
    assert "shared pair" in dict(kinds({"train": german + french, "valid": french}))
    unknown = pairs(("a bee", "une abeille"))
    assert "shared source" in dict(kinds({"train": german, "valid": unknown}))


def test_shared_targets_are_accepted_if_common_in_training():
    target = "turn left and walk, and walk again"
    many = [(f"command {letter}", target) for letter in LETTERS]
    valid = pairs(("amend abc", target))
    assert kinds({"train": pairs(*many), "valid": valid}) == []
    training = pairs(*many[:1], *sentences(20))
    assert kinds({"train": training, "valid": valid})[-1] == ("shared target", "valid: 1")


def test_a_real_corpus_has_few_findings(shared_data):
    splits = {
        name: read_parallel(shared_data / "multi30k" / f"{name}.{{en,de}}.gz")
        for name in ("train", "val")
    }
    assert len(kinds(splits)) < 20
    found = kinds({"train": splits["train"], "val": splits["train"][:100]})
    assert found.count(("shared pair", "val: train:1")) == 1
    assert len([kind for kind, _ in found if kind == "shared pair"]) == 100
