"""Which part of the sound, or which source words, an output word rests on.

Two answers, both of what a word's log-probability gains from the source over a source that says
nothing. Integrated gradients (Sundararajan et al., 2017) add up gradients on the straight way from
the one to the other, and are complete: they sum to the whole gain. Occlusion (Zeiler and Fergus,
2014) takes the loss where a part alone is replaced. The output is given (teacher forcing), so a
word's log-probability is that of its tokens after all before them.

What says nothing is, for speech, the recording's own quiet: in each mel bin its 5th percentile,
with the normalization of the real recording. For text it is the embedding of padding, zeros; the
end token stays as it is.
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
from asr_s2s.evaluate.attention import Sound, log_mel_picture
from asr_s2s.evaluate.integrated_gradients import MOST_STEPS, completeness_error, integrate
from asr_s2s.model.seq2seq import Seq2Seq
from asr_s2s.text.tokenizer import BOS
from asr_s2s.text.words import TokenWord, group_tokens

QUIET = 0.05
"""Quantile of a mel bin's levels that is taken for quiet."""
WINDOW_FRAMES, STRIDE_FRAMES = 10, 5
"""What is occluded of a recording at a time, and how far it moves: 100 and 50 ms."""


@dataclass(frozen=True)
class ExplainedWord:
    """What one output word rests on."""

    text: str
    log_prob: float
    """Natural log-probability of the word after those before it."""
    baseline: float
    """The same where the source says nothing."""
    gradients: NDArray[np.float32]
    """Integrated gradients, `(frames, mel_bins)` for speech and `(source words,)` for text."""
    occlusion: NDArray[np.float32]
    """Loss of log-probability, `(frames,)` or `(source words,)`; where windows overlap, their
    mean."""
    completeness_error: float
    """How far the sum of the integrated gradients is from the gain, as a part of the gain."""
    steps: int
    """Of the integral."""

    @property
    def gain(self) -> float:
        return self.log_prob - self.baseline

    @property
    def profile(self) -> NDArray[np.float32]:
        """The integrated gradients of frames or source words, summed over mel bins."""
        return self.gradients.sum(1) if self.gradients.ndim == 2 else self.gradients


