"""Explanations of outputs of the shipped models for real speech and text."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch

from asr_s2s.audio.decode import read_audio
from asr_s2s.data.datasets import SpeechDataset, TextDataset
from asr_s2s.errors import TextError
from asr_s2s.inspect.explain import Explanation, explain
from asr_s2s.inspect.explain_picture import draw_explanation
from asr_s2s.inspect.integrated_gradients import completeness_error, integrate
from asr_s2s.inspect.random_weights import (
    ALIKE,
    compare_with_random_weights,
    randomized,
    rank_correlations,
)
from asr_s2s.model.folder import LoadedModel, load_model
from asr_s2s.search.align import align
from asr_s2s.text.normalize import normalizer
from asr_s2s.text.output import Output

SENTENCE = "A small dog sleeps."
TRANSLATION = "Ein kleiner Hund schläft."


def output_of(loaded: LoadedModel) -> Output:
    return Output(loaded.tokenizer, normalizer(loaded.config.text.normalizer))


@pytest.fixture(scope="module")
def digits() -> tuple[LoadedModel, SpeechDataset, torch.Tensor, list[int]]:
    """Speech model, dataset, waveform and tokens of the first two words of the sample."""
    loaded = load_model("digits")
    path = Path(__file__).parent.parent.parent / "docs" / "samples" / "digits.wav"
    samples = torch.from_numpy(read_audio(path, duration=1.2))
    return loaded, SpeechDataset(output_of(loaded)), samples, loaded.tokenizer.encode("three one")


@pytest.fixture(scope="module")
def german() -> tuple[LoadedModel, TextDataset, str, list[int]]:
    """Translation model, dataset, sentence and tokens of its translation."""
    loaded = load_model("en-de")
    assert loaded.source_tokenizer is not None
    normalize = normalizer(loaded.config.source_text.normalizer)
    dataset = TextDataset(output_of(loaded), loaded.source_tokenizer, normalize)
    return loaded, dataset, SENTENCE, loaded.tokenizer.encode(TRANSLATION)


@pytest.fixture(scope="module")
def speech_explanation(
    digits: tuple[LoadedModel, SpeechDataset, torch.Tensor, list[int]],
) -> Explanation:
    loaded, dataset, samples, tokens = digits
    return explain(loaded.model, dataset, samples, [], tokens, most_steps=300)


@pytest.fixture(scope="module")
def text_explanation(german: tuple[LoadedModel, TextDataset, str, list[int]]) -> Explanation:
    loaded, dataset, sentence, tokens = german
    return explain(loaded.model, dataset, sentence, [], tokens)


def test_integrated_gradients_are_complete_within_1_percent(
    speech_explanation: Explanation, text_explanation: Explanation
) -> None:
    for word in (*speech_explanation.words, *text_explanation.words):
        assert word.gain > 1
        assert float(word.gradients.sum()) == pytest.approx(word.gain, rel=0.01)
        assert word.completeness_error <= 0.01


def test_log_probabilities_equal_those_of_forced_decoding(
    speech_explanation: Explanation,
    digits: tuple[LoadedModel, SpeechDataset, torch.Tensor, list[int]],
) -> None:
    loaded, _, samples, tokens = digits
    memory = loaded.model.encode("speech", samples[None], torch.tensor([len(samples)]))
    found = align(loaded.model, memory, [tokens], torch.zeros(1, 0, dtype=torch.long))[0]
    assert [word.text for word in speech_explanation.words] == ["three", "one"]
    summed = [sum(found.decoder[:5]), sum(found.decoder[5:])]  # "three" and " one"
    assert [word.log_prob for word in speech_explanation.words] == pytest.approx(summed, abs=1e-4)


def test_spoken_word_is_attributed_to_its_position(speech_explanation: Explanation) -> None:
    three, one = (int(word.occlusion.argmax()) for word in speech_explanation.words)
    assert three < 44 < 60 < one < 112  # frames of 10 ms; frames 44 to 60 are silent


def test_translated_word_is_attributed_to_its_source_word(text_explanation: Explanation) -> None:
    assert text_explanation.source == ["A", "small", "dog", "sleeps."]
    assert [word.text for word in text_explanation.words] == ["Ein", "kleiner", "Hund", "schläft."]
    for place, word in list(enumerate(text_explanation.words))[1:]:
        assert word.gradients.argmax() == word.occlusion.argmax() == place


def test_occlusion_equals_the_loss_without_the_source_word(
    text_explanation: Explanation, german: tuple[LoadedModel, TextDataset, str, list[int]]
) -> None:
    loaded, dataset, sentence, tokens = german
    ids = dataset.source_tokens(sentence)
    embedded = loaded.model.embed_source(torch.tensor([ids])).detach()
    places = [i for i, word in enumerate(dataset.source_tokenizer.words(sentence)) if word == "dog"]
    embedded[0, places] = 0
    memory = loaded.model.encoders["text"](embedded, torch.tensor([len(ids)]))
    found = align(loaded.model, memory, [tokens], torch.zeros(1, 0, dtype=torch.long))[0]
    dog = dataset.output.tokenizer.words(TRANSLATION)
    occluded = sum(value for value, word in zip(found.decoder, dog, strict=True) if word == "Hund")
    hund = text_explanation.words[2]
    assert hund.occlusion[2] == pytest.approx(hund.log_prob - occluded, abs=1e-4)


def test_attributions_with_random_weights_differ(
    speech_explanation: Explanation,
    text_explanation: Explanation,
    digits: tuple[LoadedModel, SpeechDataset, torch.Tensor, list[int]],
    german: tuple[LoadedModel, TextDataset, str, list[int]],
) -> None:
    for explanation, (loaded, dataset, source, tokens) in (
        (speech_explanation, digits),
        (text_explanation, german),
    ):
        assert rank_correlations(explanation, explanation) == pytest.approx((1, 1))
        inputs = (loaded.model, dataset, source, [], tokens)
        correlations = compare_with_random_weights(explanation, *inputs)
        assert max(correlations) < ALIKE
        assert min(correlations) >= -1


def test_randomized_weights_are_shuffled_values() -> None:
    model = load_model("digits").model
    shuffled = randomized(model, 0)
    for one, other in zip(model.parameters(), shuffled.parameters(), strict=True):
        assert torch.equal(one.flatten().sort().values, other.flatten().sort().values)
    assert not torch.equal(model.decoder.readout.weight, shuffled.decoder.readout.weight)


def test_adaptive_steps_integrate_an_abrupt_function() -> None:
    weights = torch.tensor([[0.2, 0.8]])

    def abrupt(rows: torch.Tensor) -> torch.Tensor:
        return 5 * torch.sigmoid(400 * ((rows * weights).sum((1, 2)) - 0.6))[:, None]

    inputs, baseline = torch.ones(1, 2), torch.zeros(1, 2)
    gradients, steps = integrate(abrupt, inputs, baseline, 0, 5.0, 1000)
    assert completeness_error(gradients, 5.0) <= 0.01
    assert gradients[0] == pytest.approx([1, 4], rel=0.05)
    assert steps < 150
    gradients, steps = integrate(abrupt, inputs, baseline, 0, 5.0, 0)
    assert steps == 16
    assert completeness_error(gradients, 5.0) > 0.01


def test_pictures_of_speech_and_text_are_written(
    speech_explanation: Explanation, text_explanation: Explanation, tmp_path: Path
) -> None:
    for name, explanation in (("speech", speech_explanation), ("text", text_explanation)):
        draw_explanation(tmp_path / "new" / f"{name}.png", explanation, "$ 50")
        picture = matplotlib.image.imread(tmp_path / "new" / f"{name}.png")
        assert 300 < min(picture.shape[:2]) <= max(picture.shape[:2]) < 3500
        assert np.ptp(picture[:, :, 0] - picture[:, :, 2]) > 0.5  # red and blue
        draw_explanation(tmp_path / f"{name}.svg", explanation)
        assert ElementTree.parse(tmp_path / f"{name}.svg").getroot().tag.endswith("svg")
        assert (tmp_path / f"{name}.svg").stat().st_size < 1_000_000


def test_output_or_source_without_words_is_rejected(
    german: tuple[LoadedModel, TextDataset, str, list[int]],
) -> None:
    loaded, dataset, sentence, tokens = german
    with pytest.raises(TextError, match="no word to explain"):
        explain(loaded.model, dataset, sentence, [], [])
    with pytest.raises(TextError, match="no word to attribute to"):
        explain(loaded.model, dataset, " ", [], tokens)
