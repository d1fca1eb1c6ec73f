"""asr_s2s: sequences to text with one recurrent attention core.

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

__version__ = "0.2.0"

__all__ = ["UserError", "__version__", "load", "load_translator"]


def load(model: str, device: str | None = None) -> "Transcriber":
    """Load a recognizer: a shipped model by name, or a model folder by path.

    Args:
        model: a shipped name such as "digits", or the path of a model folder.
        device: "cpu", "cuda", ...; by default a GPU if there is one.

    Raises:
        ModelError: there is no such model, its folder is incomplete, or it does not read speech.
    """
    from asr_s2s.pipeline import Transcriber  # torch is imported only when a model is wanted

    return Transcriber.load(model, device)


def load_translator(model: str, device: str | None = None) -> "Translator":
    """Load a model that reads text: a shipped one by name, or a model folder by path.

    Args:
        model: a shipped name such as "en-de", or the path of a model folder.
        device: as in `load`.

    Raises:
        ModelError: there is no such model, its folder is incomplete, or it does not read text.
    """
    from asr_s2s.translator import Translator

    return Translator.load(model, device)
