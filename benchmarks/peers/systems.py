"""The systems that are compared, and where they live."""

import sys
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent


class System(NamedTuple):
    """A column of the tables."""

    label: str
    module: str
    """In this folder."""
    kinds: tuple[str, ...] = ("speech", "text")
    environment: str | None = None
    """Its virtual environment in `venvs/`; None is the one that runs now."""
    options: tuple[str, ...] = ()
    """For the worker."""
    trains_only: bool = False

    @property
    def python(self) -> Path:
        """Its interpreter, which may not be there."""
        if self.environment is None:
            return Path(sys.executable)
        return HERE / "venvs" / self.environment / "bin" / "python"


FEEDING = ("--input-feeding",)
BF16 = ("--precision", "bf16")
SYSTEMS = {
    "ours": System("ours", "with_ours"),
    "ours-bf16": System("ours, bf16", "with_ours", options=BF16, trains_only=True),
    "ours-feeding": System("ours, input feeding", "with_ours", options=FEEDING),
    "ours-feeding-bf16": System(
        "ours, input feeding, bf16", "with_ours", options=FEEDING + BF16, trains_only=True
    ),
    "speechbrain": System("SpeechBrain", "with_speechbrain", ("speech",), "speechbrain"),
    "espnet": System("ESPnet", "with_espnet", ("speech",), "espnet"),
    "joeynmt": System("JoeyNMT", "with_joeynmt", ("text",), "joeynmt"),
    "opennmt": System("OpenNMT-py", "with_opennmt", ("text",), "opennmt"),
    "floor": System("matrix products alone", "floor"),
}
