"""Configuration: one frozen dataclass per section.

Every key that a YAML file may hold is a field below, and each field carries its own
documentation. `config_file.py` reads and writes them.
"""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """The output: how transcripts and translations become token ids, and how they are scored."""

    normalizer: str = "verbatim"
    """Name of a normalizer in `text/normalize.py`; recorded in the model folder."""
    tokenizer: Literal["characters", "sentencepiece", "words", "phonemes"] = "characters"
    """Units: single characters, subwords, words as blanks part them, or the phonemes by which a
    lexicon spells words, which need the least speech to learn."""
    lexicon: str | None = None
    """For phonemes: a file of lines that are a word, a tab, and its phonemes, relative to the
    configuration file. Of words that sound alike the usual one stands first."""
    vocabulary_size: int = 500
    """Size of a sentencepiece vocabulary, specials included, and the most that one of words may
    have; characters take what there is."""
    character_coverage: float = 1.0
    """Part of the training characters that a sentencepiece vocabulary spells; the rarest of Chinese
    or Japanese may become unknown."""
    sampling: float = 0.0
    """Subword regularization (Kudo, 2018): segmentations are drawn in training with their
    probability to this power, for example 0.2; 0 always takes the best one."""
    languages: tuple[str, ...] = ()
    """Languages of the output. When named, the first output token is the language, and the search
    is given the one wanted (as in Johnson et al., 2017, but on the target side)."""
    metric: Literal["wer", "bleu"] = "wer"
    """What models are chosen and scored by: word error rate, or BLEU."""
    bleu_tokenizer: str = "13a"
    """sacrebleu's tokenizer: 13a for most languages, zh for Chinese, none for tokenized text."""


@dataclass(frozen=True, kw_only=True)
class SourceTextConfig:
    """The source of text to text: how it becomes token ids."""

    normalizer: str = "verbatim"
    """As in `text`."""
    joint: bool = False
    """One vocabulary for source and output, made of both sides with the settings of `text`; the
    four keys below then count for nothing."""
    tokenizer: Literal["characters", "sentencepiece", "words"] = "sentencepiece"
    vocabulary_size: int = 8000
    character_coverage: float = 1.0
    sampling: float = 0.0
    """Subword regularization of the source, as in `text`."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which utterances and sentence pairs, and how they are batched."""

    train: tuple[str, ...] = ()
    """Training data, relative to the configuration file: manifests of recordings (lhotse, JSONL or
    TSV), and parallel text: a table of source and target, or two line-aligned files named as
    `train.{en,de}.gz`. For a language model, text with a sentence a line (also .gz or .xz)."""
    valid: tuple[str, ...] = ()
    """Validation data; the model is chosen by `text.metric` here, a language model by its
    perplexity."""
    batch_seconds: float = 100.0
    """Seconds of audio in a batch, padding included, before speed perturbation."""
    max_seconds: float = 20.0
    """Longer utterances are left out of training (and counted)."""
    batch_tokens: int = 2000
    """Tokens in a batch of sentence pairs, on the longer side, padding included, by their best
    segmentation; in one of lines, about so many."""
    max_tokens: int = 250
    """Sentence pairs with more tokens on a side are left out of training (and counted); lines for a
    language model are cut there."""
    buckets: int = 8
    """Utterances of similar length are batched together, in this many groups."""
    workers: int = 1
    """Processes that read and augment audio; 0 reads in the training process."""
    short_first: bool = True
    """In the first epoch, batches of speech come in order of length, which helps attention to
    align."""
    learn_silence: bool = False
    """Train on recordings whose text is empty, as ones in which nothing is said; otherwise they are
    left out, as a text may be empty by mistake."""


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Changes made to training audio, never to validation or test audio."""

    speeds: tuple[float, ...] = (0.9, 1.0, 1.1)
    """Speed factors drawn with equal chance (Ko et al., 2015); (1.0,) switches it off."""
    gain_db: float = 6.0
    """Level changes drawn uniformly from -gain_db to +gain_db."""
    vocal_tract_range: float = 0.0
    """Frequencies of an utterance are stretched by a factor drawn from 1 - this to 1 + this (Jaitly
    & Hinton, 2013), as if a speaker of another size had said it; 0.15 suits few speakers."""
    noise_probability: float = 0.0
    """Chance that an utterance gets additive noise."""
    noise_snr_db: tuple[float, float] = (5.0, 30.0)
    """Lowest and highest signal-to-noise ratio of added noise."""
    noise_folder: str | None = None
    """Folder of noise recordings, relative to the configuration file; without it, noise of a random
    spectral slope is made."""
    room_probability: float = 0.0
    """Chance that an utterance is heard in a room."""
    room_folder: str | None = None
    """Folder of room impulse responses, relative to the configuration file; without it, decaying
    noise stands for them."""
    room_seconds: float = 0.7
    """Impulse responses are cut to this length, so that large halls do not prevail."""
    telephone_probability: float = 0.0
    """Chance that an utterance passes a telephone: 8 kHz, often 300 to 3,400 Hz, often mu-law."""
    frequency_masks: int = 2
    """SpecAugment (Park et al., 2019): masked bands per utterance."""
    frequency_mask_bins: int = 15
    """Widest masked band, in mel bins."""
    time_masks: int = 2
    """SpecAugment: masked spans per utterance."""
    time_mask_frames: int = 40
    """Longest masked span, in 10 ms frames."""
    time_mask_fraction: float = 0.15
    """No masked span is longer than this part of the utterance."""


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """Log-mel features: 25 ms windows every 10 ms."""

    mel_bins: int = 80
    normalization: Literal["global", "utterance"] = "utterance"
    """Mean and variance over the training set, or over each utterance."""
    normalize_level: bool = False
    """Scale each utterance to the same root mean square first, so that a quiet recording gives the
    features of a loud one."""
    edge_frames: int = 0
    """Frames of mean level added at both ends, so that CTC has room for the shortest words."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What the model is made of."""

    encoders: tuple[str, ...] = ("speech",)
    """`speech`, `text`, or both on one shared decoder; `none` is a language model, which reads no
    source: see `language_model`."""


