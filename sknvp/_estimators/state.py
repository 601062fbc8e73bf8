"""The state of a flow as NumPy arrays, for pickles and for fits that continue."""

from typing import Any

import torch

from ..flows import Flow
from ..flows.builders.specification import Specification
from ..flows.layers.normalization import statistics
from .modes import default_torch_modes


def learned_tensors(flow: Flow) -> list[torch.Tensor]:
    """List the parameters of a flow and the statistics of its batch normalisation, in a fixed order."""
    return [*flow.parameters(), *statistics(flow)]


def saved_flow(flow: Flow) -> dict[str, Any]:
    """Copy what a flow has learned into arrays, and note its device."""
    learned = [tensor.detach().cpu().numpy().copy() for tensor in learned_tensors(flow)]
    return {"learned": learned, "device": str(flow.reference.device)}


def loaded_flow(specification: Specification, saved: dict[str, Any], device: torch.device | None = None) -> Flow:
    """Build the flow that a specification and saved numbers describe, on its old device or else on the CPU."""
    if device is None:
        try:
            device = usable_device(saved["device"])
        except ValueError:
            device = torch.device("cpu")
    with default_torch_modes():
        flow = specification.build(device, torch.Generator())  # The initial weights are overwritten at once.
        for tensor, values in zip(learned_tensors(flow), saved["learned"], strict=True):
            tensor.data.copy_(torch.tensor(values, device="cpu"))
    return flow


def usable_device(device: str) -> torch.device:
    """Return the torch device of that name, or raise a ValueError if this machine does not have it."""
    try:
        found = torch.device(device)
        torch.zeros(1, device=found).item()
    except (RuntimeError, TypeError, AssertionError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device must name a torch device that this machine has, got {device!r} ({reason}). "
            "device='cpu' always works."
        ) from error
    return found
