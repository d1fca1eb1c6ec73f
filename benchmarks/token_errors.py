"""Measure the token error rate of a speech model by greedy CTC decoding.

    python benchmarks/token_errors.py MANIFEST ... --model MODEL [--utterances 60]

Shows the quality of the encoder alone: no attention, no lexicon, no language model. For a model of
phonemes this is the phoneme error rate, scored against the first pronunciation of each word in the
model's lexicon; utterances with words outside the lexicon are left out. The same seed draws the
same utterances of each manifest.
"""

import random
from pathlib import Path
from typing import Annotated

import jiwer
import torch
import typer

from asr_s2s.data.manifest import read_cut_audio, read_manifest
from asr_s2s.model.folder import load_model
from asr_s2s.text.normalize import normalizer
from asr_s2s.text.tokenizer import BLANK, UNK


@torch.inference_mode()
def token_errors(
    manifests: Annotated[list[Path], typer.Argument(help="JSONL manifests of recordings.")],
    model: Annotated[str, typer.Option(help="Model folder, or name of a shipped model.")],
    utterances: Annotated[int, typer.Option(min=1, help="Utterances of each manifest.")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="Seed of their choice.")] = 1,
) -> None:
    """Print one line per manifest."""
    loaded = load_model(model)
    tokenizer, normalize = loaded.tokenizer, normalizer(loaded.config.text.normalizer)
    for manifest in manifests:
        cuts = list(read_manifest(manifest))
        random.Random(seed).shuffle(cuts)
        references, outputs = [], []
        for cut in cuts:
            tokens = tokenizer.encode(normalize(cut.supervisions[0].text or ""))
            if not tokens or UNK in tokens:
                continue
            samples = torch.from_numpy(read_cut_audio(cut))
            memory = loaded.model.encode("speech", samples[None], torch.tensor([len(samples)]))
            frames = loaded.model.ctc_frames(memory)
            if frames is None:
                raise SystemExit(f"{model} has no CTC head")
            best = frames.log_probs[0, : int(frames.lengths[0])].argmax(-1).unique_consecutive()
            references.append(_line(tokens))
            outputs.append(_line([token for token in best.tolist() if token != BLANK]))
            if len(references) == utterances:
                break
        error = 100 * jiwer.wer(references, outputs)
        print(f"{manifest.stem}\t{error:.1f} %\t{len(references)} utterances", flush=True)


def _line(tokens: list[int]) -> str:
    """Tokens as words, with which jiwer counts errors."""
    return " ".join(map(str, tokens))


if __name__ == "__main__":
    typer.run(token_errors)
