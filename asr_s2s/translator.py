"""Text-to-text inference with a trained model: `Translator` and its result type."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import nlargest
from pathlib import Path
from typing import NamedTuple, Unpack, overload

import torch
from torch.nn.utils.rnn import pad_sequence

from asr_s2s.data.datasets import TextDataset, max_source_tokens
from asr_s2s.errors import ModelError, TextError, UserError
from asr_s2s.model.attention import Memory
from asr_s2s.model.device import choose_device
from asr_s2s.model.folder import LoadedModel, load_model
from asr_s2s.pipeline import Alternative
from asr_s2s.search.beam import Hypothesis
from asr_s2s.search.decode import attention_weights
from asr_s2s.search.forced import Likelihood, likelihoods
from asr_s2s.search.guard import Reason
from asr_s2s.search.loops import decode_text
from asr_s2s.search.options import DEFAULTS, DecodeKeywords, DecodeOptions, DecodeSettings
from asr_s2s.search.recognize import Remedy
from asr_s2s.text.normalize import normalizer
from asr_s2s.text.output import Output
from asr_s2s.text.tokenizer import BLANK, UNK, WordTokenizer

BATCH_TOKENS = 4000
"""Source tokens decoded together, padding included; fewer if the beam is wider than the model's
own."""
READ_AHEAD = 1000
"""Lines collected before translation, so that batches hold lines of similar length."""


@dataclass(frozen=True)
class Translation:
    """Output for one line of text."""

    source: str
    """The line, as given."""
    text: str
    score: float
    """Natural log-probability over length ** length_normalization; the mean over the pieces of a
    long line; 0 for an empty one."""
    alternatives: tuple[Alternative, ...] = ()
    """The n-best outputs, best first, if `n_best` is more than 1; with `sample`, the samples in the
    order drawn."""
    warning: UserError | None = None
    """Warning about this line: it was translated in pieces, or its output repeated itself."""
    reason: Reason | None = None
    """Problem of the first output, or of a piece's; None if there was none."""
    remedy: Remedy | None = None
    """Remedy that produced the text; None if none was needed or the problem remains."""


class _Piece(NamedTuple):
    """A line, or a part of a long line."""

    line: int
    """Index of the line."""
    text: str
    tokens: list[int]


class _Decoded(NamedTuple):
    """Output for a piece."""

    outputs: tuple[Alternative, ...]
    """Distinct texts, best first, or all samples."""
    reason: Reason | None
    remedy: Remedy | None


