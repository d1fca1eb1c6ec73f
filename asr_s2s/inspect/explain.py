"""Attribution of output words to parts of a recording or to source words.

Two methods explain the gain in log-probability of a word from an uninformative baseline to the
source. Integrated gradients (Sundararajan et al., 2017) accumulate gradients along the straight
path from the baseline to the source and are complete: they sum to the gain. Occlusion (Zeiler and
Fergus, 2014) is the loss of log-probability when one part of the source is replaced by the
baseline. The output is given (forced decoding), so the log-probability of a word is that of its
tokens after all previous tokens.

The baseline of speech is the recording's own background level: the 5th percentile of each mel bin,
with the normalization of the whole recording. The baseline of text is the embedding of padding
(zeros); the end token is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr_s2s.audio.features import FRAMES_PER_SECOND
from asr_s2s.data.datasets import SpeechDataset, TextDataset
from asr_s2s.errors import ModelError, TextError
from asr_s2s.inspect.attention import Spectrogram, compute_spectrogram
from asr_s2s.inspect.integrated_gradients import MOST_STEPS, completeness_error, integrate
from asr_s2s.model.attention import Memory
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.text.tokenizer import BOS
from asr_s2s.text.words import TokenWord, group_tokens

QUIET = 0.05
"""Quantile of the levels of a mel bin that is used as its background level."""
WINDOW_FRAMES, STRIDE_FRAMES = 10, 5
"""Width and stride of the window that is occluded in a recording: 100 and 50 ms."""


@dataclass(frozen=True)
class ExplainedWord:
    """Attributions of one output word."""

    text: str
    log_prob: float
    """Natural log-probability of the word, given the previous words."""
    baseline: float
    """Log-probability of the word for the baseline."""
    gradients: NDArray[np.float32]
    """Integrated gradients, `(frames, mel_bins)` for speech and `(source words,)` for text."""
    occlusion: NDArray[np.float32]
    """Loss of log-probability by occlusion, `(frames,)` or `(source words,)`; the mean over
    overlapping windows."""
    completeness_error: float
    """Difference between the sum of the integrated gradients and the gain, relative to the gain."""
    steps: int
    """Number of gradient evaluations."""

    @property
    def gain(self) -> float:
        """Gain in log-probability from the baseline to the source."""
        return self.log_prob - self.baseline

    @property
    def profile(self) -> NDArray[np.float32]:
        """Integrated gradients per frame or source word, summed over mel bins."""
        return self.gradients.sum(1) if self.gradients.ndim == 2 else self.gradients


@dataclass(frozen=True)
class Explanation:
    """Attributions of all words of an output."""

    words: tuple[ExplainedWord, ...]
    source: Spectrogram | list[str]
    """Spectrogram of a recording, or source words."""

    @property
    def completeness_error(self) -> float:
        """Largest completeness error of a word."""
        return max(word.completeness_error for word in self.words)

    def to_record(self) -> dict[str, Any]:
        """JSON object. For a recording, `times` are the times of frames in seconds; for text,
        `source` has the source words."""
        spectrogram = self.source if isinstance(self.source, Spectrogram) else None
        frames = [] if spectrogram is None else range(len(spectrogram.log_mel))
        return {
            "source": None if spectrogram else self.source,
            "seconds": round(spectrogram.seconds, 3) if spectrogram else None,
            "times": [round(i / FRAMES_PER_SECOND, 2) for i in frames] if spectrogram else None,
            "words": [
                {
                    "text": word.text,
                    "log_prob": round(word.log_prob, 4),
                    "baseline_log_prob": round(word.baseline, 4),
                    "integrated_gradients": [round(v, 5) for v in word.profile.tolist()],
                    "occlusion": [round(v, 5) for v in word.occlusion.tolist()],
                    "completeness_error": round(word.completeness_error, 6),
                    "steps": word.steps,
                }
                for word in self.words
            ],
        }


def explain(
    model: Seq2Seq,
    dataset: SpeechDataset | TextDataset,
    source: Tensor | str,
    prompt: list[int],
    tokens: list[int],
    *,
    most_steps: int = MOST_STEPS,
) -> Explanation:
    """Explain the words of an output.

    Args:
        model: model in evaluation mode.
        dataset: dataset that the output tokens were encoded with, and a sentence will be.
        source: waveform `(samples,)`, or a sentence.
        prompt: token ids that the output starts with, such as its language.
        tokens: token ids of the output, without start and end.
        most_steps: gradient evaluations per word after which no segment of the path is halved; the
            first `SEGMENTS` segments are always evaluated.

    Raises:
        TextError: the output or the source has no words.
    """
    tokenizer = dataset.output.tokenizer
    source_tokens: Tensor | None = None
    if isinstance(dataset, TextDataset):
        tokenizer = dataset.output_tokenizer(str(source))
    text = tokenizer.decode(tokens)
    surfaces = [text[begin:end] for begin, end in pairwise([0, *tokenizer.offsets(tokens)])]
    words = group_tokens(text, surfaces)
    if not words:
        raise TextError("the output", "there is no word to explain", "Give --output-text")
    shown_source: Spectrogram | list[str]
    if isinstance(dataset, TextDataset):
        sentence = dataset.source_normalize(str(source))
        source_words = group_tokens(sentence, dataset.source_tokenizer.surfaces(sentence))
        if not source_words:
            raise TextError("SOURCE", "there is no word to attribute to", "Give a sentence")
        device = next(model.parameters()).device
        source_tokens = torch.tensor(dataset.source_tokens(str(source)), device=device)
        inputs, baseline = _embed_text(model, source_tokens)
        shown_source = [word.text for word in source_words]
    else:
        assert isinstance(source, Tensor)
        source_words = []
        inputs, baseline = _embed_speech(model, source)
        shown_source = compute_spectrogram(model, source)
    scorer = _WordScorer(model, source_tokens, prompt, tokens, words)
    with torch.inference_mode():
        log_probs, baselines = (scorer(each[None])[0].tolist() for each in (inputs, baseline))
    occlusion = _occlude(scorer, inputs, baseline, source_words)
    explained = []
    for index, word in enumerate(words):
        gain = log_probs[index] - baselines[index]
        gradients, steps = integrate(scorer, inputs, baseline, index, gain, most_steps)
        parts = gradients
        if source_words:  # sum over the embeddings of all tokens of a source word
            by_token = gradients.sum(1)
            parts = np.array(
                [by_token[part.start : part.end].sum() for part in source_words], np.float32
            )
        explained.append(
            ExplainedWord(
                word.text,
                log_probs[index],
                baselines[index],
                parts,
                occlusion[index],
                completeness_error(gradients, gain),
                steps,
            )
        )
    return Explanation(tuple(explained), shown_source)


class _WordScorer:
    """Computes log-probabilities of the words of a given output for any encoder inputs. Tokens of
    the source `(tokens,)` are None for speech."""

    def __init__(
        self,
        model: Seq2Seq,
        source: Tensor | None,
        prompt: list[int],
        tokens: list[int],
        words: Sequence[TokenWord],
    ) -> None:
        self.model, self.source, self.given = model, source, len(prompt)
        device = next(model.parameters()).device
        self.prefix = torch.tensor([BOS, *prompt, *tokens[:-1]], device=device)
        self.tokens = torch.tensor(tokens, device=device)
        word_ids = [index for index, word in enumerate(words) for _ in range(word.start, word.end)]
        membership = torch.nn.functional.one_hot(torch.tensor(word_ids, device=device))
        self.membership = membership.float()  # (tokens, words)

    def __call__(self, inputs: Tensor) -> Tensor:
        """Log-probabilities `(rows, words)` for inputs `(rows, time, channels)`."""
        rows, time, _ = inputs.shape
        lengths = torch.full((rows,), time, device=inputs.device)
        prefix = self.prefix.expand(rows, -1)
        kind = "speech" if self.source is None else "text"
        if self.source is None:
            inputs, lengths = self.model.frontend.add_edges(inputs, lengths)
        inputs = self.model.add_language(kind, inputs, lengths, prefix[:, 1:2])
        memory: Memory = self.model.encoders[kind](inputs, lengths)
        if self.source is not None:
            memory = memory._replace(tokens=self.source.expand(rows, -1))
        logits, _ = self.model.decoder(prefix, memory)
        log_probs = logits[:, self.given :].float().log_softmax(-1)
        chosen = log_probs.gather(2, self.tokens.expand(rows, -1)[:, :, None]).squeeze(2)
        summed: Tensor = chosen @ self.membership
        return summed


@torch.no_grad()
def _embed_speech(model: Seq2Seq, waveform: Tensor) -> tuple[Tensor, Tensor]:
    """Normalized features `(frames, mel_bins)` of a recording, and their baseline."""
    length = torch.tensor([len(waveform)], device=waveform.device)
    inputs = model.frontend.normalized(waveform[None], length)[0][0]
    return inputs, inputs.quantile(QUIET, dim=0, keepdim=True).expand_as(inputs).contiguous()


@torch.no_grad()
def _embed_text(model: Seq2Seq, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings `(tokens, channels)` of a sentence `(tokens,)`, and their baseline: padding and
    the end token."""
    inputs = model.embed_source(tokens[None])[0]
    baseline = torch.zeros_like(inputs)
    baseline[-1] = inputs[-1]
    return inputs, baseline


