"""Densities of the known cells of rows under the experts beside the flows, in closed form.

The known columns of a normal distribution are normal, with their part of the mean and of the covariance. Components of
mixtures and kernels are normal, and the known columns of a t-distribution have a t-distribution.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..flows.bases import Base, GaussianMixture, Kernels, StandardNormal, StudentT
from ..flows.bases.base import MAX_CHUNK_NUMBERS
from ..flows.bases.expectation_maximization import precision_cholesky
from ..flows.bases.product import other_columns
from ..flows.builders.expert_specification import (
    CopulaSpecification,
    ExpertSpecification,
    GaussianMixtureSpecification,
    KernelsSpecification,
    StudentTSpecification,
    WhitenedSpecification,
)
from ..flows.builders.specification import Scaling
from ..flows.builders.tabular import point_masses
from ..flows.ensemble import zero_if_not_finite
from ..flows.layers import NormalScores
from .patterns import Patterns, blocks, patterns_of

Array = NDArray[Any]

MAX_PADDED_ROWS = 16  # A pattern of at most this many rows is computed together with other patterns.


class KnownCells:
    """Experts with their weights, from which the density of any columns follows.

    Parameters
    ----------
    experts : sequence of ExpertSpecification
        The experts of a density without condition; there is at least one.
    log_weights : ndarray of shape (n_experts,)
        The logarithms of their weights, which need not add up to one.
    """

    def __init__(self, experts: Sequence[ExpertSpecification], log_weights: Array) -> None:
        self._scaling: Scaling = experts[0].scaling
        self._experts = [_expert(specification) for specification in experts]
        self._log_weights = torch.tensor(log_weights).view(-1, 1, 1)

    def log_density(self, y: Array, known: Array) -> Array:
        """Compute the log-density of the known cells.

        Parameters
        ----------
        y : ndarray of shape (n_rows, n_draws, n_features)
            Points as the flow sees them; what stands in unknown cells does not matter.
        known : ndarray of shape (n_rows, n_features), dtype bool

        Returns
        -------
        log_density : ndarray of shape (n_rows, n_draws)
        """
        varying, scale = self._scaling.columns, self._scaling.scale
        with np.errstate(over="ignore"):  # Numbers that overflow have a density of zero.
            z = torch.tensor(((y - self._scaling.loc) / scale)[..., varying])
        log_scale = known[:, varying] @ np.log(scale[varying])
        constants = log_probability_of_constants(self._scaling, y)
        log_density = torch.tensor(constants - log_scale[:, None])
        for patterns in patterns_of(known[:, varying]):
            columns = patterns.known
            covariances = [blocks(expert.covariances, columns, columns) for expert in self._experts]
            precisions = [precision_cholesky(part, 0.0) for part in covariances]
            for some, rows in self._together(patterns):
                places = rows[:, :, None, None], np.arange(z.shape[1])[:, None], columns[some, None, None]
                cells = z[places]
                factors = [precision[:, :, some] for precision in precisions]
                log_mean = self._log_mean(cells.flatten(1, 2), columns[some], factors)
                log_density[rows] += log_mean.view(*rows.shape, -1)
        return log_density.numpy()

    def _together(self, patterns: Patterns) -> Iterator[tuple[Array, Array]]:
        """Yield patterns that are computed at once, and the rows of each; some rows may come twice.

        Patterns of few rows repeat rows until their number is a power of two.
        """
        rows_of = patterns.by_pattern()
        counts = np.array([len(rows) for rows in rows_of])
        counts = np.where(counts <= MAX_PADDED_ROWS, 2 ** np.ceil(np.log2(counts)).astype(int), counts)
        each = max(expert.n_numbers for expert in self._experts)
        for count in np.unique(counts):
            alike = np.flatnonzero(counts == count)
            for some in np.array_split(alike, min(len(alike), -(-len(alike) * each // MAX_CHUNK_NUMBERS))):
                yield some, np.stack([np.resize(rows_of[i], count) for i in some])

    def _log_mean(self, z: Tensor, columns: Array, precisions: list[Tensor]) -> Tensor:
        """Return the log of the mean density of members and experts, of rows of some columns in standard units."""
        if not columns.shape[1]:
            return torch.logsumexp(self._log_weights, 0).expand(z.shape[:2])
        parts = [
            expert.log_prob(z, columns, factors) for expert, factors in zip(self._experts, precisions, strict=True)
        ]
        means = [torch.logsumexp(zero_if_not_finite(part), 0) - math.log(len(part)) for part in parts]
        return torch.logsumexp(torch.stack(means) + self._log_weights, 0)


def log_probability_of_constants(scaling: Scaling, y: Array) -> Array:
    """Return the log-probability of the constant columns of points (..., n_features); unknown cells add nothing."""
    constant = other_columns(torch.tensor(scaling.columns), y.shape[-1]).numpy()
    loc, scale = scaling.loc[constant], scaling.scale[constant]
    with np.errstate(over="ignore"):
        z = np.nan_to_num((y[..., constant] - loc) / scale)
    log_probability: Array = point_masses(torch.tensor(loc), torch.tensor(scale)).log_prob(torch.tensor(z)).numpy()
    return log_probability


class _Expert(ABC):
    """An expert in standard units; the first axis of its tensors is that of the members."""

    means: Tensor  # shape (n_members, n_components, n_varying)
    covariances: Tensor  # shape (n_members, n_components, n_varying, n_varying)

    @property
    def n_numbers(self) -> int:
        """The number of numbers that are made for a pattern."""
        return self.covariances.numel()

    @abstractmethod
    def log_prob(self, z: Tensor, columns: Array, precisions_cholesky: Tensor) -> Tensor:
        """Return the log-density of rows of some columns under each member.

        Parameters
        ----------
        z : Tensor of shape (n_patterns, n_rows, n_columns)
        columns : ndarray of shape (n_patterns, n_columns)
        precisions_cholesky : Tensor of shape (n_members, n_components, n_patterns, n_columns, n_columns)
            The factors of the inverse covariances of these columns.

        Returns
        -------
        log_prob : Tensor of shape (n_members, n_patterns, n_rows)
        """


class _Mixture(_Expert):
    """A Gaussian mixture."""

    def __init__(self, specification: GaussianMixtureSpecification) -> None:
        self.log_weights = torch.tensor(specification.log_weights).double()
        self.means = torch.tensor(specification.means).double()
        inverse = torch.linalg.inv(torch.tensor(specification.precisions_cholesky).double())
        self.covariances = inverse.mT @ inverse
        self.scores = specification.scores if isinstance(specification, CopulaSpecification) else None

    @property
    def n_numbers(self) -> int:
        return self.covariances.numel() + (0 if self.scores is None else sum(part.size for part in self.scores))

    def log_prob(self, z: Tensor, columns: Array, precisions_cholesky: Tensor) -> Tensor:
        means = self.means[..., columns].transpose(1, 2).flatten(0, 1)
        log_weights = self.log_weights.repeat_interleave(len(z), 0)
        base = GaussianMixture(log_weights, means, precisions_cholesky.transpose(1, 2).flatten(0, 1))
        z, log_det = z.expand(len(self.means), *z.shape), torch.zeros(())
        if self.scores is not None:  # Each pattern of each member has splines of its own.
            of_columns = (torch.tensor(part[:, columns]).double().flatten(0, 1) for part in self.scores)
            scored, log_det = NormalScores(len(means), *of_columns)(z.flatten(0, 1))
            z, log_det = scored.view(z.shape), log_det.view(z.shape[:-1])
        return base.log_prob(z.flatten(0, 1)).view(z.shape[:3]) + log_det


class _Whitened(_Expert):
    """A distribution of whitened columns."""

    def __init__(self, specification: WhitenedSpecification) -> None:
        whiten, self.specification = specification.whiten.build().double(), specification
        identity = torch.eye(whiten.mean.shape[-1], dtype=torch.float64)
        self.means = whiten.mean.unsqueeze(1)
        inverse = whiten.inverse(identity.expand(len(self.means), -1, -1))[0] - self.means
        self.covariances = (inverse.mT @ inverse).unsqueeze(1)

    @property
    def n_numbers(self) -> int:
        kernels = self.specification
        n_points = len(kernels.points) if isinstance(kernels, KernelsSpecification) else 0
        return self.covariances.numel() + self.means.numel() * n_points

    def log_prob(self, z: Tensor, columns: Array, precisions_cholesky: Tensor) -> Tensor:
        factors, mean = precisions_cholesky[:, 0], self.means[:, 0, columns].unsqueeze(2)
        log_det = factors.diagonal(0, -2, -1).log().sum(-1, keepdim=True)
        white = (z - mean) @ factors
        return self._base(mean, factors, columns).log_prob(white.flatten(0, 1)).view(white.shape[:3]) + log_det

    def _base(self, mean: Tensor, factors: Tensor, columns: Array) -> Base:
        """Return the distribution of the whitened columns."""
        expert = self.specification
        if isinstance(expert, StudentTSpecification):
            return StudentT(columns.shape[1], expert.degrees_of_freedom)
        if isinstance(expert, KernelsSpecification):
            points = torch.tensor(expert.points[:, columns]).double().transpose(0, 1)
            log_weights = torch.tensor(expert.log_weights).double().repeat_interleave(len(columns), 0)
            return Kernels(((points - mean) @ factors).flatten(0, 1), log_weights, expert.bandwidth)
        return StandardNormal(columns.shape[1])


def _expert(specification: ExpertSpecification) -> _Expert:
    if isinstance(specification, GaussianMixtureSpecification):
        return _Mixture(specification)
    assert isinstance(specification, WhitenedSpecification)
    return _Whitened(specification)
