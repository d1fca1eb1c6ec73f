"""Streams of training and validation batches, one per kind of source."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from lhotse import CutSet
from lhotse.cut import Cut
from torch import Tensor

from asr_s2s.audio.augment import WaveformAugment
from asr_s2s.audio.features import FRAMES_PER_SECOND
from asr_s2s.config import Config, DataConfig
from asr_s2s.data.batches import ordered_batches, training_batches
from asr_s2s.data.corpus import (
    Corpus,
    Group,
    Mix,
    check_language_weights,
    data_sources,
    is_mixed,
)
from asr_s2s.data.datasets import (
    Batch,
    BatchDataset,
    MeasuredPair,
    SpeechDataset,
    TextDataset,
    max_source_tokens,
)
from asr_s2s.data.manifest import (
    cut_language,
    cut_source,
    cut_teacher_shape,
    cut_text,
)
from asr_s2s.errors import ConfigError, TrainingError
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.nn.masks import padding_mask
from asr_s2s.text.augment import TextAugment
from asr_s2s.text.normalize import normalizer
from asr_s2s.text.output import Output
from asr_s2s.text.tokenizer import Tokenizer
from asr_s2s.train.checkpoint import Position
from asr_s2s.train.processes import Processes

NORMALIZATION_UTTERANCES = 1000
"""Number of training utterances from which global mean and variance are estimated."""


class Named(Protocol):
    """An item of a corpus."""

    @property
    def id(self) -> str:
        """Id of the utterance or sentence pair."""


Item = TypeVar("Item", bound=Named)
Dataset = TypeVar("Dataset", bound=BatchDataset, covariant=True)


@dataclass(frozen=True)
class Stream(Generic[Dataset]):
    """Items of one kind of source, with the dataset that turns them into batches."""

    items: CutSet
    """Items as the dataset expects them: cuts, `MeasuredPair`s or `Line`s."""
    dataset: Dataset
    mix: Mix[Any] | None = None
    """Choice of the items of each epoch; None if each item occurs once."""

    def epoch_items(self, seed: int, epoch: int) -> CutSet:
        """Return the items of a training epoch."""
        return self.items if self.mix is None else CutSet(self.mix.epoch(seed, epoch))

    @property
    def kind(self) -> str:
        """Kind of the items, as in `Batch.kind`."""
        return self.dataset.kind


SourceStream = Stream[SpeechDataset | TextDataset]
"""Stream of sources with their outputs."""


def check_kinds(corpus: Corpus, config: Config, key: str, *, partly: bool = False) -> None:
    """Refuse data without a matching encoder, and encoders without data.

    Args:
        partly: accept data for only some of the encoders.

    Raises:
        ConfigError: names `key`.
    """
    found = {"speech": bool(corpus.cuts), "text": bool(corpus.pairs)}
    for kind, present in found.items():
        if present != (kind in config.model.encoders) and (present or not partly):
            contents = "recordings" if kind == "speech" else "parallel text"
            encoders = ", ".join(config.model.encoders)
            raise ConfigError(
                key,
                f"it contains {'' if present else 'no '}{contents}, but model.encoders is "
                f"[{encoders}]",
                "Give manifests of recordings for a speech encoder, and parallel text for a text "
                "encoder",
            )


def check_transcripts(corpus: Corpus, config: Config) -> None:
    """Refuse training of CTC on translations alone.

    Raises:
        ConfigError: all recordings have translations only, which CTC does not learn.
    """
    translated = config.text.translation_languages
    if not translated or not corpus.cuts or not config.objective.ctc_weight:
        return
    if all(cut_language(cut) in translated for cut in corpus.cuts):
        raise ConfigError(
            "data.train",
            "it has translations of the recordings but no transcripts, which CTC learns",
            "Add rows with the transcripts, or set objective.ctc_weight to 0",
        )


def by_language(
    stream: SourceStream, languages: Sequence[str]
) -> list[tuple[str | None, SourceStream]]:
    """Split a stream of speech by the language of its texts.

    Args:
        stream: the stream.
        languages: languages to split by; if empty, or if the stream is one of text, it is whole.

    Returns:
        A stream for each language with items; the language of a whole stream is None.
    """
    if stream.kind != "speech" or not languages:
        return [(None, stream)]
    items = {
        language: [cut for cut in stream.items if cut_language(cut) == language]
        for language in languages
    }
    return [(name, Stream(CutSet(own), stream.dataset)) for name, own in items.items() if own]


def make_streams(
    corpus: Corpus,
    config: Config,
    tokenizers: tuple[Tokenizer, Tokenizer | None],
    *,
    training: bool,
    base: Path = Path(),
    info: Callable[[str], None] = lambda message: None,
) -> list[SourceStream]:
    """Build the streams of a corpus, one per kind of source.

    Args:
        training: skip empty and overlong items, augment, and sample subwords.
        base: folder that paths in the configuration are relative to.
        info: receives a message with the number of skipped items.

    Raises:
        ConfigError: no usable items of a kind are left, or a weight is given for a language that
            no item has.
        ManifestError: the language of a text is not in `text.languages`.
    """
    tokenizer, source_tokenizer = tokenizers
    output = Output.of_model(tokenizer, config.text)
    for cut in corpus.cuts:
        output.prompt(cut_language(cut), cut_source(cut))
    for pair in corpus.pairs:
        output.prompt(pair.language, pair.id)
    if training:
        spoken_languages = map(cut_language, corpus.cuts)
        written_languages = (pair.language for pair in corpus.pairs)
        check_language_weights(chain(spoken_languages, written_languages), config.data)
    streams: list[SourceStream] = []
    if corpus.cuts:
        augment = WaveformAugment(config.augment, base) if training else None
        teacher = teacher_shape(corpus.cuts) if training and config.distill.weight > 0 else None
        size = teacher[1] if teacher else 0
        speech = SpeechDataset(output, augment, config.train.seed, teacher_size=size)
        cuts = _usable_cuts(corpus.cuts, config, output, info) if training else corpus.cuts
        mix = None
        if training and is_mixed(config.data):
            spoken = _grouped(cuts, corpus, cut_language)
            mix = _mix(spoken, config.data, lambda cut, suffix: cut.with_id(cut.id + suffix), info)
        streams.append(Stream(CutSet(cuts), speech, mix))
    if corpus.pairs:
        assert source_tokenizer is not None
        texts = [(pair.source, pair.target) for pair in corpus.pairs]
        text = TextDataset(
            output,
            source_tokenizer,
            normalizer(config.source_text.normalizer),
            augment=TextAugment(config.text_augment, texts, base) if training else None,
            sampling=config.text.sampling if training else 0.0,
            source_sampling=_source_sampling(config) if training else 0.0,
            seed=config.train.seed,
            copying=config.decoder.copy,
            max_source_tokens=max_source_tokens(config),
        )
        pairs = [MeasuredPair(pair, text.num_tokens(pair)) for pair in corpus.pairs]
        if training:
            pairs = _usable_pairs(pairs, config, text, info)
        text_mix = None
        if training and is_mixed(config.data):
            written = _grouped(pairs, corpus, lambda item: item.pair.language)
            text_mix = _mix(written, config.data, _copy_pair, info)
        streams.append(Stream(CutSet(pairs), text, text_mix))
    return streams


def _grouped(
    items: Iterable[Item], corpus: Corpus, language: Callable[[Item], str | None]
) -> dict[Group, list[Item]]:
    """Group items by manifest and language, in the order of the manifests."""
    groups: dict[Group, list[Item]] = {}
    for item in items:
        group = Group(corpus.origins[item.id], language(item))
        groups.setdefault(group, []).append(item)
    return groups


def _mix(
    groups: dict[Group, list[Item]],
    config: DataConfig,
    copy: Callable[[Item, str], Item],
    info: Callable[[str], None],
) -> Mix[Item]:
    sources = data_sources(config.train)
    mix = Mix(groups, sources, config, copy)
    drawn = (
        f"{sources[group.manifest].manifest}{f' ({group.language})' if group.language else ''} "
        f"{100 * share:.1f} %"
        for group, share in mix.shares.items()
    )
    info(f"shares of each epoch: {', '.join(drawn)}")
    return mix


def _copy_pair(item: MeasuredPair, suffix: str) -> MeasuredPair:
    return replace(item, pair=replace(item.pair, id=item.pair.id + suffix))


def teacher_shape(cuts: Iterable[Cut]) -> tuple[float, int]:
    """Return frame rate in Hz and size of the teacher features of cuts.

    Raises:
        ConfigError: no cut has any, or cuts differ.
    """
    shapes = {shape for cut in cuts if (shape := cut_teacher_shape(cut))}
    if len(shapes) != 1:
        found = f"{len(shapes)} kinds of teacher features" if shapes else "no teacher features"
        raise ConfigError(
            "distill.weight",
            f"data.train contains {found}",
            "Set data.train to the cuts.jsonl.gz that asr-s2s teach wrote, or set this to 0",
        )
    return shapes.pop()


def endless(
    stream: Stream[BatchDataset],
    config: Config,
    position: Position,
    processes: Processes,
    warn: Callable[[list[str]], None],
) -> Iterator[Batch]:
    """Yield this process's training batches without end, starting at `position`, which is advanced.

    Args:
        warn: receives messages about utterances that could not be read.

    Raises:
        TrainingError: a whole epoch had no usable item, or fewer batches than processes.
    """
    kind = stream.kind
    while True:
        tried, read = 0, position.batch.get(kind, 0)
        epoch = position.epoch.setdefault(kind, 0)
        for batch in training_batches(
            stream.epoch_items(config.train.seed, epoch),
            stream.dataset,
            config.data,
            seed=config.train.seed,
            epoch=epoch,
            skip=position.batch.setdefault(kind, 0),
            rank=processes.rank,
            processes=processes.count,
        ):
            position.batch[kind] += processes.count
            tried, read = tried + 1, read + len(batch.ids)
            warn(batch.failures)
            if batch.ids:
                yield batch
        if tried and not read:
            raise TrainingError(
                "data.train", f"no item of kind {kind} can be used", "Run asr-s2s check"
            )
        if not position.batch[kind]:
            raise TrainingError(
                "data.train",
                f"too few batches of kind {kind} for {processes.count} processes",
                "Start fewer processes, or reduce the batch size",
            )
        position.epoch[kind] += 1
        position.batch[kind] = 0


@torch.inference_mode()
def measure_features(model: Seq2Seq, stream: SourceStream, config: Config) -> None:
    """Set global feature normalization from a sample of the training utterances."""
    plain = SpeechDataset(stream.dataset.output)
    stride = max(1, len(stream.items) // NORMALIZATION_UTTERANCES)
    sample = CutSet([cut for i, cut in enumerate(stream.items) if i % stride == 0])
    frontend = model.frontend
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for batch in ordered_batches(sample, plain, config.data):
        if not batch.ids:
            continue
        device = next(model.parameters()).device
        features, lengths = frontend.log_mel(batch.source.to(device), batch.lengths.to(device))
        valid: Tensor = features[~padding_mask(lengths, features.size(1))].double().cpu()
        count, total = count + len(valid), total + valid.sum(0)
        squares = squares + valid.square().sum(0)
    if count == 0:
        raise TrainingError("data.train", "no recording could be read", "Run asr-s2s check")
    mean = total / count
    frontend.normalize.set_statistics(mean, (squares / count - mean.square()).clamp_min(0.0).sqrt())


def infeasible(stream: SourceStream, config: Config) -> int:
    """Count utterances whose transcripts have more tokens than CTC can align with their frames;
    translations are not aligned."""
    edge, reduction = 2 * config.features.edge_frames, config.speech_encoder.time_reduction
    per_frame = config.objective.ctc_per_frame
    output = stream.dataset.output
    count = 0
    for cut in stream.items:
        if output.task(cut_language(cut)) == "translate":
            continue
        tokens = output.tokenizer.encode(output.normalize(cut_text(cut)))
        needed = len(tokens) + sum(a == b for a, b in pairwise(tokens))
        frames = 1 + edge + int(cut.duration * FRAMES_PER_SECOND)
        count += needed > per_frame * -(-frames // reduction)  # rounded up
    return count


def _source_sampling(config: Config) -> float:
    return config.text.sampling if config.source_text.joint else config.source_text.sampling


def _usable_cuts(
    cuts: Iterable[Cut], config: Config, output: Output, info: Callable[[str], None]
) -> list[Cut]:
    longest = min(config.data.max_seconds, config.data.batch_seconds)
    all_cuts = list(cuts)
    usable = [
        cut
        for cut in all_cuts
        if cut.duration <= longest
        and (output.normalize(cut_text(cut)) or config.data.learn_silence)
    ]
    if not usable:
        raise ConfigError(
            "data.max_seconds",
            f"all {len(all_cuts)} training utterances are empty or longer than {longest:g} s",
            "Raise data.max_seconds and data.batch_seconds",
        )
    if len(usable) < len(all_cuts):
        skipped = len(all_cuts) - len(usable)
        info(f"skipped {skipped} utterances with empty transcripts or more than {longest:g} s")
    return usable


def _usable_pairs(
    pairs: list[MeasuredPair], config: Config, dataset: TextDataset, info: Callable[[str], None]
) -> list[MeasuredPair]:
    longest = min(config.data.max_tokens, config.data.batch_tokens)
    usable = [
        item
        for item in pairs
        if item.num_tokens <= longest
        and dataset.output.normalize(item.pair.target)
        and dataset.source_normalize(item.pair.source)
    ]
    if not usable:
        raise ConfigError(
            "data.max_tokens",
            f"all {len(pairs)} training pairs have an empty side or more than {longest} tokens",
            "Raise data.max_tokens and data.batch_tokens",
        )
    if len(usable) < len(pairs):
        skipped = len(pairs) - len(usable)
        info(f"skipped {skipped} pairs with an empty side or more than {longest} tokens")
    return usable
