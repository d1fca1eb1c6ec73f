"""Choice of the device that a model runs on."""

import torch

from asr_s2s.errors import ModelError

DEVICES = ("cpu", "cuda")
"""Types of devices that are supported; others are not tested."""


def choose_device(name: str | None) -> torch.device:
    """Get the torch device of this name; by default the GPU if there is one.

    Raises:
        ModelError: the device does not exist or cannot be used.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in DEVICES:
            raise RuntimeError(f"{device.type} is not one of {DEVICES}")
        torch.empty(1, device=device)
    # The exception for a missing device depends on how torch was built.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ModelError(
            f"device {name}", "this device cannot be used", "Use cpu, or cuda with a GPU"
        ) from error
    return device
