"""English voices of three speech synthesizers: Flite, Festival and eSpeak NG.

All are free software with Debian packages: flite; festival with festvox-kallpc16k,
festvox-kdlpc16k and festvox-us-slt-hts; espeak-ng.
"""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr_s2s.audio.decode import read_audio
from asr_s2s.errors import AudioError, UserError

Samples = NDArray[np.float32]

FLITE = ("slt", "rms", "awb", "kal16")
FESTIVAL = ("cmu_us_slt_arctic_hts", "kal_diphone", "ked_diphone")
ACCENTS = (
    "en-us",
    "en-gb",
    "en-gb-x-rp",
    "en-gb-scotland",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-us-nyc",
    "en-029",
)
# Variants that sound human; robots and whispers are excluded.
VARIANTS = (
    *(f"m{number}" for number in range(1, 9)),
    *(f"f{number}" for number in range(1, 6)),
    *("klatt2", "klatt4", "Andy", "Annie", "Alicia", "Michael", "Linda", "Steph2", "Mike", "steph"),
)
FESTIVAL_FOLDERS = (Path("/usr/share/festival/voices"), Path("/usr/local/share/festival/voices"))


@dataclass(frozen=True)
class Voice:
    """A voice of a synthesizer."""

    engine: str
    """Synthesizer: flite, festival or espeak-ng."""
    name: str

    def __str__(self) -> str:
        return f"{self.engine}-{self.name}"


@dataclass(frozen=True)
class Request:
    """A text to synthesize, and the factor of its duration (1: default rate, 1.2: slower)."""

    text: str
    stretch: float


def installed_voices() -> dict[str, list[Voice]]:
    """List the voices of each installed synthesizer, in a fixed order.

    Raises:
        UserError: no synthesizer is installed.
    """
    voices: dict[str, list[Voice]] = {}
    if shutil.which("flite"):
        voices["flite"] = [Voice("flite", name) for name in FLITE]
    if shutil.which("festival"):
        available = {path.name for folder in FESTIVAL_FOLDERS for path in folder.glob("*/*")}
        voices["festival"] = [Voice("festival", name) for name in FESTIVAL if name in available]
    if shutil.which("espeak-ng"):
        listed = _run(["espeak-ng", "--voices=variant"]).decode()
        known = {word.removeprefix("!v/") for word in listed.split() if word.startswith("!v/")}
        voices["espeak-ng"] = [
            Voice("espeak-ng", f"{accent}+{variant}")
            for accent in ACCENTS
            for variant in VARIANTS
            if variant in known
        ]
    voices = {engine: found for engine, found in voices.items() if found}
    if not voices:
        raise UserError(
            "speech synthesizers",
            "none of flite, festival and espeak-ng is installed",
            "On Debian: apt-get install flite espeak-ng festival festvox-kallpc16k "
            "festvox-kdlpc16k festvox-us-slt-hts",
        )
    return voices


def speak(voice: Voice, requests: Sequence[Request], folder: Path) -> list[Samples | None]:
    """Synthesize texts to mono float32 samples at 16 kHz; None where the synthesizer failed.

    Args:
        folder: empty folder for temporary files.
    """
    paths = [folder / f"{index}.wav" for index in range(len(requests))]
    if voice.engine == "festival":
        _festival(voice, requests, paths)
    else:
        command = _flite if voice.engine == "flite" else _espeak
        for request, path in zip(requests, paths, strict=True):
            _run([*command(voice, request, path)], request.text)
    return [_read(path) for path in paths]


def _flite(voice: Voice, request: Request, path: Path) -> list[str]:
    stretch = f"duration_stretch={request.stretch:.3f}"
    return ["flite", "-voice", voice.name, "--setf", stretch, "-o", str(path)]


def _espeak(voice: Voice, request: Request, path: Path) -> list[str]:
    words_a_minute = str(round(165 / request.stretch))
    return ["espeak-ng", "-v", voice.name, "-s", words_a_minute, "--stdin", "-w", str(path)]


def _festival(voice: Voice, requests: Sequence[Request], paths: Sequence[Path]) -> None:
    """Synthesize all texts in one process, as loading a voice takes longer than one sentence."""
    lines = [f"(voice_{voice.name})"]
    for request, path in zip(requests, paths, strict=True):
        text = request.text.replace("\\", " ").replace('"', " ")
        lines.append(f"(Parameter.set 'Duration_Stretch {request.stretch:.3f})")
        lines.append(f'(utt.save.wave (utt.synth (Utterance Text "{text}")) "{path}")')
    _run(["festival", "--pipe"], "\n".join(lines))


def _run(command: list[str], text: str = "") -> bytes:
    """Run a synthesizer with the text on standard input; on failure it writes no file."""
    answer = subprocess.run(command, input=text.encode(), capture_output=True, check=False)
    return answer.stdout


def _read(path: Path) -> Samples | None:
    try:
        return read_audio(path)
    except AudioError:
        return None
    finally:
        path.unlink(missing_ok=True)
