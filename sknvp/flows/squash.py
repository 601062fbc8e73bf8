"""A bound that is cheap and smooth, wherever a network's input or output must not run away."""

from torch import Tensor


def squash(x: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    """``u = x r`` with ``r = 1 / sqrt(1 + (x / bound)^2)``, and ``r``, whose cube is the slope ``du/dx``.

    ``u`` is odd and increasing, close to ``x`` near zero, and stays between ``-bound`` and ``bound``.
    """
    r = x.square().mul_(bound**-2).add_(1).rsqrt_()
    return x * r, r
