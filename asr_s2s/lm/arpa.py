"""Reading n-gram models in ARPA format, as written by KenLM, SRILM and others."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from asr_s2s.errors import ModelError
from asr_s2s.lm.ngram import Level
from asr_s2s.text.tokenizer import BOS, EOS, SPECIALS, UNK, Tokenizer
from asr_s2s.text_files import UNREADABLE, open_text

SPACE = "<space>"
"""ARPA spelling of a token that is a space."""
_LN10 = math.log(10)
_LARGEST_COUNT = re.compile(r"ngram (\d+)\s*=\s*(\d+)")


def read_arpa(path: Path, tokenizer: Tokenizer) -> list[Level]:
    """Read an ARPA file (plain, .gz or .xz) of n-grams over the tokens of a model.

    Tokens are spelled as in the vocabulary (subwords with U+2581), a space as <space>. N-grams with
    other words are skipped, because no output of the model contains them.

    Raises:
        ModelError: the file cannot be read, is not ARPA, or has no token of the model.
    """
    try:
        with open_text(path) as file:
            orders = _read_orders(file, path, token_ids(tokenizer))
    except UNREADABLE as error:
        raise ModelError(path, f"it cannot be read ({error})", "Check the path") from error
    unigrams = orders[0][0][:, 0] if orders else np.zeros(0, np.int64)
    if not np.any(unigrams > UNK):
        raise ModelError(
            path,
            "none of its words is a token of this model",
            "Build it from text split into the model's tokens, or run asr-s2s ngram on plain text",
        )
    return _trie(orders, len(tokenizer))


def arpa_words(path: Path, tokenizer: Tokenizer) -> list[str]:
    """Read the words of an ARPA file that the tokenizer can spell, in order.

    Raises:
        ModelError: the file cannot be read or is not ARPA.
    """
    words = []
    try:
        with open_text(path) as file:
            lines = ((number, line.strip()) for number, line in enumerate(file, start=1))
            _read_header(lines, path)
            for _, line in lines:
                if line.startswith("\\") and line != "\\1-grams:":
                    break
                columns = line.split()
                if len(columns) > 1 and columns[1] not in SPECIALS:
                    words.append(columns[1])
    except UNREADABLE as error:
        raise ModelError(path, f"it cannot be read ({error})", "Check the path") from error
    return [word for word in words if not tokenizer.unknown_characters(word)]


def is_arpa(path: Path) -> bool:
    """Return whether a file name has the suffix of an ARPA file."""
    return any(suffix == ".arpa" for suffix in path.suffixes)


def token_ids(tokenizer: Tokenizer) -> dict[str, int]:
    """Map the ARPA spelling of each token to its id."""
    ids = {SPACE if piece == " " else piece: i for i, piece in enumerate(tokenizer.pieces)}
    return ids | dict(zip(SPECIALS[1:], (BOS, EOS, UNK), strict=True))


Order = tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]
"""N-grams `(count, n)`, their natural log-probabilities and log back-off weights `(count,)`."""


def _read_orders(file: TextIO, path: Path, ids: dict[str, int]) -> list[Order]:
    lines = ((number, line.strip()) for number, line in enumerate(file, start=1))
    highest = _read_header(lines, path)
    orders: list[Order] = []
    order = 0
    tokens: list[int] = []
    scores: list[float] = []
    backoffs: list[float] = []

    def finish() -> None:
        if order:
            grams = np.array(tokens, np.int64).reshape(-1, order)
            orders.append(
                (
                    grams,
                    np.array(scores, np.float32) * np.float32(_LN10),
                    np.array(backoffs, np.float32) * np.float32(_LN10),
                )
            )

    for number, line in lines:
        if not line:
            continue
        if line.startswith("\\"):
            finish()
            tokens, scores, backoffs = [], [], []
            if line == "\\end\\":
                break
            if line != f"\\{len(orders) + 1}-grams:" or len(orders) == highest:
                raise _broken(path, number, f"unexpected {line}")
            order = len(orders) + 1
            continue
        # Fields are separated by tabs and words by spaces; the number of columns tells them apart.
        columns = line.split()
        if len(columns) not in (order + 1, order + 2) or not order:
            raise _broken(path, number, f"found {len(columns)} columns in the {order}-grams")
        gram = [ids.get(word, -1) for word in columns[1 : order + 1]]
        if -1 in gram:
            continue
        try:
            score = float(columns[0])
            backoff = float(columns[order + 1]) if len(columns) == order + 2 else 0.0
        except ValueError as error:
            raise _broken(path, number, "expected a number") from error
        tokens += gram
        scores.append(score)
        backoffs.append(backoff)
    else:
        raise ModelError(path, "the file ends without \\end\\", "Copy the file again")
    return orders


def _read_header(lines: Iterator[tuple[int, str]], path: Path) -> int:
    """Return the highest order listed in the header."""
    highest, started = 0, False
    for _, line in lines:
        if line == "\\data\\":
            started = True
        elif started and (match := _LARGEST_COUNT.fullmatch(line)):
            highest = int(match[1])
        elif started and highest and not line:
            return highest
        elif started:
            break
    raise ModelError(path, "this is not an n-gram model in ARPA format", "Use another file")


def _broken(path: Path, number: int, found: str) -> ModelError:
    return ModelError(f"{path}:{number}", f"invalid ARPA format: {found}", "Create the file again")


def _trie(orders: list[Order], vocabulary: int) -> list[Level]:
    """Arrange n-grams in levels; prefixes that are not n-grams get rows without a score."""
    # For each order >= k: the rows in level k of the n-grams' first k tokens.
    rows = [grams[:, 0] for grams, _, _ in orders]
    levels = []
    for k, (_, order_scores, order_backoffs) in enumerate(orders, start=1):
        if k == 1:
            count = vocabulary
            parent, token = np.zeros(count, np.int64), np.arange(count)
            rank = rows
        else:
            keys = [
                row * vocabulary + other[0][:, k - 1]
                for row, other in zip(rows, orders[k - 1 :], strict=True)
            ]
            unique, inverse = np.unique(np.concatenate(keys), return_inverse=True)
            parent, token = unique // vocabulary, unique % vocabulary
            count = len(unique)
            rank = np.split(inverse, np.cumsum([len(key) for key in keys])[:-1])
        score = np.full(count, np.nan, np.float32)
        backoff = np.zeros(count, np.float32)
        score[rank[0]] = order_scores
        backoff[rank[0]] = order_backoffs
        levels.append(Level(parent, token, score, backoff))
        rows = rank[1:]
    return levels
