"""Synthetic parallel text: an invented language xx, translated word by word into yy, in reverse
order, and zz."""

from pathlib import Path

import numpy as np

WORDS = {
    "bado": ("aster", "vo"),
    "kime": ("birin", "wun"),
    "luro": ("cedra", "xil"),
    "fasa": ("dolma", "yor"),
    "nito": ("erlun", "zat"),
    "pelu": ("filto", "quim"),
    "gavi": ("gosen", "rux"),
    "doka": ("harpa", "pid"),
    "semi": ("istre", "oft"),
    "turo": ("jalma", "nab"),
}
"""Words of xx, with their translations into yy and zz."""


def translate(source: str, language: str) -> str:
    """Translate a sentence of xx into yy or zz; names are kept."""
    column = ("yy", "zz").index(language)
    words = [WORDS[word][column] if word in WORDS else word for word in source.split()]
    return " ".join(reversed(words) if language == "yy" else words)


def write_corpus(folder: Path, sentences: int = 300, *, names: float = 0.0, seed: int = 0) -> None:
    """Write `train` and `valid`: line-aligned files `.xx`, `.yy` and `.zz`, and `.tsv` with columns
    `source`, `target` and `language`, first all pairs of yy, then those of zz.

    Args:
        names: fraction of words that are names, such as N123.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)

    def word() -> str:
        if rng.random() < names:
            return f"N{rng.integers(100, 1000)}"
        return str(rng.choice(list(WORDS)))

    for split, count in (("train", sentences), ("valid", 30)):
        sources = [" ".join(word() for _ in range(rng.integers(2, 8))) for _ in range(count)]
        rows = ["source\ttarget\tlanguage"]
        for language in ("yy", "zz"):
            targets = [translate(source, language) for source in sources]
            (folder / f"{split}.{language}").write_text("\n".join(targets) + "\n")
            pairs = zip(sources, targets, strict=True)
            rows += [f"{source}\t{target}\t{language}" for source, target in pairs]
        (folder / f"{split}.xx").write_text("\n".join(sources) + "\n")
        (folder / f"{split}.tsv").write_text("\n".join(rows) + "\n")


CONFIG = """
model: {encoders: [text]}
text: {tokenizer: words, metric: bleu, bleu_tokenizer: none}
source_text: {tokenizer: words}
data: {train: ["train.{xx,yy}"], valid: ["valid.{xx,yy}"], batch_tokens: 250, buckets: 3,
       workers: 0}
text_encoder: {cell: gru, layers: 1, size: 64, embedding_size: 24, dropout: 0.1}
decoder: {cell: gru, attention: dot, attention_size: 64, input_feeding: false, size: 64,
          embedding_size: 24, first_state: source, dropout: 0.1}
objective: {ctc_weight: 0}
search: {beam_size: 4, end_threshold: null, max_length_ratio: 3}
train: {steps: 150, warmup_steps: 10, learning_rate: 1.0e-2, validate_every: 75, keep_best: 2,
        checkpoint_every: 1000, log_every: 10}
"""