class Translator:
    """A text-to-text model: `Translator.load("en-de").translate("Two dogs are playing.").text`."""

    def __init__(self, loaded: LoadedModel, device: torch.device) -> None:
        if loaded.source_tokenizer is None:
            raise ModelError(
                loaded.folder,
                "this model reads speech, not text",
                "Use it with asr-s2s transcribe, or choose a text model",
            )
        self.model = loaded.model
        self.config = loaded.config
        self.folder = loaded.folder
        self.device = device
        self.language_models = loaded.language_models
        self.output = Output.of_model(loaded.tokenizer, loaded.config.text)
        # A vocabulary without a space belongs to a language written without spaces.
        self._space = "" if self.output.tokenizer.unknown_characters(" ") else " "
        self.dataset = TextDataset(
            self.output,
            loaded.source_tokenizer,
            normalizer(loaded.config.source_text.normalizer),
            copying=loaded.config.decoder.copy,
            max_source_tokens=max_source_tokens(loaded.config),
        )

    @classmethod
    def load(cls, model: str | Path, device: str | None = None) -> "Translator":
        """Load a shipped model by name or a model folder by path.

        Args:
            model: name of a shipped model, or path of a model folder.
            device: torch device; by default the GPU if there is one.

        Raises:
            ModelError: there is no such model or device, or the model does not read text.
        """
        chosen = choose_device(device)
        return cls(load_model(model, chosen), chosen)

    @overload
    def translate(
        self, source: str, options: DecodeOptions = ..., **keywords: Unpack[DecodeKeywords]
    ) -> Translation: ...
    @overload
    def translate(
        self,
        source: list[str] | tuple[str, ...],
        options: DecodeOptions = ...,
        **keywords: Unpack[DecodeKeywords],
    ) -> list[Translation]: ...

    def translate(
        self,
        source: str | list[str] | tuple[str, ...],
        options: DecodeOptions = DEFAULTS,
        **keywords: Unpack[DecodeKeywords],
    ) -> Translation | list[Translation]:
        """Translate one line or a list of lines. Arguments are as in `stream`."""
        lines = [source] if isinstance(source, str) else source
        results = list(self.stream(lines, options, **keywords))
        return results[0] if isinstance(source, str) else results

    def score(
        self,
        sources: Sequence[str],
        targets: Sequence[str],
        *,
        languages: Sequence[str | None] | str | None = None,
        batch_tokens: int = BATCH_TOKENS,
    ) -> list[Likelihood]:
        """Compute the log-probabilities that the model gives to outputs, by forced decoding.

        A source is truncated if the model truncates long ones, and otherwise read whole, as its
        output is not known in pieces.

        Args:
            sources: source lines.
            targets: one output for each source.
            languages: output language of each line or of all of them, for a multilingual model.
            batch_tokens: source or output tokens computed together, padding included.

        Returns:
            Log-probabilities of the tokens of each output, in order.

        Raises:
            ManifestError: a language is missing, or not one of the model.
            TextError: a line holds half of a surrogate pair.
        """
        if languages is None or isinstance(languages, str):
            languages = [languages] * len(sources)
        rows = []
        for number, (source, target, language) in enumerate(
            zip(sources, targets, languages, strict=True), start=1
        ):
            _check_encodable(source)
            _check_encodable(target)
            prompt = self.output.prompt(language, f"line {number}")
            tokenizer = self.dataset.output_tokenizer(source)
            tokens = tokenizer.encode(self.output.normalize(target))
            rows.append((self.dataset.source_tokens(source), prompt, tokens))
        longest = [max(len(source), len(tokens) + 1) for source, _, tokens in rows]
        order = sorted(range(len(rows)), key=lambda i: -longest[i])
        found: dict[int, Likelihood] = {}
        while order:
            count = max(1, batch_tokens // longest[order[0]])
            batch, order = order[:count], order[count:]
            memory, *_ = self._encode([rows[i][0] for i in batch], [rows[i][1] for i in batch])
            prompts = torch.tensor([rows[i][1] for i in batch], dtype=torch.long)
            prompts = prompts.view(len(batch), -1).to(self.device)
            scored = likelihoods(self.model, memory, [rows[i][2] for i in batch], prompts)
            found |= dict(zip(batch, scored, strict=True))
        return [found[i] for i in range(len(rows))]

    def stream(
        self,
        lines: Iterable[str],
        options: DecodeOptions = DEFAULTS,
        *,
        batch_tokens: int = BATCH_TOKENS,
        read_ahead: int = READ_AHEAD,
        waiting: Callable[[], bool] = lambda: True,
        **keywords: Unpack[DecodeKeywords],
    ) -> Iterator[Translation]:
        """Translate lines lazily, in order.

        Args:
            lines: source lines. An empty line yields an empty translation; a very long one is
                treated as `source_text.long_sources` says.
            options: decoding options.
            batch_tokens: source tokens decoded together, padding included; fewer if the beam is
                wider than the model's own.
            read_ahead: lines collected before translation; 1 translates each line at once.
            waiting: returns whether another line, or the end, can be read without waiting for it.
                If not, the lines collected so far are translated. Called after each line.
            keywords: fields of `DecodeOptions`, which override `options`.

        Raises:
            UserError: at the call: an option cannot be used; see `DecodeOptions.prepare`.
            TextError: a line holds half of a surrogate pair.
        """
        options = replace(options, **keywords)
        settings = options.prepare(self.config, self.output, "text", self.device)
        groups = _grouped(lines, read_ahead, waiting)
        return self._stream(groups, settings, options.n_best, batch_tokens)

    def _stream(
        self,
        groups: Iterable[Sequence[str]],
        settings: DecodeSettings,
        n_best: int,
        batch_tokens: int,
    ) -> Iterator[Translation]:
        for lines in groups:
            yield from self._translate(lines, settings, n_best, batch_tokens)

    def _translate(
        self, lines: Sequence[str], settings: DecodeSettings, n_best: int, batch_tokens: int
    ) -> Iterator[Translation]:
        """Translate lines in batches of similar length; yields results in the order of lines."""
        pieces = [
            _Piece(number, part, self.dataset.source_tokens(part))
            for number, line in enumerate(lines)
            for part in self._split(self.dataset.source_normalize(line))
        ]
        found: dict[int, _Decoded] = {}
        # Memory use is proportional to the beam size, so a wider beam gets fewer lines per batch.
        width = max(1.0, settings.search.beam_size / self.config.search.beam_size)
        order = sorted(range(len(pieces)), key=lambda i: -len(pieces[i].tokens))
        while order:
            rows = max(1, int(batch_tokens / (width * len(pieces[order[0]].tokens))))
            batch, order = order[:rows], order[rows:]
            texts = self._decode([pieces[i] for i in batch], settings)
            found |= dict(zip(batch, texts, strict=True))
        parts: dict[int, list[_Decoded]] = {}
        for index, piece in enumerate(pieces):
            parts.setdefault(piece.line, []).append(found[index])
        for number, line in enumerate(lines):
            sampled = settings.generation.sampling is not None
            result = _join(line, parts.get(number, []), n_best, self._space, sampled=sampled)
            if self.dataset.is_truncated(line):
                result = replace(result, warning=self._truncation(line))
            yield result

    def _truncation(self, line: str) -> UserError:
        limit = self.dataset.max_source_tokens
        problem = f"only the first {limit:,} tokens of this line were read, as in training"
        return TextError(_quote(line), problem, "Give shorter lines if their ends matter")

    def _decode(self, pieces: Sequence[_Piece], settings: DecodeSettings) -> list[_Decoded]:
        """Decode one batch."""
        sources = [piece.tokens for piece in pieces]
        memory, source, lengths = self._encode(sources, [settings.prompt] * len(pieces))
        results = decode_text(self.model, memory, settings, sources, self.language_models)
        decoded = []
        for row, (piece, (hypotheses, reason, remedy)) in enumerate(
            zip(pieces, results, strict=True)
        ):
            outputs: dict[int | str, Alternative] = {}
            tokenizer = self.dataset.output_tokenizer(piece.text)
            for number, hypothesis in enumerate(hypotheses):
                replacements = self._replacements(
                    piece, hypothesis, source[row], lengths[row], settings.prompt
                )
                text = tokenizer.decode(hypothesis.tokens, replacements)
                # Several token sequences may have the same text; of samples, all are kept.
                key = text if settings.generation.sampling is None else number
                outputs.setdefault(key, Alternative(text, hypothesis.score))
            decoded.append(_Decoded(tuple(outputs.values()), reason, remedy))
        return decoded

    def _encode(
        self, sources: Sequence[list[int]], prompts: Sequence[list[int]]
    ) -> tuple[Memory, torch.Tensor, torch.Tensor]:
        """Encode a batch of token ids for outputs with these prompts; returns the memory, the
        padded ids and their lengths."""
        rows = [torch.tensor(tokens) for tokens in sources]
        source = pad_sequence(rows, batch_first=True, padding_value=BLANK).to(self.device)
        lengths = torch.tensor([len(row) for row in rows], device=self.device)
        prompt = torch.tensor(prompts, device=self.device).long().view(len(sources), -1)
        with torch.inference_mode():
            return self.model.encode("text", source, lengths, prompt), source, lengths

    def _replacements(
        self,
        piece: _Piece,
        hypothesis: Hypothesis,
        source: torch.Tensor,
        length: torch.Tensor,
        prompt: list[int],
    ) -> list[str]:
        """Source words with the largest attention weight for each unknown token of a hypothesis."""
        if UNK not in hypothesis.tokens:
            return []
        forced = [*prompt, *hypothesis.tokens]
        weights = attention_weights(self.model, "text", source, length, forced)
        tokenizer = self.dataset.source_tokenizer
        # A word-level output needs whole source words, whatever the units of the source.
        by_word = isinstance(self.output.tokenizer, WordTokenizer)
        surfaces = tokenizer.words(piece.text) if by_word else tokenizer.surfaces(piece.text)
        if not surfaces:
            return []
        # Leaves out the row of the output's end token and the column of the source's.
        positions = weights[len(prompt) : len(forced), : len(surfaces)].argmax(-1).tolist()
        return [
            surfaces[position]
            for position, token in zip(positions, hypothesis.tokens, strict=True)
            if token == UNK
        ]

    def _split(self, line: str) -> list[str]:
        """Split a line into pieces of at most `search.piece_tokens` source tokens if the model cuts
        long sources; see `_halve`."""
        if len(line) <= 1 or self.config.source_text.long_sources != "cut":
            return [line] if line else []
        if len(self.dataset.source_tokens(line)) <= self.config.search.piece_tokens:
            return [line]
        halves = _halve(line)
        return [piece for half in halves for piece in self._split(half)]


def _grouped(lines: Iterable[str], size: int, waiting: Callable[[], bool]) -> Iterator[list[str]]:
    """Collect lines up to `size`, or until no further one is waiting.

    Raises:
        TextError: a line holds half of a surrogate pair.
    """
    group: list[str] = []
    for line in lines:
        _check_encodable(line)
        group.append(line)
        if len(group) == size or not waiting():
            yield group
            group = []
    if group:
        yield group


def _check_encodable(line: str) -> None:
    """Check that a line can be encoded as UTF-8.

    Raises:
        TextError: it holds half of a surrogate pair.
    """
    try:
        line.encode()
    except UnicodeEncodeError as error:
        problem = f"it holds {line[error.start]!r}, which is not a character"
        raise TextError(_quote(line), problem, "Correct the line") from error


def _quote(line: str) -> str:
    """Quote a line, shortened to fit a message."""
    return repr(line if len(line) <= 40 else f"{line[:37]}...")


def _halve(line: str) -> tuple[str, str]:
    """Cut a line near its middle: after a sentence or clause, else at a space, else anywhere."""
    middle = len(line) // 2
    for pattern in (r"(?<=[.!?。！？])\s*", r"(?<=[,;:，；、])\s*", r"\s+"):  # noqa: RUF001
        cuts = [m for m in re.finditer(pattern, line) if m.start() > 0 and m.end() < len(line)]
        near = [m for m in cuts if abs(m.start() - middle) <= len(line) // 4]
        if near:
            cut = min(near, key=lambda m: abs(m.start() - middle))
            return line[: cut.start()], line[cut.end() :]
    return line[:middle], line[middle:]


def _join(
    line: str, parts: list[_Decoded], n_best: int, separator: str, *, sampled: bool
) -> Translation:
    """Combine the translations of a line's pieces."""
    if not parts:
        return Translation(line, "", 0.0)
    outputs = _combine([part.outputs for part in parts], n_best, separator, sampled=sampled)
    looping = [part for part in parts if part.reason is not None]
    remedy = looping[0].remedy if len({part.remedy for part in looping}) == 1 else None
    problems, fixes = [], []
    if len(parts) > 1:
        problems.append(f"too long for one piece: it was translated in {len(parts)}")
        fixes.append("Put one sentence on each line")
    if looping:
        problems.append(
            "its output repeats itself"
            if remedy is None
            else "its output repeated itself and was decoded again"
        )
        fixes.append("Check the output")
    return Translation(
        line,
        outputs[0].text,
        outputs[0].score,
        tuple(outputs) if n_best > 1 else (),
        TextError(_quote(line), "; ".join(problems), ". ".join(fixes)) if problems else None,
        looping[0].reason if looping else None,
        remedy,
    )


def _combine(
    parts: Sequence[Sequence[Alternative]], n_best: int, separator: str, *, sampled: bool
) -> list[Alternative]:
    """Combine the outputs of a line's pieces to outputs of the line: the best combinations of them,
    by the mean of their scores, or the samples of equal number."""
    if len(parts) == 1:
        return list(parts[0][:n_best])
    combined: list[tuple[float, tuple[str, ...]]] = [(0.0, ())]
    if sampled:
        samples = zip(*parts, strict=True)
        combined = [(sum(a.score for a in each), tuple(a.text for a in each)) for each in samples]
    else:
        for part in parts:
            joined = (
                (score + alternative.score, (*texts, alternative.text))
                for score, texts in combined
                for alternative in part[:n_best]
            )
            combined = nlargest(n_best, joined, key=lambda pair: pair[0])
    return [Alternative(separator.join(texts), score / len(parts)) for score, texts in combined]
