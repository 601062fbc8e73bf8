"""The rows that experts learn from, and what they score on the rows that were held out."""

import math
from collections.abc import Callable
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._estimators.rows import Rows
from .._estimators.weights import systematic_resampling
from ..flows import Flow
from ..flows.builders.specification import NormalScoreMaps, Scaling
from ..flows.ensemble import log_densities, zero_if_not_finite

N_DRAWS = 4  # Densities are averaged over this many draws of unknown cells.
MAX_ROWS = 10_000  # Experts are fitted to at most this many rows.
MAX_STANDARDIZED = 1e4  # A number that is more standard deviations away is moved to this distance.
RIDGE = 1e-6  # This is added to variances, so that they stay positive.


class Table(NamedTuple):
    """Rows on the CPU in float64, and which of them each member held out."""

    scaling: Scaling
    x: Tensor  # shape (n_rows, n_features)
    weights: Tensor  # shape (n_rows,)
    validation: Tensor  # Whether each member holds out each row, of shape (n_members, n_rows).
    context: Tensor | None = None  # The standardised context of the rows, of shape (n_rows, n_context).
    # A call estimates for each member how columns map to normal scores.
    scores: Callable[[], NormalScoreMaps | None] = lambda: None
    # The rows and the log-weights of draws of unknown cells, both with an axis of draws in front.
    draws: tuple[Tensor, Tensor] | None = None

    @classmethod
    def of(
        cls,
        scaling: Scaling,
        rows: Rows,
        validation: NDArray[np.bool_],
        rng: np.random.RandomState,
        context: NDArray[np.floating] | None = None,
    ) -> Self:
        """Take at most `MAX_ROWS` rows, drawn by their weights."""
        x, weights = rows.x, rows.weights
        draws = None if rows.draws is None else rows.draws.of_all(x, N_DRAWS)
        if len(x) > MAX_ROWS:
            drawn = systematic_resampling(weights, MAX_ROWS, rng)
            x, weights, validation = x[drawn], np.ones(MAX_ROWS), validation[:, drawn]
            context = None if context is None else context[drawn]
            draws = None if draws is None else (draws[0][:, drawn], draws[1][:, drawn])
        return cls(
            scaling=scaling,
            x=torch.tensor(x.astype(np.float64)),
            weights=torch.tensor(weights),
            validation=torch.tensor(validation),
            context=None if context is None else torch.tensor(context.astype(np.float64)),
            draws=None if draws is None else (torch.tensor(draws[0]), torch.tensor(draws[1])),
        )

    @property
    def can_stack(self) -> bool:
        """Whether some columns vary and some rows are held out, so that densities can be compared."""
        return bool(len(self.scaling.columns)) and bool(self.validation.any())

    @property
    def z(self) -> Tensor:
        """The columns that vary, standardised and moved to within `MAX_STANDARDIZED`."""
        loc, scale = torch.tensor(self.scaling.loc), torch.tensor(self.scaling.scale)
        return ((self.x - loc) / scale)[:, self.scaling.columns].clamp(-MAX_STANDARDIZED, MAX_STANDARDIZED)

    @property
    def training_weights(self) -> Tensor:
        """The weights of the rows for each member, zero for those that it held out, shape (n_members, n_rows)."""
        return self.weights * ~self.validation

    @property
    def all_weights(self) -> Tensor:
        """The weights of the rows for a single member that sees all of them, shape (1, n_rows)."""
        return self.weights.unsqueeze(0)

    def held_out_sample(self, n_rows: int, rng: np.random.RandomState) -> tuple[Self, Tensor]:
        """Take at most so many of the rows that some member holds out, drawn at random; return their indices too."""
        rows = torch.tensor(rng.permutation(np.flatnonzero(self.validation.any(0)))[:n_rows])
        taken = self._replace(
            x=self.x[rows],
            weights=self.weights[rows],
            validation=self.validation[:, rows],
            context=None if self.context is None else self.context[rows],
            draws=None if self.draws is None else (self.draws[0][:, rows], self.draws[1][:, rows]),
        )
        return taken, rows

    def log_densities(self, flow: Flow) -> Tensor:
        """Compute the log-density of each row under each member, held out or not, shape (n_members, n_rows).

        The log-density of a row with unknown cells is that of its known cells.
        """
        if self.draws is not None:
            return self._mean_over_draws(lambda table: table.log_densities(flow))
        with torch.no_grad():
            return log_densities(flow, self.x, self.context).cpu()

    def held_out_mean(self, log_densities: Tensor) -> Tensor:
        """Compute the log of the mean density of each row under the members that held it out, shape (n_rows,).

        It is NaN for a row that no member held out.
        """
        held_out = log_densities.where(self.validation, log_densities.new_tensor(-math.inf))
        return torch.logsumexp(held_out, 0) - self.validation.sum(0).log()

    def cross_fitted_log_density(self, flow: Flow) -> Tensor:
        """Compute `held_out_mean` for a flow, each member of which is evaluated only on the rows that it held out.

        The density of a row with unknown cells is that of the known ones.
        """
        if self.draws is not None:
            return self._mean_over_draws(lambda table: table.cross_fitted_log_density(flow))
        validation = self.validation
        rows = torch.argsort(~validation, dim=1, stable=True)[:, : int(validation.sum(1).max())]
        inputs = tuple(part.to(flow.reference) for part in (self.x, self.context) if part is not None)
        with torch.no_grad():
            chunks = torch.split(rows, flow.chunk_size, 1)
            parts = [flow.log_prob(*(part[chunk] for part in inputs)).double().cpu() for chunk in chunks]
        each = zero_if_not_finite(torch.cat(parts, 1))
        return self.held_out_mean(torch.zeros(validation.shape, dtype=torch.float64).scatter(1, rows, each))

    def _mean_over_draws(self, log_density: Callable[[Self], Tensor]) -> Tensor:
        """Compute the log of the mean density of rows over the weighted draws of their unknown cells."""
        assert self.draws is not None
        drawn = [log_density(self._replace(x=x, draws=None)) + weights for x, weights in zip(*self.draws, strict=True)]
        return torch.logsumexp(torch.stack(drawn), 0) - math.log(len(drawn))
