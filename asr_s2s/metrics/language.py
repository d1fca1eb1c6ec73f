"""The metric of each output language of a model that transcribes and translates speech."""

from dataclasses import replace

from asr_s2s.config import TextConfig
from asr_s2s.metrics.metric import find_metric

DEFAULT_BLEU_TOKENIZER = TextConfig().bleu_tokenizer
BLEU_TOKENIZERS = {"zh": "zh", "ja": "ja-mecab", "ko": "ko-mecab"}
"""sacrebleu's tokenizers of BLEU for languages that the default does not suit."""


def settings_of_language(text: TextConfig, language: str | None) -> TextConfig:
    """Return the settings that outputs in a language are scored by.

    Translations of speech are scored by `text.metric` if it is one of translations, else by BLEU;
    transcripts by `text.metric` if it is an error rate, else by WER. BLEU splits Chinese, Japanese
    and Korean by their own tokenizers, unless `text.bleu_tokenizer` is set. For models that do not
    translate speech, the settings are returned unchanged.

    Args:
        text: section `text` of the model's configuration.
        language: language of the outputs; None if the model has no languages.
    """
    if not text.translation_languages or language is None:
        return text
    translated = language in text.translation_languages
    metric = text.metric
    if find_metric(metric).of_texts != translated:
        metric = "bleu" if translated else "wer"
    tokenizer = text.bleu_tokenizer
    if tokenizer == DEFAULT_BLEU_TOKENIZER:
        tokenizer = BLEU_TOKENIZERS.get(language.partition("-")[0].lower(), tokenizer)
    return replace(text, metric=metric, bleu_tokenizer=tokenizer)