@dataclass(frozen=True)
class Explanation:
    """What the words of an output rest on."""

    words: tuple[ExplainedWord, ...]
    source: Sound | list[str]
    """What was heard, or the words read."""

    @property
    def completeness_error(self) -> float:
        """The largest of the words'."""
        return max(word.completeness_error for word in self.words)

    def to_record(self) -> dict[str, Any]:
        """As a JSON object. `times` are those of frames, in seconds; for text there is `source`."""
        sound = self.source if isinstance(self.source, Sound) else None
        frames = [] if sound is None else range(len(sound.log_mel))
        return {
            "source": None if sound else self.source,
            "seconds": round(sound.seconds, 3) if sound else None,
            "times": [round(i / FRAMES_PER_SECOND, 2) for i in frames] if sound else None,
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
        model: in evaluation mode.
        dataset: what the output's tokens were made by, and a sentence's are.
        source: a recording `(samples,)`, or a sentence.
        prompt: what the output begins with, as its language.
        tokens: the output's, without start and end.
        most_steps: of the integral of a word; the first `STRETCHES` are always taken.

    Raises:
        TextError: there is no word in the output, or none in the source.
    """
    tokenizer = dataset.output.tokenizer
    text = tokenizer.decode(tokens)
    surfaces = [text[begin:end] for begin, end in pairwise([0, *tokenizer.reached(tokens)])]
    words = group_tokens(text, surfaces)
    if not words:
        raise TextError("the output", "there is no word to explain", "Give --output-text")
    heard: Sound | list[str]
    if isinstance(dataset, TextDataset):
        sentence = dataset.source_normalize(str(source))
        read = group_tokens(sentence, dataset.source_tokenizer.surfaces(sentence))
        if not read:
            raise TextError("SOURCE", "there is no word to rest on", "Give a sentence")
        inputs, baseline = _embedded(model, dataset.source_tokens(str(source)))
        heard = [word.text for word in read]
    else:
        assert isinstance(source, Tensor)
        read = []
        inputs, baseline = _log_mel(model, source)
        heard = log_mel_picture(model.speech, source)
    question = _Question(model, dataset.kind, prompt, tokens, words)
    with torch.inference_mode():
        log_probs, without = (question(each[None])[0].tolist() for each in (inputs, baseline))
    occlusion = _occlude(question, inputs, baseline, read)
    explained = []
    for index, word in enumerate(words):
        gain = log_probs[index] - without[index]
        gradients, steps = integrate(question, inputs, baseline, index, gain, most_steps)
        parts = gradients
        if read:  # of embeddings, what is of a word counts together
            own = gradients.sum(1)
            parts = np.array([own[part.start : part.end].sum() for part in read], np.float32)
        explained.append(
            ExplainedWord(
                word.text,
                log_probs[index],
                without[index],
                parts,
                occlusion[index],
                completeness_error(gradients, gain),
                steps,
            )
        )
    return Explanation(tuple(explained), heard)


class _Question:
    """Log-probabilities of the words of a given output, by what the encoder reads."""

    def __init__(
        self,
        model: Seq2Seq,
        kind: str,
        prompt: list[int],
        tokens: list[int],
        words: Sequence[TokenWord],
    ) -> None:
        self.model, self.kind, self.given = model, kind, len(prompt)
        device = next(model.parameters()).device
        self.prefix = torch.tensor([BOS, *prompt, *tokens[:-1]], device=device)
        self.tokens = torch.tensor(tokens, device=device)
        owners = [index for index, word in enumerate(words) for _ in range(word.start, word.end)]
        owned = torch.nn.functional.one_hot(torch.tensor(owners, device=device))
        self.owned = owned.float()  # (tokens, words)

    def __call__(self, inputs: Tensor) -> Tensor:
        """`(rows, time, channels)` to `(rows, words)`."""
        rows, time, _ = inputs.shape
        lengths = torch.full((rows,), time, device=inputs.device)
        if self.kind == "speech":
            memory = self.model.speech.encode_features(inputs, lengths)
        else:
            memory = self.model.encoders["text"](inputs, lengths)
        logits, _ = self.model.decoder(self.prefix.expand(rows, -1), memory)
        log_probs = logits[:, self.given :].float().log_softmax(-1)
        chosen = log_probs.gather(2, self.tokens.expand(rows, -1)[:, :, None]).squeeze(2)
        summed: Tensor = chosen @ self.owned
        return summed


@torch.no_grad()
def _log_mel(model: Seq2Seq, waveform: Tensor) -> tuple[Tensor, Tensor]:
    """Normalized features `(frames, mel_bins)` of a recording, and those of its quiet."""
    encoder = model.speech
    length = torch.tensor([len(waveform)], device=waveform.device)
    features, frames = encoder.log_mel(waveform[None], length)
    inputs = encoder.normalize(features, frames)[0]
    return inputs, inputs.quantile(QUIET, dim=0, keepdim=True).expand_as(inputs).contiguous()


@torch.no_grad()
def _embedded(model: Seq2Seq, tokens: list[int]) -> tuple[Tensor, Tensor]:
    """Embeddings `(tokens, channels)` of a sentence, and of padding with its end token."""
    device = next(model.parameters()).device
    inputs = model.embed_source(torch.tensor([tokens], device=device))[0]
    baseline = torch.zeros_like(inputs)
    baseline[-1] = inputs[-1]
    return inputs, baseline


@torch.inference_mode()
def _occlude(
    question: _Question, inputs: Tensor, baseline: Tensor, read: Sequence[TokenWord]
) -> NDArray[np.float32]:
    """What each output word loses: `(words, frames)`, or `(words, source words)` where there are
    words that were read."""
    from captum.attr import FeatureAblation, Occlusion

    if read:
        parts = [index for index, word in enumerate(read) for _ in range(word.start, word.end)]
        parts.append(len(read))  # the end token, which the baseline leaves as it is
        mask = torch.tensor(parts, device=inputs.device)[None, :, None].expand(1, *inputs.shape)
        lost = FeatureAblation(question).attribute(inputs[None], baseline[None], feature_mask=mask)[
            :, [word.start for word in read], 0
        ]
    else:
        window = min(WINDOW_FRAMES, len(inputs))
        channels = inputs.size(1)
        lost = Occlusion(question).attribute(
            inputs[None],
            (window, channels),
            (min(STRIDE_FRAMES, window), channels),
            baselines=baseline[None],
        )[:, :, 0]
    result: NDArray[np.float32] = lost.float().cpu().numpy()
    return result


def check_installed() -> None:
    """Tell before a model is loaded that captum is missing.

    Raises:
        ModelError: it is.
    """
    if find_spec("captum") is None:
        raise ModelError(
            "captum", "it is not installed", "Install it with pip install 'asr-s2s[explain]'"
        )
