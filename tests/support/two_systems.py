"""Test data for comparing two systems: a shipped model and a pruned copy of it."""

import json
import shutil
from pathlib import Path

import numpy as np
import soundfile
import torch
from safetensors.torch import load_file, save_file

from asr_s2s.model.folder import find_model
from asr_s2s.pipeline import Transcriber
from asr_s2s.translator import Translator

SENTENCES = [
    ("A woman is reading a book.", "Eine Frau liest ein Buch."),
    ("Two dogs are playing in the snow.", "Zwei Hunde spielen im Schnee."),
    ("A man rides a red bicycle.", "Ein Mann fährt auf einem roten Fahrrad."),
    ("Children are swimming in the lake.", "Kinder schwimmen im See."),
    ("A girl in a blue dress is laughing.", "Ein Mädchen in einem blauen Kleid lacht."),
    ("The old man sits on a bench.", "Der alte Mann sitzt auf einer Bank."),
    ("A boy throws a ball to his friend.", "Ein Junge wirft seinem Freund einen Ball zu."),
    ("People are waiting at the station.", "Menschen warten am Bahnhof."),
    ("A black cat sleeps on the sofa.", "Eine schwarze Katze schläft auf dem Sofa."),
    ("Three men are working on a roof.", "Drei Männer arbeiten auf einem Dach."),
    ("A band plays music on the stage.", "Eine Band spielt Musik auf der Bühne."),
    ("A woman in a yellow jacket is hiking.", "Eine Frau in einer gelben Jacke wandert."),
    ("The child is eating an apple.", "Das Kind isst einen Apfel."),
    ("Two girls are dancing in the street.", "Zwei Mädchen tanzen auf der Straße."),
    ("A man is cooking in a small kitchen.", "Ein Mann kocht in einer kleinen Küche."),
    ("A horse jumps over a fence.", "Ein Pferd springt über einen Zaun."),
    ("A baby is sleeping in the bed.", "Ein Baby schläft im Bett."),
    ("Some people are sitting around a fire.", "Einige Leute sitzen um ein Feuer."),
    ("A young man plays the guitar.", "Ein junger Mann spielt Gitarre."),
    ("A brown dog runs on the beach.", "Ein brauner Hund rennt am Strand."),
    ("The woman is holding an umbrella.", "Die Frau hält einen Regenschirm."),
    ("Four boys are playing football.", "Vier Jungen spielen Fußball."),
]  # fmt: skip


def write_pruned(folder: Path, model: str, share: float) -> Path:
    """Copy a model with this share of each matrix, its smallest weights, set to zero."""
    shutil.copytree(find_model(model), folder)
    weights = load_file(folder / "model.safetensors")
    for name, value in weights.items():
        if value.ndim > 1:
            least = value.float().abs().flatten().kthvalue(max(1, int(share * value.numel())))
            weights[name] = torch.where(value.abs() > least.values, value, 0.0).to(value.dtype)
    save_file(weights, folder / "model.safetensors")
    return folder


def write_spoken(folder: Path, sample: Path, count: int = 24) -> Path:
    """Write a manifest of recordings of random words of the sample, some with added noise."""
    waveform, rate = soundfile.read(sample)
    loud = np.flatnonzero(np.abs(waveform) > 0.01)
    breaks = np.flatnonzero(np.diff(loud) > 0.1 * rate)
    begins, ends = loud[np.r_[0, breaks + 1]], loud[np.r_[breaks, -1]]
    words = sample.with_suffix(".txt").read_text().split()
    assert len(begins) == len(words)
    random = np.random.default_rng(0)
    silence = np.zeros(rate // 8)
    with (folder / "spoken.jsonl").open("w") as manifest:
        for number in range(count):
            chosen = random.integers(len(words), size=random.integers(1, 8))
            parts = [np.r_[silence, waveform[begins[i] : ends[i]]] for i in chosen]
            noise = float(random.choice([0.0, 0.02]))
            samples = np.concatenate([*parts, silence])
            samples = samples + noise * random.standard_normal(len(samples))
            soundfile.write(folder / f"{number}.wav", samples.clip(-1, 1), rate)
            text = " ".join(words[i] for i in chosen)
            row = {"id": f"u{number}", "audio": f"{number}.wav", "text": text, "noise": noise}
            print(json.dumps(row), file=manifest)
    return folder / "spoken.jsonl"


def write_transcripts(path: Path, model: str | Path, manifest: Path) -> Path:
    """Transcribe the recordings of a manifest and write the transcripts as JSON Lines."""
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    recordings = [manifest.parent / row["audio"] for row in rows]
    results = Transcriber.load(model, "cpu").transcribe(recordings, beam_size=1)
    with path.open("w") as file:
        for row, result in zip(rows, results, strict=True):
            print(json.dumps({"id": row["id"], "text": result.text}), file=file)
    return path


def write_parallel(folder: Path) -> Path:
    """Write `SENTENCES` as JSON Lines, each labeled with its topic in the field `about`."""
    with (folder / "test.jsonl").open("w", encoding="utf-8") as file:
        for source, target in SENTENCES:
            about = "animals" if any(a in source for a in ("dog", "cat", "horse")) else "people"
            print(json.dumps({"source": source, "target": target, "about": about}), file=file)
    return folder / "test.jsonl"


def write_translations(path: Path, model: str | Path) -> Path:
    """Translate `SENTENCES` and write one translation per line."""
    translator = Translator.load(model, "cpu")
    results = translator.translate([source for source, _ in SENTENCES], beam_size=1)
    path.write_text("".join(f"{result.text}\n" for result in results), "utf-8")
    return path
