"""The experts of a density without condition: a Gaussian mixture, kernels and a t-distribution."""

import math
from collections.abc import Iterable
from dataclasses import replace
from itertools import product

import numpy as np
import torch
from sklearn.cluster import kmeans_plusplus
from torch import Tensor

from ..flows.bases.expectation_maximization import expectation_maximization, precision_cholesky
from ..flows.builders.specification import (
    GaussianMixtureSpecification,
    KernelsSpecification,
    StudentTSpecification,
    TabularSpecification,
)
from .stacking import Candidate
from .table import RIDGE, Table

N_COMPONENTS = (1, 2, 4, 8, 16, 32, 64)  # the numbers of components that are tried
MAX_PARAMETERS_PER_ROW = 4  # of the mixture, all components together
MIXTURE_RIDGES = (1e-4, 1e-3, 1e-2, 1e-1)  # tried in turn, added to the variances of the mixture's components
BANDWIDTHS = np.geomspace(0.03, 2.0, 12)  # tried for the kernels, in standard deviations
N_QUERIES = 1_000  # the largest number of held-out rows that choose the bandwidth
DEGREES_OF_FREEDOM = 4  # of the t-distribution
TAIL_SHARE = 0.01  # the share of the t-distribution when mixtures or kernels are compared


class ExpertFitter:
    """Fits the experts to a table.

    Parameters
    ----------
    table : Table
    rng : RandomState
        The source of the mixtures' first centres and of the rows that choose the bandwidth.
    """

    def __init__(self, table: Table, rng: np.random.RandomState) -> None:
        self.table = table
        self.rng = rng
        self.tail = table.cross_fitted_log_density(student_t(table, table.training_weights).build())

    def candidates(self) -> list[Candidate]:
        """Return the experts; the mixture stays that of the members, the others are fitted to all rows in the end."""
        table = self.table
        mixture, chosen = self.best_mixture(), self.best_kernels()
        return [
            Candidate(mixture, mixture),
            Candidate(*(kernels(table, w, *chosen) for w in (table.training_weights, table.all_weights))),
            Candidate(*(student_t(table, w) for w in (table.training_weights, table.all_weights))),
        ]

    def best_mixture(self) -> GaussianMixtureSpecification:
        """Find the number of components and the ridge under which the rows held out are likeliest."""
        table = self.table
        n_features, n_rows = table.z.shape[1], int((table.training_weights > 0).sum(1).min())
        n_parameters = (n_features + 1) * (n_features + 2) // 2  # of one component
        most = MAX_PARAMETERS_PER_ROW * n_rows
        sizes = [n for n in N_COMPONENTS if n * n_parameters <= most and 2 * n <= n_rows] or [1]
        best = -np.inf, gaussian_mixture(table, 1, MIXTURE_RIDGES[0], self.rng)
        for ridge in MIXTURE_RIDGES:
            fewest = best[1].means.shape[1]
            best = self._climb((gaussian_mixture(table, n, ridge, self.rng) for n in sizes if n >= fewest), best)
        return best[1]

    def best_kernels(self) -> tuple[bool, float]:
        """Find the shape, whitened or not, and the bandwidth under which the rows held out are likeliest."""
        few, rows = self.table.held_out_sample(N_QUERIES, self.rng)
        tail, weights = self.tail[rows], self.table.training_weights
        shapes = {whiten: kernels(self.table, weights, whiten, 1.0) for whiten in (False, True)}

        def score(candidate: tuple[bool, float]) -> float:
            whiten, bandwidth = candidate
            return held_out_score(replace(shapes[whiten], bandwidth=bandwidth), few, tail)

        whiten, rough = max(product(shapes, BANDWIDTHS), key=score)
        finer = rough * np.geomspace(BANDWIDTHS[0] / BANDWIDTHS[1], BANDWIDTHS[1] / BANDWIDTHS[0], 5)[1:-1]
        return whiten, float(max(finer, key=lambda bandwidth: score((whiten, bandwidth))))

    def _climb(
        self,
        specifications: Iterable[GaussianMixtureSpecification],
        best: tuple[float, GaussianMixtureSpecification],
    ) -> tuple[float, GaussianMixtureSpecification]:
        """Go through the specifications until one scores below the best so far; return the best and its score."""
        for specification in specifications:
            score = held_out_score(specification, self.table, self.tail)
            if not score > best[0]:  # the score may be NaN
                break
            best = score, specification
        return best


def held_out_score(specification: TabularSpecification, table: Table, tail: Tensor) -> float:
    """Compute the weighted mean of the held-out log-densities, with a little of the t-distribution mixed in.

    Without that a few outliers would decide. ``tail`` holds the held-out log-density of each row under it.
    """
    log_density = table.cross_fitted_log_density(specification.build())
    log_density = torch.logaddexp(log_density + math.log1p(-TAIL_SHARE), tail + math.log(TAIL_SHARE))
    known = ~log_density.isnan()
    return float(np.average(log_density[known], weights=table.weights[known]))


def gaussian_mixture(
    table: Table, n_components: int, ridge: float, rng: np.random.RandomState
) -> GaussianMixtureSpecification:
    """Fit a mixture for each member to the rows that this member was trained on."""
    z, training = table.z, table.training_weights
    centres = [
        kmeans_plusplus(z[w > 0].numpy(), n_components, sample_weight=w[w > 0].numpy(), random_state=rng)[0]
        for w in training
    ]
    fitted = expectation_maximization(z, training, torch.tensor(np.stack(centres)), ridge)
    return GaussianMixtureSpecification(
        scaling=table.scaling,
        log_weights=fitted.log_weights.numpy(),
        means=fitted.means.numpy(),
        precisions_cholesky=fitted.precisions_cholesky.numpy(),
    )


def kernels(table: Table, weights: Tensor, whiten: bool, bandwidth: float) -> KernelsSpecification:
    """Put kernels on the rows, with the shape of the data (``whiten``) or as wide in every column."""
    mean, precision = mean_and_precision(table.z, weights)
    if not whiten:
        precision = torch.eye(table.z.shape[1], dtype=torch.float64).repeat(len(weights), 1, 1)
    return KernelsSpecification(
        scaling=table.scaling,
        mean=mean.numpy(),
        precision_cholesky=precision.numpy(),
        points=table.z.numpy(),
        log_weights=(weights / weights.sum(1, keepdim=True)).log().numpy(),
        bandwidth=bandwidth,
    )


def student_t(table: Table, weights: Tensor) -> StudentTSpecification:
    """Give a t-distribution the mean and the shape of the data."""
    mean, precision = mean_and_precision(table.z, weights)
    return StudentTSpecification(
        scaling=table.scaling,
        mean=mean.numpy(),
        precision_cholesky=precision.numpy(),
        degrees_of_freedom=DEGREES_OF_FREEDOM,
    )


def mean_and_precision(z: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the mean, and the Cholesky factor of the inverse covariance, for each member's weights of the rows."""
    weights = weights / weights.sum(1, keepdim=True)
    mean = weights @ z
    around = (z - mean.unsqueeze(1)) * weights.sqrt().unsqueeze(-1)
    return mean, precision_cholesky(around.mT @ around, RIDGE)
