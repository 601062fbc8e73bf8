"""A density beside which several densities score a row, and their scores are pooled."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._estimators.modes import default_torch_modes
from .._estimators.rows import Rows
from .._estimators.training import FittedFlow, Start
from .._experts.stacking import Candidate
from .._experts.table import Table
from .._experts.unconditional import ExpertFitter, smooth_kernels
from .._experts.weighted import NO_EXPERTS, Experts
from ..density import RealNVPDensity
from ..flows.builders.expert_specification import ExpertSpecification
from .densities import OneDensity, SmoothDensity
from .pooling import Standardization
from .trimming import without_least_likely

TRIMMED_SHARE = 0.05  # The mixture and the kernels leave out this share of the rows, the least likely ones.
N_ORDINARY = 1_000  # Log-densities are standardised by this many rows drawn from the whole density.


class PooledDensity(RealNVPDensity):
    """A density whose rows are scored by its flows, a Gaussian mixture and smooth kernels.

    The mixture and the kernels are fitted without the least likely rows. `_standardize_scores` follows every fit.
    """

    _scoring_experts: tuple[ExpertSpecification, ...] = ()
    _standardization: Standardization

    @property
    def _uses_normal_scores(self) -> bool:
        return False  # A density that is sharper in each column was measured to rank anomalies no better.

    def _fit_experts(self, start: Start, fitted: FittedFlow, rows: Rows, rng: np.random.RandomState) -> Experts:
        self._scoring_experts = ()
        return super()._fit_experts(start, fitted, rows, rng)

    def _candidates(self, table: Table, flow_log_density: torch.Tensor, rng: np.random.RandomState) -> list[Candidate]:
        candidates = super()._candidates(table, flow_log_density, rng)
        mixture_log_density = table.cross_fitted_log_density(candidates[0].compared.build())
        typical = without_least_likely(table, torch.logaddexp(flow_log_density, mixture_log_density), TRIMMED_SHARE)
        self._scoring_experts = ExpertFitter(typical, rng).best_mixture(), smooth_kernels(typical)
        return candidates

    def _standardize_scores(self) -> None:
        """Measure the log-densities of ordinary rows, which are drawn from the whole density."""
        ordinary = self._check_rows(self.sample(N_ORDINARY, random_state=self._split_seed), reset=False)
        log_densities = np.stack([density._score_rows(ordinary) for density in self._scoring_densities()])
        self._standardization = Standardization.of(log_densities)

    def _scoring_densities(self) -> list[RealNVPDensity]:
        """Return the densities that score a row, the flows first."""
        densities: list[RealNVPDensity] = [OneDensity.of(self, NO_EXPERTS.density(self._flow), NO_EXPERTS)]
        for kind, expert in zip((OneDensity, SmoothDensity), self._scoring_experts, strict=False):
            with default_torch_modes():
                density = NO_EXPERTS.density(expert.build(self._flow.reference.device))
            densities.append(kind.of(self, density, Experts((expert,), np.array([-np.inf, 0.0]))))
        return densities

    def _scores_and_errors(
        self, rows: NDArray[Any], context: NDArray[Any] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        each = [density._scores_and_errors(rows, context) for density in self._scoring_densities()]
        log_densities, errors = (np.stack(part) for part in zip(*each, strict=True))
        standardization = self._standardization
        return standardization.pooled(log_densities), standardization.pooled_errors(log_densities, errors)

    def _scores_without(self, rows: NDArray[Any], j: int) -> NDArray[np.float64]:
        log_densities = np.stack([density._scores_without(rows, j) for density in self._scoring_densities()])
        return self._standardization.pooled(log_densities)
