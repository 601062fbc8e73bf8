"""A bound that is cheap and smooth, wherever a network's input or output must not run away."""

from functools import lru_cache

import torch
from torch import Tensor


def squash(x: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    """``u = x r`` with ``r = 1 / sqrt(1 + (x / bound)^2)``, and ``r``, whose cube is the slope ``du/dx``.

    ``u`` is odd and increasing, close to ``x`` near zero, and stays between ``-bound`` and ``bound``.
    """
    r = torch.addcmul(_one(x.dtype, x.device), x, x, value=bound**-2).rsqrt_()
    return x * r, r


@lru_cache
def _one(dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.ones((), dtype=dtype, device=device)
