"""The experts of a conditional density: a linear regression with normal noise, and one with t-distributed noise."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..flows import AdditiveConditioning
from ..flows.bases.expectation_maximization import precision_cholesky
from ..flows.builders.expert_specification import (
    DenseWhitening,
    LinearRegressionSpecification,
    StudentTRegressionSpecification,
)
from .stacking import Candidate
from .table import RIDGE, Table

DEGREES_OF_FREEDOM = 10  # The t-distribution with so many is close to the normal one, except for far outliers.
SHRINKAGE = 1e-3  # The penalty on the coefficients, as a share of the variance of the context.


def regression_candidates(table: Table, periods: NDArray[np.float64] | None = None) -> list[Candidate]:
    """Fit the regression for each member, and to all rows; the one with t-distributed noise comes last.

    The targets may have periods, shape (n_varying,), in standardised units; the period is infinite for a target
    without one.
    """
    fitted = (linear_regression(table, w) for w in (table.training_weights, table.all_weights))
    compared, final = (replace(regression, periods=periods) for regression in fitted)
    return [Candidate(compared, final), Candidate(with_heavy_tails(compared), with_heavy_tails(final))]


def linear_regression(table: Table, weights: Tensor) -> LinearRegressionSpecification:
    """Fit least squares, a little shrunk, for each member's weights of the rows, shape (n_members, n_rows).

    Numbers beyond `AdditiveConditioning.LIMIT` standard deviations are moved there.
    """
    assert table.context is not None
    weights = (weights / weights.sum(1, keepdim=True)).unsqueeze(-1)
    c, mean_c = _centred(table.context.clamp(-AdditiveConditioning.LIMIT, AdditiveConditioning.LIMIT), weights)
    z, mean_z = _centred(table.z.clamp(-AdditiveConditioning.LIMIT, AdditiveConditioning.LIMIT), weights)
    gram = (c * weights).mT @ c + SHRINKAGE * torch.eye(c.shape[-1], dtype=c.dtype)
    coefficients = torch.linalg.solve(gram, (c * weights).mT @ z).mT
    residuals = z - c @ coefficients.mT
    precision = precision_cholesky((residuals * weights).mT @ residuals, RIDGE)
    return LinearRegressionSpecification(
        scaling=table.scaling,
        coefficients=coefficients.numpy(),
        whiten=DenseWhitening((mean_z - mean_c @ coefficients.mT)[:, 0].numpy(), precision.numpy()),
    )


def with_heavy_tails(regression: LinearRegressionSpecification) -> StudentTRegressionSpecification:
    """Give the noise of a regression a t-distribution with the covariance of the noise."""
    assert isinstance(regression.whiten, DenseWhitening)
    gain = (DEGREES_OF_FREEDOM / (DEGREES_OF_FREEDOM - 2)) ** 0.5
    return StudentTRegressionSpecification(
        scaling=regression.scaling,
        coefficients=regression.coefficients,
        periods=regression.periods,
        whiten=DenseWhitening(regression.whiten.mean, regression.whiten.precision_cholesky * gain),
        degrees_of_freedom=DEGREES_OF_FREEDOM,
    )


def _centred(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Subtract each member's weighted mean from the rows; return the mean too, shape (n_members, 1, n_columns)."""
    mean = (weights * x).sum(1, keepdim=True)
    return x - mean, mean
