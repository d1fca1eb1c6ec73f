"""Configuration: one frozen dataclass per section.

Every key of a YAML configuration file is a field below, documented in place; its type contains its
bounds. `config_file.py` reads, checks and writes configurations.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeAlias

from asr_s2s.bounds import (
    Bounds,
    Fraction,
    LayerCount,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

LARGEST_BEAM = 1000
"""Maximum beam size. Time and memory grow with the square of the beam size."""
BeamSize: TypeAlias = Annotated[int, Bounds(1, LARGEST_BEAM)]


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """Output text: how transcripts and translations are tokenized and scored."""

    normalizer: str = "verbatim"
    """Name of a normalizer in `text/normalize.py`; recorded in the model folder."""
    tokenizer: str = "characters"
    """Unit of the vocabulary, by its name in `text/vocabulary.py`: characters, sentencepiece (for
    subwords), words (separated by whitespace), or phonemes (of a lexicon), which need the least
    speech to learn."""
    lexicon: str | None = None
    """Lexicon of the phoneme tokenizer, relative to the configuration file: lines of a word, a tab,
    and its phonemes. The most common of several homophones stands first."""
    vocabulary_size: PositiveInt = 500
    """Size of a sentencepiece vocabulary, or maximum size of a word vocabulary, special tokens
    included; ignored for characters and phonemes."""
    character_coverage: Fraction = 1.0
    """Fraction of the training characters that a sentencepiece vocabulary covers; below 1, rare
    characters, for example of Chinese or Japanese, become unknown."""
    byte_fallback: bool = False
    """Sentencepiece: spell characters that are not in the vocabulary by their UTF-8 bytes, for
    which it has 256 tokens. No character is unknown then."""
    split_digits: bool = False
    """Sentencepiece: each digit is a token, so that numbers can be copied digit by digit."""
    case_marks: bool = False
    """Sentencepiece: use subwords in lower case, and a token before each capital or word in
    capitals (inline casing, Bérard et al., 2019), so that a word is known in every spelling."""
    sampling: NonNegativeFloat = 0.0
    """Subword regularization (Kudo, 2018): in training, segmentations are sampled in proportion to
    their probability raised to this power, for example 0.2; 0 always uses the best one."""
    languages: tuple[str, ...] = ()
    """Languages of the output. If any are listed, the first output token names the language, and
    the search is given the requested one (as in Johnson et al., 2017, but on the target side)."""
    spoken_languages: tuple[str, ...] = ()
    """Spoken languages, a part of `languages`, for models that translate speech: texts in the other
    languages are translations, which CTC neither learns nor judges. If empty, all are spoken."""
    metric: str = "wer"
    """Metric that selects checkpoints and scores models, by its name in `metrics/metric.py`: wer,
    cer, ser (sentence error rate), accuracy (exact matches), bleu, chrf, ter, rouge1, rouge2,
    rougel, distinct1, distinct2 (diversity of outputs) or perplexity."""
    further_metrics: tuple[str, ...] = ()
    """Further metrics that validation and `asr-s2s evaluate` report, by the same names."""
    bleu_tokenizer: str = "13a"
    """Tokenizer of sacrebleu: 13a for most languages, zh for Chinese, none for tokenized text."""

    @property
    def translation_languages(self) -> tuple[str, ...]:
        """Output languages in which text is a translation of speech; none if all are spoken."""
        spoken = self.spoken_languages or self.languages
        return tuple(language for language in self.languages if language not in spoken)


@dataclass(frozen=True, kw_only=True)
class SourceTextConfig:
    """Source text of a text-to-text model: how it is tokenized."""

    normalizer: str = "verbatim"
    """Normalizer of the source, as in `text`."""
    long_sources: Literal["cut", "truncate", "whole"] = "cut"
    """Treatment of sources with more than `search.piece_tokens` tokens. cut: they are decoded in
    pieces whose outputs are joined, as suits translation. truncate: only the beginning is read, in
    training too, as suits summaries. whole: the model reads all of them. Training leaves out pairs
    with more than `data.max_tokens` tokens in any case, counted after truncation."""
    joint: bool = False
    """Use one vocabulary for source and output, built from both sides with the settings of `text`;
    the keys below are then ignored."""
    tokenizer: str = "sentencepiece"
    """characters, sentencepiece or words, as in `text`."""
    vocabulary_size: PositiveInt = 8000
    character_coverage: Fraction = 1.0
    byte_fallback: bool = False
    split_digits: bool = False
    case_marks: bool = False
    sampling: NonNegativeFloat = 0.0
    """Subword regularization of the source, as in `text`."""


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """A manifest with its columns, language or weight, in a list of data."""

    manifest: str
    """Manifest of recordings, or parallel text."""
    columns: tuple[str, ...] = ()
    """Names of the first columns of a table of text without header, such as `[id, source,
    target]`; by default, source and target."""
    language: str | None = None
    """Output language of items that name none."""
    weight: PositiveFloat = 1.0
    """Factor of the manifest's share in training; see `data.temperature`."""


