"""A cheap and smooth bound for the inputs and outputs of networks."""

from functools import lru_cache

import torch
from torch import Tensor


def soft_clip(x: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    """Compute ``u = x r`` with ``r = 1 / sqrt(1 + (x / bound)^2)``.

    ``u`` is an odd and increasing function of ``x``. It is close to ``x`` near zero, and stays between ``-bound`` and
    ``bound``.

    Parameters
    ----------
    x : Tensor
        The numbers to bound.
    bound : float
        The bound, which is positive.

    Returns
    -------
    u, r : Tensor
        Tensors of the shape of ``x``. The slope ``du/dx`` is the cube of ``r``.
    """
    r = torch.addcmul(_cached_one(x.dtype, x.device), x, x, value=bound**-2).rsqrt_()
    return x * r, r


@lru_cache
def _cached_one(dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the number one as a tensor, which is made once for each dtype and device."""
    with torch.inference_mode(False):
        return torch.ones((), dtype=dtype, device=device)
