"""Make 320 recordings of commands for a home with espeak-ng, their manifests, and commands.txt.

Replaces your own recordings in the tutorial: python make_recordings.py
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
    "valid": ("m4", "f5", "whisperf"),  # training has no whispering voice
    "test": ("m7", "f4", "whisper"),  # no test voice is in training
}
COUNTS = {"train": 240, "valid": 40, "test": 40}

commands = [" ".join(words) for words in itertools.product(ACTIONS, ROOMS, THINGS)]
rng = random.Random(1)
Path("recordings").mkdir(exist_ok=True)
Path("commands.txt").write_text("\n".join(commands) + "\n")
for split, count in COUNTS.items():
    with Path(f"{split}.jsonl").open("w") as manifest:
        for number in range(count):
            text, voice = rng.choice(commands), rng.choice(VOICES[split])
            audio = f"recordings/{split}_{number:03}.wav"
            speed, pitch = rng.randint(130, 190), rng.randint(30, 70)
            subprocess.run(
                ["espeak-ng", "-v", f"en-us+{voice}", "-s", str(speed), "-p", str(pitch),
                 "-w", audio, text],
                check=True,
            )  # fmt: skip
            row = {"audio": audio, "text": text, "speaker": voice}
            manifest.write(json.dumps(row) + "\n")