@dataclass(frozen=True, kw_only=True)
class LanguageWeight:
    """Weight of an output language in training."""

    language: str
    weight: PositiveFloat


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Training and validation data, and how they are batched."""

    train: tuple[str | DataSource, ...] = ()
    """Training data, relative to the configuration file: manifests of recordings (lhotse, JSONL or
    TSV), and parallel text: a table of source and target, or two line-aligned files named as
    `train.{en,de}.gz`. For a language model, text with one sentence per line (also .gz or .xz).
    An entry `{manifest: train.tsv.gz, language: de, weight: 2}` also gives the output language, a
    weight, or columns."""
    valid: tuple[str | DataSource, ...] = ()
    """Validation data, on which checkpoints are selected by `text.metric`, or by perplexity for a
    language model."""
    test: tuple[str | DataSource, ...] = ()
    """Test sets that `asr-s2s evaluate --config` decodes; training does not read them."""
    temperature: PositiveFloat = 1.0
    """Share of a manifest in training: proportional to its weight times its items ** (1 / this). 1
    keeps natural shares, larger values even them out. An epoch always has as many items as the
    data."""
    language_temperature: PositiveFloat = 1.0
    """Share of an output language in training: proportional to the sum over its manifests ** (1 /
    this); 5 is usual for languages of very different sizes (Arivazhagan et al., 2019)."""
    language_weights: tuple[LanguageWeight, ...] = ()
    """Factors of the shares of languages, such as `[{language: de, weight: 2}]`; 1 for others."""
    batch_seconds: PositiveFloat = 100.0
    """Seconds of audio per batch, padding included, before speed perturbation."""
    max_seconds: PositiveFloat = 20.0
    """Maximum duration of a training utterance; longer ones are left out and counted."""
    batch_tokens: PositiveInt = 2000
    """Tokens per batch of sentence pairs, counted on the longer side of the best segmentations
    before augmentation, padding included; approximate for the lines of a language model."""
    max_tokens: PositiveInt = 250
    """Maximum number of tokens per side of a training pair; longer pairs are left out and counted.
    Lines for a language model are truncated to it."""
    buckets: PositiveInt = 8
    """Number of groups of utterances of similar length; a batch comes from one group."""
    workers: NonNegativeInt = 1
    """Number of processes that read and augment audio; 0 reads in the training process."""
    short_first: bool = True
    """Sort batches of speech by length in the first epoch, which helps attention to align."""
    learn_silence: bool = False
    """Train on recordings with an empty transcript, as recordings without speech. By default they
    are left out, because a transcript may be empty by mistake."""


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Augmentation of training audio; validation and test audio is not changed."""

    speeds: tuple[Annotated[float, Bounds(0.2, 5)], ...] = (0.9, 1.0, 1.1)
    """Speed factors, drawn uniformly (Ko et al., 2015); (1.0,) disables speed perturbation."""
    gain_db: NonNegativeFloat = 6.0
    """Maximum level change; the gain is drawn uniformly from -gain_db to +gain_db."""
    vocal_tract_range: Annotated[float, Bounds(0, 0.5)] = 0.0
    """Vocal tract length perturbation (Jaitly & Hinton, 2013): frequencies of an utterance are
    scaled by a factor drawn from 1 - this to 1 + this. 0.15 suits data of few speakers."""
    noise_probability: Fraction = 0.0
    """Probability of adding noise to an utterance."""
    noise_snr_db: tuple[float, float] = (5.0, 30.0)
    """Lowest and highest signal-to-noise ratio of added noise, in dB."""
    noise_folder: str | None = None
    """Folder of noise recordings, relative to the configuration file; without it, noise of a random
    spectral slope is generated."""
    room_probability: Fraction = 0.0
    """Probability of adding room reverberation to an utterance."""
    room_folder: str | None = None
    """Folder of room impulse responses, relative to the configuration file; without it, decaying
    noise is generated."""
    room_seconds: PositiveFloat = 0.7
    """Maximum length of impulse responses, in seconds; longer ones are truncated, so that large
    halls do not dominate."""
    telephone_probability: Fraction = 0.0
    """Probability of simulating a telephone: 8 kHz, often 300 to 3,400 Hz only, often mu-law."""
    frequency_masks: NonNegativeInt = 2
    """SpecAugment (Park et al., 2019): frequency masks per utterance."""
    frequency_mask_bins: NonNegativeInt = 15
    """Maximum width of a frequency mask, in mel bins."""
    time_masks: NonNegativeInt = 2
    """SpecAugment: time masks per utterance."""
    time_mask_frames: NonNegativeInt = 40
    """Maximum length of a time mask, in 10 ms frames."""
    time_mask_fraction: Fraction = 0.15
    """Maximum length of a time mask, as a fraction of the utterance."""


