"""Proposals for unknown cells: a Gaussian mixture, which given the known cells is a mixture again."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import kmeans_plusplus

from ..flows.bases.expectation_maximization import expectation_maximization, narrow_components
from .conditioning import ConditionalMixture, condition
from .patterns import patterns_of

Array = NDArray[Any]

MAX_COMPONENTS = 64  # A mixture that is fitted to draws has at most this many components.
DRAWS_PER_PARAMETER = 3  # A mixture needs at least this many draws for each parameter.
RIDGE = 1e-3  # This is added to the variances of the components, whose columns have variance one.
FARTHEST = 1e100  # Standardised numbers are clipped here, so that the squares of distances are finite.
LEVELS = (np.arange(16) + 0.5) / 16  # The quantiles of columns are taken at these probabilities.


@dataclass(frozen=True, eq=False)
class Proposal:
    """A Gaussian mixture of all columns, in standard units."""

    loc: Array  # shape (n_features,)
    scale: Array  # The standard deviations, infinite for constant columns, of shape (n_features,).
    log_weights: Array  # shape (n_components,)
    means: Array  # The means in standard units, of shape (n_components, n_features).
    covariances: Array  # The covariances in standard units, of shape (n_components, n_features, n_features).
    quantiles: Array | None = None  # The quantiles of the columns in standard units, of shape (n_features, n_levels).

    @classmethod
    def of_draws(cls, y: Array, rng: np.random.RandomState) -> Self:
        """Fit a mixture to draws from a density, shape (n_draws, n_features)."""
        loc, scale = location_and_scale(y, np.ones(len(y)))
        z, n_features = (y - loc) / scale, y.shape[1]
        quantiles = np.quantile(z, LEVELS, axis=0).T
        n_parameters = (n_features + 1) * (n_features + 2) // 2  # One component has this many parameters.
        n_components = int(np.clip(len(z) // (DRAWS_PER_PARAMETER * n_parameters), 1, MAX_COMPONENTS))
        if n_components == 1:
            covariance = z.T @ z / len(z) + RIDGE * np.eye(n_features)
            return cls(loc, scale, np.zeros(1), np.zeros((1, n_features)), covariance[None], quantiles)
        centres = kmeans_plusplus(z, n_components, random_state=rng)[0]
        start, weights = narrow_components(torch.tensor(centres[None])), torch.ones(1, len(z), dtype=torch.float64)
        mixture = expectation_maximization(start, torch.tensor(z), weights, RIDGE)
        used = mixture.log_weights[0] > -math.inf
        lower = torch.linalg.inv(mixture.precisions_cholesky[0, used]).mT
        parts = mixture.log_weights[0, used], mixture.means[0, used], lower @ lower.mT
        log_weights, means, covariances = (part.numpy() for part in parts)
        return cls(loc, scale, log_weights, means, covariances, quantiles)

    def draw(self, y: Array, known: Array, uniform: Array, near: Array | None = None) -> tuple[Array, Array]:
        """Draw the unknown cells of rows given the known ones.

        Parameters
        ----------
        y : ndarray of shape (n_rows, n_draws, n_features) or (n_rows, 1, n_features)
            The rows, once for each draw if the known cells differ from draw to draw.
        known : ndarray of shape (n_rows, n_features), dtype bool
        uniform : ndarray of shape (n_rows, n_draws, n_features)
            Numbers between 0 and 1. A row with m unknown cells uses the first m numbers of each draw.
        near : ndarray of shape (n_rows, n_features), optional
            Rows near which a share of the unknown cells is drawn. NaN stands for the mean of the column.

        Returns
        -------
        drawn : ndarray of shape (n_rows, n_draws, n_features)
            The rows with their unknown cells drawn.
        log_density : ndarray of shape (n_rows, n_draws)
            The logarithm of the density that these cells were drawn with.
        """
        n_each = uniform.shape[1] // y.shape[1]  # Each set of known cells of a row has this many draws.
        drawn = np.repeat(y.reshape(-1, 1, y.shape[2]), n_each, axis=1)
        numbers, log_density = uniform.reshape(drawn.shape), np.zeros(drawn.shape[:2])
        for rows, columns, given in self.conditional(y, known, near):
            some = torch.tensor(numbers[rows][..., : columns.shape[1]])
            cells, log_prob = (part.numpy() for part in given.draw(some))
            places = rows[:, None, None], np.arange(n_each)[:, None], columns[:, None]
            drawn[places] = cells * self.scale[columns][:, None] + self.loc[columns][:, None]
            log_density[rows] = log_prob - np.log(self.scale[columns]).sum(1, keepdims=True)
        return drawn.reshape(uniform.shape), log_density.reshape(uniform.shape[:2])

    def conditional(
        self, y: Array, known: Array, near: Array | None = None
    ) -> Iterator[tuple[Array, Array, ConditionalMixture]]:
        """Go through the mixtures of the unknown cells given the known ones, with the arguments of `draw`.

        The first two axes of ``y`` count as one. This yields numbers of rows, the numbers of their unknown columns,
        shape (n_some, n_unknown), and the mixtures, in standard units.
        """
        mixture = tuple(torch.tensor(part) for part in (self.log_weights, self.means, self.covariances))
        n_times = y.shape[1]
        for patterns in patterns_of(known):
            if not patterns.unknown.shape[1]:
                continue
            rows, pattern = patterns.rows, patterns.pattern.repeat(n_times)
            # A number that a constant column does not have may overflow.
            with np.errstate(over="ignore", invalid="ignore"):
                z = ((y[rows].reshape(len(pattern), -1) - self.loc) / self.scale).clip(-FARTHEST, FARTHEST)
            places = (rows[:, None] * n_times + np.arange(n_times)).ravel()
            for some, given in condition(mixture, torch.tensor(z), patterns.unknown, torch.tensor(pattern)).parts():
                own, columns = places[some], patterns.unknown[pattern[some]]
                if near is not None:
                    close = np.take_along_axis(near[own // n_times], columns, 1)
                    with np.errstate(over="ignore"):
                        close = np.nan_to_num((close - self.loc[columns]) / self.scale[columns])
                    given = given.also_near(torch.tensor(close))
                yield own, columns, given


def location_and_scale(y: Array, weights: Array) -> tuple[Array, Array]:
    """Return the mean and the standard deviation of the known cells of each column.

    The deviation of a constant column is infinite, so that a row with another number there is at its mean as well.
    """
    known = ~np.isnan(y)
    # Columns are divided by their largest number, so that squares do not overflow.
    unit = np.maximum(np.where(known, np.abs(y), 0.0).max(0), np.finfo(np.float64).tiny)
    y, w = y / unit, known * weights[:, None]
    total = np.maximum(w.sum(0), np.finfo(np.float64).tiny)
    loc = np.where(known, y * w, 0.0).sum(0) / total
    variance = np.where(known, (y - loc) ** 2 * w, 0.0).sum(0) / total
    return loc * unit, np.where(variance > 0, np.sqrt(variance) * unit, np.inf)
