"""The methods that a conditional density has: scores, means, quantiles and draws of targets given rows."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from .._columns.averages import averages, to_average
from .._columns.cells import Cells, normal_quantile
from .._columns.circle import Circle
from .._columns.describe import columns_of, discrete_mask
from .._columns.kinds import Column, encoded, library_of
from .._columns.lattice import LatticeMargin
from .._columns.margins import Margin
from ..flows import Ensemble
from ..flows.summaries import distribution, mean, noise_points, quantile
from . import parameters as rule
from .base import FLOATS
from .cells import DensityOfCells
from .context import ConditionedOnRows, standardized_context
from .distribution import check_ordered, cumulative, ends_of
from .evaluation import evaluate
from .modes import default_torch_modes
from .scaling import restore_constants
from .specify import checked_bounds, checked_periods
from .weights import weighted_total

N_POINTS = 100  # the number of points of noise that `predict` averages over if there is one target, ...
N_POINTS_OF_SEVERAL = 512  # ... and if there are several, or some have probabilities
LEAST_DIFFERENCE = 1e-9  # of two values of a distribution function; a smaller one has too few digits


class ConditionalDensityMethods(RegressorMixin, ConditionedOnRows, DensityOfCells):  # type: ignore[misc]
    """A fitted density of targets given rows behind scikit-learn's methods; a subclass adds `fit`."""

    discrete_targets: Any

    n_outputs_: int
    _squeeze: bool
    _target_dtype: str  # the dtype of the targets that were fitted, in which targets are returned

    def _check_pairs(
        self, X: ArrayLike, y: ArrayLike, *, reset: bool, n_least: int = 1, counts: NDArray[np.float64] | None = None
    ) -> NDArray[Any]:
        """Check rows and targets, and return them side by side, as float32 if both are that and else as float64.

        Categories in X become indicators, and categories in y their numbers. ``counts`` tells how many pairs each pair
        stands for.
        """
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None.")
        table, is_single = _as_table(y)
        refuse_missing_targets(table)
        rows = self._check_context(X, reset=reset, n_least=n_least)
        check_consistent_length(rows, table)
        if reset:
            self._columns = self._describe_targets(table, counts)
        elif table.shape[1] != self.n_outputs_:
            raise ValueError(f"y must have {self.n_outputs_} columns, as in fit, got {table.shape[1]}.")
        targets = self._check_targets(table)
        if reset:
            self._squeeze, self.n_outputs_ = is_single, targets.shape[1]
            self._target_dtype = targets.dtype.name
        return np.concatenate([rows, targets], 1)

    def _check_targets(self, table: Any) -> NDArray[Any]:
        """Check a table of targets, and return it as numbers."""
        if any(column.categories is not None for column in self._columns):
            return encoded(table, self._columns)
        targets: NDArray[Any] = check_array(table, dtype=FLOATS, input_name="y")
        with np.errstate(over="ignore"):
            if not np.isfinite(np.ptp(targets, axis=0)).all():
                raise ValueError(f"y must span less than {np.finfo(targets.dtype).max:.1e}. Divide it by a constant.")
        return targets

    def _describe_targets(self, table: Any, counts: NDArray[np.float64] | None) -> tuple[Column, ...]:
        """Describe the targets as the parameters ask."""
        is_numeric = library_of(table) is None and table.dtype.kind in "fiu"
        if is_numeric:  # numbers that are not finite are refused first
            table = check_array(table, dtype=FLOATS, input_name="y")
            if self.discrete_targets is None and self.bounds is None and self.periods is None:
                return ()
        labels = list(range(table.shape[1]) if library_of(table) is None else table.columns)
        bounds = None if self.bounds is None else checked_bounds(self.bounds, table.shape[1])
        periods = None if self.periods is None else checked_periods(self.periods, labels, "y")
        discrete = discrete_mask(self.discrete_targets, table, "discrete_targets")
        return columns_of(table, discrete, bounds, periods, counts, table="y")

    def score_samples(self, X: ArrayLike, y: ArrayLike | None = None) -> NDArray[np.float64]:
        """Compute the log-density of the targets of each row, given its columns.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows to condition on.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            The targets. None stands for their means, `predict`, or the possible values next to these: what comes out
            then tells how sharply the density is peaked, not how well it fits.

        Returns
        -------
        log_density : ndarray of shape (n_samples,), dtype float64
            In nats, in the units of the ``y`` that was fitted. Discrete targets have log-probabilities.
        """
        check_is_fitted(self)
        pairs = self._check_pairs(X, self._nearest(self.predict(X)) if y is None else y, reset=False)
        rows, targets = np.split(pairs, [-self.n_outputs_], axis=1)
        targets = restore_constants(targets, self._specification.scaling)
        return self._score_rows(targets, standardized_context(self._specification, rows))

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Compute the total log-likelihood of the targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows to condition on.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The targets.
        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts, not negative. A row of weight zero adds nothing.

        Returns
        -------
        log_likelihood : float
            The sum of `score_samples`, each times its weight, in nats.

        Raises
        ------
        ValueError
            If ``X``, ``y`` or ``sample_weight`` breaks its rule.
        """
        return weighted_total(self.score_samples(X, y), sample_weight)

    def sample(
        self, X: ArrayLike, n_samples: int = 1, random_state: int | np.random.RandomState | None = None
    ) -> NDArray[Any]:
        """Draw targets for each row.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            The rows to condition on.
        n_samples : int, default=1
            The number of draws for each row.
        random_state : int, RandomState instance or None, default=None
            Pass an int for the same draws at every call.

        Returns
        -------
        y : ndarray of shape (n_rows, n_samples) or (n_rows, n_samples, n_outputs)
            Independent draws, of the dtype of the ``y`` that was fitted; of the former shape if ``y`` had one dimension
            in `fit`. Those of a target with a period lie between zero and the period, or, if it was negative somewhere
            in `fit`, between minus and plus half of it.

        Raises
        ------
        ValueError
            If ``n_samples`` breaks its rule, or the flows have diverged in training and draw no finite targets.
        """
        check_is_fitted(self)
        rule.check("n_samples", n_samples, rule.integer(1))
        context = np.repeat(self._context(X), n_samples, axis=0)
        numbers = self._numbers_at(self._draw(len(context), random_state, context))
        return self._as_in_fit(numbers.reshape(-1, n_samples, self.n_outputs_))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Compute the mean of the targets for each row; of a category, the likeliest value; of an angle, the direction.

        For one target this is an integral over the flows' noise by the trapezoidal rule on 100 points, with an error of
        about 1e-5 standard deviations, or of up to a few hundredths where y jumps between modes that lie apart. For
        several targets it is the mean of 512 quasi-random draws, the same for every row, with an error of about a
        hundredth of a standard deviation. The share of the regressions is exact. For a single discrete target it is the
        sum of up to a hundred values, each times its probability, and where others have probabilities the mean of 512
        points too.

        For a target with a period it is the mean direction: that of the mean of its points on the circle. Where the
        density is nearly even around the circle, or has two opposite modes, this direction means little.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows to condition on.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Of the dtype of the ``y`` that was fitted.
        """
        check_is_fitted(self)
        context, density = self._context(X), self._density
        if (edges := self._few_edges()) is not None:
            middle = normal_quantile((edges[1:] + edges[:-1]) / 2)
            numbers = self._shares_between(edges, context) @ self._to_average(middle[:, None])
            return self._as_in_fit(averages(numbers, self._columns, self._circles))
        is_smooth = self._cell_map is None or not self._cell_map.has_intervals
        with default_torch_modes():
            n_points = N_POINTS if self.n_outputs_ == 1 and is_smooth else N_POINTS_OF_SEVERAL
            points, weights = noise_points(self.n_outputs_, n_points)

        def values(y: Tensor) -> Tensor:
            return y if self._cell_map is None else y.new_tensor(self._to_average(y.cpu().numpy()))

        def means(context: Tensor) -> Tensor:
            return mean(density, context, points, weights, values)

        numbers = evaluate(means, density, context, n_each=len(points))
        return self._as_in_fit(averages(numbers, self._columns, self._circles) if self._columns else numbers)

    def predict_quantile(self, X: ArrayLike, q: ArrayLike = 0.5) -> NDArray[Any]:
        """Compute quantiles of the target for each row: where its distribution function, given the row, is ``q``.

        They belong to the density that `score_samples` evaluates, all flows and regressions together, and are exact
        but for rounding; so between the quantiles for 0.1 and 0.9 lie 80 percent of its mass. The quantile of a
        discrete target is one of its values, the least up to which lies at least that probability.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows to condition on.
        q : float or array-like of shape (n_quantiles,), default=0.5
            Between 0 and 1, both excluded.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_quantiles)
            Of the dtype of the ``y`` that was fitted; of the former shape if ``q`` is a number.

        Raises
        ------
        ValueError
            If there are several targets, the target has a period or is a category without order, or ``q`` breaks its
            rule.
        """
        check_is_fitted(self)
        check_ordered(
            self._columns, self.n_outputs_, "predict_quantile", "Take quantiles of what sample(X, n_samples) draws"
        )
        shares = np.asarray(q, dtype=np.float64)
        if shares.ndim > 1 or not ((shares > 0) & (shares < 1)).all():
            raise ValueError(f"q must be a number strictly between 0 and 1, or a list of such numbers, got {q!r}.")
        context, density = self._context(X), self._density

        def quantiles(context: Tensor) -> Tensor:
            return torch.stack([quantile(density, float(share), context) for share in np.atleast_1d(shares)], 1)

        if len(self._specification.scaling.columns):
            y = evaluate(quantiles, density, context)
        else:  # the target is constant
            y = np.full((len(context), shares.size), self._specification.scaling.loc)
        numbers = self._numbers_at(y.reshape(-1, 1)).reshape(y.shape)
        each = np.stack([self._as_in_fit(column[:, None]).reshape(-1) for column in numbers.T], 1)
        return each if shares.ndim else each[:, 0]

    def predict_cdf(self, X: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Compute the distribution function of the target of each row at a number: the probability of at most that.

        At the targets of new rows these numbers are evenly spread between 0 and 1 if the density is right, whatever its
        shape (the probability integral transform), so that a histogram of them shows how it is wrong: a U means too
        narrow, a hump too wide, a slope too low or too high. Those of discrete targets are not, since a probability is
        taken at once: :class:`~sknvp.PITDisplay` draws them at random between both sides of it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows to condition on.
        y : array-like of shape (n_samples,) or (n_samples, 1)
            A target for each row.

        Returns
        -------
        probability : ndarray of shape (n_samples,), dtype float64
            Between 0 and 1. The inverse of `predict_quantile`.

        Raises
        ------
        ValueError
            If there are several targets, the target has a period or is a category without order, or ``X`` or ``y``
            breaks its rule.

        References
        ----------
        T. Gneiting, F. Balabdaoui and A. Raftery, "Probabilistic forecasts, calibration and sharpness", Journal of the
        Royal Statistical Society B 69, 2007.
        """
        return self._cdf_around(X, y)[1]

    def _cdf_around(self, X: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Compute the probabilities of less than the target of each row, and of at most that."""
        check_is_fitted(self)
        check_ordered(self._columns, self.n_outputs_, "predict_cdf", "Compare draws by sknvp.metrics.energy_score")
        rows, targets = np.split(self._check_pairs(X, y, reset=False), [-1], axis=1)
        scaling = self._specification.scaling
        values = restore_constants(targets, scaling)[:, 0]
        if not len(scaling.columns):
            return (values > scaling.loc[0]).astype(np.float64), (values >= scaling.loc[0]).astype(np.float64)
        lower, upper = ends_of(self._cell_map, values)
        at = self._cdf_at(upper, rows)
        return (at if np.array_equal(lower, upper) else self._cdf_at(lower, rows)), at

    def _cdf_at(self, points: NDArray[np.float64], rows: NDArray[Any]) -> NDArray[np.float64]:
        """Compute the distribution function of a single target at points that the flow sees, which may be infinite."""
        probability, some = np.where(points > 0, 1.0, 0.0), np.isfinite(points)
        if some.any():
            context = standardized_context(self._specification, rows[some])
            probability[some] = cumulative(self._density, points[some, None], context)
        between: NDArray[np.float64] = np.clip(probability, 0.0, 1.0)
        return between

    def _few_edges(self) -> NDArray[np.float64] | None:
        """Return the ends of the intervals of a single target's values, if it is discrete and these are few."""
        margin = None if self._cell_map is None or self.n_outputs_ > 1 else self._cell_map.margins[0]
        while isinstance(margin, Circle | LatticeMargin):
            margin = margin.margin
        return margin.edges if isinstance(margin, Margin) and margin.n_values < N_POINTS else None

    def _shares_between(self, edges: NDArray[np.float64], context: NDArray[Any]) -> NDArray[np.float64]:
        """Return the probability between every two edges for each row; what lies beyond the last ones counts there."""
        density = self._density

        def cumulative(context: Tensor) -> Tensor:
            inner = context.new_tensor(normal_quantile(edges[1:-1]))
            y, given = inner.repeat(len(context)), context.repeat_interleave(len(inner), 0)
            return distribution(density, y, given)[0].view(len(context), len(inner))

        value = evaluate(cumulative, density, context, n_each=len(edges))
        shares: NDArray[np.float64] = np.diff(value, axis=1, prepend=0, append=1)
        return shares

    def _to_average(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return the targets in whose cells points lie, as numbers whose means tell their averages."""
        numbers = self._numbers_at(y.reshape(-1, self.n_outputs_))
        return to_average(numbers, self._columns, self._circles).reshape(*y.shape[:-1], -1)

    def _nearest(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return the possible values next to targets of the shape that was fitted."""
        margins = {} if self._cell_map is None else self._cell_map.margins
        nearest = y.reshape(len(y), -1).copy()
        for j, each in margins.items():
            margin = each.margin if isinstance(each, Circle) else each
            if isinstance(margin, Margin | LatticeMargin) and self._columns[j].categories is None:
                numbers = nearest[:, j].astype(np.float64)
                nearest[:, j] = margin.first + margin.spacing * np.rint((numbers - margin.first) / margin.spacing)
        return nearest.reshape(y.shape)

    def _mean_over_cells(
        self, density: Ensemble, rows: NDArray[Any], cells: Cells, context: NDArray[Any] | None
    ) -> NDArray[np.float64]:
        """Compute the logarithm of the mean density over cells; of a single target, exactly, by differences of F."""
        if self.n_outputs_ > 1:
            return super()._mean_over_cells(density, rows, cells, context)
        assert context is not None
        low, high = (cumulative(self._density, normal_quantile(edges), context) for edges in (cells.low, cells.high))
        total = np.where(cells.high[:, 0] < 1, high, 1) - np.where(cells.low[:, 0] > 0, low, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean: NDArray[np.float64] = np.log(total / (cells.high - cells.low)[:, 0]) + cells.log_measure
        small = total < LEAST_DIFFERENCE  # rounding errors of differences matter
        if small.any():
            mean[small] = super()._mean_over_cells(density, rows[small], cells.of(small), context[small])
        return mean

    def _as_in_fit(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return numbers as targets in the dtype of those that were fitted, without the last axis if y had but one."""
        if any(column.categories is not None for column in self._columns):
            y = np.stack([column.values(y[..., j]).astype(object) for j, column in enumerate(self._columns)], -1)
            if self.n_outputs_ == 1:
                y = y.astype(self._columns[0].categories.dtype)  # type: ignore[union-attr]
        else:
            y = y.astype(self._target_dtype)
            for j, circle in self._circles.items():  # rounding may have moved a number off the circle
                y[..., j] = circle.wrapped(y[..., j], y.dtype)
        return y[..., 0] if self._squeeze else y


def _as_table(y: Any) -> tuple[Any, bool]:
    """Return targets as a table of two dimensions, and whether they had but one."""
    if hasattr(y, "to_frame"):
        return y.to_frame(), True
    if library_of(y) is not None:
        return y, False
    targets = np.asarray(y)
    if targets.dtype.kind in "US":  # numbers among strings stay what they are
        targets = np.asarray(y, dtype=object)
    if targets.ndim not in (1, 2):
        check_array(targets, ensure_2d=False, dtype=None, input_name="y")
        raise ValueError(f"y must have shape (n_samples,) or (n_samples, n_outputs), got {targets.shape}.")
    return targets.reshape(len(targets), -1), targets.ndim == 1


def refuse_missing_targets(y: ArrayLike) -> None:
    """Raise a ValueError that names the cure, as scikit-learn does for a missing value in ``X``."""
    targets = np.asarray(y)
    if targets.dtype.kind == "f" and np.isnan(targets).any():
        n_missing = np.isnan(targets).reshape(len(targets), -1).any(1).sum()
        raise ValueError(
            f"Input y contains NaN in {n_missing} of {len(targets)} rows. Drop these rows, from which nothing can be "
            "learned; predict or sample can fill them once the others are fitted."
        )
