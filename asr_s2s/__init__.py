"""Speech recognition and translation with one recurrent attention model.

Example:

import asr_s2s

recognizer = asr_s2s.load("digits")
print(recognizer.transcribe("recording.wav").text)
translator = asr_s2s.load_translator("en-de")
print(translator.translate("Two dogs are playing in the snow.").text)
"""

from typing import TYPE_CHECKING

from asr_s2s.errors import UserError

if TYPE_CHECKING:
    from asr_s2s.pipeline import Transcriber
    from asr_s2s.translator import Translator

__version__ = "0.3.0"

__all__ = ["UserError", "__version__", "load", "load_translator"]


def load(model: str, device: str | None = None) -> "Transcriber":
    """Load a speech recognizer by the name of a shipped model, or by the path of a model folder.

    Args:
        model: a shipped name such as "digits", or the path of a model folder.
        device: "cpu", "cuda", ...; by default a GPU if one is available.

    Raises:
        ModelError: the model does not exist, is incomplete, or is not a speech model.
    """
    from asr_s2s.pipeline import Transcriber  # defers the import of torch

    return Transcriber.load(model, device)


def load_translator(model: str, device: str | None = None) -> "Translator":
    """Load a translator by the name of a shipped model, or by the path of a model folder.

    Args:
        model: a shipped name such as "en-de", or the path of a model folder.
        device: as in `load`.

    Raises:
        ModelError: the model does not exist, is incomplete, or is not a text model.
    """
    from asr_s2s.translator import Translator

    return Translator.load(model, device)
