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
from asr_s2s.text.tokenizer import BLANK, Tokenizer
from asr_s2s.text_files import atomic_write

NGRAM_FILE = "ngram.safetensors"
"""Name of the n-gram model's file in a model folder."""


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
        known = tensors["known"].long()
        counts = tensors.pop("first_entries").long().diff()
        states = torch.arange(len(counts)).repeat_interleave(counts)
        keys = states * (len(known) - 1) + tensors.pop("tokens").long()
        for name in ("scores", "backoffs"):
            tensors[name] = tensors[name].float()
        model = NgramModel(order, tensors | {"keys": keys, "known": known})
    except (SafetensorError, KeyError, RuntimeError, OSError) as error:
        raise ModelError(
            path, "this is not an n-gram model of asr_s2s", "Build one with asr-s2s ngram"
        ) from error
    if pieces != _checksum(tokenizer):
        raise ModelError(
            path,
            "this n-gram model has another vocabulary than the model",
            "Build it for this model with asr-s2s ngram",
        )
    if words is None:
        return model
    spellings = words.numpy().tobytes().decode().split(" ")
    if not trie or int(trie["trie.lexicon"]) != _lexicon_checksum(tokenizer):
        return spell(model, spellings, tokenizer)
    return WordNgramModel(
        model, spellings, len(tokenizer), tokenizer.pieces.index(SPACE), _load_trie(trie, tokenizer)
    )


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


def _load_trie(tensors: dict[str, Tensor], tokenizer: Tokenizer) -> dict[str, Tensor]:
    counts = tensors["trie.word_counts"]
    is_word = torch.arange(int(counts.max())) < counts[:, None]
    words = torch.full(is_word.shape, BLANK)
    words[is_word] = tensors["trie.words"].long()
    edges = tensors["trie.first_edges"].long().diff()
    parents = torch.arange(len(edges)).repeat_interleave(edges)
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
