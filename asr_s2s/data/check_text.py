"""Problems in parallel text, each with its fix, found before training starts."""

import math
import re
import statistics
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from asr_s2s.data.check import Finding, check_language
from asr_s2s.data.parallel import TextPair
from asr_s2s.text.tokenizer import Tokenizer

LENGTH_FACTOR = 3.0
"""A target is suspect if it is this many times longer or shorter than expected from its source."""
LENGTH_DEVIATIONS = 5.0
"""It must also be off by this many standard deviations; otherwise many summaries are suspect."""
SHORT_CHARACTERS = 10
"""Characters added to both lengths before comparison; short sentences vary more."""
COPIED_CHARACTERS = 20
"""Maximum length of texts that a translation may copy, such as names and numbers."""
SHARED_BYTES = 20
"""Targets up to this many bytes of UTF-8 (where a Chinese character counts as three letters) may
be shared by chance: short answers, homophones, numbers."""
USUAL_FRACTION = 2 / 3
"""A property of more training pairs than this belongs to the task and is not reported: copies in
text correction, shared targets where many commands mean the same."""

_CONTINUATION = "[" + bytes(range(0x80, 0xC0)).decode("cp1252", errors="ignore") + "]"
_WRONG_ENCODING = re.compile(
    # The replacement character, and Windows-1252 quotation marks read as Latin-1 controls.
    "\ufffd|[\x80-\x9f]"
    # UTF-8 read as Latin-1 or Windows-1252: one character per byte. Greek, Cyrillic and Asian
    # letters need two matches, as "É" may precede a quotation mark in correct text.
    "|\u00c3[\xa1-\xbf]|\u00c2[\xa0-\xbf]|\u00e2\u20ac|\u00ef\u00bb\u00bf"
    f"|(?:[\u00ce-\u00d1]{_CONTINUATION}){{2}}|(?:[\u00e0-\u00ed]{_CONTINUATION}{{2}}){{2}}"
)
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
_EDGES = "!\"'(),.:;?[]{}"


def check_pairs(
    splits: Mapping[str, Sequence[TextPair]],
    *,
    tokenizer: Tokenizer | None = None,
    source_tokenizer: Tokenizer | None = None,
    normalizer: Callable[[str], str] | None = None,
    source_normalizer: Callable[[str], str] | None = None,
    max_tokens: int | None = None,
    truncated: bool = False,
    languages: Sequence[str] = (),
    progress: Callable[[], object] | None = None,
) -> Iterator[Finding]:
    """Check every pair by itself, against statistics of the training split, and against all others.

    Args:
        splits: pairs by name of the split, the training split first.
        tokenizer: tokenizer of the targets; defines their vocabulary and, with `max_tokens`, their
            maximum length. Without one, the vocabulary consists of the characters of the training
            split.
        source_tokenizer: likewise for the sources.
        normalizer: applied to each target before it is checked.
        source_normalizer: applied to each source before it is checked.
        max_tokens: maximum tokens per side used in training, including the end token.
        truncated: whether training truncates sources, so that none is too long.
        languages: output languages of the model. If given, each pair must be in one of them; with
            a single language, pairs need not name it.
        progress: called after each pair.

    Yields:
        Findings in the order of the pairs.
    """
    # Equal texts of different languages are not duplicates; unknown languages match any.
    languages_known = all(pair.language for pairs in splits.values() for pair in pairs)
    earlier: list[_SeenPairs] = []
    training: _TrainingStatistics | None = None
    for split, as_written in splits.items():
        pairs = [
            replace(
                pair,
                source=source_normalizer(pair.source) if source_normalizer else pair.source,
                target=normalizer(pair.target) if normalizer else pair.target,
                language=pair.language if languages_known else None,
            )
            for pair in as_written
        ]
        if training is None:
            training = _TrainingStatistics(pairs)
            sides = (
                _Side("source", source_tokenizer, training.source_characters),
                _Side("target", tokenizer, training.target_characters),
            )
        seen = _SeenPairs()
        for written, pair in zip(as_written, pairs, strict=True):
            where = f"{split}: {pair.id}"
            yield from check_language(where, written.language, languages)
            longest = None if truncated else max_tokens
            yield from _check_side(where, sides[0], written.source, pair.source, longest)
            yield from _check_side(where, sides[1], written.target, pair.target, max_tokens)
            if pair.source.strip() and pair.target.strip():
                yield from training.check(where, pair)
                yield from seen.add(where, pair, earlier, training.targets_repeat)
            if progress is not None:
                progress()
        earlier.append(seen)


