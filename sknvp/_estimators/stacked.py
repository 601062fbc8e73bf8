"""A fitter whose flow stands beside experts, weighed by the rows that were held out."""

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .._experts.stacking import Candidate, reweigh, stack
from .._experts.table import Table
from .._experts.weighted import NO_EXPERTS, Experts
from ..flows import Flow
from ..flows.builders.specification import TabularSpecification
from .context import context_of
from .fitter import FlowFitter
from .rows import Rows
from .training import FittedFlow, Start


class StackedFitter(FlowFitter):
    """A fitter whose density is a weighted mean of its flow and of experts.

    Subclasses give `_candidates`, and may give `_table` if the experts see the rows otherwise.
    """

    stacking: bool
    stacking_weights_: dict[str, float]

    @abstractmethod
    def _candidates(self, table: Table, flow_log_density: Tensor, rng: np.random.RandomState) -> list[Candidate]:
        """Fit the experts that may stand beside the flow.

        ``flow_log_density`` is the log-density of each row under the members that held it out, shape (n_rows,).
        """

    def _table(
        self, specification: TabularSpecification, rows: Rows, validation: NDArray[np.bool_], rng: np.random.RandomState
    ) -> Table:
        """Return the rows as experts see them."""
        return Table.of(specification.scaling, rows, validation, rng, context_of(specification, rows))

    def _fit_experts(self, start: Start, fitted: FittedFlow, rows: Rows, rng: np.random.RandomState) -> Experts:
        if not self.stacking or not fitted.validation.any():
            return NO_EXPERTS
        assert isinstance(start.specification, TabularSpecification)
        table = self._table(start.specification, rows, fitted.validation, rng)
        if not table.can_stack:
            return NO_EXPERTS
        member_log_densities = table.log_densities(fitted.flow)
        candidates = self._candidates(table, table.held_out_mean(member_log_densities), rng)
        return stack(member_log_densities, candidates, table)

    def _reweighed_experts(self, rows: Rows) -> Experts:
        return reweigh(self._experts, self._density, rows, context_of(self._specification, rows))

    def _fitted_state(
        self, start: Start, flow: Flow, experts: Experts, moments: dict[str, NDArray[Any]] | None = None
    ) -> dict[str, Any]:
        state = super()._fitted_state(start, flow, experts, moments)
        return {**state, "stacking_weights_": experts.weights_by_name}
