"""The experts of a density without condition: a Gaussian mixture, kernels and a t-distribution."""

import math
from collections.abc import Callable, Iterable
from functools import partial
from itertools import product
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from .._columns.resolution import nearest_gaps
from .._estimators.weights import effective_number, systematic_resampling
from ..flows import Flow
from ..flows.bases import GaussianMixture, Kernels
from ..flows.bases.expectation_maximization import expectation_maximization, narrow_components
from ..flows.builders.expert_specification import (
    CopulaSpecification,
    GaussianMixtureSpecification,
    KernelsSpecification,
    NormalSpecification,
    StudentTSpecification,
    Whitening,
)
from .copula import CopulaFitter, far_rows
from .covariance import covariance, without_whitening
from .stacking import Candidate
from .table import RIDGE, Table

N_COMPONENTS = (1, 2, 4, 8, 16, 32, 64)  # These numbers of components are tried.
# A mixture of normal scores has at most this many components. Where more are needed, the flows have most of the weight.
MAX_COPULA_COMPONENTS = 32
MAX_PARAMETERS_PER_ROW = 4  # A mixture has at most this many parameters for each row, in all components together.
MIXTURE_RIDGES = (1e-4, 1e-3, 1e-2, 1e-1)  # These are added in turn to the variances of a mixture's components.
FINER_RIDGES = tuple(10.0**-k for k in range(5, 14))  # Each is tried in turn, starting from the last mixture.
LEAST_GAIN = 0.01  # A finer ridge must raise the mean log-density by this many nats.
BANDWIDTHS = np.geomspace(0.03, 2.0, 12)  # These bandwidths, in standard deviations, are tried for the kernels.
ROUNDING = 1e-6  # A number is known at best up to this share of it, because squares lose half of the digits.
LEAST_BANDWIDTH = 1e-6  # Below this bandwidth rounding errors of distances matter.
N_QUERIES = 1_000  # The bandwidth is chosen by held-out rows, which have at most this many draws in all.
DEGREES_OF_FREEDOM = 4  # The degrees of freedom of the t-distribution.
MAX_SMOOTH_POINTS = 2_000  # Smooth kernels have at most this many points, because their density needs no more.
TAIL_SHARE = 0.01  # The t-distribution gets this share where mixtures or kernels are compared.