@dataclass(frozen=True)
class _Side:
    """Source or target, with the vocabulary that its texts are checked against."""

    name: str
    tokenizer: Tokenizer | None
    training_characters: set[str]


def _check_side(
    where: str, side: _Side, written: str, text: str, max_tokens: int | None
) -> Iterator[Finding]:
    """Check one side of a pair.

    Args:
        written: the text before normalization, which may hide problems.
    """
    if not text.strip():
        problem = f"the {side.name} is empty"
        if written.strip():
            problem += f" once normalized: {written!r}"
        yield Finding("empty text", where, problem, "Write it, or leave the pair out")
        return
    wrong = None if written.isascii() else _WRONG_ENCODING.search(written)
    if wrong:
        yield Finding(
            "wrong encoding",
            where,
            f"the {side.name} contains {wrong[0]!r}, a sign of text read in a wrong encoding",
            "Read the original in its own encoding, and save it as UTF-8",
        )
    control = _CONTROL.search(written)
    if control:
        problem = f"the {side.name} contains the control character {control[0]!r}"
        yield Finding("control characters", where, problem, "Remove it")
    if side.tokenizer is not None:
        unknown, owner = side.tokenizer.unknown_characters(text), "the model's vocabulary"
    else:
        unknown, owner = set(text) - side.training_characters, f"the training {side.name}s"
    if unknown:
        yield Finding(
            "unknown characters",
            where,
            f"{' '.join(map(repr, sorted(unknown)))} of the {side.name} not in {owner}",
            "Choose a normalizer that replaces them, or add training texts that contain them",
        )
    # A text has at most one token more than characters, plus an end token; skip short ones.
    if side.tokenizer is not None and max_tokens is not None and len(text) + 2 > max_tokens:
        tokens = len(side.tokenizer.encode(text)) + 1
        if tokens > max_tokens:
            yield Finding(
                "too long",
                where,
                f"{tokens:,} tokens of the {side.name}, including the end token, exceed the "
                f"{max_tokens:,} of data.max_tokens and data.batch_tokens",
                "Split it, or raise data.max_tokens and data.batch_tokens; training skips it",
            )


class _TrainingStatistics:
    """Statistics of the training split.

    The expected length ratio is the median of log ratios. Its standard deviation is estimated as
    1.4826 times the median absolute deviation, as for a normal distribution.
    """

    def __init__(self, pairs: Sequence[TextPair]) -> None:
        self.source_characters: set[str] = set().union(*(pair.source for pair in pairs))
        self.target_characters: set[str] = set().union(*(pair.target for pair in pairs))
        complete = [pair for pair in pairs if pair.source.strip() and pair.target.strip()]
        log_ratios = [math.log(len(pair.target) / len(pair.source)) for pair in complete]
        self.expected_ratio = math.exp(statistics.median(log_ratios)) if log_ratios else 1.0
        distances = [abs(self._length_deviation(pair)) for pair in complete]
        spread = 1.4826 * statistics.median(distances) if distances else 0.0
        self.limit = max(math.log(LENGTH_FACTOR), LENGTH_DEVIATIONS * spread)
        copies = sum(_copied(pair) for pair in complete)
        self.expects_copies = copies > USUAL_FRACTION * len(complete)
        different = {(pair.source, pair.target) for pair in complete if _is_long(pair.target)}
        sources_of = Counter(target for _, target in different)
        repeated = sum(count for count in sources_of.values() if count > 1)
        self.targets_repeat = repeated > USUAL_FRACTION * len(different)

    def _length_deviation(self, pair: TextPair) -> float:
        """Log ratio of the target's length to the length expected from its source."""
        source, target = len(pair.source) * self.expected_ratio, float(len(pair.target))
        if self.expected_ratio < 1:  # scale to the longer side, for example English, not Chinese
            source, target = source / self.expected_ratio, target / self.expected_ratio
        return math.log((target + SHORT_CHARACTERS) / (source + SHORT_CHARACTERS))

    def check(self, where: str, pair: TextPair) -> Iterator[Finding]:
        if abs(self._length_deviation(pair)) > self.limit:
            expected = round(len(pair.source) * self.expected_ratio)
            yield Finding(
                "length ratio",
                where,
                f"the target has {_characters(pair.target)} for {_characters(pair.source)} of the "
                f"source; training texts suggest about {expected:,}",
                "Leave the pair out unless it is a correct translation",
            )
        if _copied(pair) and not self.expects_copies:
            problem = "the target is a copy of the source"
            yield Finding("copied", where, problem, "Translate it, or leave it out")


