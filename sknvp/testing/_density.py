"""Laws of a density: what it returns, that it integrates to one, what units and batches do to it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ._cells import Box
from ._tools import ensure, ensure_close, ensure_finite, ensure_same, fitted, scores, table


def check_score_samples_returns_floats(estimator: Any) -> None:
    """``score_samples`` returns an array of shape (n_samples,), float64, finite."""
    density = fitted(estimator, table())
    for n_rows in (120, 1):
        log_density = density.score_samples(table(n_rows, seed=1))
        ensure(isinstance(log_density, np.ndarray), f"must be an array, got {type(log_density).__name__}.")
        ensure(log_density.shape == (n_rows,), f"{n_rows} rows must give shape ({n_rows},), got {log_density.shape}.")
        ensure(log_density.dtype == np.float64, f"must be float64, got {log_density.dtype}.")
        ensure_finite(log_density, "score_samples")


def check_score_is_the_total(estimator: Any) -> None:
    """``score`` is a float, the total of ``score_samples``."""
    density, rows = fitted(estimator, table()), table(50, seed=1)
    score = density.score(rows)
    ensure(isinstance(score, float), f"score must be a float, got {type(score).__name__}.")
    ensure_close(score, density.score_samples(rows).sum(), "score, and the total of score_samples", 1e-9)


def check_integrates_to_one_in_one_dimension(estimator: Any) -> None:
    """The density of one column integrates to one, by the midpoint rule, to a hundredth."""
    _check_integral(estimator, table(n_features=1))


def check_integrates_to_one_in_two_dimensions(estimator: Any) -> None:
    """The density of two columns integrates to one, by the midpoint rule, to a hundredth."""
    _check_integral(estimator, table(n_features=2))


def _check_integral(estimator: Any, X: Any) -> None:
    integral = Box(X).masses(fitted(estimator, X)).sum()
    ensure(abs(integral - 1) < 0.01, f"the density must integrate to one, got {integral:.4f}.")


def check_integrates_to_one_in_four_dimensions(estimator: Any) -> None:
    """The density of four columns integrates to one, by importance sampling, to five standard errors."""
    X = table(n_features=4)
    proposal = stats.multivariate_t(X.mean(0), 2 * np.cov(X.T), df=3, seed=0)
    rows = proposal.rvs(20_000)
    ratio = np.exp(fitted(estimator, X).score_samples(rows) - proposal.logpdf(rows))
    integral, error = ratio.mean(), ratio.std() / np.sqrt(len(ratio))
    ensure(error < 0.1 * integral, f"too rough a density to integrate: {integral:.3g}, standard error {error:.2g}.")
    ensure(abs(integral - 1) < 5 * error, f"must integrate to one, got {integral:.4f}, standard error {error:.4f}.")


def check_units_shift_scores_by_the_jacobian(estimator: Any) -> None:
    """With columns in other units, by powers of two, every score shifts by the log-Jacobian and by nothing else."""
    units, X, rows = 2.0 ** np.array([10, -7]), table(), table(50, seed=1)
    expected = scores(estimator, X, rows) - np.log(units).sum()
    ensure_close(scores(estimator, X * units, rows * units), expected, f"scores in units of {units}", 1e-8)


def check_translation_changes_no_score(estimator: Any) -> None:
    """Adding a number to a column of all rows, by which none loses a digit, changes no score, but for rounding."""
    shift, X, rows = np.array([1000.0, -30.0]), _short(table()), _short(table(50, seed=1))
    ensure_close(scores(estimator, X + shift, rows + shift), scores(estimator, X, rows), f"moved by {shift}", 1e-6)


def _short(X: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round numbers to few binary digits."""
    return np.round(X * 2**10) / 2**10


def check_rows_are_scored_one_by_one(estimator: Any) -> None:
    """The score of a row depends neither on what stands beside it nor on its place."""
    density, rows = fitted(estimator, table()), table(5000, seed=1)
    together = density.score_samples(rows)
    order = np.random.default_rng(0).permutation(len(rows))
    ensure_close(density.score_samples(rows[order]), together[order], "in another order", 1e-8)
    ensure_close(density.score_samples(rows[:100]), together[:100], "the first 100 of 5000 rows", 1e-8)
    alone = np.concatenate([density.score_samples(rows[[i]]) for i in range(20)])
    ensure_close(alone, together[:20], "each row alone", 1e-8)
    ensure_same(density.score_samples(rows), together, "the same rows again")