@dataclass(frozen=True, kw_only=True)
class SpeechEncoderConfig:
    """Convolutional front and pyramidal BiLSTM (Chan et al., 2016)."""

    convolution_layers: int = 0
    """Convolution blocks in front; each halves the time and the mel axis."""
    convolution_channels: int = 32
    layers: int = 3
    """BiLSTM layers."""
    size: int = 256
    """LSTM units in each direction."""
    time_reduction: int = 4
    """Input frames per encoder output: a power of 2. What the convolutions do not reduce, the
    upper BiLSTM layers do by concatenating pairs of frames. 8 suits subwords; characters of fluent
    speech need 4."""
    dropout: float = 0.2


@dataclass(frozen=True, kw_only=True)
class TextEncoderConfig:
    """Recurrent layers over embeddings (Bahdanau et al., 2015), or a Transformer encoder (Vaswani
    et al., 2017)."""

    cell: Literal["lstm", "gru", "rnn", "transformer"] = "lstm"
    bidirectional: bool = True
    """Recurrent layers read both ways; a Transformer always does."""
    reverse: bool = False
    """The source is read backwards, as Sutskever et al. (2014) do for a fixed vector."""
    layers: int = 2
    size: int = 256
    """Units in each direction, or a Transformer's model size."""
    embedding_size: int = 256
    shared_embedding: bool = False
    """The decoder's embedding serves the source too; needs `source_text.joint`."""
    heads: int = 4
    """Attention heads of a Transformer."""
    feedforward_size: int = 1024
    """Inner size of a Transformer's feed-forward layers."""
    dropout: float = 0.2


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Attention and the recurrent speller."""

    cell: Literal["lstm", "gru", "rnn"] = "lstm"
    attention: Literal["additive", "dot", "location", "multihead", "none"] = "location"
    """`none` is the fixed-vector model of Sutskever et al. (2014): the source is seen only as the
    decoder's first state."""
    first_state: Literal["zeros", "source"] = "zeros"
    """What the decoder starts from; `source` makes it from the ends of the encoder's sequence
    (Bahdanau et al., 2015), and is what attention `none` needs."""
    attention_size: int = 256
    attention_heads: int = 4
    """Heads of multi-head attention."""
    location_filters: int = 10
    """Filters over the previous alignment in location-aware attention."""
    location_width: int = 31
    """Width of those filters, in encoder frames (odd)."""
    input_feeding: bool = True
    """True: the first layer reads the previous context (LAS). False: a first layer forms the query
    without context, so training unrolls in fused calls (the query layer)."""
    size: int = 256
    layers: int = 1
    """Recurrent layers; with a query layer, those above it."""
    embedding_size: int = 128
    tied_output: bool = False
    """The output layer's matrix is the embedding's (Press and Wolf, 2017)."""
    dropout: float = 0.2


