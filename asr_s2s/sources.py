"""Recordings as callers have them: paths, files, bytes, arrays and tensors, with or without their
sampling rate, or lhotse cuts."""

import io
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, Union, cast

import numpy as np
from numpy.typing import NDArray

from asr_s2s.errors import AudioError

# Cuts are rare here, and lhotse takes a third of a second to import.
if TYPE_CHECKING:
    import torch
    from lhotse.cut import Cut

Samples: TypeAlias = Union[NDArray[Any], "torch.Tensor"]
Source: TypeAlias = Union[
    str,
    os.PathLike[str],
    bytes,
    BinaryIO,
    Samples,
    tuple[int, Samples],
    tuple[Samples, int],
    Mapping[str, Any],
    "Cut",
]
"""A path; the content of an audio file as bytes or as an open binary file; samples as an array or a
tensor; samples with their sampling rate in Hz, as a pair or as a dictionary with `array` and
`sampling_rate`; or a lhotse cut."""

_ACCEPTED = (
    "Give a path, bytes or a binary file, an array or tensor of samples, a pair of sampling rate "
    "and samples, a dictionary with array and sampling_rate, or a lhotse cut"
)
_ARRAY_KEYS = ("array", "raw", "waveform")
_RATE_KEYS = ("sampling_rate", "sample_rate")


@dataclass(frozen=True)
class NamedSource:
    """A recording with its name, in one of the forms that can be read."""

    name: str
    """Name in results and messages."""
    content: "str | BinaryIO | NDArray[Any] | Cut"
    """A path, a binary stream, an array, or a cut."""
    sample_rate: int
    """Sampling rate of an array, in Hz."""


def as_recording(source: object, index: int, sample_rate: int) -> NamedSource:
    """Convert a source to a recording.

    Args:
        source: anything; the types of `Source` are accepted.
        index: position among the sources, for the names of those without a name.
        sample_rate: sampling rate in Hz of arrays without one.

    Raises:
        AudioError: it is not one of these types.
    """
    if isinstance(source, str | os.PathLike):
        path = os.fsdecode(source)
        return NamedSource(path, path, sample_rate)
    if isinstance(source, bytes | bytearray | memoryview):
        return NamedSource(f"bytes {index}", io.BytesIO(source), sample_rate)
    if isinstance(source, Mapping):
        return _from_mapping(source, index, sample_rate)
    if isinstance(source, tuple) and len(source) == 2:
        rate, samples = source if _is_number(source[0]) else source[::-1]
        if _is_number(rate) and _is_array(samples):
            return NamedSource(f"array {index}", _to_array(samples), int(rate))
    if _is_array(source):
        return NamedSource(f"array {index}", _to_array(source), sample_rate)
    if hasattr(source, "read"):
        name = str(getattr(source, "name", f"stream {index}"))
        if isinstance(source, io.TextIOBase):
            source = getattr(source, "buffer", source)
        if isinstance(source, io.TextIOBase):
            problem = "it is a stream of text, not of bytes"
            raise AudioError(name, problem, "Give bytes, or a file opened with mode 'rb'")
        return NamedSource(name, cast(BinaryIO, source), sample_rate)
    if _is_cut(source):
        from asr_s2s.data.manifest import cut_source

        cut = cast("Cut", source)
        return NamedSource(cut_source(cut), cut, sample_rate)
    problem = f"cannot transcribe a {type(source).__name__}"
    raise AudioError(f"recording {index}", problem, _ACCEPTED)


def as_collection(sources: object) -> Iterable[Any] | None:
    """Return the recordings of a list or other collection; None if it is a single recording.

    Sets, iterators such as `Path.glob` and arrays of paths are collections. A pair of an array and
    a number is a single recording.
    """
    pair = sources if isinstance(sources, tuple) and len(sources) == 2 else ()
    if any(map(_is_number, pair)) and any(map(_is_array, pair)):
        return None
    if _is_array(sources):
        if hasattr(sources, "detach"):
            return None
        array = np.asarray(sources)
        return list(array) if array.dtype.kind in "OU" else None
    single = (str, bytes, bytearray, memoryview, os.PathLike, Mapping)
    if isinstance(sources, single) or hasattr(sources, "read") or _is_cut(sources):
        return None
    return sources if isinstance(sources, Iterable) else None


def _from_mapping(source: Mapping[Any, Any], index: int, sample_rate: int) -> NamedSource:
    """Convert a dictionary, as of Hugging Face datasets: samples, or bytes or path of a file."""
    path = source.get("path")
    array = next((source[key] for key in _ARRAY_KEYS if source.get(key) is not None), None)
    rate = next((source[key] for key in _RATE_KEYS if source.get(key) is not None), None)
    name = str(path) if isinstance(path, str | os.PathLike) and str(path) else None
    if source.get("audio") is not None:  # a row of a data set or of a manifest
        return as_recording(source["audio"], index, sample_rate if rate is None else int(rate))
    if array is not None:
        if rate is None:
            problem = f"a dictionary with the keys {', '.join(map(str, source))}"
            raise AudioError(name or f"array {index}", problem, "Add sampling_rate, in Hz")
        return NamedSource(name or f"array {index}", _to_array(np.asarray(array)), int(rate))
    content = source.get("bytes")
    if isinstance(content, bytes):
        return NamedSource(name or f"bytes {index}", io.BytesIO(content), sample_rate)
    if name is not None:
        return NamedSource(name, name, sample_rate)
    problem = f"cannot transcribe a dictionary with the keys {', '.join(map(str, source))}"
    raise AudioError(f"recording {index}", problem, _ACCEPTED)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _is_array(value: object) -> bool:
    """Whether a value is an array or a tensor of samples, from any library."""
    return hasattr(value, "__array__") and not isinstance(value, np.generic)


def _is_cut(value: object) -> bool:
    """Whether a value is a lhotse cut."""
    if type(value).__module__.partition(".")[0] != "lhotse":
        return False
    from lhotse.cut import Cut

    return isinstance(value, Cut)


def _to_array(samples: Any) -> NDArray[Any]:
    """Convert an array or a tensor, which may be on a GPU, in bfloat16 or need a gradient."""
    if hasattr(samples, "detach"):
        samples = samples.detach().cpu()
        if samples.is_floating_point():
            samples = samples.float()
    return np.asarray(samples)
