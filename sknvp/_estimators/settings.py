"""The settings of a training, and what "auto" stands for in them."""

import math
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np

from ..flows.train import EVALUATION_STEPS

MAX_STEPS = 3000  # The largest number of gradient steps if max_iter is "auto".
BATCH_SIZE = 128  # The batch size if batch_size is "auto" and there are few rows.
MAX_FULL_PENALTY_ROWS = 2_000  # The penalty falls if there are more rows.
MAX_SMALL_BATCH_ROWS = 10_000  # Batches grow if there are more rows, and batch_size and max_iter are "auto".
MAX_ROWS = 500_000  # An even choice keeps at most this many rows if batch_size and max_iter are "auto".


@dataclass(frozen=True)
class TrainingSettings:
    """The course of training. Every field has the meaning of the estimator's parameter of that name.

    The penalty falls as one over the number of rows beyond `MAX_FULL_PENALTY_ROWS`, since a prior counts less the more
    rows there are. Where ``batch_size`` and ``max_iter`` are "auto", so that the number of steps does not grow with
    that of the rows, batches grow with the square root of the number of rows beyond `MAX_SMALL_BATCH_ROWS`.
    """

    alpha: float
    batch_size: int
    learning_rate_init: float
    max_iter: int | str
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    tol: float

    @classmethod
    def of(cls, estimator: Any, n_rows: int | None) -> Self:
        """Return the settings of an estimator that is fitted to ``n_rows`` distinct rows; None stands for a stream."""
        given = cls(**{field.name: getattr(estimator, field.name) for field in fields(cls)})
        alpha = float(given.alpha) / max(1.0, (n_rows or 0) / MAX_FULL_PENALTY_ROWS)
        batch_size: float | str = given.batch_size
        if isinstance(batch_size, str):
            n_seen = min(n_rows or 0, MAX_ROWS) if isinstance(given.max_iter, str) else 0
            batch_size = BATCH_SIZE * math.sqrt(max(1.0, n_seen / MAX_SMALL_BATCH_ROWS))
        return replace(given, alpha=alpha, batch_size=int(batch_size))

    def max_steps(self, n_batches: int) -> int:
        """Return the largest number of gradient steps, where an epoch has ``n_batches`` batches."""
        return MAX_STEPS if isinstance(self.max_iter, str) else int(self.max_iter) * n_batches

    def max_evaluations(self, n_batches: int) -> int:
        """Return how often the loss is evaluated at most."""
        return -(-self.max_steps(n_batches) // EVALUATION_STEPS)


def max_rows(estimator: Any) -> int | None:
    """Return how many rows an estimator keeps at most, with those held out, or None if it keeps all rows.

    Training can see all rows that are kept.
    """
    if not isinstance(estimator.max_iter, str):
        return None
    if isinstance(estimator.batch_size, str):
        return MAX_ROWS
    share = 1 - estimator.validation_fraction if estimator.early_stopping else 1.0
    return int(np.ceil(MAX_STEPS * estimator.batch_size / share))
