"""N-gram model files: scores and back-off weights in 16 bits, keys reduced to tokens. The file of a
word n-gram model also has its trie, which takes seconds to build."""

import zlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from asr_s2s.errors import ModelError
from asr_s2s.lm.ngram import LOG_ZERO, NgramModel
from asr_s2s.lm.word_ngram import SPACE, WordNgramModel, spell
from asr_s2s.text.phonemes import PhonemeTokenizer
from asr_s2s.text.tokenizer import BLANK, SPECIALS, Tokenizer
from asr_s2s.text_files import atomic_write

NGRAM_FILE = "ngram.safetensors"
"""Name of the n-gram model's file in a model folder."""
LARGEST_ORDER = 20
"""Maximum order of an n-gram model that is loaded."""
MOST_HOMOPHONES = 1_000
"""Maximum number of words of the same pronunciation in a model that is loaded."""


def save_ngram(path: Path, model: NgramModel | WordNgramModel, tokenizer: Tokenizer) -> None:
    """Write an n-gram model.

    Args:
        tokenizer: of the recognizer; a checksum of its pieces is stored to detect mismatches.
    """
    ngrams = model.ngrams if isinstance(model, WordNgramModel) else model
    states = torch.arange(len(ngrams.backoffs) + 1)
    narrow = torch.uint16 if ngrams.vocabulary <= 2**16 else torch.int32
    tensors = {
        "order": torch.tensor(ngrams.order),
        "pieces": torch.tensor(_checksum(tokenizer)),
        "tokens": (ngrams.keys % ngrams.vocabulary).to(narrow),
        "first_entries": torch.searchsorted(ngrams.keys, states * ngrams.vocabulary).int(),
        "scores": ngrams.scores.clamp_min(LOG_ZERO).half(),
        "following": ngrams.following,
        "backoffs": ngrams.backoffs.half(),
        "suffixes": ngrams.suffixes,
        "known": ngrams.known.int(),
        "start": ngrams.start,
    }
    if isinstance(model, WordNgramModel):
        spelled = bytearray(" ".join(model.spellings), "utf-8")
        tensors["words"] = torch.frombuffer(spelled, dtype=torch.uint8)
        tensors |= _save_trie(model, tokenizer)
    content = save({name: value.cpu().contiguous() for name, value in tensors.items()})
    # save_file would create a file that only its owner can read. Loaded models read from the file
    # as long as they exist, so it is replaced rather than overwritten.
    with atomic_write(path) as file:
        file.write(content)


def load_ngram(path: Path, tokenizer: Tokenizer) -> NgramModel | WordNgramModel:
    """Read a file written by `save_ngram`.

    Raises:
        ModelError: the file is damaged or has another vocabulary.
    """
    try:
        tensors = load_file(path)
        order, pieces = int(tensors.pop("order")), int(tensors.pop("pieces"))
        words = tensors.pop("words", None)
        trie = {name: tensors.pop(name) for name in list(tensors) if name.startswith("trie.")}
        model = _load_ngrams(order, tensors)
        if pieces != _checksum(tokenizer):
            raise ModelError(
                path,
                "this n-gram model has another vocabulary than the model",
                "Build it for this model with asr-s2s ngram",
            )
        spellings = None if words is None else words.numpy().tobytes().decode().split(" ")
        if spellings is not None and len(spellings) + len(SPECIALS) != model.vocabulary:
            raise ValueError("its words are not those of its n-grams")
        nodes = _load_trie(trie, tokenizer, model.vocabulary) if trie else None
    except (SafetensorError, KeyError, RuntimeError, ValueError, IndexError, OSError) as error:
        raise ModelError(
            path,
            f"this is not an n-gram model of asr_s2s ({error})",
            "Build one with asr-s2s ngram",
        ) from error
    if spellings is None:
        return model
    if nodes is None or int(trie["trie.lexicon"]) != _lexicon_checksum(tokenizer):
        return spell(model, spellings, tokenizer)
    space = tokenizer.pieces.index(SPACE)
    return WordNgramModel(model, spellings, len(tokenizer), space, nodes)


