"""The log-density that a user gives: its kind is found, and its answers are checked."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

Evaluate = Callable[[Tensor], tuple[Tensor, Tensor | None]]

KINDS = (
    "log_density must take a torch tensor of shape (n, n_features) and return one of shape (n,), or take a NumPy array "
    "and return an array of shape (n,), or a tuple (value, gradient) of arrays of shapes (n,) and (n, n_features). It "
    "gets all n points at once"
)


class Target:
    """A log-density ``log p``, which counts the rows where it was NaN or plus infinity.

    A call takes rows of shape (..., n_features) and returns ``log p``, and its gradient in their shape or None if there
    is none.

    Parameters
    ----------
    log_density : callable
        A function of tensors, which autograd differentiates, or of arrays, which may return its gradient too.
    x : Tensor of shape (n_rows, n_features)
        Rows on which the function is tried, to tell the kinds apart.

    Raises
    ------
    ValueError
        If it is of no kind, or finite at none of the rows.
    """

    def __init__(self, log_density: Callable[[Any], Any], x: Tensor) -> None:
        if not callable(log_density):
            raise ValueError(
                f"log_density must be a function, got {log_density!r} of type {type(log_density).__name__}."
            )
        self.n_rows = self.n_bad = 0
        self.bad: list[float] = []  # A row where the log-density was NaN or plus infinity.
        self.evaluate = _evaluator_of(log_density, x)
        log_p, gradient = self(x)
        finite = log_p.isfinite() if gradient is None else log_p.isfinite() & gradient.isfinite().all(-1)
        self.has_gradient = gradient is not None
        if not finite.any():
            raise ValueError(
                f"log_density and its gradient must be finite somewhere, got none of {len(x)} first draws, such as "
                f"{log_p[0].item()} at {x[0].tolist()}. Choose loc, scale and bounds such that it is."
            )

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        rows = x.reshape(-1, x.shape[-1])
        log_p, gradient = self.evaluate(rows)
        bad = log_p.isnan() | (log_p == torch.inf)
        if bad.any():
            self.bad = rows[bad][0].tolist()
            self.n_bad += int(bad.sum())
        self.n_rows += len(rows)
        return log_p.view(x.shape[:-1]), None if gradient is None else gradient.view(x.shape)


def _evaluator_of(log_density: Callable[[Any], Any], x: Tensor) -> Evaluate:
    """Try the function with a tensor that requires gradients, then with an array, and return its evaluation."""
    failure: Exception | None = None
    got = ""
    try:
        if isinstance(log_density(x.clone().requires_grad_().clone()), Tensor):
            return lambda x: _by_autograd(log_density, x)
    except Exception as error:
        failure, got = error, f"with a tensor it raised {type(error).__name__}: {error}; "
    try:
        result = log_density(x.cpu().numpy().copy())
    except Exception as error:
        raise ValueError(f"{KINDS}; {got}with an array it raised {type(error).__name__}: {error}") from error
    if isinstance(result, np.ndarray):
        return lambda x: (_values(log_density(x.cpu().numpy().copy()), x), None)
    if isinstance(result, (tuple, list)) and len(result) == 2:
        return lambda x: _of_arrays(log_density, x)
    raise ValueError(f"{KINDS}; {got}with an array it returned {type(result).__name__}.") from failure


def _by_autograd(log_density: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Evaluate a function of tensors, which may write to its argument: what autograd needs is copied before."""
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(torch.clone, lambda saved: saved):
        x = x.detach().clone().requires_grad_()
        value = log_density(x.clone())
        _check_shape("a tensor", value, (len(x),))
        gradient = torch.autograd.grad(value.sum(), x, allow_unused=True)[0] if value.requires_grad else None
    if gradient is None:
        raise ValueError(
            "log_density must be differentiable, got a tensor that does not depend on its argument by torch's "
            "operations. Use these throughout, or take and return NumPy arrays."
        )
    return value.detach().to(x), gradient


def _of_arrays(log_density: Callable[[Any], Any], x: Tensor) -> tuple[Tensor, Tensor]:
    value, gradient = log_density(x.cpu().numpy().copy())
    gradient = np.asarray(gradient, dtype=np.float64)
    _check_shape("gradients", gradient, tuple(x.shape))
    return _values(value, x), torch.tensor(gradient).to(x)


def _values(value: Any, x: Tensor) -> Tensor:
    """Check the values of a function of arrays."""
    value = np.asarray(value, dtype=np.float64)
    _check_shape("values", value, (len(x),))
    return torch.tensor(value).to(x)


def _check_shape(what: str, value: Any, shape: tuple[int, ...]) -> None:
    if tuple(value.shape) != shape:
        raise ValueError(
            f"log_density must return {what} of shape {shape} for {shape[0]} rows, got shape {tuple(value.shape)}. Sum "
            "over the columns alone."
        )
