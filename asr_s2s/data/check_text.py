"""Everything wrong with parallel text, each finding with its fix, before training starts."""

import math
import re
import statistics
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from asr_s2s.data.check import Finding
from asr_s2s.data.parallel import TextPair
from asr_s2s.text.tokenizer import Tokenizer

LENGTH_FACTOR = 3.0
"""A target this many times longer or shorter than usual for its source is suspect."""
LENGTH_DEVIATIONS = 5.0
"""It must also be this many standard deviations away, or many summaries would be suspect."""
SHORT_CHARACTERS = 10
"""Added to both lengths before they are compared, so that those of short sentences may differ."""
COPIED_CHARACTERS = 20
"""Names and numbers up to this length may stay as they are in a translation."""
SHARED_BYTES = 20
"""Targets up to this length (in UTF-8, where a Chinese character counts as three letters) are
shared by chance: short answers, homophones, numbers."""
USUAL_PART = 2 / 3
"""What is true of more training pairs than this is the task, not a fault: copies where text is
corrected, shared targets where many commands mean the same."""

_CONTINUATION = "[" + bytes(range(0x80, 0xC0)).decode("cp1252", errors="ignore") + "]"
_WRONGLY_DECODED = re.compile(
    "\ufffd|[\x80-\x9f]"  # lost in decoding; Windows has quotation marks where Latin-1 has controls
    # UTF-8 read as Latin-1 or Windows-1252: a character for each of its bytes. Those of Greek,
    # Cyrillic and Asian letters count from two on, as "É" and a quotation mark may stand together.
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
    languages: Sequence[str] = (),
    progress: Callable[[], object] | None = None,
) -> Iterator[Finding]:
    """Judge every pair by itself, by what is usual in training, and against all others.

    Args:
        splits: pairs by the name of their split, the training split first.
        tokenizer: of the targets: tells the characters outside its vocabulary, and with
            `max_tokens` the targets that are too long. Without one, the vocabulary is the
            characters of the training split.
        source_tokenizer: of the sources, likewise.
        normalizer: applied to each target before it is judged.
        source_normalizer: applied to each source before it is judged.
        max_tokens: most tokens on a side that training takes, the end token counted.
        languages: of the output. When there are any, each pair must be in one of them; where there
            is only one, a pair need not say so.
        progress: called after each pair.

    Yields:
        Findings in the order of the pairs.
    """
    # Sentences of different languages are not the same; where one is not known, it may be any.
    languages_known = all(pair.language for pairs in splits.values() for pair in pairs)
    earlier: list[_Seen] = []
    training: _Training | None = None
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
            training = _Training(pairs)
            sides = (
                _Side("source", source_tokenizer, training.source_characters),
                _Side("target", tokenizer, training.target_characters),
            )
        seen = _Seen()
        for written, pair in zip(as_written, pairs, strict=True):
            where = f"{split}: {pair.id}"
            yield from _judge_language(where, written.language, languages)
            yield from _judge_side(where, sides[0], written.source, pair.source, max_tokens)
            yield from _judge_side(where, sides[1], written.target, pair.target, max_tokens)
            if pair.source.strip() and pair.target.strip():
                yield from training.judge(where, pair)
                yield from seen.add(where, pair, earlier, training.targets_repeat)
            if progress is not None:
                progress()
        earlier.append(seen)


def _judge_language(
    where: str, language: str | None, languages: Sequence[str]
) -> Iterator[Finding]:
    if language in languages or not languages or (language is None and len(languages) == 1):
        return
    problem = f"{language} is no language of the model" if language else "no language is given"
    yield Finding(
        "wrong language",
        where,
        problem,
        f"Give one of text.languages: {', '.join(languages)}; training stops at it",
    )


@dataclass(frozen=True)
class _Side:
    """Source or target, and what its texts are judged by."""

    name: str
    tokenizer: Tokenizer | None
    training_characters: set[str]


def _judge_side(
    where: str, side: _Side, written: str, text: str, max_tokens: int | None
) -> Iterator[Finding]:
    """
    Args:
        written: the text before its normalizer, which may hide what is wrong with it.
    """
    if not text.strip():
        problem = f"the {side.name} is empty"
        if written.strip():
            problem += f" once normalized: {written!r}"
        yield Finding("empty text", where, problem, "Write it, or leave the pair out")
        return
    wrong = None if written.isascii() else _WRONGLY_DECODED.search(written)
    if wrong:
        yield Finding(
            "wrong encoding",
            where,
            f"the {side.name} holds {wrong[0]!r}, as of text decoded wrongly",
            "Read the original in its own encoding, and save it as UTF-8",
        )
    control = _CONTROL.search(written)
    if control:
        problem = f"the {side.name} holds the control character {control[0]!r}"
        yield Finding("control characters", where, problem, "Take it out")
    if side.tokenizer is not None:
        unknown, owner = side.tokenizer.unknown_characters(text), "the model's vocabulary"
    else:
        unknown, owner = set(text) - side.training_characters, f"the training {side.name}s"
    if unknown:
        yield Finding(
            "unknown characters",
            where,
            f"{' '.join(map(repr, sorted(unknown)))} of the {side.name} not in {owner}",
            "Choose a normalizer that writes it otherwise, or add texts that hold it to training",
        )
    # Text has at most one token more than characters, and an end token: few need to be encoded.
    if side.tokenizer is not None and max_tokens is not None and len(text) + 2 > max_tokens:
        tokens = len(side.tokenizer.encode(text)) + 1
        if tokens > max_tokens:
            yield Finding(
                "too long",
                where,
                f"{tokens:,} tokens of the {side.name}, its end counted, are more than the "
                f"{max_tokens:,} of data.max_tokens and data.batch_tokens",
                "Split it, or raise data.max_tokens and data.batch_tokens; training leaves it out",
            )


