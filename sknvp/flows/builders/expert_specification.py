"""Specifications of the densities beside flows, which have nothing to train."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
import torch

from ..flow import Flow
from ..layers import LowRankWhiten, Whiten
from . import experts
from .specification import Array, NormalScoreMaps, TabularSpecification


@dataclass(frozen=True, eq=False)
class DenseWhitening:
    """The arguments of `Whiten`, in standardised units."""

    mean: Array  # shape (n_members, n_varying)
    precision_cholesky: Array  # The upper triangular matrices, of shape (n_members, n_varying, n_varying).

    def build(self) -> Whiten:
        """Make the transform."""
        return Whiten(torch.tensor(self.mean), torch.tensor(self.precision_cholesky))


@dataclass(frozen=True, eq=False)
class LowRankWhitening:
    """The arguments of `LowRankWhiten`, in standardised units."""

    mean: Array  # shape (n_members, n_varying)
    directions: Array  # shape (n_members, n_varying, rank)
    gains: Array  # shape (n_members, rank)
    rest: float

    def build(self) -> LowRankWhiten:
        """Make the transform."""
        mean, directions, gains = map(torch.tensor, (self.mean, self.directions, self.gains))
        return LowRankWhiten(mean, directions, gains, self.rest)


Whitening = DenseWhitening | LowRankWhitening


@dataclass(frozen=True, eq=False, kw_only=True)
class ExpertSpecification(TabularSpecification):
    """A density beside the flows, whose fields are the arguments of the function that makes it."""

    name: ClassVar[str]  # The name of the density in `stacking_weights_`.
    make: ClassVar[Callable[..., Flow]]

    def _make_flow(self, generator: torch.Generator | None) -> Flow:
        own = [field.name for field in fields(self) if field.name not in ("scaling", "dtype")]
        return type(self).make(
            **self.scaling.tensors(), **{name: _as_constructor_argument(getattr(self, name)) for name in own}
        )


def _as_constructor_argument(value: Any) -> Any:
    """Turn arrays into tensors and a whitening into a transform; other values stay as they are."""
    if isinstance(value, Whitening):
        return value.build()
    if isinstance(value, NormalScoreMaps):
        return value.tensors()
    return torch.tensor(value) if isinstance(value, np.ndarray) else value


@dataclass(frozen=True, eq=False, kw_only=True)
class GaussianMixtureSpecification(ExpertSpecification):
    """A Gaussian mixture for each member, in standardised units; see `GaussianMixture`."""

    log_weights: Array  # shape (n_members, n_components)
    means: Array  # shape (n_members, n_components, n_varying)
    precisions_cholesky: Array  # shape (n_members, n_components, n_varying, n_varying)

    name = "gaussian_mixture"
    make = staticmethod(experts.gaussian_mixture)


@dataclass(frozen=True, eq=False, kw_only=True)
class CopulaSpecification(GaussianMixtureSpecification):
    """A Gaussian mixture of the normal scores of columns for each member."""

    scores: NormalScoreMaps

    name = "gaussian_mixture_copula"


@dataclass(frozen=True, eq=False, kw_only=True)
class WhitenedSpecification(ExpertSpecification):
    """An expert that whitens the standardised columns first."""

    whiten: Whitening


@dataclass(frozen=True, eq=False, kw_only=True)
class NormalSpecification(WhitenedSpecification):
    """A normal distribution for each member, which stands for a mixture of one component."""

    name = "gaussian_mixture"
    make = staticmethod(experts.normal)


@dataclass(frozen=True, eq=False, kw_only=True)
class KernelsSpecification(WhitenedSpecification):
    """Normal kernels on the rows for each member; see `Kernels`."""

    points: Array  # The centres of the kernels in standardised units, of shape (n_points, n_varying).
    log_weights: Array  # shape (n_members, n_points)
    bandwidth: float  # The standard deviation of a kernel in whitened units.

    name = "kernels"
    make = staticmethod(experts.kernels)


@dataclass(frozen=True, eq=False, kw_only=True)
class StudentTSpecification(WhitenedSpecification):
    """A multivariate t-distribution for each member; see `StudentT`."""

    degrees_of_freedom: int

    name = "student_t"
    make = staticmethod(experts.student_t)


@dataclass(frozen=True, eq=False, kw_only=True)
class LinearRegressionSpecification(WhitenedSpecification):
    """A normal distribution around a linear map of the context for each member."""

    # The linear map of a standardised context, of shape (n_members, n_varying, n_context).
    coefficients: Array
    # The periods of the columns in standardised units, of shape (n_varying,), infinite for columns without a period.
    periods: Array | None = None

    name = "linear_regression"
    make = staticmethod(experts.linear_regression)


@dataclass(frozen=True, eq=False, kw_only=True)
class StudentTRegressionSpecification(LinearRegressionSpecification):
    """A t-distribution around a linear map of the context for each member."""

    degrees_of_freedom: int

    name = "student_t_regression"
