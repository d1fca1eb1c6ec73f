"""Make 320 recordings of commands for a home with espeak-ng, their manifests, and commands.txt.

Stands in for your own recordings: python make_recordings.py
"""

import itertools
import json
import random
import subprocess
from pathlib import Path

ACTIONS = ("turn on", "turn off", "open", "close", "dim")
ROOMS = ("kitchen", "bedroom", "hall", "garden")
THINGS = ("light", "heater", "window", "door")
VOICES = {
    "train": ("m1", "m2", "m3", "m5", "f1", "f2", "f3"),
    "valid": ("m4", "f5", "whisperf"),  # one of three whispers
    "test": ("m7", "f4", "whisper"),  # nobody who is tested was heard in training
}
COUNTS = {"train": 240, "valid": 40, "test": 40}

commands = [" ".join(words) for words in itertools.product(ACTIONS, ROOMS, THINGS)]
chance = random.Random(1)
Path("recordings").mkdir(exist_ok=True)
Path("commands.txt").write_text("\n".join(commands) + "\n")
for split, count in COUNTS.items():
    with Path(f"{split}.jsonl").open("w") as manifest:
        for number in range(count):
            text, voice = chance.choice(commands), chance.choice(VOICES[split])
            audio = f"recordings/{split}_{number:03}.wav"
            speed, pitch = chance.randint(130, 190), chance.randint(30, 70)
            subprocess.run(
                ["espeak-ng", "-v", f"en-us+{voice}", "-s", str(speed), "-p", str(pitch),
                 "-w", audio, text],
                check=True,
            )  # fmt: skip
            row = {"audio": audio, "text": text, "speaker": voice}
            manifest.write(json.dumps(row) + "\n")