@dataclass(frozen=True, kw_only=True)
class TextAugmentConfig:
    """Augmentation of training pairs of texts; validation and test texts are not changed. The
    targets stay in normal spelling, except that `substitute_probability` and `symbol_probability`
    change both sides alike."""

    lowercase_probability: Fraction = 0.0
    """Probability of converting a source to lower case."""
    uppercase_probability: Fraction = 0.0
    """Probability of converting a source to capitals."""
    strip_end_probability: Fraction = 0.0
    """Probability of removing the punctuation at the end of a source."""
    substitute_probability: Fraction = 0.0
    """Probability of replacing the numbers and names that both sides of a pair contain by other
    ones, the same on both sides, which teaches a model to copy. Names are words with a capital that
    the training texts never contain in lower case."""
    names: tuple[str, ...] = ()
    """Files with one name per line, relative to the configuration file, whose names replace others
    in addition to those of the training pairs."""
    symbol_probability: Fraction = 0.0
    """Probability of adding a random symbol, such as an emoji or a foreign letter, to the end of
    both sides. It teaches a model with `text.byte_fallback` to copy unknown characters."""


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """Log-mel features: 25 ms windows every 10 ms."""

    mel_bins: Annotated[int, Bounds(1, 1_000)] = 80
    normalization: Literal["global", "utterance"] = "utterance"
    """Mean and variance normalization over the training set, or over each utterance."""
    normalize_level: bool = False
    """Scale each waveform to the same root mean square first, so that quiet and loud recordings
    give the same features."""
    edge_frames: Annotated[int, Bounds(0, 10_000)] = 0
    """Frames of mean level added at each end, so that CTC has enough frames for short words."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Composition of the model."""

    encoders: tuple[str, ...] = ("speech",)
    """Encoders: `speech`, `text`, or both with a shared decoder. `none` is a language model, which
    has no source (see `language_model`)."""
    language_to_encoder: bool = False
    """Give encoders the output language, for models of several `text.languages`: an embedding of it
    is added to each source token or frame of features. By default only the decoder gets it."""


