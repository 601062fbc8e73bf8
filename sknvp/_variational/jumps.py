"""Jumps of a log-density, which its gradient does not see."""

import torch
from torch import Tensor

from .target import Evaluate

N_POINTS = 33  # There are this many first points on each line.
N_HALVINGS = 18  # After this many halvings, a ten-millionth of the line is left.
LEAST_JUMP = 0.1  # A smaller change that the gradient does not explain, in nats, is no jump.


def has_jumps(evaluate: Evaluate, x: Tensor) -> bool:
    """Return whether a log-density jumps on lines between rows.

    On each line, the interval on which the gradient explains the least of the change is halved again and again. In the
    end no unexplained change is left of a function without jumps, however steep or kinked it is.

    Parameters
    ----------
    evaluate : callable
        A function from rows to log-densities and their gradients.
    x : Tensor of shape (n_rows, n_features)
        The rows. The first half of them is joined to the second half.
    """
    start, end = x[: len(x) // 2], x[len(x) // 2 : len(x) // 2 * 2]
    low, width = x.new_zeros(len(start)), x.new_ones(len(start))
    unexplained = low
    for n_points in [N_POINTS, *[3] * N_HALVINGS]:
        t = low + width * torch.linspace(0, 1, n_points, dtype=x.dtype, device=x.device).unsqueeze(1)
        unexplained, worst = _unexplained(evaluate, start, end, t).max(0)
        width = width / (n_points - 1)
        low = low + worst * width
    return bool((unexplained > LEAST_JUMP).any())


def _unexplained(evaluate: Evaluate, start: Tensor, end: Tensor, t: Tensor) -> Tensor:
    """Return how far changes between neighbours differ from the gradient's; zero where either is not finite."""
    rows = start + t.unsqueeze(-1) * (end - start)
    value, gradient = evaluate(rows.flatten(0, 1))
    assert gradient is not None
    value, slope = value.view(t.shape), (gradient.view(rows.shape) * (end - start)).sum(-1)
    difference = value.diff(dim=0) - (slope[1:] + slope[:-1]) / 2 * t.diff(dim=0)
    return difference.abs().nan_to_num(0, 0, 0) - 1e-5 * value[1:].abs().nan_to_num(0, 0, 0)
