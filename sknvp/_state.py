"""A flow as plain values: the recipe it is built from, its parameters as arrays, the device it lives on."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch

from .flows import Flow
from .flows.normalization import statistics
from .flows.recipes import EXPERTS, FLOWS


@contextmanager
def usual_modes() -> Iterator[None]:
    """Set aside a caller's `torch.no_grad`, `torch.inference_mode`, `torch.autocast` or default device."""
    usual = torch.empty(0).device.type == "cpu"  # to set the default costs time in every operation
    device = nullcontext() if usual else torch.device("cpu")
    with torch.inference_mode(False), torch.enable_grad(), no_autocast(), device:
        yield


def no_autocast() -> ExitStack:
    """Set aside a caller's `torch.autocast`, until the end of the ``with`` statement that this is for."""
    stack = ExitStack()
    for kind in ("cpu", "cuda"):
        if torch.is_autocast_enabled(kind):
            stack.enter_context(torch.autocast(kind, enabled=False))
    return stack


def build_flow(recipe: dict[str, Any], device: torch.device, generator: torch.Generator) -> Flow:
    """The flow that a recipe describes: its kind, that kind's arguments with arrays for tensors, the dtype's name."""
    settings: dict[str, Any] = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in recipe.items()}
    dtype: torch.dtype = getattr(torch, settings.pop("dtype"))
    recipe_of_kind = FLOWS[settings.pop("kind")]
    return recipe_of_kind(**settings, generator=generator).to(dtype=dtype, device=device).eval()


def build_expert(recipe: dict[str, Any]) -> Flow:
    """The flow without parameters that a recipe describes: the name of its kind, and that kind's arguments."""
    settings = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in recipe.items() if k != "kind"}
    return EXPERTS[recipe["kind"]](**settings)


def saved_flow(flow: Flow) -> dict[str, Any]:
    """What a flow has learned, as arrays of their own, and its device."""
    learned = [part.detach().cpu().numpy().copy() for part in (*flow.parameters(), *statistics(flow))]
    return {"learned": learned, "device": str(flow.like.device)}


def loaded_flow(recipe: dict[str, Any], saved: dict[str, Any], device: torch.device | None = None) -> Flow:
    """The flow that a recipe and saved parameters describe, by default where it was or else on the CPU."""
    if device is None:
        try:
            device = usable_device(saved["device"])
        except ValueError:
            device = torch.device("cpu")
    with usual_modes():
        flow = build_flow(recipe, device, torch.Generator())  # its weights are about to be replaced
        for part, values in zip((*flow.parameters(), *statistics(flow)), saved["learned"], strict=True):
            part.data.copy_(torch.tensor(values, device="cpu"))
    return flow


def usable_device(device: str) -> torch.device:
    """The torch device of that name, if this machine has it."""
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