def _load_ngrams(order: int, tensors: dict[str, Tensor]) -> NgramModel:
    """Restore what `save_ngram` reduced, and check that all references lead somewhere.

    Raises:
        KeyError, RuntimeError, ValueError, IndexError: the tensors are not those of a model.
    """
    known = tensors["known"].long()
    vocabulary = len(known) - 1
    first_entries, tokens = tensors.pop("first_entries").long(), tensors.pop("tokens").long()
    states = len(first_entries) - 1
    for name in ("scores", "backoffs"):
        tensors[name] = tensors[name].float()
        if not bool(tensors[name].isfinite().all()):
            raise ValueError(f"{name} are not finite")
    if not 1 <= order <= LARGEST_ORDER:
        raise ValueError(f"its order is {order}")
    for name, size in (("scores", len(tokens)), ("following", len(tokens)), ("backoffs", states),
                       ("suffixes", states)):  # fmt: skip
        if tensors[name].shape != (size,):
            raise ValueError(f"{name} have the wrong shape")
    for name, values, limit in (
        ("tokens", tokens, vocabulary),
        ("known tokens", known, vocabulary),
        ("following states", tensors["following"], states),
        ("suffixes", tensors["suffixes"], states),
        ("the start state", tensors["start"], states),
    ):
        _check_below(name, values, limit)
    keys = _owners(first_entries, len(tokens)) * vocabulary + tokens
    return NgramModel(order, tensors | {"keys": keys, "known": known})


def _owners(first: Tensor, count: int) -> Tensor:
    """Return the state or node that each of `count` entries belongs to.

    Args:
        first: number of the first entry of each state or node, and the number of all entries.

    Raises:
        ValueError: the numbers do not rise from 0 to the number of entries.
    """
    counts = first.long().diff()
    if int(first[0]) != 0 or int(first[-1]) != count or bool((counts < 0).any()):
        raise ValueError("entries are not in order")
    return torch.arange(len(counts)).repeat_interleave(counts)


def _check_below(name: str, values: Tensor, limit: int) -> None:
    """Check that all values are whole numbers from 0 to below the limit.

    Raises:
        ValueError: they are not.
    """
    if values.is_floating_point() or (values.numel() and not int(values.min()) >= 0):
        raise ValueError(f"{name} are no positions")
    if values.numel() and int(values.max()) >= limit:
        raise ValueError(f"{name} are beyond the last, {limit - 1}")


def _save_trie(model: WordNgramModel, tokenizer: Tokenizer) -> dict[str, Tensor]:
    nodes = torch.arange(len(model.words) + 1)
    is_word = model.words != BLANK
    return {
        "trie.lexicon": torch.tensor(_lexicon_checksum(tokenizer)),
        "trie.tokens": (model.keys % model.vocabulary).int(),
        "trie.first_edges": torch.searchsorted(model.keys, nodes * model.vocabulary).int(),
        "trie.following": model.following.int(),
        "trie.word_counts": is_word.sum(1).int(),
        "trie.words": model.words[is_word].int(),
        "trie.ahead": model.ahead,
        "trie.depths": model.depths.int(),
    }


def _load_trie(
    tensors: dict[str, Tensor], tokenizer: Tokenizer, vocabulary: int
) -> dict[str, Tensor]:
    """Restore what `_save_trie` reduced, and check that all references lead somewhere.

    Args:
        vocabulary: number of tokens of the n-gram model, its words and specials.

    Raises:
        KeyError, RuntimeError, ValueError, IndexError: the tensors are not those of a trie.
    """
    counts, nodes = tensors["trie.word_counts"], len(tensors["trie.word_counts"])
    for name, values, limit in (
        ("edges", tensors["trie.tokens"], len(tokenizer)),
        ("nodes", tensors["trie.following"], nodes),
        ("words", tensors["trie.words"], vocabulary),
        ("word counts", counts, MOST_HOMOPHONES + 1),
        ("depths", tensors["trie.depths"], nodes + 1),
    ):
        _check_below(name, values, limit)
    for name in ("ahead", "depths"):
        if tensors[f"trie.{name}"].shape != (nodes,):
            raise ValueError(f"{name} have the wrong shape")
    if len(tensors["trie.following"]) != len(tensors["trie.tokens"]):
        raise ValueError("the trie has edges that lead nowhere")
    if bool(tensors["trie.ahead"].isnan().any()):
        raise ValueError("the trie has values that are not numbers")
    if SPACE not in tokenizer.pieces:
        raise ValueError("the vocabulary has no space")
    is_word = torch.arange(int(counts.max())) < counts[:, None]
    words = torch.full(is_word.shape, BLANK)
    words[is_word] = tensors["trie.words"].long()
    if len(tensors["trie.first_edges"]) != nodes + 1:
        raise ValueError("first edges have the wrong shape")
    parents = _owners(tensors["trie.first_edges"], len(tensors["trie.tokens"]))
    return {
        "keys": parents * len(tokenizer) + tensors["trie.tokens"],
        "following": tensors["trie.following"].long(),
        "words": words,
        "ahead": tensors["trie.ahead"],
        "depths": tensors["trie.depths"].long(),
    }


def _lexicon_checksum(tokenizer: Tokenizer) -> int:
    """Checksum of the lexicon, which the trie depends on; 0 without one."""
    return tokenizer.checksum if isinstance(tokenizer, PhonemeTokenizer) else 0


def _checksum(tokenizer: Tokenizer) -> int:
    return zlib.crc32("\n".join(tokenizer.pieces).encode())
