"""The evaluation of fitted flows: scores and draws of rows, in batches."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import gen_batches
from torch import Tensor

from ..flows import Ensemble, Flow
from ..flows.builders.precision import SinglePrecision
from .modes import default_torch_modes
from .seeds import RandomState, new_seed
from .threads import map_in_threads, threads_for

LEAST_LOG_DENSITY = -1e300  # In nats. Every density underflows there, and a sum of such scores is still finite.
MAX_REDRAWS = 20  # Rows that overflow are drawn again at most this many times.


def to_tensor(array: NDArray[Any], reference: Tensor) -> Tensor:
    """Copy an array, which may be read-only or strided, into a tensor with the reference's dtype and device."""
    return torch.tensor(np.ascontiguousarray(array), dtype=reference.dtype, device=reference.device)


def evaluate(
    function: Callable[..., Tensor], density: Ensemble | Flow, *arrays: NDArray[Any] | None, n_each: int = 1
) -> NDArray[Any]:
    """Apply a function of tensors to the rows of arrays, in batches, so that memory does not grow with their number.

    Several threads may call the function at the same time, each with a batch.

    Parameters
    ----------
    function : callable
        It takes one tensor for each array, or None where there is no array, and returns a tensor of as many rows.
    density : Ensemble or Flow
        What the function evaluates; tensors get its dtype and device, and batches at most its chunk size.
    *arrays : ndarray of shape (n_rows, ...) or None
        The rows; the first is an array.
    n_each : int, default=1
        How often the density is evaluated for each row; batches are so many times smaller.

    Returns
    -------
    values : ndarray of shape (n_rows, ...)
    """
    (n_rows,) = {len(array) for array in arrays if array is not None}

    def value(batch: slice) -> NDArray[Any]:
        inputs = (None if array is None else to_tensor(array[batch], density.reference) for array in arrays)
        return function(*inputs).cpu().numpy()

    return _in_batches(value, density, n_rows, n_each)


def _in_batches(
    value: Callable[[slice], NDArray[Any]], density: Ensemble | Flow, n_rows: int, n_each: int = 1
) -> NDArray[Any]:
    """Return what a function makes of each batch of rows, in the order of the rows; threads share the batches."""

    def in_default_modes(batch: slice) -> NDArray[Any]:
        with default_torch_modes(inference=True):  # Each thread has modes of its own.
            return value(batch)

    values: NDArray[Any] | None = None
    batches = list(gen_batches(n_rows, max(1, density.chunk_size // n_each)))
    with threads_for(density, n_rows * n_each):
        for batch, part in zip(batches, map_in_threads(in_default_modes, batches), strict=True):
            if values is None:
                values = np.empty((n_rows, *part.shape[1:]), part.dtype)
            values[batch] = part
    assert values is not None
    return values


def log_density(density: Ensemble, x: NDArray[Any], context: NDArray[Any] | None = None) -> NDArray[np.float64]:
    """Compute the log-density of each row, given its context if there is any, in nats."""
    return evaluate(density.log_prob, density, x, context)


def finite_log_density(density: Ensemble, x: NDArray[Any], context: NDArray[Any] | None = None) -> NDArray[np.float64]:
    """Compute the `log_density` of each row under a density that is positive everywhere; none is below -1e300."""
    scores = log_density(density, x, context)
    return np.maximum(scores, LEAST_LOG_DENSITY, out=scores)


def in_single_precision(density: Ensemble) -> Ensemble:
    """Return a density of rows of a table whose flows compute in float32, at half the time and to about 1e-5 nats."""
    if density.reference.dtype == torch.float32:
        return density
    flow, *experts = density.flows
    return Ensemble([SinglePrecision(flow), *experts], density.log_weights, density.log_shares)


def draw_rows(
    density: Ensemble, n_rows: int, random_state: RandomState, message: str, context: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Draw finite rows, each given its row of the context if there is any, shape (n_rows, n_features).

    Each batch has a generator of its own, so that the draws do not depend on the number of threads.

    Raises
    ------
    ValueError
        With this message, if some row overflows in every one of `MAX_REDRAWS` draws.
    """
    seed = new_seed(random_state)

    def draw(batch: slice) -> NDArray[Any]:
        given = None if context is None else to_tensor(context[batch], density.reference)
        generator = torch.Generator().manual_seed(seed + batch.start)
        return _draw_finite(density, batch.stop - batch.start, generator, message, given).cpu().numpy()

    return _in_batches(draw, density, n_rows)


def _draw_finite(
    density: Ensemble, n_rows: int, generator: torch.Generator, message: str, context: Tensor | None
) -> Tensor:
    """Draw rows, and draw those again that overflow, as happens to flows that have diverged in training."""
    rows = density.sample(n_rows, context, generator)
    for _ in range(MAX_REDRAWS):
        if rows.sum().isfinite():  # If the sum is finite, every number is.
            return rows
        overflowed = ~rows.isfinite().all(1)
        if not overflowed.any():
            return rows
        given = None if context is None else context[overflowed]
        rows[overflowed] = density.sample(int(overflowed.sum()), given, generator)
    raise ValueError(message)
