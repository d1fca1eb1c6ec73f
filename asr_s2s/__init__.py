"""asr_s2s: sequences to text with one recurrent attention core.

import asr_s2s

recogniser = asr_s2s.load("digits")
print(recogniser.transcribe("recording.wav").text)
"""

from typing import TYPE_CHECKING

from asr_s2s.errors import UserError

if TYPE_CHECKING:
    from asr_s2s.pipeline import Transcriber

__version__ = "0.1.0"

__all__ = ["UserError", "__version__", "load"]


def load(model: str, device: str | None = None) -> "Transcriber":
    """Load a shipped model by name, or a model folder by path.

    Args:
        model: a shipped name such as "digits", or the path of a model folder.
        device: "cpu", "cuda", ...; by default a GPU if there is one.

    Raises:
        ModelError: there is no such model, or its folder is incomplete.
    """
    from asr_s2s.pipeline import Transcriber  # torch is imported only when a model is wanted

    return Transcriber.load(model, device)
