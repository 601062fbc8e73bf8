"""The modes of PyTorch in which flows compute, whatever modes a caller has set."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def default_torch_modes(*, inference: bool = False) -> Iterator[None]:
    """Set aside a caller's gradient modes, `torch.autocast` and default device.

    Parameters
    ----------
    inference : bool, default=False
        Whether the body runs in `torch.inference_mode`; otherwise autograd is on.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(inference))
        if not inference:
            stack.enter_context(torch.enable_grad())
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        # A default device costs time in every operation, so it is set only where there is another one.
        if torch.empty(0).device.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield
