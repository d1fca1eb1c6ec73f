"""Weights files of model folders: reading, checking and writing.

A folder may come from anywhere, so nothing in it is trusted: a damaged or hostile file raises an
error that names it, before it can cost much memory or time.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from asr_s2s.errors import ModelError
from asr_s2s.nn.low_precision import SCALE, restore_matrices, round_matrices
from asr_s2s.text_files import atomic_write

WEIGHTS_FILE = "model.safetensors"
Precision: TypeAlias = Literal["fp32", "fp16", "int8"]
"""Precision of the matrices in a weights file."""
_STORED = (torch.float32, torch.float16, torch.bfloat16)
"""Data types of stored weights, besides 8-bit integers with scales."""
_COPY = "Copy the folder again"


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Read the stored weights of a model folder.

    Raises:
        ModelError: the file is missing or damaged, or a tensor has a wrong data type or values
            that are not finite.
    """
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise ModelError(folder, f"the folder has no {WEIGHTS_FILE}", "Copy the whole model folder")
    try:
        weights = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise ModelError(path, f"not a valid safetensors file ({error})", _COPY) from error
    for name, value in weights.items():
        problem = _fault(name, value, weights)
        if problem:
            raise ModelError(path, f"{name} {problem}", _COPY)
    return weights


def write_weights(folder: Path, weights: Mapping[str, Tensor], precision: Precision) -> None:
    """Write weights atomically.

    Args:
        precision: of matrices. Biases, norms and feature statistics are small and stay in 32 bits;
            with int8, tensors of more than two dimensions (convolutions) are stored in 16 bits.
    """
    tensors = {name: value.detach().to("cpu", torch.float32) for name, value in weights.items()}
    if precision == "int8":
        tensors = round_matrices(tensors)
    if precision != "fp32":
        tensors = {
            name: value.half() if value.ndim > 1 and value.dtype == torch.float32 else value
            for name, value in tensors.items()
        }
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    with atomic_write(folder / WEIGHTS_FILE) as file:
        file.write(save(tensors))  # save_file would create a file that only its owner can read


def check_shapes(folder: Path, weights: Mapping[str, Tensor], network: nn.Module) -> None:
    """Check that weights fit a network, which may be on the meta device, without memory.

    Args:
        folder: model folder, for errors.
        weights: stored weights.

    Raises:
        ModelError: a weight is missing, unknown to the network, or of another shape.
    """
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    stored = {
        name: tuple(value.shape)
        for name, value in weights.items()
        if not (name.endswith(SCALE) and name.removesuffix(SCALE) in weights)
    }
    differing = [name for name in expected | stored if expected.get(name) != stored.get(name)]
    if differing:
        name = differing[0]
        found, wanted = (
            "none" if shape is None else f"shape {shape}"
            for shape in (stored.get(name), expected.get(name))
        )
        more = f"; {len(differing) - 1} more differ" if len(differing) > 1 else ""
        raise ModelError(
            folder / WEIGHTS_FILE,
            f"the weights do not fit the settings: {name}: expected {wanted}, found {found}{more}",
            "Use the settings of its config.yaml, or copy the folder again",
        )


def load_weights(network: nn.Module, folder: Path) -> bool:
    """Load the weights of a model folder, in float32, into a network with the same settings.

    Returns:
        Whether the folder stores them as 8-bit integers.

    Raises:
        ModelError: the weights are missing, damaged, or do not fit the network.
    """
    return apply_weights(network, read_weights(folder), folder)


def apply_weights(network: nn.Module, weights: Mapping[str, Tensor], folder: Path) -> bool:
    """Load weights that were read from a model folder, in float32, into a network.

    Returns:
        Whether they are stored as 8-bit integers.

    Raises:
        ModelError: the weights do not fit the network.
    """
    check_shapes(folder, weights, network)
    network.load_state_dict(restore_matrices(weights))
    return any(value.dtype == torch.int8 for value in weights.values())


def convert_weights(folder: Path, precision: Precision) -> None:
    """Rewrite the weights of a model folder in another precision.

    Raises:
        ModelError: the weights are missing or damaged.
    """
    write_weights(folder, restore_matrices(read_weights(folder)), precision)


def _fault(name: str, value: Tensor, weights: Mapping[str, Tensor]) -> str | None:
    """Describe the fault of a stored tensor; None if there is none."""
    if value.dtype == torch.int8:
        scale = weights.get(name + SCALE)
        fits = scale is not None and value.ndim == 2 and scale.shape == value.shape[:1]
        return None if fits else "is stored as 8-bit integers without a scale for each row"
    if value.dtype not in _STORED:
        kinds = ", ".join(str(dtype).removeprefix("torch.") for dtype in (*_STORED, torch.int8))
        return f"has data type {str(value.dtype).removeprefix('torch.')}; expected {kinds}"
    return None if bool(value.isfinite().all()) else "has values that are not finite"