G = TypeVar("G", bound=GaussianMixtureSpecification)
M = TypeVar("M", bound=GaussianMixtureSpecification | NormalSpecification)


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
        self.covariance = covariance(table.z, table.training_weights)
        self.whiten = self.covariance.whitening(RIDGE)
        self.tail = table.cross_fitted_log_density(student_t(table, self.whiten).build())

    def candidates(self, flow_log_density: Tensor) -> list[Candidate]:
        """Return the experts; mixtures stay those of the members, other experts are fitted to all rows in the end.

        ``flow_log_density`` is the log-density of each row under the flow's members that held it out, shape (n_rows,).
        """
        table, mixtures = self.table, [self.best_mixture(), *self.best_copula()]
        others = [flow_log_density, *(table.cross_fitted_log_density(mixture.build()) for mixture in mixtures)]
        whitened, bandwidth = self.best_kernels(torch.logsumexp(torch.stack(others), 0) - math.log(len(others)))
        whiten_all = covariance(table.z, table.all_weights).whitening(RIDGE)
        both = (self.whiten, table.training_weights), (whiten_all, table.all_weights)
        return [
            *(Candidate(mixture, mixture) for mixture in mixtures),
            Candidate(*(kernels(table, weights, whiten, whitened, bandwidth) for whiten, weights in both)),
            Candidate(*(student_t(table, whiten) for whiten, _ in both)),
        ]

    def best_mixture(self) -> GaussianMixtureSpecification | NormalSpecification:
        """Find the number of components and the ridge under which the rows held out are likeliest."""
        if max(self.sizes, default=1) == 1:
            return self._best_normal()
        weights = self.table.training_weights
        centres = far_rows([self.table.z] * len(weights), weights, self.sizes[-1], self.rng)
        fit = partial(gaussian_mixture, self.table, centres)
        return self._narrowed(*self.best_of_sizes(fit, self.sizes))

    def best_copula(self) -> list[CopulaSpecification]:
        """Find the best mixture of normal scores, if there are scores, and enough rows for two components."""
        scores = self.table.scores() if max(self.sizes, default=1) > 1 else None
        if scores is None:
            return []
        sizes = [n for n in self.sizes if n <= MAX_COPULA_COMPONENTS]
        return [self.best_of_sizes(CopulaFitter(self.table, scores, sizes[-1], self.rng).fit, sizes)[1]]

    def best_kernels(self, beside: Tensor) -> tuple[bool, float]:
        """Find the shape, whitened or not, and the bandwidth that make the rows held out likeliest beside the others.

        Kernels that are alone would have to be wide enough for all rows. ``beside`` is the held-out log-density of each
        row under the other densities, shape (n_rows,). A share `TAIL_SHARE` of the t-distribution is mixed in.
        """
        n_draws = 1 if self.table.draws is None else len(self.table.draws[0])
        few, rows = self.table.held_out_sample(N_QUERIES // n_draws, self.rng)
        weights = self.table.training_weights
        beside = torch.logaddexp(beside + math.log1p(-TAIL_SHARE), self.tail + math.log(TAIL_SHARE))[rows]
        flows = {shape: kernels(self.table, weights, self.whiten, shape, 1.0).build() for shape in (False, True)}

        def score(whitened: bool, bandwidth: float) -> float:
            (base,) = (part for part in flows[whitened].modules() if isinstance(part, Kernels))
            base.bandwidth = bandwidth
            return held_out_score(flows[whitened], few, beside, share=0.5)

        whitened, rough = max(product(flows, BANDWIDTHS), key=lambda shape: score(*shape))
        step = BANDWIDTHS[1] / BANDWIDTHS[0]
        while LEAST_BANDWIDTH < rough <= BANDWIDTHS[0] and score(whitened, rough / step) > score(whitened, rough):
            rough /= step
        finer = rough * np.geomspace(1 / step, step, 5)[1:-1]
        return whitened, float(max(finer, key=lambda bandwidth: score(whitened, bandwidth)))

    @property
    def sizes(self) -> list[int]:
        """The numbers of components for which there are enough rows."""
        n_features, n_rows = self.table.z.shape[1], int((self.table.training_weights > 0).sum(1).min())
        n_parameters = (n_features + 1) * (n_features + 2) // 2  # One component has this many parameters.
        most = MAX_PARAMETERS_PER_ROW * n_rows
        return [n for n in N_COMPONENTS if n * n_parameters <= most and 2 * n <= n_rows]

    def best_of_sizes(self, fit: Callable[[int, float], G], sizes: list[int]) -> tuple[float, G]:
        """Find the number of components and the ridge of the best mixture, and its score; ``fit`` takes both."""
        best = -np.inf, fit(1, MIXTURE_RIDGES[0])
        for ridge in MIXTURE_RIDGES:
            fewest = best[1].means.shape[1]
            best = self._climb((fit(n, ridge) for n in sizes if n >= fewest), best)
        return best

    def _best_normal(self) -> NormalSpecification:
        """Find the ridge of a single component under which the rows held out are likeliest."""
        whitenings = [self.covariance.whitening(ridge) for ridge in MIXTURE_RIDGES]
        normals = [NormalSpecification(scaling=self.table.scaling, whiten=whiten) for whiten in whitenings]
        best = -np.inf, normals[0]
        for normal in normals:
            best = self._climb([normal], best)
        return best[1]

    def _narrowed(self, score: float, mixture: GaussianMixtureSpecification) -> GaussianMixtureSpecification:
        """Let components become as narrow as the rows held out ask for, down to the resolution of the data."""
        table, noise = self.table, spacings(self.table.z).square() / 12  # A uniform distribution has this variance.
        for ridge in FINER_RIDGES:
            parts = mixture.log_weights, mixture.means, mixture.precisions_cholesky
            start = GaussianMixture(*map(torch.tensor, parts))
            fitted = expectation_maximization(start, table.z, table.training_weights, ridge, noise)
            narrower = mixture_specification(table, fitted)
            before, score = score, held_out_score(narrower.build(), table, self.tail)
            if not score > before + LEAST_GAIN:  # The score may be NaN.
                break
            mixture = narrower
        return mixture

    def _climb(self, specifications: Iterable[M], best: tuple[float, M]) -> tuple[float, M]:
        """Go through the specifications until one scores below the best so far; return the best and its score."""
        for specification in specifications:
            score = held_out_score(specification.build(), self.table, self.tail)
            if not score > best[0]:  # The score may be NaN.
                break
            best = score, specification
        return best


def held_out_score(flow: Flow, table: Table, beside: Tensor, share: float = TAIL_SHARE) -> float:
    """Compute the weighted mean of the held-out log-densities, with a share of another density mixed in.

    Without this share a few outliers would decide. ``beside`` holds the held-out log-density of each row under the
    other density.
    """
    log_density = table.cross_fitted_log_density(flow)
    log_density = torch.logaddexp(log_density + math.log1p(-share), beside + math.log(share))
    known = ~log_density.isnan()
    return float(np.average(log_density[known], weights=table.weights[known]))


def gaussian_mixture(table: Table, centres: Tensor, n_components: int, ridge: float) -> GaussianMixtureSpecification:
    """Fit a mixture for each member to its training rows, from the first of its centres."""
    start = narrow_components(centres[:, :n_components])
    return mixture_specification(table, expectation_maximization(start, table.z, table.training_weights, ridge))


def mixture_specification(table: Table, mixture: GaussianMixture) -> GaussianMixtureSpecification:
    """Describe a mixture of the standardised rows by arrays."""
    return GaussianMixtureSpecification(
        scaling=table.scaling,
        log_weights=mixture.log_weights.numpy(),
        means=mixture.means.numpy(),
        precisions_cholesky=mixture.precisions_cholesky.numpy(),
    )


def spacings(z: Tensor) -> Tensor:
    """Measure how exactly the numbers of a table are known, in the shape of the table.

    A number is known up to its distance to the nearest other value in its column, but not better than rounding allows.
    """
    columns = []
    for column in z.numpy().T:
        values, places = np.unique(column, return_inverse=True)
        gaps = nearest_gaps(values, 1.0)  # At the ends, a gap is at most one standard deviation.
        columns.append(np.hypot(gaps[places], ROUNDING * column))
    return torch.tensor(np.stack(columns, 1))


def kernels(table: Table, weights: Tensor, whiten: Whitening, whitened: bool, bandwidth: float) -> KernelsSpecification:
    """Put kernels on the rows, with the shape of the data (``whitened``) or of equal width in all columns."""
    return KernelsSpecification(
        scaling=table.scaling,
        whiten=whiten if whitened else without_whitening(torch.tensor(whiten.mean)),
        points=table.z.numpy(),
        log_weights=(weights / weights.sum(1, keepdim=True)).log().numpy(),
        bandwidth=bandwidth,
    )


def smooth_kernels(table: Table) -> KernelsSpecification:
    """Put kernels on the rows, of equal width in all columns, with the bandwidth of Scott's rule.

    References
    ----------
    Scott, "Multivariate Density Estimation: Theory, Practice, and Visualization", Wiley, 1992.
    """
    points, weights = table.z, table.all_weights
    if len(points) > MAX_SMOOTH_POINTS:
        drawn = systematic_resampling(table.weights.numpy(), MAX_SMOOTH_POINTS, np.random.RandomState(0))
        points, weights = points[drawn], torch.ones(1, MAX_SMOOTH_POINTS, dtype=torch.float64)
    return KernelsSpecification(
        scaling=table.scaling,
        whiten=without_whitening(torch.zeros(1, points.shape[1], dtype=torch.float64)),
        points=points.numpy(),
        log_weights=(weights / weights.sum()).log().numpy(),
        bandwidth=effective_number(weights) ** (-1 / (points.shape[1] + 4)),
    )


def student_t(table: Table, whiten: Whitening) -> StudentTSpecification:
    """Give a t-distribution the mean and the shape of the data."""
    return StudentTSpecification(scaling=table.scaling, whiten=whiten, degrees_of_freedom=DEGREES_OF_FREEDOM)