@dataclass(frozen=True, kw_only=True)
class SpeechEncoderConfig:
    """Convolutions, then pyramidal BiLSTM (Chan et al., 2016) or Conformer layers (Gulati et al.,
    2020)."""

    kind: str = "pyramid"
    """Architecture of the layers, by its name in `model/seq2seq.py`: pyramid or conformer."""
    convolution_layers: Annotated[int, Bounds(0, 10)] = 0
    """Convolution blocks before the BiLSTM, pyramid only; each halves the time axis and the mel
    axis. A Conformer has as many as its time reduction takes."""
    convolution_channels: PositiveInt = 32
    layers: LayerCount = 3
    """BiLSTM or Conformer layers."""
    size: PositiveInt = 256
    """LSTM units per direction, or the model size of a Conformer."""
    time_reduction: int = 4
    """Feature frames per encoder output, a power of 2. In a pyramid, reduction beyond that of the
    convolutions is done by the upper BiLSTM layers, which concatenate pairs of frames. 8 suits
    subwords; characters of fluent speech need 4."""
    heads: PositiveInt = 4
    """Attention heads, conformer only."""
    feedforward_size: PositiveInt = 1024
    """Inner size of feed-forward modules, conformer only; usually 4 times `size`."""
    kernel_size: PositiveInt = 31
    """Width of the convolution over time in encoder frames (odd), conformer only."""
    dropout: Fraction = 0.2


@dataclass(frozen=True, kw_only=True)
class TextEncoderConfig:
    """Recurrent layers over embeddings (Bahdanau et al., 2015), or a Transformer encoder (Vaswani
    et al., 2017)."""

    cell: str = "lstm"
    """Layers, by their name in `model/text_encoder.py`: lstm, gru, rnn or transformer."""
    bidirectional: bool = True
    """Whether recurrent layers are bidirectional; a Transformer always sees the whole source."""
    reverse: bool = False
    """Reverse the source, as Sutskever et al. (2014) do for a fixed-length vector."""
    layers: LayerCount = 2
    size: PositiveInt = 256
    """Units per direction, or the model size of a Transformer."""
    embedding_size: PositiveInt = 256
    shared_embedding: bool = False
    """Share the decoder's embedding with the source; requires `source_text.joint`."""
    heads: PositiveInt = 4
    """Attention heads of a Transformer."""
    feedforward_size: PositiveInt = 1024
    """Inner size of a Transformer's feed-forward layers."""
    dropout: Fraction = 0.2


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Decoder and its attention: recurrent (Chan et al., 2016), or a Transformer (Vaswani et al.,
    2017). Keys marked "recurrent only" have no effect on a Transformer."""

    kind: str = "recurrent"
    """Architecture, by its name in `model/decoders.py`: recurrent or transformer. A Transformer
    needs `attention_heads` to divide half its `size`; use several layers."""
    cell: str = "lstm"
    """Recurrent only: the cell, by its name in `nn/recurrent.py`: lstm, gru or rnn."""
    attention: str = "location"
    """Recurrent only: attention mechanism, by its name in `model/attention.py`: additive, coverage
    (See et al., 2017), dot, location, multihead or none; a Transformer always has multi-head
    attention. `none` is the fixed-vector model of Sutskever et al. (2014), in which the source
    reaches the decoder only through its initial state."""
    copy: bool = False
    """Copy source tokens by attention (pointer-generator network, See et al., 2017), for text only:
    names and numbers are copied, also words that are not in the vocabulary. Requires
    `source_text.joint`."""
    first_state: Literal["zeros", "source"] = "zeros"
    """Recurrent only: initial decoder state: zeros, or `source`, computed from the ends of the
    encoder's sequence (Bahdanau et al., 2015). Attention `none` requires `source`."""
    attention_size: PositiveInt = 256
    """Recurrent only: size of projected queries and keys."""
    attention_heads: PositiveInt = 4
    """Heads of multi-head attention, and of a Transformer."""
    location_filters: PositiveInt = 10
    """Convolution filters over the previous attention weights, in location-aware attention."""
    location_width: PositiveInt = 31
    """Width of those filters, in encoder frames (odd)."""
    input_feeding: bool = True
    """Recurrent only. True: the first layer takes the previous context as input (LAS). False: a
    first layer without context forms the query (the query layer), so that training unrolls in fused
    calls."""
    size: PositiveInt = 256
    """Units of a recurrent layer, or model size of a Transformer."""
    feedforward_size: PositiveInt = 1024
    """Transformer only: inner size of the feed-forward layers."""
    layers: LayerCount = 1
    """Layers, not counting a query layer."""
    embedding_size: PositiveInt = 128
    tied_output: bool = False
    """Tie the output layer's matrix to the embedding (Press and Wolf, 2017)."""
    dropout: Fraction = 0.2