def _copied(pair: TextPair) -> bool:
    return pair.source == pair.target and len(pair.source) > COPIED_CHARACTERS


def _is_long(target: str) -> bool:
    return len(target.encode()) > SHARED_BYTES


def _characters(text: str) -> str:
    return f"{len(text):,} character" + ("" if len(text) == 1 else "s")


class _SeenPairs:
    """Pairs of a split checked so far; finds duplicates within and between splits."""

    def __init__(self) -> None:
        self.exact: dict[tuple[str | None, str, str], str] = {}
        self.pairs: dict[tuple[str | None, str, str], str] = {}
        self.sources: dict[tuple[str | None, str], str] = {}
        self.targets: dict[tuple[str | None, str], str] = {}

    def add(
        self, where: str, pair: TextPair, earlier: "Sequence[_SeenPairs]", targets_repeat: bool
    ) -> Iterator[Finding]:
        """Compare a pair with earlier pairs of this split, and with those of earlier splits.

        A source may have many targets; within a split, only exact duplicates are reported.
        """
        exact = (pair.language, pair.source, pair.target)
        if exact in self.exact:
            problem = f"the same pair as {self.exact[exact]}"
            yield Finding("duplicate", where, problem, "Keep one of them")
            return
        self.exact[exact] = where
        source, target = (
            (pair.language, _comparison_key(pair.source)),
            (pair.language, _comparison_key(pair.target)),
        )
        both = (*source, target[1])
        self.pairs.setdefault(both, where)
        self.sources.setdefault(source, where)
        self.targets.setdefault(target, where)
        by_chance = targets_repeat or not _is_long(target[1])
        for other in earlier:
            if both in other.pairs:
                kind, place = "pair", other.pairs[both]
            elif source in other.sources:
                kind, place = "source", other.sources[source]
            elif target in other.targets and not by_chance:
                kind, place = "target", other.targets[target]
            else:
                continue
            yield Finding(
                f"shared {kind}",
                where,
                f"{place} has the same " + ("source and target" if kind == "pair" else kind),
                "Keep it in one split; otherwise the score is too optimistic",
            )
            return


class _ComparisonCharacters(dict[int, str | None]):
    """Translation table: separators to spaces, non-ASCII punctuation removed, the rest kept."""

    def __missing__(self, code: int) -> str | None:
        category = unicodedata.category(chr(code))[0]
        replacement: str | None = chr(code)
        if category in "ZC":
            replacement = " "
        elif code == 0x2019:  # the curly apostrophe
            replacement = "'"
        elif category == "P" and code > 127:
            replacement = None
        self[code] = replacement
        return replacement


_COMPARISON_CHARACTERS = _ComparisonCharacters()


def _comparison_key(text: str) -> str:
    """Lowercase a text, and remove spaces and the punctuation around words.

    ASCII punctuation within a word is kept: "we're" differs from "were", and 1.12 from 11.2. So is
    punctuation around a single word, as in a pronunciation dictionary.
    """
    words = text.lower().translate(_COMPARISON_CHARACTERS).split()
    if len(words) == 1 and words[0].isascii():
        return words[0]
    return "".join(word.strip(_EDGES) for word in words) or text
