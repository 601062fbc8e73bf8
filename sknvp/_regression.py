"""What stands beside conditional flows: a linear regression, and its weight by held-out likelihood."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._stacking import N_ROWS, RIDGE, TAIL_WEIGHT, _drawn, cross_fitted, stacking_weights
from ._state import build_expert
from .flows import Flow, Regression
from .flows.mixture import precision_cholesky

DEGREES_OF_FREEDOM = 10  # of the t-distribution around the line: close to a normal one, but for far outliers
SHRINKAGE = 1e-3  # of the coefficients, as a share of the variance of the context

Recipe = dict[str, Any]


def stack_regression(
    flow: Flow,
    frame: dict[str, NDArray[Any]],
    context: NDArray[Any],
    y: NDArray[Any],
    weights: NDArray[np.float64],
    validation: NDArray[np.bool_],
    rng: np.random.RandomState,
) -> tuple[Recipe, NDArray[np.float64]]:
    """Recipe of the regression, and the log-weights of the flow and of it.

    For the comparison it is fitted once per member of the flow, to the rows which that member was trained on; the
    weights are those of the greatest likelihood of the rows held out, but for `TAIL_WEIGHT` at least, so that a gross
    outlier costs what a heavy tail says. Then it is fitted to all rows: to `N_ROWS` of them at most.
    """
    if len(y) > N_ROWS:
        rows = _drawn(weights, N_ROWS, rng)
        context, y, weights, validation = context[rows], y[rows], np.ones(N_ROWS), validation[:, rows]
    given, target = (torch.tensor(array.astype(np.float64)) for array in (context, y))
    counts, held_out = torch.tensor(weights), torch.tensor(validation)
    compared = flow, build_expert(linear_regression(frame, given, target, counts * ~held_out))
    log_densities = torch.stack([cross_fitted(each, held_out, target, given) for each in compared])
    shares = stacking_weights(log_densities, counts).clamp(min=torch.tensor([1e-12, TAIL_WEIGHT]).double())
    return linear_regression(frame, given, target, counts.unsqueeze(0)), np.log((shares / shares.sum()).numpy())


def linear_regression(frame: dict[str, NDArray[Any]], context: Tensor, y: Tensor, weights: Tensor) -> Recipe:
    """Least squares for each member's weights of the rows, shape (n_members, n_rows), shrunk a little.

    Numbers beyond `Regression.LIMIT` standard deviations are put there.
    """
    z = (y - torch.tensor(frame["loc"])) / torch.tensor(frame["scale"])
    z = z[:, frame["columns"]].clamp(-Regression.LIMIT, Regression.LIMIT)
    weights = (weights / weights.sum(1, keepdim=True)).unsqueeze(-1)
    c, mean_c = _centred(context.clamp(-Regression.LIMIT, Regression.LIMIT), weights)
    z, mean_z = _centred(z, weights)
    gram = (c * weights).mT @ c + SHRINKAGE * torch.eye(c.shape[-1], dtype=c.dtype)
    coefficients = torch.linalg.solve(gram, (c * weights).mT @ z).mT
    left = z - c @ coefficients.mT
    precision = precision_cholesky((left * weights).mT @ left, RIDGE)
    own = {
        "coefficients": coefficients,
        "mean": (mean_z - mean_c @ coefficients.mT)[:, 0],
        "precision_cholesky": precision * (DEGREES_OF_FREEDOM / (DEGREES_OF_FREEDOM - 2)) ** 0.5,
    }
    arrays = {name: tensor.numpy() for name, tensor in own.items()}
    return {"kind": "linear_regression", **frame, **arrays, "degrees_of_freedom": DEGREES_OF_FREEDOM}


def _centred(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The rows less their weighted mean, per member, and that mean, shape (n_members, 1, n_columns)."""
    mean = (weights * x).sum(1, keepdim=True)
    return x - mean, mean