@torch.inference_mode()
def _occlude(
    scorer: _WordScorer, inputs: Tensor, baseline: Tensor, source_words: Sequence[TokenWord]
) -> NDArray[np.float32]:
    """Loss of log-probability of each output word by occlusion: `(words, source words)` for text,
    `(words, frames)` for speech, where `source_words` is empty."""
    from captum.attr import FeatureAblation, Occlusion

    if source_words:
        parts = [
            index for index, word in enumerate(source_words) for _ in range(word.start, word.end)
        ]
        parts.append(len(source_words))  # the end token, equal in the baseline
        mask = torch.tensor(parts, device=inputs.device)[None, :, None].expand(1, *inputs.shape)
        lost = FeatureAblation(scorer).attribute(inputs[None], baseline[None], feature_mask=mask)[
            :, [word.start for word in source_words], 0
        ]
    else:
        window = min(WINDOW_FRAMES, len(inputs))
        channels = inputs.size(1)
        lost = Occlusion(scorer).attribute(
            inputs[None],
            (window, channels),
            (min(STRIDE_FRAMES, window), channels),
            baselines=baseline[None],
        )[:, :, 0]
    result: NDArray[np.float32] = lost.float().cpu().numpy()
    return result


def check_installed() -> None:
    """Check that captum is installed, before a model is loaded.

    Raises:
        ModelError: captum is not installed.
    """
    if find_spec("captum") is None:
        raise ModelError(
            "captum", "it is not installed", "Install it with pip install 'asr-s2s[explain]'"
        )
