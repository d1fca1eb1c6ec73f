"""The systems that are compared, and their virtual environments."""

import sys
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent


class System(NamedTuple):
    """A system with its settings: one column of the tables."""

    label: str
    module: str
    """Module in this folder."""
    kinds: tuple[str, ...] = ("speech", "text")
    environment: str | None = None
    """Virtual environment in `venvs/`; None is the current one."""
    options: tuple[str, ...] = ()
    """Command-line options of the worker."""
    precision: str = "fp32"
    """`bf16` for training, `int8` for decoding, or `fp32` for both."""

    def supports(self, training: bool) -> bool:
        """Whether the precision is available for training, or for decoding."""
        return self.precision != ("int8" if training else "bf16")

    @property
    def python(self) -> Path:
        """Path of the Python interpreter, which may not exist."""
        if self.environment is None:
            return Path(sys.executable)
        return HERE / "venvs" / self.environment / "bin" / "python"


FEEDING = ("--input-feeding",)
SYSTEMS = {
    "ours": System("ours", "with_ours"),
    "ours-bf16": System("ours, bf16", "with_ours", precision="bf16"),
    "ours-int8": System("ours, int8", "with_ours", precision="int8"),
    "ours-feeding": System("ours, input feeding", "with_ours", options=FEEDING),
    "ours-feeding-bf16": System(
        "ours, input feeding, bf16", "with_ours", options=FEEDING, precision="bf16"
    ),
    "ours-feeding-int8": System(
        "ours, input feeding, int8", "with_ours", options=FEEDING, precision="int8"
    ),
    "speechbrain": System("SpeechBrain", "with_speechbrain", ("speech",), "speechbrain"),
    "espnet": System("ESPnet", "with_espnet", ("speech",), "espnet"),
    "joeynmt": System("JoeyNMT", "with_joeynmt", ("text",), "joeynmt"),
    "opennmt": System("OpenNMT-py", "with_opennmt", ("text",), "opennmt"),
    "floor": System("matrix products alone", "floor"),
}