class _Training:
    """What is usual in the training split.

    Lengths are compared by the logarithm of their ratio: its median is what is usual, and the
    median distance from that (times 1.4826, as in a normal distribution) how much it varies.
    """

    def __init__(self, pairs: Sequence[TextPair]) -> None:
        self.source_characters: set[str] = set().union(*(pair.source for pair in pairs))
        self.target_characters: set[str] = set().union(*(pair.target for pair in pairs))
        full = [pair for pair in pairs if pair.source.strip() and pair.target.strip()]
        logs = [math.log(len(pair.target) / len(pair.source)) for pair in full]
        self.usual_ratio = math.exp(statistics.median(logs)) if logs else 1.0
        distances = [abs(self._unusual_length(pair)) for pair in full]
        spread = 1.4826 * statistics.median(distances) if distances else 0.0
        self.limit = max(math.log(LENGTH_FACTOR), LENGTH_DEVIATIONS * spread)
        copies = sum(_copied(pair) for pair in full)
        self.copies = copies > USUAL_PART * len(full)
        different = {(pair.source, pair.target) for pair in full if _is_long(pair.target)}
        sources_of = Counter(target for _, target in different)
        repeated = sum(count for count in sources_of.values() if count > 1)
        self.targets_repeat = repeated > USUAL_PART * len(different)

    def _unusual_length(self, pair: TextPair) -> float:
        """Logarithm of the target's length, as a part of what is usual for its source."""
        source, target = len(pair.source) * self.usual_ratio, float(len(pair.target))
        if self.usual_ratio < 1:  # both in characters of the longer side: English, beside Chinese
            source, target = source / self.usual_ratio, target / self.usual_ratio
        return math.log((target + SHORT_CHARACTERS) / (source + SHORT_CHARACTERS))

    def judge(self, where: str, pair: TextPair) -> Iterator[Finding]:
        if abs(self._unusual_length(pair)) > self.limit:
            usual = round(len(pair.source) * self.usual_ratio)
            yield Finding(
                "length ratio",
                where,
                f"the target has {_characters(pair.target)} for {_characters(pair.source)} of the "
                f"source, where training has {usual:,} or so",
                "Leave it out unless one renders the other",
            )
        if _copied(pair) and not self.copies:
            problem = "the target is a copy of the source"
            yield Finding("copied", where, problem, "Translate it, or leave it out")


def _copied(pair: TextPair) -> bool:
    return pair.source == pair.target and len(pair.source) > COPIED_CHARACTERS


def _is_long(target: str) -> bool:
    return len(target.encode()) > SHARED_BYTES


def _characters(text: str) -> str:
    return f"{len(text):,} character" + ("" if len(text) == 1 else "s")


class _Seen:
    """The pairs of a split, to find those that stand twice."""

    def __init__(self) -> None:
        self.exact: dict[tuple[str | None, str, str], str] = {}
        self.pairs: dict[tuple[str | None, str, str], str] = {}
        self.sources: dict[tuple[str | None, str], str] = {}
        self.targets: dict[tuple[str | None, str], str] = {}

    def add(
        self, where: str, pair: TextPair, earlier: "Sequence[_Seen]", targets_repeat: bool
    ) -> Iterator[Finding]:
        """Compare a pair with those before it in this split, and with those of earlier splits.

        A source may have many targets; within a split only a pair that stands twice is found.
        """
        exact = (pair.language, pair.source, pair.target)
        if exact in self.exact:
            problem = f"the same pair as {self.exact[exact]}"
            yield Finding("duplicate", where, problem, "Keep one of them")
            return
        self.exact[exact] = where
        source, target = (pair.language, _bare(pair.source)), (pair.language, _bare(pair.target))
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
                "Keep it in one split, or the score is not that of new sentences",
            )
            return


class _BareCharacters(dict[int, str | None]):
    """Blanks for separators, nothing for punctuation beyond ASCII; other characters stay."""

    def __missing__(self, code: int) -> str | None:
        category = unicodedata.category(chr(code))[0]
        bare: str | None = chr(code)
        if category in "ZC":
            bare = " "
        elif code == 0x2019:  # the curly apostrophe
            bare = "'"
        elif category == "P" and code > 127:
            bare = None
        self[code] = bare
        return bare


_BARE = _BareCharacters()


def _bare(text: str) -> str:
    """Lower case, without blanks and the punctuation around words.

    ASCII marks within a word stay: "we're" is not "were", nor 1.12 the same as 11.2. So do those
    around a word that stands alone, as in a dictionary of pronunciations.
    """
    words = text.lower().translate(_BARE).split()
    if len(words) == 1 and words[0].isascii():
        return words[0]
    return "".join(word.strip(_EDGES) for word in words) or text
