"""Means and covariances of rows, in the rank that the rows allow where there are far more columns than rows."""

from typing import NamedTuple

import torch
from torch import Tensor

from ..flows.bases.expectation_maximization import precision_cholesky
from ..flows.builders.expert_specification import DenseWhitening, LowRankWhitening

COLUMNS_PER_ROW = 4  # With more columns than this for each row, directions and variances stand for the matrix.


class DenseCovariance(NamedTuple):
    """The mean and the covariance matrix of each member."""

    mean: Tensor  # shape (n_members, n_features)
    matrix: Tensor  # shape (n_members, n_features, n_features)

    def whitening(self, ridge: float) -> DenseWhitening:
        """Return the map that whitens rows whose covariance is the matrix plus ``ridge`` times the identity."""
        return DenseWhitening(self.mean.numpy(), precision_cholesky(self.matrix, ridge).numpy())


class LowRankCovariance(NamedTuple):
    """The mean of each member and its covariance ``V diag(variances) V^T``, in the span V of the centred rows."""

    mean: Tensor  # shape (n_members, n_features)
    directions: Tensor  # The matrix V, of shape (n_members, n_features, rank).
    variances: Tensor  # shape (n_members, rank)

    def whitening(self, ridge: float) -> LowRankWhitening:
        """Return the map that whitens rows whose covariance is this one plus ``ridge`` times the identity."""
        gains = (self.variances + ridge).rsqrt()
        return LowRankWhitening(self.mean.numpy(), self.directions.numpy(), gains.numpy(), ridge**-0.5)


def covariance(z: Tensor, weights: Tensor) -> DenseCovariance | LowRankCovariance:
    """Compute the mean and the covariance of the rows for each member's weights, shape (n_members, n_rows)."""
    weights = weights / weights.sum(1, keepdim=True)
    mean = weights @ z
    around = (z - mean.unsqueeze(1)) * weights.sqrt().unsqueeze(-1)
    if z.shape[1] <= COLUMNS_PER_ROW * z.shape[0]:
        return DenseCovariance(mean, around.mT @ around)
    directions, singular_values, _ = torch.linalg.svd(around.mT, full_matrices=False)
    return LowRankCovariance(mean, directions, singular_values.square())


def without_whitening(mean: Tensor) -> LowRankWhitening:
    """Return the map that only subtracts the mean."""
    return LowRankWhitening(mean.numpy(), mean.new_empty(*mean.shape, 0).numpy(), mean[:, :0].numpy(), 1.0)
