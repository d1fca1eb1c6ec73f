"""A tiny invented language, xx, and two more that it translates into, made in a moment: each word
has its counterpart, and yy says them in reverse order."""

from pathlib import Path

import numpy as np

XX = "bado kime luro fasa nito pelu gavi doka semi turo hali mobe".split()
YY = "aster birin cedra dolma erlun filto gosen harpa istre jalma kespo lumen".split()
ZZ = "vo wun xil yor zat quim rux pid oft nab mep lug".split()


def translate(source: str, language: str) -> str:
    """What xx means in yy or zz."""
    places = [XX.index(word) for word in source.split()]
    if language == "yy":
        return " ".join(YY[place] for place in reversed(places))
    return " ".join(ZZ[place] for place in places)


def write_corpus(folder: Path, sentences: int = 300, seed: int = 0) -> None:
    """Write `train` and `valid`: line-aligned files `.xx`, `.yy` and `.zz`, and `.tsv` with columns
    `source`, `target` and `language`, both languages in turn."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", sentences), ("valid", 30)):
        sources = [" ".join(rng.choice(XX, size=rng.integers(2, 8))) for _ in range(count)]
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
text_encoder: {cell: gru, layers: 1, size: 32, embedding_size: 24, dropout: 0.1}
decoder: {cell: gru, attention: dot, attention_size: 24, input_feeding: false, size: 48,
          embedding_size: 24, first_state: source, dropout: 0.1}
objective: {ctc_weight: 0}
search: {beam_size: 4, end_threshold: null, max_length_ratio: 3}
train: {steps: 150, warmup_steps: 20, learning_rate: 1.0e-2, validate_every: 50, keep_best: 2,
        checkpoint_every: 1000, log_every: 10}
"""
