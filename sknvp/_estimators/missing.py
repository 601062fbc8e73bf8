"""Densities of rows with unknown cells: completed for training, integrated for scores, drawn for imputation."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from .._columns.cells import CellMap
from .._missing.experts import KnownCells, log_probability_of_constants
from .._missing.incomplete import Incomplete
from .._missing.incomplete_mixture import fit_mixture
from .._missing.marginal import conditional_means, log_marginal, resampled
from .._missing.proposal import Proposal
from ..flows import Ensemble
from ..flows.builders.specification import TabularSpecification
from .base import FlowEstimator
from .evaluation import LEAST_LOG_DENSITY, draw_rows, finite_log_density, in_single_precision
from .modes import default_torch_modes
from .rows import Draws, Rows
from .seeds import RandomState, new_seed
from .threads import one_thread, threads_for

N_DRAWN = 40_000  # The proposal of unknown cells is fitted to this many draws from the density.
N_COMPLETED = 8  # Training draws the unknown cells of each row this many times.
MAX_COMPLETED = 400_000  # The draws of all rows together are at most this many.
LOG_LEAST_WEIGHT = math.log(0.01)  # Flows with less weight may have diverged, so their draws are of no use.


class DensityOfKnownCells(FlowEstimator):
    """An estimator that takes rows of numbers which are NaN where a cell is unknown."""

    _proposal_in_training: Proposal  # The proposal for training, as it was when unknown cells came first.
    _proposal: Proposal  # The proposal for imputation, fitted to draws from the density.
    _proposal_for_flows: Proposal  # The proposal for integrals over unknown cells, fitted to draws from the flows.
    _cell_map: CellMap | None = None  # The cells of columns whose values the flow does not see as they are, if any.

    def _with_constants(self, x: NDArray[Any], continues: bool = True) -> NDArray[Any]:
        """Put the value of a constant column in the place of missing ones, in rows that have any known cell."""
        unknown = np.isnan(x)
        if not unknown.any():
            return x
        if continues:
            assert isinstance(self._specification, TabularSpecification)
            scaling = self._specification.scaling
            value, constant = scaling.loc, ~np.isin(np.arange(x.shape[1]), scaling.columns)
        else:
            low, high = np.nanmin(x, axis=0), np.nanmax(x, axis=0)
            value, constant = low, high - low <= 4 * np.finfo(x.dtype).eps * np.abs(low)
        return np.where(unknown & constant & ~unknown.all(axis=1, keepdims=True), value, x).astype(x.dtype)

    def _completed(self, rows: Rows, numbers: NDArray[Any], continues: bool) -> Rows:
        """Draw the unknown cells of rows, whose numbers are NaN there, and the places of values on circles."""
        unknown = np.isnan(numbers)
        torn = False if rows.cells is None else rows.cells.is_torn
        incomplete = np.flatnonzero(unknown.any(1) | torn)
        n_draws = int(np.clip(MAX_COMPLETED // len(incomplete), 1, N_COMPLETED))
        with default_torch_modes(inference=True), one_thread():
            if unknown.any() and "_proposal_in_training" not in self.__dict__:
                self._proposal_in_training = self._new_proposal(rows, unknown, continues)
            proposal = self._proposal_in_training if unknown.any() else None
            cells = self._incomplete(numbers[incomplete], proposal)
            rng = np.random.default_rng(0)
            points = np.empty((len(incomplete), n_draws, numbers.shape[1]))
            log_weights = np.empty(points.shape[:2])
            for batch in cells.batches(n_draws):
                drawn = cells.of(batch).drawn(n_draws, rng)
                points[batch], log_weights[batch] = drawn.points, drawn.log_weights
        x = rows.x.copy()
        x[incomplete] = points[:, 0]
        return rows._replace(x=x, draws=Draws(incomplete, points, log_weights))

    def _new_proposal(self, rows: Rows, unknown: NDArray[np.bool_], continues: bool) -> Proposal:
        """Return the proposal for training: fitted to the rows, or in a stream to draws from the fitted density."""
        rng = np.random.RandomState(0)
        if continues:
            return Proposal.of_draws(draw_rows(self._density, N_DRAWN, 0, "").astype(np.float64), rng)
        return fit_mixture(np.where(unknown, np.nan, rows.x.astype(np.float64)), rows.weights, rng)

    def _marginal(
        self, rows: NDArray[Any], near: NDArray[Any] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Estimate the log-density of the known cells of rows with unknown ones, and its standard error.

        Around rows that are ``near``, as the flow sees them, the density may be narrower than the proposals.
        """
        assert isinstance(self._specification, TabularSpecification)
        scaling, error = self._specification.scaling, np.zeros(len(rows))
        some = ~np.isnan(rows[:, scaling.columns]).all(1)  # The other rows need no integral.
        with default_torch_modes(inference=True), threads_for(self._density, len(rows)):
            log_density = log_probability_of_constants(scaling, rows)
            if some.any():
                known = self._incomplete(rows[some], self._proposal_for_marginals())
                known = known._replace(near=None if near is None else near[some])
                specifications, log_weights = self._experts.specifications, self._experts.log_weights
                experts = KnownCells(specifications, log_weights[1:]) if specifications else None
                log_density[some], error[some] = log_marginal(self._flow_log_density(), known, experts)
        return np.maximum(log_density, LEAST_LOG_DENSITY), error

    def _imputed(self, rows: NDArray[Any], n_samples: int, random_state: RandomState) -> NDArray[Any]:
        """Draw whole rows given the known cells of each, shape (n_rows, n_samples, n_features)."""
        rng, rows = check_random_state(random_state), self._with_constants(rows)
        seed = new_seed(rng)
        imputed = np.repeat(rows[:, None], n_samples, axis=1)
        unknown = np.isnan(rows)
        empty, incomplete = np.flatnonzero(unknown.all(1)), np.flatnonzero(unknown.any(1) & ~unknown.all(1))
        if len(empty):
            y = self._draw(len(empty) * n_samples, rng).astype(np.float64)
            imputed[empty] = self._numbers_at(y).reshape(len(empty), n_samples, -1)
        if len(incomplete):
            with default_torch_modes(inference=True), threads_for(self._density, len(rows)):
                proposal, density = self._proposal_of("_proposal", self._density), in_single_precision(self._density)
                cells = self._incomplete(rows[incomplete], proposal)
                points = resampled(lambda y: finite_log_density(density, y), cells, n_samples, seed)
            drawn = self._numbers_at(points.reshape(-1, rows.shape[1])).reshape(points.shape)
            imputed[incomplete] = np.where(unknown[incomplete, None], drawn, imputed[incomplete])
        return imputed

    def _conditional_means(
        self, rows: NDArray[Any], numbers: Callable[[NDArray[Any]], NDArray[Any]]
    ) -> NDArray[np.float64]:
        """Compute the means of numbers that follow from the points of rows, given the known cells of these rows."""
        with default_torch_modes(inference=True), threads_for(self._density, len(rows)):
            proposal, density = self._proposal_of("_proposal", self._density), in_single_precision(self._density)
            cells = self._incomplete(rows, proposal)
            return conditional_means(lambda y: finite_log_density(density, y), cells, numbers)

    def _numbers_at(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return the rows of numbers in whose cells points lie."""
        return y if self._cell_map is None else self._cell_map.values(y)

    def _incomplete(self, rows: NDArray[Any], proposal: Proposal | None) -> Incomplete:
        """Return rows with unknown cells together with what these are drawn from."""
        return Incomplete(rows, None if self._cell_map is None else self._cell_map.cells(rows), proposal)

    def _flow_log_density(self) -> Callable[[NDArray[Any]], NDArray[np.float64]]:
        """Return the log-density of the flows, by their weight in the whole, as a function of points."""
        if self._experts.log_weights[0] == -math.inf:
            return lambda y: np.full(len(y), -np.inf)
        flows = in_single_precision(self._experts.weighted_flow(self._flow))
        return lambda y: finite_log_density(flows, y)

    def _proposal_for_marginals(self) -> Proposal:
        """Return the proposal for what the flows add to the density of known cells."""
        if self._experts.log_weights[0] > LOG_LEAST_WEIGHT:
            return self._proposal_of("_proposal_for_flows", self._experts.weighted_flow(self._flow))
        return self._proposal_of("_proposal", self._density)

    def _proposal_of(self, name: str, density: Ensemble) -> Proposal:
        """Return the attribute that is a proposal of unknown cells; it is fitted to draws when it is first needed."""
        if name not in self.__dict__:
            drawn = draw_rows(density, N_DRAWN, 0, "").astype(np.float64)
            setattr(self, name, Proposal.of_draws(drawn, np.random.RandomState(0)))
        proposal: Proposal = getattr(self, name)
        return proposal