@dataclass(frozen=True, kw_only=True)
class LanguageModelConfig:
    """LSTM layers over the tokens of another model, for its search; `model.encoders: [none]`."""

    vocabulary_of: str | None = None
    """Model whose tokens these are: a shipped name, or a model folder relative to the configuration
    file. Its section `text` holds here too."""
    layers: int = 2
    size: int = 512
    """LSTM units of a layer."""
    embedding_size: int = 256
    """The output layer's matrix is the embedding's."""
    dropout: float = 0.2


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """What training minimizes."""

    ctc_weight: float = 0.3
    """Part of the joint loss of speech given to CTC (Kim et al., 2017); 0 builds no CTC head."""
    ctc_per_frame: int = 1
    """CTC's predictions a frame of the encoder: 2 lets one that reduces time by 8 write characters,
    of which people say more than the 12.5 a second that it has frames for."""
    label_smoothing: float = 0.1
    scheduled_sampling: float = 0.0
    """Final chance that a decoder input is the model's own guess (Bengio et al., 2015)."""
    scheduled_sampling_start: int = 0
    """Step at which scheduled sampling begins; it rises to its final value over as many again."""


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """Learning from a teacher's encoder, of which `asr-s2s teach` stores features: a linear layer
    on one layer of the speech encoder predicts them (after Chang et al., 2022). It is dropped when
    training ends."""

    weight: float = 0.0
    """Weight of this loss beside the joint loss; 0 leaves features unread."""
    layer: int = 3
    """Layer of the speech encoder, counted from 1, that predicts the features."""


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """Beam search defaults; recorded with the model."""

    beam_size: int = 8
    """1 is greedy search."""
    ctc_weight: float = 0.3
    """Weight of the CTC prefix score beside the attention score (Hori et al., 2017)."""
    ngram_weight: float = 0.0
    """Weight of the n-gram model in the model's folder (shallow fusion); 0 leaves it out."""
    language_model_weight: float = 0.0
    """Weight of the LSTM language model there, likewise."""
    token_bonus: float = 0.0
    """Added to the score of each token but the end: language models favor short outputs."""
    word_bonus: float = 0.0
    """Added for each word but the last, where the n-gram model is one of words: below 0, it keeps
    long words from being written as several short ones."""
    candidates: int = 20
    """Tokens per hypothesis that attention hands to the other scorers at each step."""
    length_normalization: float = 1.0
    """Finished scores are divided by length ** length_normalization."""
    end_threshold: float | None = 1.5
    """The end token must score above end_threshold x the best other token (log-probabilities),
    as in Hannun et al. (2019); null switches it off."""
    min_length_ratio: float = 0.0
    """Fewest output tokens, as a part of the encoder frames."""
    max_length_ratio: float = 1.0
    """Most output tokens, as a part of the encoder frames. Text wants 3 or so."""
    coverage_penalty: float = 0.0
    """Weight of Wu et al.'s (2016) coverage penalty: an output that leaves source words unread ends
    less readily. 0.2 is usual."""
    piece_tokens: int = 250
    """A line of text with more source tokens is translated in pieces; best near the longest that
    training saw."""
    unknown: bool = False
    """Whether the unknown token may be written, to be replaced by what attention rested on."""
    confidence: tuple[float, ...] = ()
    """How words' confidence is made of the evidence for them; `asr-s2s calibrate` writes it."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The optimization."""

    initialize: str | None = None
    """Model to start from instead of random weights, to fine-tune it: a shipped name, or a model
    folder relative to the configuration file. Its vocabulary is kept."""
    steps: int = 10_000
    """Optimizer steps in all."""
    seed: int = 1
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW."""
    weight_decay: float = 1e-2
    schedule: Literal["inverse_sqrt", "cosine", "linear", "constant"] = "cosine"
    """Decay after the warm-up."""
    warmup_steps: int = 500
    final_learning_rate: float = 0.01
    """Learning rate at the last step, as a part of the peak (cosine and linear)."""
    clip_norm: float = 5.0
    accumulate: int = 1
    """Batches whose gradients are averaged into one optimizer step."""
    average_every: int = 1
    """With several processes: 1 averages their gradients at every step; with more, each goes on
    alone for so many steps, then weights and moments are averaged, as also before validations and
    checkpoints (local Adam; after Stich, 2019)."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of matrix products. A processor without bf16 instructions takes fp32 for bf16."""
    validate_every: int = 500
    """Steps between validations, each with the real beam search."""
    validation_beam_size: int = 1
    checkpoint_every: int = 200
    """Steps between resumable checkpoints (also written at each validation and on Ctrl-C)."""
    log_every: int = 20
    keep_best: int = 5
    """Best checkpoints by `text.metric` on the validation data, averaged into the final model."""
    saved_precision: Literal["fp32", "fp16", "int8"] = "fp32"
    """Precision of the matrices in the final model folder; fp16 halves its size, int8 quarters it
    and is also computed with on CPU."""
    patience: int = 0
    """Validations without improvement before stopping early; 0 never stops early."""
    attention_pictures: int = 2
    """Validation utterances whose attention is drawn at each validation."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole run: everything that `asr-s2s train` reads."""

    text: TextConfig = field(default_factory=TextConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
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