@dataclass(frozen=True, kw_only=True)
class LanguageModelConfig:
    """LSTM language model over the tokens of another model, used in that model's beam search;
    requires `model.encoders: [none]`."""

    vocabulary_of: str | None = None
    """Model whose vocabulary is used: a shipped name, or a model folder relative to the
    configuration file. Its `text` section applies here too."""
    layers: LayerCount = 2
    size: PositiveInt = 512
    """LSTM units per layer."""
    embedding_size: PositiveInt = 256
    """Size of the embedding, whose matrix is shared with the output layer."""
    dropout: Fraction = 0.2


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """Training objective."""

    ctc_weight: Fraction = 0.3
    """Weight of CTC in the joint loss of speech (Kim et al., 2017); 0 builds no CTC head."""
    ctc_per_frame: PositiveInt = 1
    """CTC predictions per encoder frame. 2 allows characters with a time reduction of 8, whose 12.5
    frames per second are fewer than the characters spoken per second."""
    label_smoothing: Fraction = 0.1
    coverage_weight: NonNegativeFloat = 0.0
    """Weight of the coverage loss (See et al., 2017), added to the loss of the decoder: attention
    weights that fall on parts of the source that were attended before. Requires attention."""
    scheduled_sampling: Fraction = 0.0
    """Final probability of feeding the decoder its own prediction (Bengio et al., 2015)."""
    scheduled_sampling_start: NonNegativeInt = 0
    """Step at which scheduled sampling begins; it rises to its final value at twice this step."""


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """Distillation of a teacher's encoder features, stored by `asr-s2s teach`. A linear layer on
    one layer of the speech encoder predicts them (after Chang et al., 2022); it is dropped when
    training ends."""

    weight: NonNegativeFloat = 0.0
    """Weight of the distillation loss, which is added to the joint loss; 0 ignores the features."""
    layer: PositiveInt = 3
    """Layer of the speech encoder, counted from 1, that predicts the features."""


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """Beam search defaults, recorded with the model."""

    beam_size: BeamSize = 8
    """Hypotheses kept per utterance; 1 is greedy search."""
    ctc_weight: Fraction = 0.3
    """Weight of the CTC prefix score beside the attention score (Hori et al., 2017)."""
    ngram_weight: Annotated[float, Bounds(0, 10)] = 0.0
    """Weight of the n-gram model in the model folder (shallow fusion); 0 leaves it out."""
    language_model_weight: Annotated[float, Bounds(0, 10)] = 0.0
    """Weight of the LSTM language model in the model folder (shallow fusion); 0 leaves it out."""
    token_bonus: Annotated[float, Bounds(-10, 10)] = 0.0
    """Score added per token, except the end token; offsets the bias of language models toward short
    outputs."""
    word_bonus: Annotated[float, Bounds(-10, 10)] = 0.0
    """Score added per word, except the last, with a word n-gram model; negative values keep long
    words from being split into several short ones."""
    candidates: PositiveInt = 20
    """Candidate tokens per hypothesis that attention proposes to the other scorers at each step."""
    length_normalization: Annotated[float, Bounds(0, 10)] = 1.0
    """Exponent of length normalization: final scores are divided by length ** this."""
    end_threshold: float | None = 1.5
    """The log-probability of the end token must exceed end_threshold x that of the best other token
    (Hannun et al., 2019); null disables this rule."""
    min_length_ratio: NonNegativeFloat = 0.0
    """Minimum number of output tokens, as a fraction of the encoder frames."""
    max_length_ratio: PositiveFloat = 1.0
    """Maximum number of output tokens, as a fraction of the encoder frames; about 3 suits text."""
    min_length: NonNegativeInt = 0
    """Minimum number of output tokens."""
    no_repeat_ngram: NonNegativeInt = 0
    """Length in tokens of n-grams that an output may contain only once; 0 allows repetitions. It
    takes precedence over the minimum length."""
    beam_groups: BeamSize = 1
    """Number of groups of the beam that avoid each other's tokens (diverse beam search,
    Vijayakumar et al., 2018); a divisor of `beam_size`."""
    diversity: Annotated[float, Bounds(0, 10)] = 0.5
    """Cost of a token that an earlier group chose at the same step, in nats, with `beam_groups`."""
    coverage_penalty: Annotated[float, Bounds(0, 10)] = 0.0
    """Weight of the coverage penalty of Wu et al. (2016), which discourages outputs that leave
    source words unread. 0.2 is usual."""
    piece_tokens: Annotated[int, Bounds(2)] = 250
    """Maximum source tokens of a piece; longer lines of text are translated in several pieces. Best
    near the longest line in training."""
    unknown: bool = False
    """Allow the unknown token in outputs; the source text with the most attention replaces it."""
    confidence: tuple[float, ...] = ()
    """Coefficients of the confidence of words; written by `asr-s2s calibrate`."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Optimization, validation and checkpoints."""

    initialize: str | None = None
    """Model to fine-tune, instead of starting from random weights: a shipped name, or a model
    folder relative to the configuration file. Its vocabulary is kept."""
    missing_units: Literal["refuse", "add", "unknown"] = "refuse"
    """With `initialize`, units of the training texts that the model's vocabulary lacks: characters,
    or words of a word vocabulary. They are refused, added at the end of the vocabulary, or stay
    unknown tokens. Added rows of the weights are the mean of the others, with noise. A word
    vocabulary grows up to its `vocabulary_size`, and missing words are not refused."""
    initialize_encoder: str | None = None
    """Model whose speech encoder is the starting point, named as in `initialize`. All other parts
    and the vocabulary are new; `features` and `speech_encoder` must be those of the model."""
    steps: PositiveInt = 10_000
    """Total number of optimizer steps."""
    seed: NonNegativeInt = 1
    learning_rate: PositiveFloat = 1e-3
    """Peak learning rate of AdamW."""
    weight_decay: NonNegativeFloat = 1e-2
    schedule: Literal["inverse_sqrt", "cosine", "linear", "constant"] = "cosine"
    """Learning rate decay after the warm-up."""
    warmup_steps: NonNegativeInt = 500
    final_learning_rate: Fraction = 0.01
    """Learning rate at the last step, as a fraction of the peak (cosine and linear)."""
    clip_norm: PositiveFloat = 5.0
    accumulate: PositiveInt = 1
    """Batches whose gradients are averaged into one optimizer step."""
    average_every: PositiveInt = 1
    """Steps between averaging of several processes. 1 averages gradients at every step. With larger
    values each process trains alone for that many steps, then weights and optimizer moments are
    averaged, as also before validations and checkpoints (local Adam; after Stich, 2019)."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Precision of matrix products; processors without bf16 instructions use fp32 for bf16."""
    validate_every: PositiveInt = 500
    """Steps between validations, each of which runs beam search."""
    validation_beam_size: BeamSize = 1
    checkpoint_every: PositiveInt = 200
    """Steps between resumable checkpoints (also written at each validation and on Ctrl-C)."""
    log_every: PositiveInt = 20
    keep_best: PositiveInt = 5
    """Number of best checkpoints, by `text.metric` on validation data, averaged into the final
    model."""
    saved_precision: Literal["fp32", "fp16", "int8"] = "fp32"
    """Precision of the matrices in the final model folder; fp16 halves its size, int8 quarters it
    and is also used for computation on CPU."""
    patience: NonNegativeInt = 0
    """Validations without improvement before training stops early; 0 never stops early."""
    attention_pictures: NonNegativeInt = 2
    """Validation utterances whose attention is plotted at each validation."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Complete configuration of a training run, as read by `asr-s2s train`."""

    text: TextConfig = field(default_factory=TextConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    text_augment: TextAugmentConfig = field(default_factory=TextAugmentConfig)
    source_text: SourceTextConfig = field(default_factory=SourceTextConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    speech_encoder: SpeechEncoderConfig = field(default_factory=SpeechEncoderConfig)
    text_encoder: TextEncoderConfig = field(default_factory=TextEncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    language_model: LanguageModelConfig = field(default_factory=LanguageModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
